"""The main recipes of the evidence in two tables, and the pages that quote them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_lottery.benchmark.page.figure import draw
from mt_lottery.scoring.metric import MetricContext, make_metric
from mt_lottery.scoring.significance import Bootstrap

pytestmark = pytest.mark.slow
TOP = Path(__file__).parents[2]
METRIC: Any = make_metric("chrf", MetricContext(None, "any", "es"))


@pytest.fixture(autouse=True)
def benchmarks_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOP / "benchmarks"))


def scores_of(folder: Path) -> Any:
    cells, results, scores = (
        importlib.import_module(f"evidence_parts.{name}")
        for name in ("cells", "results", "shown.scores")
    )
    setting = cells.Setting(folder)
    return scores.Scores(results.Results(folder, setting), setting)


def page_of(name: str) -> str:
    return (TOP / "docs" / name).read_text("utf-8")


def test_a_language_counts_when_it_has_the_main_recipes(tmp_path: Path) -> None:
    overview = importlib.import_module("evidence_parts.shown.overview")
    packed = importlib.import_module("evidence_parts.results").packed
    plan = importlib.import_module("evidence_parts.questions").plan
    scores = scores_of(tmp_path)
    assert overview.overview(scores) == "No language has all of none, ks_lottery, embed, lora yet."
    references = [f"propoziția numărul {i} este aici" for i in range(30)]
    raws: dict[tuple[str, str], float] = {}
    for cell in plan(["p1"], scores.setting):
        name, lang = cell.arm.name, cell.lang
        absent = (name, lang) in (("one_row", "ro"), ("lora", "ca"))
        if cell.seed or absent or lang in ("no", "bs") or name in ("few_shot", "full"):
            continue
        rng = np.random.default_rng([len(name), ord(lang[0])])
        texts = [r if rng.random() < 0.7 else r[::-1] for r in references]
        found = Bootstrap(METRIC.corpus_score).scores([METRIC.statistics(texts, references)])
        raws[name, lang] = found.score
        entry = {"score": found.score, "ci95": list(found.ci95),
                 "resamples": packed(found.resamples)}  # fmt: skip
        scores.results.add(cell, {
            "scores": {"chrf": {"raw": entry, "first_line": entry, "column": "chrF++"}},
            "recipe": cell.arm.recipe, "rows": 18, "ticket": [1], "alpha": 0.5,
            "trainable_parameters": 11520, "generation": {"stopped": 0.5},
            "text": {"test_pairs": 30},
        }, 60.0, {"commit": None, "machine": None})  # fmt: skip
    said = overview.overview(scores)
    mean = (raws["ks_lottery", "es"] + raws["ks_lottery", "ro"]) / 2
    assert f"| `ks_lottery` | 18 rows: chosen by the KS test | 11,520 | {mean:.1f} [" in said
    assert (
        "| recipe | es | ro | chrF++, mean | seeds |" in said
        and "over English to es, ro, 30" in said
    )
    assert said.endswith(
        "Not done in all of them: few_shot, one_row, frequency, grad_lottery, full."
    )
    drawn = draw(overview.board(scores), "dark")
    assert f"raw {mean:.1f}" in drawn and "average of 2 languages" in drawn


def test_pages_quote_the_results() -> None:
    """Their tables are those that ``evidence.py --pages`` makes of the committed results."""
    overview, pages, variation = (
        importlib.import_module(f"evidence_parts.shown.{name}")
        for name in ("overview", "pages", "variation")
    )
    scores = scores_of(TOP / "benchmarks" / "results" / "evidence")
    texts = {page: page.read_text("utf-8") for page in pages.PAGES}
    for page, text in texts.items():
        assert pages.refreshed(text, scores) == text, (
            f"{page}: python benchmarks/evidence.py --pages"
        )
    assert {found["name"] for text in texts.values() for found in pages.MARK.finditer(text)} == {
        *pages.BLOCKS
    }
    known = {(one.search, one.apart): one for one in variation.shared(scores)}
    for search in ("the KS test, `plain` alone", "one backward pass"):
        seeds = known[search, "the seed"]
        text = f"{np.mean(seeds.each):.1f} [{seeds.ci95[0]:.1f}, {seeds.ci95[1]:.1f}]"
        assert text in page_of("without-a-probe.md"), text
    seed, language, nothing = (
        f"{np.mean(known[key].each):.1f}"
        for key in (("the KS test, `plain` alone", "the seed"),
                    ("the KS test, `plain` alone", "the language"), ("the KS test", "nothing"))
    )  # fmt: skip
    said = " ".join(page_of("what-we-found.md").split())
    assert f"Two seeds share {seed} of its 18 rows, two languages {language};" in said
    assert f"run twice on a GPU, {nothing}." in said
    for theme in ("light", "dark"):
        committed = TOP / "docs" / "figures" / f"readme-{theme}.svg"
        assert draw(overview.board(scores), theme) == committed.read_text("utf-8")


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("ks_lottery", "frequency", ("choosing-rows.md", "evidence.md", "what-we-found.md")),
        ("one_row", "frequency", ("evidence.md",)),
        ("cos", "ks_lottery", ("choosing-rows.md", "what-we-found.md")),
        ("cos", "gradient", ("choosing-rows.md",)),
        ("frequency_matched", "ks_lottery", ("choosing-rows.md", "what-we-found.md")),
        ("prompt_rows", "ks_lottery", ("evidence.md", "one-row.md")),
        ("prompt_rows", "embed", ("evidence.md", "one-row.md", "what-we-found.md")),
        ("ks_lottery", "embed", ("what-we-found.md",)),
        ("gradient", "ks_lottery", ("what-we-found.md", "without-a-probe.md")),
        ("lora", "embed", ("what-we-found.md",)),
        ("prompt_rows", "one_row", ("one-row.md",)),
        ("embed", "one_row", ("one-row.md",)),
        ("lora", "prompt_rows", ("one-row.md",)),
        ("full", "embed", ("evidence.md",)),
        ("full", "lora", ("evidence.md",)),
    ],
)
def test_pages_quote_differences(one: str, other: str, names: tuple[str, ...]) -> None:
    """Between means over the languages."""
    interval = importlib.import_module("evidence_parts.shown.scores").interval
    scores = scores_of(TOP / "benchmarks" / "results" / "evidence")
    langs, _ = importlib.import_module("evidence_parts.shown.overview").done(scores)
    mine, theirs = (scores.of(arm, langs, scores.metric()) for arm in (one, other))
    gap = mine.minus(theirs)
    for name in names:
        text = " ".join(page_of(name).split())
        assert interval(gap.difference, gap.ci95) in text, (
            name,
            interval(gap.difference, gap.ci95),
        )


def test_pages_quote_shares_of_gains() -> None:
    """Of the scores as they are, not as tables round them."""
    overview = importlib.import_module("evidence_parts.shown.overview")
    scores = scores_of(TOP / "benchmarks" / "results" / "evidence")
    langs, _ = overview.done(scores)
    names = ("none", "one_row", "prompt_rows", "ks_lottery", "embed")
    none, one, prompt, rows, whole = (scores.of(arm, langs, scores.metric()).score for arm in names)
    readme, page = (" ".join((TOP / name).read_text("utf-8").split())
                    for name in ("README.md", "docs/one-row.md"))  # fmt: skip
    assert f"gain {(rows - none) / (whole - none):.0%} of what the whole table gains" in readme
    assert f"which need no search, gain {(prompt - none) / (whole - none):.0%}**" in readme
    share = f"{(one - none) / (rows - none):.0%} of what the 18"
    assert f"gains {share} by KS gain" in readme and f"gains {share} rows of the KS test" in page
    assert f"gain {(prompt - none) / (whole - none):.0%} of what the whole table gains" in page


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = importlib.import_module("evidence")
    monkeypatch.setattr(sys, "argv", ["evidence.py", "--overview", "--figures", str(tmp_path)])
    assert evidence.main() == 0
    said = capsys.readouterr()
    assert said.out.startswith("| recipe | what is tuned |") and "readme-dark.svg" in said.err
