"""Every metric of a benchmark: significance alike, and COMET's scores as tables show them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mt_lottery.bench.collect import collect
from mt_lottery.bench.leaderboard import build
from mt_lottery.bench.page import render_page
from mt_lottery.bench.report import write_reports
from mt_lottery.bench.tables import comma_separated, markdown

SENTENCES = 80


def cell(
    out: Path, method: str, seed: int, comet: np.ndarray, first: np.ndarray, **more: Any
) -> None:
    """A finished cell whose COMET scores are given; chrF's are those of ``method``'s hypotheses."""
    from mt_lottery.score.metric import MetricContext, make_metric

    folder = out / "runs" / method / "en-ro" / f"seed-{seed}"
    folder.mkdir(parents=True)
    chrf: Any = make_metric("chrf", MetricContext(None, "any", "ro"))
    references = [f"propoziția numărul {i} este aici" for i in range(SENTENCES)]
    hypotheses = [r if c > 0.5 else r[::-1] for r, c in zip(references, comet, strict=True)]
    counts = chrf.statistics(hypotheses, references)
    scored = chrf.score(hypotheses, references)
    lines = [
        {
            "chrf": {"raw": one.tolist(), "first_line": one.tolist()},
            "comet": {"raw": [x, 1], "first_line": [y, 1]},
        }
        for one, x, y in zip(counts, comet.tolist(), first.tolist(), strict=True)
    ]
    text = "".join(json.dumps(x) + "\n" for x in lines)
    (folder / "sentence_scores.jsonl").write_text(text)

    def both(raw: float, line: float, spread: float, **about: Any) -> dict[str, Any]:
        def one(score: float) -> dict[str, Any]:
            return {"score": score, "ci95": [score - spread, score + spread]}

        return {"raw": one(raw), "first_line": one(line), **about}

    split = {"name": "x", "pairs": SENTENCES, "sha256": "t", "dropped": 0}
    scores = {
        "chrf": both(scored.score, scored.score, 1.0, signature=scored.signature, column="chrF++"),
        "comet": both(
            float(comet.mean()), float(first.mean()), 0.02,
            signature=more.get("signature", "model:m|sha256:1|nrefs:1|unbabel-comet:2.2.7"),
            column="COMET[m]", shown_times=100,
        ),
    }  # fmt: skip
    if more.get("lacking"):
        del scores["comet"]
    record = {
        "schema": 1, "status": "done", "method": method, "lang": "en-ro", "seed": seed,
        "model": {"name": "m", "sha256": "a", "revision": None, "parameters": 9, "vocab_size": 3,
                  "embedding_dim": 2, "tied_embeddings": True},
        "trainable_parameters": 4, "tickets": None,
        "data": {"train": None, "test": split, "template": "plain", "overlap": 0},
        "scores": scores,
        "generation": {"stopped": 1.0, "empty": 0.0, "truncated": 0.0, "off_target": None,
                       "length_ratio": 1.0, "beam_size": 1, "max_new_tokens": 8},
        "cost": {}, "environment": {"torch": "2"}, "config_hash": f"{method}{seed}",
        "tuning": None, "baseline": None,
    }  # fmt: skip
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "hypotheses.jsonl").write_text(
        "".join(
            json.dumps({"source": "s", "reference": r, "hypothesis": h, "first_line": h,
                        "stopped": True, "tokens": 1}) + "\n"
            for h, r in zip(hypotheses, references, strict=True)
        )
    )  # fmt: skip


@pytest.fixture
def out(tmp_path: Path) -> Path:
    settings = {"overrides": {}, "tune": 0}
    asked = {"methods": ["none", "lora", "eos_bias"], "langs": ["en-ro"], "seeds": [0]}
    content = {"schema": 1, "mt_lottery": "0", "settings": settings, "asked": asked}
    (tmp_path / "bench.json").write_text(json.dumps(content))
    return tmp_path


def scores() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    lora = rng.uniform(0.3, 0.9, SENTENCES)
    return {
        "lora": lora,
        "eos_bias": lora - 0.012 + rng.normal(0, 0.06, SENTENCES),  # a little worse: paired
        "none": lora - 0.2 + rng.normal(0, 0.02, SENTENCES),  # clearly worse
    }


def test_comets_intervals_and_pvalues_are_those_of_means(out: Path) -> None:
    given = scores()
    for method, own in given.items():
        cell(out, method, 0, own, own - 0.01)
    board = build(collect(out), command="x")
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


def test_every_format_has_every_metric(out: Path) -> None:
    for method, own in scores().items():
        cell(out, method, 0, own, own)
    board = write_reports(collect(out), out, command="x")
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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lacking": True}, "The metric comet is left out: 1 finished cells do not have it."),
        ({"signature": "model:other"}, "The metric comet is left out, its signatures differ"),
    ],
)
def test_what_cannot_be_compared_is_left_out(out: Path, change: dict[str, Any], said: str) -> None:
    given = scores()
    cell(out, "none", 0, given["none"], given["none"])
    cell(out, "lora", 0, given["lora"], given["lora"], **change)
    board = build(collect(out), command="x")
    assert [m["key"] for m in board["metrics"]] == ["chrf"]
    assert any(said in note for note in board["notes"])
