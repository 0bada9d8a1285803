"""A plugin that does something else under the same name: nothing made by the old one is found."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Ended, Models, record, small

from mt_lottery.registry import CRITERIA, TEMPLATES

pytestmark = pytest.mark.slow

PLUGIN = """
from torch import Tensor
from torch.nn import functional as F

from mt_lottery.plugin import TrainConfig, register_criterion, register_template


@register_template("wordy")
class Wordy:
    def prompt(self, source, pair):
        return f"ab: {source} ="

    def target(self, target):
        return " " + target


@register_criterion("plainly")
def plainly(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="sum")
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "ours.py").write_text(PLUGIN)
    return folder


def say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the author had changed the file and begun a new process."""
    kind: Any = TEMPLATES.get("wordy")
    monkeypatch.setattr(kind, "prompt", lambda self, source, pair: f"Then {source} becomes:")


def test_a_template(
    commands: Commands, models: Models, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(recipe: str, out: str, *more: str) -> str:
        ended = commands.train(
            *small(models.untied, recipe, f"user_dir={plugins}", "data.template=wordy",
                   "tuner.tickets=4", f"out_dir={out}", *more)
        )  # fmt: skip
        assert ended.code == 0, ended.err
        return ended.err

    made = ("Original model: translating", "Embedding-tuned probe", "Measuring the gradients")
    kept = ("Original model: scored before", "Embedding-tuned probe: found", "pairs: found")
    first = run("ks_lottery", "ks") + run("grad_lottery", "grad")
    assert all(line in first for line in made) and kept[1] not in first and kept[2] not in first
    again = run("ks_lottery", "ks-again", "tuner.tickets=5")
    again += run("grad_lottery", "grad-again", "tuner.tickets=5")
    assert all(line in again for line in kept)
    explain = ("ticket", "explain", "ks", "--arms", "", "--out", "found", "--no-plot",
               "--template", "wordy", "--user-dir", plugins)  # fmt: skip
    for said in (False, True):
        ended = commands.call(*explain, "--overwrite")
        assert ended.code == 0 and ("decoded before" in ended.out + ended.err) is said

    say_otherwise(monkeypatch)
    other = run("ks_lottery", "ks-other") + run("grad_lottery", "grad-other")
    assert not any(line in other for line in kept[1:]), other
    assert other.count(kept[0]) == 1  # the second of the two runs
    hashes = {record(Path(out))["config_hash"] for out in ("ks", "ks-other")}
    assert len(hashes) == 2
    changed = commands.train(
        *small(models.untied, "ks_lottery", f"user_dir={plugins}", "data.template=wordy",
               "tuner.tickets=4", "out_dir=ks")
    )  # fmt: skip
    assert "ks holds a finished run of another configuration" in changed.mistake()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"The cat sleeps.\n")))
    ended = commands.call("translate", "--run", "ks", "--user-dir", plugins)
    assert "`data.template (what it writes)` is " in ended.mistake()
    assert "it would not translate as the run did" in ended.err


def test_a_criterion(
    commands: Commands, models: Models, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plugins / "ours.py"
    given = (*small(models.untied, "ks_transfer", f"user_dir={plugins}", "tuner.tickets=4",
                    "probe.criterion=plainly", "baseline=false"),)  # fmt: skip
    assert "probe: found" not in commands.train(*given, "out_dir=one").err
    assert "probe: found" in commands.train(*given, "out_dir=two").err
    file.write_text(PLUGIN + "\n# another loss, perhaps\n")
    try:
        said = commands.train(*given, "out_dir=three").mistake()
    finally:
        file.write_text(PLUGIN)
    assert f"{file} has changed since this Python imported it" in said
    monkeypatch.setitem(CRITERIA._codes, "plainly", "0" * 64)  # as a new process has it
    ended = commands.train(*given, "out_dir=three")
    assert ended.code == 0 and "probe: found" not in ended.err, ended.err


CELL = """
from torch.nn import functional as F
from mt_lottery.plugin import register_criterion

W = {}

@register_criterion("of_a_cell")
def of_a_cell(logits, labels, config):
    return W * F.cross_entropy(logits, labels, reduction="sum")
"""


@pytest.mark.usefixtures("registered")
def test_a_criterion_of_a_notebook(commands: Commands, models: Models) -> None:
    def run(cell: str, factor: float, out: str) -> Ended:
        """As in a new kernel."""
        CRITERIA._forget("of_a_cell")
        code = compile(CELL.format(factor), f"<ipython-input-{cell}>", "exec", dont_inherit=True)
        exec(code, {"__name__": "__main__"})
        return commands.train(
            *small(models.untied, "ks_transfer", "tuner.tickets=4", "baseline=false",
                   "probe.criterion=of_a_cell", f"out_dir={out}")
        )  # fmt: skip

    assert "probe: found" not in run("1-a", 1.0, "one").err
    assert "probe: found" in run("1-b", 1.0, "two").err
    assert "probe: found" not in run("1-c", 0.5, "three").err
    assert "one holds this very run, finished" in run("2-a", 1.0, "one").err
    said = run("2-b", 0.5, "one").mistake()
    assert "the settings are the same: what they name (model, file, notebook's plugin)" in said
