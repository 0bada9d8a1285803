"""What ``benchmarks/evidence.py`` says of choices of rows and of amounts of text, and where."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow
TOP = Path(__file__).parents[2]
PROMPT = [0, 1, 2, 3]
ARMS = {  # arm → rows, score in es, score in ro
    "none": ([], 2.0, 1.0),
    "embed": ([], 12.0, 11.0),
    "lora": ([], 14.0, 13.0),
    "prompt_rows": (PROMPT, 12.0, 11.0),
    "ks_lottery": ([0, 1, 7, 8], 11.0, 10.0),
    "frequency": ([3, 7, 8, 9], 7.0, 6.0),
    "random_seen": ([10, 11, 12, 13], 2.0, 0.5),
    "cos": ([0, 1, 2, 9], 12.0, None),
    "outside-18": ([7, 8, 9, 10], None, 3.0),
    "one_row-32-pairs": ([3], 5.0, 4.0),
    "one_row-1000-pairs": ([3], 9.0, None),
    "lora-320-pairs": ([], 8.0, None),
}


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(TOP / "benchmarks"))
    from evidence_parts.cells import Setting
    from evidence_parts.questions import plan
    from evidence_parts.results import Results, packed
    from evidence_parts.shown.scores import Scores

    setting = Setting(tmp_path)
    cells = {cell.key: cell for cell in plan(["p1", "p2", "p6", "p7"], setting)}
    results = Results(tmp_path, setting)
    for arm, (rows, *both) in ARMS.items():
        for lang, score in zip(("es", "ro"), both, strict=True):
            if score is None:
                continue
            entry = {"score": score, "ci95": [score, score],
                     "resamples": packed(np.full(1000, score))}  # fmt: skip
            results.add(cells[arm, lang, 0], {
                "recipe": "x", "rows": len(rows) or None, "ticket": rows or None,
                "trainable_parameters": 7, "text": {"test_pairs": 9},
                "generation": {"stopped": 0.5},
                "scores": {"chrf": {"raw": entry, "first_line": entry, "column": "chrF++"}},
            }, 60.0, {"commit": None, "machine": None})  # fmt: skip
    return Scores(results, setting)


def test_rows_of_the_prompt_and_what_they_gain(scores: Any) -> None:
    from evidence_parts.shown.prompted import choices, choices_figure

    said = choices(scores)
    assert "| the KS test, after a probe | `ks_lottery` | 4 | 1 | 2.0 | 90% [90, 90] |" in said
    assert any("`frequency` | 4 | 1 | 1.0 | 50% [50, 50] |" in line for line in said)
    assert any("`random_seen` | 4 | 1 | 0.0 | −2% [−2, −2] |" in line for line in said)
    assert any("`prompt_rows` | 4 | 1 | 4.0 | 100% [100, 100] |" in line for line in said)
    assert not any("`cos`" in line for line in said)  # not done in Romanian
    axes = choices_figure(scores).axes[0]
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn["the KS test, after a probe"] == [90.0, 90.0]
    assert drawn["the most frequent tokens"] == [50.0, 50.0]
    for key in [key for key in scores.results.rows if key[0] == "prompt_rows"]:
        del scores.results.rows[key]
    assert choices(scores) == [] and choices_figure(scores) is None


def test_averages_are_of_the_arms_that_have_the_languages(scores: Any) -> None:
    from evidence_parts.questions import questions
    from evidence_parts.shown.report import score_tables

    asked = questions(scores.setting)["p2"]
    ((langs, arms),) = scores.groups(asked.compared)
    assert langs == ["es", "ro"] and arms == ["ks_lottery", "frequency", "random_seen"]
    said = score_tables(asked, scores)
    mean = said[said.index("Mean over es, ro:") : said.index("English to es:")]
    assert any(line.startswith("| frequency | 4 | 1 | 6.5 [") for line in mean)
    assert not any("cos" in line or "outside-18" in line for line in mean)
    assert any(line.startswith("| cos |") for line in said[said.index("English to es:") :])


def test_scores_by_amount_of_text(scores: Any) -> None:
    from evidence_parts.questions import questions
    from evidence_parts.shown.amounts import amounts, curves

    asked = questions(scores.setting)["p7"]
    said = amounts(asked, scores)
    assert "32 pairs | 100 pairs | 320 pairs | 1,000 pairs | 1,997 pairs |" in said[0]
    one = "one row: the line break's"
    assert f"| es | {one} | 5.0 [5.0, 5.0] | — | — | 9.0 [9.0, 9.0] | — |" in said
    assert f"| ro | {one} | 4.0 [4.0, 4.0] | — | — | — | — |" in said
    assert "| es | LoRA | — | — | 8.0 [8.0, 8.0] | — | — |" in said
    first, second = curves(asked.arms, scores).axes
    (line,) = [x for x in first.lines if list(x.get_xdata()) == [32, 1000]]
    assert list(line.get_ydata()) == [5.0, 9.0] and second.get_title() == "English to ro"


def test_a_page_takes_its_tables_from_the_results(
    scores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evidence_parts.shown import pages

    page, other = tmp_path / "page.md", tmp_path / "other.md"
    text = "Before.\n\n<!-- evidence: choices -->\n| old |\n| --- |\n\nAfter.\n"
    page.write_text(text)
    other.write_text("No table.\n")
    monkeypatch.setattr(pages, "PAGES", [page, other])
    assert pages.refresh(scores) == [page]
    new = page.read_text()
    assert new.startswith("Before.\n\n<!-- evidence: choices -->\n| rows chosen by | arm |")
    assert new.endswith(" |\n\nAfter.\n") and "old" not in new and "`ks_lottery`" in new
    assert pages.refresh(scores) == [] and page.read_text() == new
    none = "no results to make it"
    for name, problem in (
        ("nothing", "allowed: means, "), ("machines", none), ("outside", none), ("one-row", none),
    ):  # fmt: skip
        other.write_text(f"<!-- evidence: {name} -->\n| old |\n")
        page.write_text(text)
        with pytest.raises(ValueError, match=problem):
            pages.refresh(scores)
        assert page.read_text() == text  # none is written where one cannot be made
    other.write_text("<!-- evidence: choices --> \n| old |\n")
    with pytest.raises(ValueError, match="a line of its own"):
        pages.refresh(scores)


def test_pages_are_made_of_everything(
    scores: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = importlib.import_module("evidence")
    for more in (["--langs", "es"], ["--seeds", "0"], ["--test-pairs", "8"]):
        monkeypatch.setattr(sys, "argv", ["evidence.py", "--pages", *more])
        with pytest.raises(SystemExit):
            evidence.main()
        assert "--pages: of all languages" in capsys.readouterr().err


def test_a_share_of_nothing(scores: Any) -> None:
    from evidence_parts.shown.prompted import choices, choices_figure
    from evidence_parts.shown.scores import share

    gains = np.array([1.0, 2.0, 4.0])
    assert share(1.0, gains, 2.0, 2 * gains) == "50% [50, 50]"
    assert share(1.0, gains, 2.0, gains - 1.0) == "—"  # on one resample it is 0
    for lang in ("es", "ro"):  # the whole table gains nothing
        scores.results.rows["embed", lang, 0]["scores"] = scores.results.rows[
            "none", lang, 0
        ]["scores"]  # fmt: skip
    assert all(line.endswith("| — |") for line in choices(scores)[2:-1])
    assert choices_figure(scores) is None


def test_copied_rows_with_and_without_the_line_break(scores: Any) -> None:
    from evidence_parts.questions import plan, questions
    from evidence_parts.results import packed
    from evidence_parts.shown.probing import probes_by_language, probes_by_seed, probes_figure
    from evidence_parts.shown.report import probes

    asked = questions(scores.setting)["p4"]
    assert probes_by_language(scores) == [] == probes_by_seed(scores)
    assert probes_figure(scores) is None
    cells = {cell.key: cell for cell in plan(["p1", "p4"], scores.setting)}
    line_break = PROMPT[2]

    def add(arm: str, lang: str, seed: int, raw: float, first: float, rows: list[int]) -> None:
        made = {
            which: {"score": score, "ci95": [score, score],
                    "resamples": packed(np.full(1000, score))}
            for which, score in (("raw", raw), ("first_line", first))
        }  # fmt: skip
        scores.results.add(cells[arm, lang, seed], {
            "recipe": "x", "rows": len(rows) or None, "ticket": rows or None, "alpha": 0.5,
            "trainable_parameters": 7, "text": {"test_pairs": 9}, "cost": {"probe_seconds": 1.0},
            "generation": {"stopped": 0.9 if line_break in rows else 0.0},
            "scores": {"chrf": {**made, "column": "chrF++"}},
        }, 60.0, {"commit": None, "machine": None})  # fmt: skip

    for lang in ("es", "ro"):
        add("one_row", lang, 0, 9.0, 9.0, [line_break])
        add("probe-1e-3-2", lang, 0, 3.0, 6.0, [0, 1])
        add("probe-3e-3-2", lang, 0, 8.0, 8.0, [0, line_break])
        add("probe-3e-3-2", lang, 1, 4.0, 9.0, [0, 1])
    assert probes_by_language(scores) == []  # the whole tables are not there yet
    for arm, score in (("whole-1e-3-2", 11.0), ("whole-3e-3-2", 12.0)):
        for lang in ("es", "ro"):
            add(arm, lang, 0, score, score, [])
    said = probes_by_language(scores)
    assert "| on dev | seeds | es | ro | mean |" in said
    both = "6.0 [4.0, 8.0]"  # the seeds are resampled too
    assert f"| 18 rows copied, probe at 3e-3 | 2 | {both} | {both} |" in "\n".join(said)
    assert any(line.startswith("| 3e-3 less 1e-3 | 2 | 3.0 [1.0, 5.0] |") for line in said), said
    assert any(line.startswith("| on the first line | 2 | 2.5 [2.0, 3.0] |") for line in said)
    assert any(line.startswith("| 3e-3 less 1e-3 | 1 | 1.0 [1.0, 1.0] |") for line in said)
    drawn = {x.get_label(): [*x.get_xdata()] for x in probes_figure(scores).axes[0].lines}
    assert drawn["probe at 3e-3, with the line break's row"] == [90.0, 90.0]
    assert drawn["probe at 1e-3, with the line break's row"] == []
    add("probe-1e-3-2-turned", "es", 0, 7.0, 7.0, [0, line_break])  # the line break put in
    seeds = probes_by_seed(scores)
    assert "| 1e-3 | en→es | 0 | **no** | 0% | 3.0 | 6.0 | 90% | 7.0 | 7.0 |" in seeds
    assert "| 3e-3 | en→ro | 0 | yes | 90% | 8.0 | 8.0 | — | — | — |" in seeds
    text = probes(asked, scores)
    assert seeds[2] in text and not any(x.startswith("| probe-1e-3-2-turned | es |") for x in text)


@pytest.mark.parametrize(("ranked", "rows"), [
    ([5, 107, 6, 7, 8], [5, 6, 7]), ([5, 6, 7, 8, 107], [5, 6, 107]),
])  # fmt: skip
def test_rows_with_the_line_break_turned_around(
    ranked: list[int], rows: list[int], scores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evidence_parts import running

    class Words:
        bos_token_id = 2

        def decode(self, ids: list[int]) -> str:
            return "\n" if ids == [107] else "x"

    class Made:
        def __init__(self, folder: Path) -> None:
            self.text = self.config = self
            self.model = "its configuration"

        def prompts(self, sentences: object, tokenizer: object) -> list[list[int]]:
            return [[2, 5, 107, 40], [2, 5, 107, 41]]

    monkeypatch.setattr(running, "Run", Made)
    monkeypatch.setattr(running, "tokenizer_of", lambda model: (Words(), 64))
    lines = "".join(f"{row}\n" for row in ranked)
    (tmp_path / "tickets.csv").write_text(f"token_id\n{lines}")
    assert running.chosen_rows("turned:3", tmp_path) == (rows, [])
