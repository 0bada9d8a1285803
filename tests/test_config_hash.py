"""What ``config_hash`` counts: all that can change the result, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mt_lottery.config.compose import compose
from mt_lottery.errors import TuningError
from mt_lottery.runs.planning.plan import make_plan


@pytest.fixture(scope="module")
def folder_of_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny

    folder = tmp_path_factory.mktemp("model")
    tiny.model("llama").save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def hash_of(model: Path, *arguments: str, recipe: str = "ks_lottery") -> str:
    given = compose(
        [f"recipe={recipe}", "lang=en-ro", "model=hf", f"model.name_or_path={model}", *arguments]
    )
    return make_plan(given, lambda _: None).config_hash


@pytest.mark.parametrize(
    "argument",
    [
        *("out_dir=/elsewhere", "overwrite=true", "resume=true", "baseline=false"),
        *(
            "data.sampling=uniform",
            "train.save_steps=3",
            "data.train_pairs=344",
            "tracker=[none]",
            "tuner.tickets=18",
        ),
    ],
)
def test_what_cannot_change_the_result_is_left_out(folder_of_model: Path, argument: str) -> None:
    assert hash_of(folder_of_model, argument) == hash_of(folder_of_model)


@pytest.mark.parametrize(
    "argument",
    [
        "deterministic=true",
        *("seed=1", "train.lr=0.5", "probe.epochs=9", "tuner.tickets=19", "tuner.alpha=0.5"),
        *("data.train_pairs=9", "data.test_pairs=9", "data.template=alpaca", "model.dtype=float32"),
        *("translate.max_new_tokens=9", "metrics=chrf", "tuner.scope=tied", "lang=en-es"),
        *("lang=en-ro,en-es", "lang=en-ro,ro-en", "test_lang=en-es"),
        *("data.max_length=64", "train.criterion=label_smoothed_cross_entropy"),
    ],
)
def test_what_can_change_it_counts(folder_of_model: Path, argument: str) -> None:
    assert hash_of(folder_of_model, argument) != hash_of(folder_of_model)


def test_a_setting_that_came_later_counts_once_it_is_set(folder_of_model: Path) -> None:
    plain, few = hash_of(folder_of_model), hash_of(folder_of_model, "tuner.selector_pairs=16")
    assert hash_of(folder_of_model, "tuner.selector_pairs=64") == plain != few
    gradient = hash_of(folder_of_model, recipe="grad_lottery")
    assert gradient != plain
    assert hash_of(folder_of_model, "probe.lr=0.5", recipe="grad_lottery") == gradient


def test_the_original_model_has_no_seed_and_no_training(folder_of_model: Path) -> None:
    plain = hash_of(folder_of_model, recipe="none")
    training = ("seed=1", "train.lr=0.5", "probe.lr=0.5", "data.train_pairs=9")
    for argument in (*training, "deterministic=true"):
        assert hash_of(folder_of_model, argument, recipe="none") == plain
    assert hash_of(folder_of_model, "data.test_pairs=9", recipe="none") != plain


def test_another_model_counts_and_another_path_does_not(
    folder_of_model: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder_of_model, copy)
    assert hash_of(copy) == hash_of(folder_of_model)
    import tiny

    tiny.model("llama", seed=1).save_pretrained(copy)
    assert hash_of(copy) != hash_of(folder_of_model)


def test_a_rows_file_counts_by_what_is_in_it(folder_of_model: Path, tmp_path: Path) -> None:
    one, same, other = tmp_path / "one", tmp_path / "same", tmp_path / "other"
    one.write_text("4\n5\n")
    same.write_text("4\n5\n")
    other.write_text("4\n6\n")
    first, second, third = (
        hash_of(folder_of_model, f"tuner.rows_file={f}") for f in (one, same, other)
    )
    assert first == second != third
    with pytest.raises(TuningError, match=r"tuner\.rows_file=.*gone: no such file"):
        hash_of(folder_of_model, f"tuner.rows_file={tmp_path}/gone")
