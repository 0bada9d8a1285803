"""What ``benchmarks/evidence.py`` says of another seed, machine, language or prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow
TOP = Path(__file__).parents[2]
TICKETS = {  # (device, arm, lang, seed) → rows, and the score
    ("gpu", "ks_lottery", "es", 0): (range(0, 18), 10.0),
    ("gpu", "ks_lottery", "es", 1): (range(8, 26), 10.5),
    ("gpu", "ks_lottery", "ro", 0): (range(14, 32), 9.0),
    ("cpu", "ks_lottery", "es", 0): (range(3, 21), 9.7),
    ("cpu", "ks_lottery", "es", 1): (range(8, 26), 11.5),
    ("gpu", "ticket-alpaca", "es", 0): (range(9, 27), 1.0),
    ("again", "ks_lottery", "ro", 0): (range(13, 31), 9.4),
    ("gpu", "gradient", "es", 0): (range(100, 118), 12.0),
    ("cpu", "gradient", "es", 0): (range(100, 118), 12.0),
}


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(TOP / "benchmarks"))
    from evidence_parts.cells import Setting
    from evidence_parts.questions import plan
    from evidence_parts.results import Results, packed
    from evidence_parts.shown.scores import Scores

    setting = Setting(tmp_path)
    cells = {cell.key: cell for cell in plan(["p1", "p2", "p6"], setting)}
    for (device, *key), (rows, score) in TICKETS.items():
        entry = {"score": score, "ci95": [score, score],
                 "resamples": packed(np.full(1000, score))}  # fmt: skip
        folder = tmp_path if device == "gpu" else tmp_path / device
        device = "cpu" if device == "cpu" else "gpu"
        Results(folder, setting).add(cells[*key], {
            "recipe": "x", "ticket": [*rows], "text": {"test_pairs": 9},
            "environment": {"device": device},
            "scores": {"chrf": {"raw": entry, "first_line": entry, "column": "chrF++"}},
        }, 60.0, {"commit": None, "machine": None})  # fmt: skip
    return Scores(Results(tmp_path, setting), setting)


def test_the_same_cells_on_two_machines(scores: Any) -> None:
    from evidence_parts.shown.variation import machines

    said = machines(scores)
    # 10.0 − 9.7 and 10.5 − 11.5; two seeds there: 0.5 apart
    assert "| ks_lottery | 2 | −0.35 | 0.74 | 0.50 |" in said
    assert "| gradient | 1 | 0.00 | 0.00 | — |" in said
    assert any(line.startswith("| all | 3 | −0.23 |") for line in said)
    assert "| ks_lottery, once more on the same machine | 1 | −0.40 | 0.40 | 0.50 |" in said
    assert said[-2].startswith("chrF++, raw: gpu less cpu, the same settings and seeds")


def test_cells_of_other_settings_are_no_pair(scores: Any) -> None:
    from evidence_parts.shown.variation import machines

    for row in scores.results.elsewhere:
        row["settings"] = {**row["settings"], "own": "train 5 × 1"}
    assert machines(scores) == []


def test_what_two_tickets_share(scores: Any) -> None:
    from evidence_parts.shown.variation import overlaps

    said = overlaps(scores)
    assert "| the KS test | the machine alone | 2 | 16.5 | — | 15 to 18 |" in said
    assert "| the KS test | the prompt alone | 1 | 9.0 | — | 9 to 9 |" in said  # not the CPU's too
    assert "| the KS test | nothing: one run, and once more | 1 | 17.0 | — | 17 to 17 |" in said
    assert "| the KS test | the language alone | 1 | 4.0 | — | 4 to 4 |" in said
    assert "| the KS test | the seed alone | 1 | 10.0 | — | 10 to 10 |" in said  # not twice
    assert "| one backward pass | the machine alone | 1 | 18.0 | — | 18 to 18 |" in said


def test_one_prompt_alone_where_others_have_pairs_too(scores: Any) -> None:
    from evidence_parts.shown.variation import overlaps

    assert not any("`plain` alone" in line for line in overlaps(scores))  # they are the same pairs
    (own,) = [row for row in scores.results.rows.values() if row["arm"] == "ticket-alpaca"]
    key = ("ticket-alpaca", "es", 1)
    scores.results.rows[key] = {**own, "seed": 1, "ticket": [*range(13, 31)]}
    said = overlaps(scores)
    assert "| the KS test | the seed alone | 2 | 12.0 | — | 10 to 14 |" in said
    assert "| the KS test, `plain` alone | the seed alone | 1 | 10.0 | — | 10 to 10 |" in said
    assert sum("`plain` alone" in line for line in said) == 1


def test_they_are_drawn(scores: Any) -> None:
    from evidence_parts.shown.variation import overlaps_figure

    figure = overlaps_figure(scores)
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "nothing differs"
    assert labels[1:] == [
        f"the {x} alone differs" for x in ("machine", "prompt", "language", "seed")
    ]
    drawn = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 5]
    assert [list(xs) for xs in drawn] == [[17.0, 16.5, 9.0, 4.0, 10.0]]
    scores.results.rows.clear()
    scores.results.elsewhere.clear()
    assert overlaps_figure(scores) is None


def test_other_machines_are_in_folders_of_their_own(scores: Any, tmp_path: Path) -> None:
    """They count neither as done nor in the tables of scores."""
    assert len(scores.results.rows) == 5 and len(scores.results.elsewhere) == 4
    assert scores.of("ks_lottery", ["es"], "chrf").score == pytest.approx(10.25)
    committed = TOP / "benchmarks" / "results" / "evidence"
    assert {file.parent.name for file in committed.glob("*/p?.json")} == {"again", "cpu"}
