"""Runs of the version before (``fixtures/runs_0_1``) are read, and say what they said then."""

from __future__ import annotations

import io
import json
import shutil
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import Commands, hypotheses

import mt_lottery as mtl
from mt_lottery.errors import RecordError, TuningError

pytestmark = pytest.mark.slow

MADE = Path(__file__).parents[1] / "fixtures" / "runs_0_1"
METHODS = ("ks_lottery", "ks_transfer", "lora")


@pytest.fixture
def runs(commands: Commands) -> Path:
    """A copy of the benchmark in the test's folder, with the cache of its probe."""
    for name in ("model", "out", "cache", "said"):
        shutil.copytree(MADE / name, name)
    for path in Path().rglob("*"):
        if path.suffix in (".json", ".yaml"):
            path.write_text(path.read_text("utf-8").replace("@HERE@", str(commands.folder)))
    return Path("out/runs")


def close(now: Any, then: Any) -> bool:
    """Whether two JSON values say the same, numbers to nine digits."""
    if isinstance(then, dict):
        return now.keys() == then.keys() and all(close(now[k], then[k]) for k in then)
    if isinstance(then, list):
        return len(now) == len(then) and all(map(close, now, then))
    return now == (pytest.approx(then, rel=1e-9) if isinstance(then, float) else then)


def said(name: str) -> Any:
    return json.loads(Path("said", name).read_text("utf-8"))


@pytest.mark.parametrize("method", METHODS)
def test_translating(
    commands: Commands, runs: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs / method / "en-es" / "seed-0"
    words = b"The house is small.\nWhere is the station?\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(words), "utf-8"))
    ended = commands.call("translate", "--run", run, "--device", "cpu")
    assert ended.code == 0, ended.err
    assert ended.out == Path("said", f"{method}.txt").read_text("utf-8")
    opened = mtl.Run(run, "cpu")
    assert opened.scores["chrf"]["raw"]["score"] > 0 and "stored" not in vars(opened)
    sentences = words.decode().splitlines()
    one, other, _ = ended.out.split("\n")
    assert opened.translate([sentences[0], " ", sentences[1]]) == [one, "", other]
    assert opened.translate(sentences, max_new_tokens=1) != opened.translate(sentences)
    if method == "lora":
        with pytest.raises(RecordError, match=r"runs that choose rows .*ks_lottery"):
            _ = opened.ticket
        with pytest.raises(TuningError, match=r"no embedding-tuned probe; allowed: .*ks_transfer"):
            _ = opened.probe
    else:
        ticket = opened.ticket
        assert len(ticket) == 12 and ticket.alpha == opened.record.tickets.alpha
        torch.testing.assert_close(opened.ks().statistic[ticket.rows], ticket.statistic)
    model, tokenizer = mtl.load_tuned(run, "cpu")
    assert not model.training and len(tokenizer) == 600
    merged = commands.call("ticket", "merge", run, "merged", "--device", "cpu")
    assert merged.code == 0 and "4 of 4 test sentences" in merged.out, merged.err
    assert len(hypotheses(run)) == 4


def test_showing(commands: Commands, runs: Path) -> None:
    run = runs / "ks_lottery" / "en-es" / "seed-0"
    ended = commands.call("ticket", "show", run, "--json", "--no-plot", "--device", "cpu")
    assert ended.code == 0 and "found" in ended.err, ended.err  # the probe has the key of then
    now, then = json.loads(ended.out), said("show.json")
    assert now.pop("name") == str(run) and then.pop("name").endswith(str(run))
    assert close(now, then)


def test_comparing(commands: Commands, runs: Path) -> None:
    two = [runs / method / "en-es" / "seed-0" for method in METHODS[:2]]
    ended = commands.call("ticket", "compare", *two, "--out", "now", "--no-plot")
    assert ended.code == 0, ended.err
    now, then = json.loads(Path("now/compare.json").read_text("utf-8")), said("compare.json")
    assert now.pop("asked")["runs"] == [str(run.resolve()) for run in two]  # not kept before
    for found in (now, then):
        assert found.pop("cost")
        assert [Path(run.pop("folder")).parts[-3] for run in found["runs"]] == list(METHODS[:2])
    assert close(now, then)


def test_reporting(commands: Commands, runs: Path) -> None:
    ended = commands.call("bench", "report", "out")
    assert ended.code == 0, ended.err
    now, then = json.loads(Path("out/leaderboard.json").read_text()), said("leaderboard.json")
    for found in (now, then):  # but for the date, and sentences that are worded anew
        assert found.pop("created") and found.pop("notes")
        assert all(block.pop("explanation") for block in found["blocks"])
        assert not any(block.pop("chosen", []) for block in found["blocks"])  # nothing was tuned
    # Four sentences show no p-value below 1/8; resamples of them said less.
    pvalues = [
        [(row.pop("pvalue"), row.pop("pvalue_is_least")) for row in rows]
        for found in (now, then)
        for block in found["blocks"]
        for rows in (block["rows"], *(metric["rows"] for metric in block["metrics"]))
    ]
    half = len(pvalues) // 2
    for own, old in zip(chain(*pvalues[:half]), chain(*pvalues[half:]), strict=True):
        assert own[0] >= max(old[0], 1 / 8) and own[1] is False
    assert any(least and p < 0.01 for p, least in chain(*pvalues[half:]))
    assert close(now, then)
