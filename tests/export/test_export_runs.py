"""``mt-ticket export`` on finished runs: what is written loads and says what the run said."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from card_code import translated

import mt_lottery as mtl
from mt_lottery.errors import TuningError
from mt_lottery.runs.export.card import header

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from tiny_runs import Models, make_models

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

Trained = Callable[..., Any]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Trained]:
    """Runs of seconds, each made once; their probes and baselines are shared."""
    folder = tmp_path_factory.mktemp("runs")
    made: dict[str, Path] = {}

    def train(recipe: str, kind: str = "tied", **tuner: Any) -> Any:
        name = "-".join(map(str, (recipe, kind, *tuner.values())))
        if name not in made:
            made[name] = folder / name
            mtl.train(
                recipe, "en-es", name_or_path=getattr(models, kind), data="mini", tuner=tuner,
                metrics=["chrf"], out_dir=made[name], echo=lambda _: None,
                settings={"data.train_pairs": 24, "data.test_pairs": 6, "data.dev_pairs": 4,
                          "model.dtype": "float32", "translate.max_new_tokens": 8,
                          "train.epochs": 1, "train.lr": 0.05, "probe.lr": 0.05},
            )  # fmt: skip
        return mtl.Run(made[name], echo=lambda _: None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_LOTTERY_CACHE", str(folder / "cache"))
        yield train


def logits(model: Any) -> Any:
    import torch

    ids = torch.randint(3, 600, (4, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(ids).logits


ROWS = ("ks_transfer", "ks_freeze", "random_seen", "frequency", "frequency_matched", "embed")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("recipe", "kind", "tuner"),
    [
        *((recipe, "tied", {}) for recipe in ROWS),
        ("ks_lottery", "untied", {}),
        ("frequency", "tied", {"scope": "tied"}),
    ],
)
def test_plain_peft_gives_the_runs_logits(
    recipe: str, kind: str, tuner: dict[str, str], trained: Trained, models: Models, tmp_path: Path
) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    run = trained(recipe, kind, **tuner)
    done = run.export(tmp_path / "out", "lora")
    assert done.same == done.sentences == 6
    file = tmp_path / "out" / "adapter_model.safetensors"
    assert done.bytes == file.stat().st_size and done.engine == "peft"
    base = AutoModelForCausalLM.from_pretrained(getattr(models, kind), dtype=torch.float32).eval()
    before = logits(base)
    found = logits(peft.PeftModel.from_pretrained(base, tmp_path / "out").eval())
    wanted = logits(run.tuned.model)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert (wanted - before).abs().max() > 0.01


def python_of(card: str, engine: str) -> str:
    """The lines of Python that a card has for an engine."""
    found = re.search(rf"### {engine}\n+```python\n(.*?)```", card, re.DOTALL)
    assert found is not None, card
    return found[1]


def by_the_card(folder: Path, base: Path, sentences: list[str], engine: str = "PEFT") -> list[str]:
    """What a reader gets who puts in where the original model is."""
    code = python_of((folder / "README.md").read_text("utf-8"), engine)
    code = code.replace(f'base = "{base.name}"', f'base = "{base}"')
    return translated(code, folder, sentences)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recipe", ["ks_lottery", "lora", "prompt"])
def test_the_card_of_an_adapter_translates(
    recipe: str, trained: Trained, models: Models, tmp_path: Path
) -> None:
    run = trained(recipe, "untied")
    sentences = [line["source"] for line in run.hypotheses]
    said = run.translate(sentences)
    run.export(tmp_path / "out")
    assert by_the_card(tmp_path / "out", models.untied, sentences) == said
    for file in ("README.md", "adapter_config.json"):
        assert str(models.untied.parent) not in (tmp_path / "out" / file).read_text("utf-8")


def test_the_control_is_found_from_elsewhere(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record has the path from where ``mt-train`` was called."""
    run = trained("ks_lottery", "untied")
    shutil.copytree(run.folder, tmp_path / "project" / "runs" / "one")
    shutil.copytree(run.baseline.folder, tmp_path / "project" / "runs" / "none")
    file = tmp_path / "project" / "runs" / "one" / "record.json"
    record = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(record | {"baseline": "runs/none"}), "utf-8")
    monkeypatch.chdir(tmp_path)
    found = mtl.Run("project/runs/one").baseline
    assert found is not None and found.scores == run.baseline.scores
    shutil.rmtree(tmp_path / "project" / "runs" / "none")
    assert mtl.Run("project/runs/one").baseline is None


