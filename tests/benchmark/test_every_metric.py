"""Every metric of a benchmark: significance alike, and COMET's scores as tables show them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from given_cells import SENTENCES, bench, cell, scores
from scipy import stats

from mt_lottery.benchmark.board.collect import collect
from mt_lottery.benchmark.board.leaderboard import build
from mt_lottery.benchmark.board.metric_table import pvalue
from mt_lottery.benchmark.board.report import write_reports
from mt_lottery.benchmark.board.tables import comma_separated, markdown
from mt_lottery.benchmark.page.document import render_page


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return bench(tmp_path, "en-ro")


def test_comets_intervals_and_pvalues_are_those_of_means(out: Path) -> None:
    given = scores()
    for method, own in given.items():
        cell(out, method, 0, own, own - 0.01)
    board = build(collect(out))
    assert [m["key"] for m in board["metrics"]] == ["chrf", "comet"]
    assert board["metrics"][1]["column"] == "COMET[m] ×100"
    (block,) = board["blocks"]
    ranking, comet = block["metrics"]
    for row, shown in zip(block["rows"], ranking["rows"], strict=True):
        assert shown["pvalue"] == row["pvalue"] and shown["average"]["raw"] == row["average"]["raw"]
    found = {row["method"]: row for row in comet["rows"]}
    for method, own in given.items():
        raw = found[method]["average"]["raw"]
        assert raw["score"] == pytest.approx(100 * own.mean())
        # of a mean the percentile interval is the normal one, but for chance
        half = 100 * 1.96 * own.std(ddof=1) / np.sqrt(SENTENCES)
        assert (raw["ci95"][1] - raw["ci95"][0]) / 2 == pytest.approx(half, rel=0.12)
        line = found[method]["average"]["first_line"]["score"]
        assert line == pytest.approx(100 * (own.mean() - 0.01))
    assert found["lora"]["difference"] == 0 and found["lora"]["pvalue"] == 1
    for method in ("eos_bias", "none"):
        difference = given[method].mean() - given["lora"].mean()
        assert found[method]["difference"] == pytest.approx(100 * difference)
    # the bootstrap of a paired mean agrees with the paired t-test; two comparisons, by Holm
    theirs = float(stats.ttest_rel(given["lora"], given["eos_bias"]).pvalue)
    assert 0.01 < theirs < 0.5  # a pair that says something
    assert found["eos_bias"]["pvalue"] == pytest.approx(theirs, abs=0.04)
    assert found["none"]["pvalue"] < 0.01
    # clearly worse in every resample: of 1,000 no smaller p can come, two comparisons by Holm
    assert pvalue(found["none"]) == "≤0.002" and pvalue(found["lora"]) == "best"
    assert pvalue(found["eos_bias"]) == f"{found['eos_bias']['pvalue']:.3f}"


def test_every_format_has_every_metric(out: Path) -> None:
    for method, own in scores().items():
        cell(out, method, 0, own, own)
    board = write_reports(collect(out), out).board
    text = (out / "leaderboard.md").read_text()
    assert "### Every metric, with its significance" in text
    assert "| average | chrF++ | first line | p | COMET[m] ×100 | first line | p |" in text
    line = next(x for x in text.split("Every metric")[1].splitlines() if "`lora`" in x)
    assert line.endswith("| best |")
    lines = list(csv.DictReader(io.StringIO(comma_separated(board))))
    average = {x["method"]: x for x in lines if x["language"] == "average"}
    assert float(average["lora"]["comet_raw"]) == pytest.approx(100 * scores()["lora"].mean())
    assert float(average["none"]["comet_pvalue"]) < 0.01
    page = (out / "leaderboard.html").read_text()
    assert "Every metric: recipe settings" in page and "COMET[m] ×100" in page
    older = {k: v for k, v in board.items() if k != "metrics"}
    older["blocks"] = [{k: v for k, v in b.items() if k != "metrics"} for b in board["blocks"]]
    assert "Every metric" not in markdown(older) + render_page(older, {})  # a board of before


def test_a_cell_without_sentence_scores_is_named(out: Path) -> None:
    for seed in (0, 1):
        for method, own in scores().items():
            cell(out, method, seed, own, own)
    note = "no sentence scores of 'chrf' (sentence_scores.jsonl)"
    board = build(collect(out))
    assert not any(note in each for each in board["notes"])
    assert any(row["mark"] for row in board["blocks"][0]["rows"])
    lacking = out / "runs/lora/en-ro/seed-0"
    (lacking / "sentence_scores.jsonl").unlink()
    board = build(collect(out))
    assert not any(row["mark"] for row in board["blocks"][0]["rows"])
    (said,) = [each for each in board["notes"] if note in each]
    assert said.startswith(f"{lacking}: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lacking": True}, "The metric comet is left out: 1 finished cell does not have it."),
        ({"signature": "model:other"}, "The metric comet is left out, its signatures differ"),
    ],
)
def test_what_cannot_be_compared_is_left_out(out: Path, change: dict[str, Any], said: str) -> None:
    given = scores()
    cell(out, "none", 0, given["none"], given["none"])
    cell(out, "lora", 0, given["lora"], given["lora"], **change)
    board = build(collect(out))
    assert [m["key"] for m in board["metrics"]] == ["chrf"]
    assert any(said in note for note in board["notes"])
