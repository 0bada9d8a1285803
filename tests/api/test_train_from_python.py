"""``mtl.train``, ``mtl.score`` and ``mtl.certify``: what a notebook calls, on tiny models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import mt_lottery as mtl

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from tiny_runs import MINI, Models, make_models

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "metrics": ["chrf"],
    "settings": {"train.epochs": 1, "probe.epochs": 1, "translate.max_new_tokens": 8},
    "tuner": {"tickets": 5},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


def texts(role: str, count: int) -> list[tuple[str, str]]:
    sides = [(MINI / f"{role}.{code}.txt").read_text("utf-8").splitlines() for code in ("en", "es")]
    return list(zip(*sides, strict=True))[:count]


@pytest.fixture(scope="module")
def run(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_LOTTERY_CACHE", str(folder / "cache"))
        yield mtl.train(
            "ks_lottery", "en-es", name_or_path=models.untied, train=texts("train", 24),
            dev=texts("dev", 4), test=texts("test", 6), out_dir=folder / "run", **SMALL,
        )  # fmt: skip


def test_a_run_from_pairs_is_the_run_of_the_command_line(
    run: Any, models: Models, tmp_path: Path
) -> None:
    names = {}
    for role, count in (("train", 24), ("dev", 4), ("test", 6)):
        path = tmp_path / f"{role}.jsonl"
        lines = [json.dumps({"en": en, "es": es}) for en, es in texts(role, count)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        names[f"data.{role}_source"] = str(path)
    from mt_lottery.config.compose import compose

    arguments = [
        *("recipe=ks_lottery", "lang=en-es", "model=hf", "data=files", "metrics=[chrf]"),
        *(f"model.name_or_path={models.untied}", f"out_dir={tmp_path / 'run'}"),
        *("tuner.tickets=5", "train.epochs=1", "probe.epochs=1", "translate.max_new_tokens=8"),
        *(f"{key}={value}" for key, value in names.items()),
    ]
    done = mtl.run(compose(arguments), echo=lambda _: None)
    assert done.record.config_hash == run.record.config_hash
    assert done.record.scores == run.record.scores


@pytest.mark.parametrize("recipe", ["none", "random_seen"])
def test_one_list_for_dev_and_test_is_all_of_both(
    recipe: str, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    run = mtl.train(
        recipe, "en-es", name_or_path=models.untied, train=texts("train", 8), dev=texts("test", 6),
        test=texts("test", 6), out_dir=tmp_path / "run", metrics=["chrf"], echo=said.append,
        settings={"translate.max_new_tokens": 4}, tuner={} if recipe == "none" else {"tickets": 3},
    )  # fmt: skip
    assert len(run.hypotheses) == 6 and not any("one text" in line for line in said)


@pytest.mark.parametrize("form", [str, Path, lambda path: {"name": str(path)}])
def test_a_finished_run_is_handed_out_again(run: Any, models: Models, form: Any) -> None:
    said: list[str] = []
    again = mtl.train(
        "ks_lottery", "en-es", model=form(models.untied), train=texts("train", 24),
        dev=texts("dev", 4), test=texts("test", 6), out_dir=run.folder, echo=said.append, **SMALL,
    )  # fmt: skip
    assert again.record == run.record and any("left alone" in line for line in said)


def test_what_a_run_hands_out(run: Any) -> None:
    assert len(run.ticket) == 5 and run.scores == run.record.scores
    assert run.baseline is not None and run.baseline.record.method == "none"
    source = texts("test", 1)[0][0]
    assert source in run.prompt(source)
    assert run.translate([source, " "]) == [run.hypotheses[0]["first_line"], ""]
    assert "ks_lottery" in str(run) and "none (original)" in str(run)


def test_a_run_in_a_notebook_is_tables_without_markup_of_others(run: Any) -> None:
    shown = run._repr_html_()
    assert shown.count("<table>") == 2 and "reference" in shown
    import html

    assert html.escape(run.hypotheses[0]["reference"]) in shown


def test_tables_of_datasets_and_pandas_are_the_same_text(tmp_path: Path) -> None:
    import datasets
    import pandas

    from mt_lottery.api.pairs import pair_settings
    from mt_lottery.languages import parse_pair

    pairs, pair = texts("test", 4), parse_pair("en-es")
    one = pair_settings("train", pairs, pair)
    frame = pandas.DataFrame(pairs, columns=["en", "es"])
    assert pair_settings("train", frame, pair) == one
    assert pair_settings("train", datasets.Dataset.from_pandas(frame), pair) == one
    nested = [{"translation": {"en": en, "es": es}} for en, es in pairs]
    assert pair_settings("train", nested, pair) == one
    named = frame.rename(columns={"en": "left", "es": "right"})
    assert pair_settings("train", named, pair, ("left", "right")) == one
    (file,) = one.values()  # the same text for another role is not cut in two
    (other,) = pair_settings("test", frame, pair, taken=[file]).values()
    assert other != file and Path(other).read_bytes() == Path(file).read_bytes()
    assert pair_settings("dev", ("a.en", "a.es"), pair) == {
        "data.dev_source": "a.en",
        "data.dev_target": "a.es",
    }
    with pytest.raises(mtl.MTLotteryError, match=r"no column 'lefft'. Did you mean 'left'"):
        pair_settings("train", named, pair, ("lefft", "right"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("a", "")], r"train\[0\]: the target is empty"),
        ([("a", "b"), "cd"], r"train\[1\]: a pair \(source, target\) is needed, found a text"),
        ([("a", 3)], r"train\[0\]: the target must be a text, found 3"),
        ([], "train: no pairs"),
        (7, "train: int; allowed"),
        ([{"en": "a"}], r"train\[0\]: no text for Spanish"),
    ],
)
def test_pairs_that_are_none(given: Any, message: str) -> None:
    with pytest.raises(mtl.MTLotteryError, match=message):
        mtl.train("none", "en-es", train=given)


def test_wrong_keywords_are_refused_with_the_nearest() -> None:
    with pytest.raises(mtl.MTLotteryError) as caught:
        mtl.train("ks_lotery", "en-es", tuner={"tickts": 3}, sead=1)
    text = str(caught.value)
    assert "ks_lottery" in text and "Did you mean 'seed'" in text
    with pytest.raises(mtl.MTLotteryError, match="give the one or the other"):
        mtl.train("none", "en-es", data="mini", train=[("a", "b")])
    with pytest.raises(mtl.MTLotteryError, match="Did you mean 'alphas'"):
        mtl.certify("runs/x", alpha=[0.5])


def test_scores_are_those_of_sacrebleu() -> None:
    import sacrebleu

    hypotheses = ["el gato está en casa\n\nFrench: le chat", "buenos días"]
    references = ["el gato está en la casa", "buenos días a todos"]
    found = mtl.score(hypotheses, references, metrics=["chrf"], bootstrap=50)
    chrf = sacrebleu.CHRF(word_order=2)  # chrF++
    assert found["chrf"]["raw"]["score"] == chrf.corpus_score(hypotheses, [references]).score
    first = [text.partition("\n")[0] for text in hypotheses]
    assert found["chrf"]["first_line"]["score"] == chrf.corpus_score(first, [references]).score
    assert "first line" in str(found) and "<table>" in found._repr_html_()
    assert list(found.to_pandas()["output"]) == ["raw", "first_line"]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("hypotheses", "references", "more", "message"),
    [
        ("one text", ["a"], {}, "hypotheses is one text"),
        (["a", None], ["a", "b"], {}, r"hypotheses\[1\] must be a text, not NoneType"),
        (["a"], ["a", "b"], {}, "1 hypothesis"),
        (["a"], ["b"], {"sources": []}, "0 sources, but 1 reference"),
        (["a"], ["b"], {"metrics": ["chrff"]}, "chrf"),
    ],
)
def test_scores_of_what_cannot_be_scored(
    hypotheses: Any, references: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(mtl.MTLotteryError, match=message):
        mtl.score(hypotheses, references, **more)


def test_a_certificate_of_a_run(run: Any) -> None:
    found = mtl.certify(run, alphas=[0.05, 1.0], echo=lambda _: None)
    assert {0.05, 1.0} <= {level.alpha for level in found.levels}


def test_the_line_of_python_that_a_command_prints() -> None:
    from mt_lottery.api.training import as_python

    line = as_python(
        ["recipe=ks_lottery", "lang=en-es", "data=ntrex", "data.path=x y", "train.lr=1e-3",
         "metrics=[chrf,spbleu]", "tuner.tickets=18", "metric.comet.batch_size=4"]
    )  # fmt: skip
    assert line == (
        "run = mtl.train('ks_lottery', 'en-es', data='ntrex', metrics=['chrf', 'spbleu'], "
        "train=dict(lr=0.001), tuner=dict(tickets=18), "
        "settings={'data.path': 'x y', 'metric.comet.batch_size': 4})"
    )