def test_the_card_is_the_hubs(trained: Trained, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    run = trained("ks_lottery", "untied")
    run.export(tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.language == ["en", "es"] and card.data.library_name == "peft"
    assert card.data.metrics == ["chrf"] and card.data.base_model is None
    raw, first = card.data.eval_results
    wanted = run.scores["chrf"]["raw"]
    assert raw.metric_value == pytest.approx(wanted["score"], abs=1e-4)
    assert raw.metric_args["ci95"] == pytest.approx(wanted["ci95"], abs=1e-4)
    assert "first line" in first.metric_name and first.dataset_name == "mini, 6 sentences"
    shown = f"{wanted['score']:.1f} ["
    control = f"{run.baseline.scores['chrf']['raw']['score']:.1f} ["
    assert re.search(rf"chrF\+\+, raw \| {re.escape(shown)}.*\| {re.escape(control)}", card.text)


def test_the_hubs_names(trained: Trained) -> None:
    """``no`` is no truth value of YAML, and a base of the hub has its name there."""
    import yaml

    run = trained("ks_lottery", "untied")
    run.record.model = replace(run.record.model, name="owner/name", revision="abc", sha256=None)
    run.config.data.repo = "owner/corpus"
    run.config.lang = "en-no"
    data = yaml.safe_load(header(run, "peft").strip("-\n"))
    assert data["base_model"] == "owner/name" and data["language"] == ["en", "no"]


@pytest.mark.filterwarnings("ignore")
def test_for_vllm(trained: Trained, models: Models, tmp_path: Path) -> None:
    run = trained("random_seen", "tied")
    done = run.export(tmp_path / "gemma", engine="vllm")
    assert "--enable-lora --max-lora-rank 32" in str(done) and "--model-impl tr" in str(done)
    assert "for vLLM over tiny-gemma" in str(done) and done.sentences == 0
    card = (tmp_path / "gemma" / "README.md").read_text("utf-8")
    assert "It is for vLLM alone" in card and "### PEFT" not in card
    assert "--max-lora-rank 32 --lora-target-modules embed_tokens --model-impl transf" in card
    compile(python_of(card, "vLLM"), "card", "exec")

    run = trained("ks_lottery", "untied")
    done = run.export(tmp_path / "llama", engine="vllm")
    assert done.same == done.sentences == 6  # PEFT reads the same file
    card = (tmp_path / "llama" / "README.md").read_text("utf-8")
    assert "vLLM and plain PEFT load it" in card and "--model-impl" not in card
    request = re.search(r" -d '(\{.*\})'\n", card)
    assert request is not None
    asked = json.loads(request[1])
    assert asked["prompt"] == run.prompt("The cat sleeps.") and asked["model"] == "en-es"
    sentences = [line["source"] for line in run.hypotheses]
    assert by_the_card(tmp_path / "llama", models.untied, sentences) == run.translate(sentences)


def test_for_sglang(trained: Trained, tmp_path: Path) -> None:
    trained("ks_lottery", "untied").export(tmp_path / "out", engine="sglang")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "we have not run it there" in card and "--max-lora-rank 18" in card


@pytest.mark.parametrize(
    ("recipe", "engine", "said"),
    [
        ("none", "peft", "a run of none changes nothing .* serve the original model, tiny-"),
        ("few_shot", "vllm", "learnt. It puts translated examples before each prompt. Translate"),
        ("forced_prefix", "peft", r"It begins every translation with the tokens \[\d"),
        ("few_shot_bm25", "peft", "a run of few_shot_bm25 learnt. It puts"),
        ("eos_bias", "peft", "no adapter holds what a run of eos_bias learnt; translate with"),
        ("full", "peft", "no adapter holds what a run of full learnt; format=merged writes"),
        ("prompt", "vllm", "vLLM serves no adapter of the kind PROMPT_TUNING, only LoRA, and no "),
        ("frequency", "vllm", "vLLM takes rows of the input table alone for Gemma3ForCausalLM"),
    ],
)
def test_what_no_adapter_holds(
    recipe: str, engine: str, said: str, trained: Trained, tmp_path: Path
) -> None:
    kind, tuner = ("tied", {"scope": "tied"}) if recipe == "frequency" else ("untied", {})
    with pytest.raises(TuningError, match=said):
        trained(recipe, kind, **tuner).export(tmp_path / "out", engine=engine)
    assert not (tmp_path / "out").exists()


def test_merged_is_what_merge_writes(trained: Trained, tmp_path: Path) -> None:
    run = trained("ks_lottery", "untied")
    done = run.export(tmp_path / "one", "merged", dtype="float32")
    merged = run.merge(tmp_path / "two", dtype="float32")
    assert (done.sentences, done.same) == (merged.sentences, merged.same) == (6, 6)
    files = [(tmp_path / which / "model.safetensors").read_bytes() for which in ("one", "two")]
    assert files[0] == files[1] and done.bytes == len(files[0])
    assert done.notes == ()


def test_merged_into_another_model_is_not_called_rounding(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mt_lottery.runs.export import merged

    monkeypatch.setattr(merged, "translated_again", lambda run, exported: (6, 0))
    (note,) = trained("ks_lottery", "untied").export(tmp_path / "one", "merged").notes
    assert "differ by rounding" not in note and "compare the scores" in note


def test_the_command(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mt_lottery.cli.shared import guarded
    from mt_lottery.cli.ticket import command

    run, out = trained("ks_lottery", "untied"), tmp_path / "out"

    def export(*more: str) -> tuple[int, str]:
        code = guarded(lambda: command(["export", str(run.folder), str(out), *more]))
        said = capsys.readouterr()
        return code, said.out if code == 0 else said.err

    code, said = export("--format", "lora", "--engine", "vllm")
    assert code == 0 and said.startswith(
        f"{out}: a LoRA of rank 18 on model.embed_tokens, for vLLM"
    )
    assert " kB.\n6 of 6 test sentences" in said
    code, said = export("--format", "lora")
    assert code == 2 and said.strip().endswith("give another folder, or --overwrite.")
    code, said = export("--format", "merged", "--engine", "vllm", "--overwrite")
    assert (code, said.strip()) == (
        2, "error: --format merged takes no --engine; formats that do: lora."
    )  # fmt: skip
    assert export("--format", "lora", "--overwrite")[0] == 0
    assert json.loads((out / "adapter_config.json").read_text("utf-8"))["r"] == 18
