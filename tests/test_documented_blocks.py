"""The blocks of Python in README.md and docs/python.md run as they stand, on a tiny model."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import mt_lottery as mtl

sys.path.insert(0, str(Path(__file__).parent / "cli"))
from tiny_runs import MINI, Models, make_models

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "python.md"


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_table_has_every_name() -> None:
    table = PAGE.read_text("utf-8").partition("## Every name")[2].partition("\nWhat each")[0]
    firsts = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for cell in firsts for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(mtl.__all__)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


def names(models: Models, folder: Path) -> dict[str, Any]:
    """What the blocks find already there."""
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    base = str(models.untied)
    tuned = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        tuned.get_input_embeddings().weight[20:60] += torch.randn(40, 1)
    tuned.save_pretrained(folder / "tuned")
    texts = [(MINI / f"train.{code}.txt").read_text("utf-8").splitlines() for code in ("en", "ro")]
    pairs = list(zip(*texts, strict=True))
    labelled = [{"input_ids": [0, 5, 9, 1], "labels": [-100, 5, 9, 1]}] * 4
    return {
        "mtl": mtl,
        "Trainer": Trainer,
        "arguments": TrainingArguments(str(folder / "out"), report_to="none", use_cpu=True),
        "base": base,
        "tuned": str(folder / "tuned"),
        "model": AutoModelForCausalLM.from_pretrained(base),
        "original": AutoModelForCausalLM.from_pretrained(base),
        "data": labelled,
        "pairs": pairs[:48],
        "test_pairs": pairs[48:54],
        "outputs": ["Unde este gara?\n\nEnglish:"],
        "references": ["Unde este gara?"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", [ROOT / "README.md", PAGE], ids=lambda path: path.name)
def test_the_blocks_run(
    path: Path, models: Models, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    there = names(models, tmp_path)
    ran = [text for text in blocks(path) if "mtl." in text]
    for text in ran:
        exec(compile(text, path.name, "exec"), there)
    assert len(ran) >= 3 and (tmp_path / "adapter" / "adapter_config.json").is_file()
    assert isinstance(there["run"], mtl.Run) and isinstance(there["board"], mtl.Leaderboard)
    assert not there["board"].failed and len(there["ticket"]) == 18
