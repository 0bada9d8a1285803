"""The model card of an adapter and of a merged folder: its lines translate as the run does."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from card_code import translated

import mt_lottery as mtl

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from tiny_runs import MINI, Models, make_models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


def trained(recipe: str, model: Path, folder: Path, **more: Any) -> Any:
    return mtl.train(
        recipe, "en-es", name_or_path=model, data="mini", metrics=["chrf"],
        out_dir=folder / recipe, baseline=False, echo=lambda _: None,
        settings={"data.train_pairs": 24, "data.test_pairs": 6, "data.dev_pairs": 4,
                  "train.epochs": 1, "translate.max_new_tokens": 8, "train.lr": 0.05}, **more,
    )  # fmt: skip


def by_the_card(folder: Path, sentences: list[str]) -> list[str]:
    """What a reader gets who runs the card's Python in the folder."""
    text = (folder / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return translated(code, folder, sentences)


@pytest.mark.parametrize("recipe", ["random_seen", "lora", "prefix", "prompt", "full"])
@pytest.mark.parametrize("kind", ["untied", "tied"])
def test_the_cards_lines_translate_as_the_run_does(
    recipe: str, kind: str, models: Models, tmp_path: Path, cache: Path
) -> None:
    model = getattr(models, kind)
    more = {"tuner": {"tickets": 9}} if recipe == "random_seen" else {}
    run = trained(recipe, model, tmp_path, **more)
    sentences = [line["source"] for line in run.hypotheses]
    said = run.translate(sentences)
    learnt = run.folder / ("model" if recipe == "full" else "adapter")
    assert by_the_card(learnt, sentences) == said
    assert "English" in (learnt / "README.md").read_text("utf-8")
    run.check_files()  # the card belongs to what was recorded


@pytest.mark.parametrize("recipe", ["random_seen", "full", "lora"])
def test_penalties_of_the_base_are_left_out_as_in_the_run(
    recipe: str, models: Models, tmp_path: Path, cache: Path
) -> None:
    """Instruct models ship such settings, and ``generate`` and servers take them up."""
    base = shutil.copytree(models.untied, tmp_path / "base")
    settings = json.loads((base / "generation_config.json").read_text("utf-8"))
    penalties = {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "temperature": 0.6}
    (base / "generation_config.json").write_text(json.dumps(settings | penalties), "utf-8")
    more = {"tuner": {"tickets": 9}} if recipe == "random_seen" else {}
    run = trained(recipe, base, tmp_path, **more)
    sentences = [line["source"] for line in run.hypotheses]
    said = run.translate(sentences)
    done = run.export(tmp_path / "merged", "merged")
    assert by_the_card(run.folder / ("model" if recipe == "full" else "adapter"), sentences) == said
    assert by_the_card(done.folder, sentences) == said
    kept = json.loads((done.folder / "generation_config.json").read_text("utf-8"))
    assert not kept.keys() & penalties.keys() and kept["eos_token_id"] == settings["eos_token_id"]
    names = "no_repeat_ngram_size, repetition_penalty, temperature"
    assert f"as the run decodes without: {names}." in str(done)
    assert names in (done.folder / "README.md").read_text("utf-8")


def test_a_merged_folder_says_how_to_translate(models: Models, tmp_path: Path, cache: Path) -> None:
    run = trained("random_seen", models.untied, tmp_path, tuner={"tickets": 9})
    sentences = (MINI / "test.en.txt").read_text("utf-8").splitlines()[:4]
    said = run.translate(sentences)
    run.merge(tmp_path / "merged")
    assert by_the_card(tmp_path / "merged", sentences) == said


def test_the_terms_of_the_base_go_with_its_weights(
    models: Models, tmp_path: Path, cache: Path
) -> None:
    base = shutil.copytree(models.untied, tmp_path / "base")
    for name in ("LICENSE.txt", "Notice", "USE_POLICY.md", "licensed.bin"):
        (base / name).write_text(name, "utf-8")
    card = "---\nlicense: other\nlicense_name: tiny\nlicense_link: LICENSE.txt\n---\n# Tiny\n"
    (base / "README.md").write_text(card, "utf-8")
    run = trained("random_seen", base, tmp_path, tuner={"tickets": 9})
    merged = run.export(tmp_path / "merged", "merged").folder
    for name in ("LICENSE.txt", "Notice", "USE_POLICY.md"):
        assert (merged / name).read_text("utf-8") == name
    assert not (merged / "licensed.bin").exists()
    said = (merged / "README.md").read_text("utf-8")
    assert "license: other\nlicense_name: tiny\nlicense_link: LICENSE.txt\n" in said
    assert "The terms of the original model are in LICENSE.txt, Notice, USE_POLICY.md." in said


def test_gemmas_terms_are_named(tmp_path: Path) -> None:
    from mt_lottery.model.loading import ModelInfo
    from mt_lottery.runs.export.license import copy_terms, license_fields

    gemma = ModelInfo("gemma3_270m", str(tmp_path), "0", None, 1, 1, 1, True)
    assert license_fields(gemma) == {"license": "gemma"}
    assert "Gemma Terms of Use: https://ai.google.dev/gemma/terms." in copy_terms(gemma, tmp_path)


def test_a_tokenizer_that_closes_what_it_reads(models: Models) -> None:
    from mt_lottery.config.compose import compose
    from mt_lottery.data.prompts.prepared import PreparedText
    from mt_lottery.model.loading import load
    from mt_lottery.runs.card import OTHER_IDS, how_to_translate

    config = compose(
        ["recipe=none", "lang=en-es", "model=hf", f"model.name_or_path={models.untied}"]
    )
    loaded = load(config.model, "cpu")
    text = PreparedText.of(config)
    from tokenizers import processors

    loaded.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    said = how_to_translate(config, text, loaded, "", None)
    assert '["input_ids"][:, :-1]' in said and OTHER_IDS not in said


def test_what_plain_lines_would_not_give_is_said(models: Models) -> None:
    import torch

    from mt_lottery.config.compose import compose
    from mt_lottery.data.prompts.prepared import PreparedText
    from mt_lottery.model.loading import load
    from mt_lottery.runs.card import OTHER_BASE, OTHER_SEARCH, how_to_translate

    config = compose(
        ["recipe=none", "lang=en-es", "model=hf", f"model.name_or_path={models.untied}",
         "translate.beam_size=3", "translate.length_penalty=0.8"]
    )  # fmt: skip
    loaded, text = load(config.model, "cpu"), PreparedText.of(config)
    said = how_to_translate(config, text, loaded, "", None)
    assert OTHER_SEARCH in said and "num_beams=3, length_penalty=0.8," in said
    loaded.model.packed = torch.nn.Parameter(torch.zeros(1, dtype=torch.uint8), False)
    said = how_to_translate(config, text, loaded, "", None)
    assert OTHER_BASE in said and "```python" not in said


def test_a_prompt_with_marks_of_the_cards_own(models: Models) -> None:
    """Backticks, and the very words that the card puts where the sentence goes."""
    from mt_lottery.config.compose import compose
    from mt_lottery.data.prompts.prepared import PreparedText
    from mt_lottery.model.loading import load
    from mt_lottery.runs.card import OTHER_IDS, how_to_translate

    config = compose(
        ["recipe=none", "lang=en-es", "test_lang=en-ro", "model=hf", "data.template=prompt",
         f"model.name_or_path={models.untied}", "data.prompt=```\n{{sentence}}: {source}\n```"]
    )  # fmt: skip
    loaded, text = load(config.model, "cpu"), PreparedText.of(config)
    said = how_to_translate(config, text, loaded, "", None)
    assert "\n````text\n```\n{sentence}: {{sentence}}\n```" in said and OTHER_IDS not in said
    assert ".replace('{{sentence}}', " in said
    assert "Tuned for en-es with" in said and "en-ro" not in said  # tested only
