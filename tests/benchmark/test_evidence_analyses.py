"""What ``benchmarks/evidence.py`` says of certificates, of places, and of other wordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow
TOP = Path(__file__).parents[2]


def explained(template: str, **arms: tuple[float, float]) -> dict[str, Any]:
    """The numbers of ``mt-ticket explain``: arm → its first-line score, and who stops."""
    return {
        "recipe": None,
        "explain": {
            "template": template,
            "arms": [
                {"arm": name, "stopped": stopped,
                 "scores": {"chrf": {"raw": {"score": 0.0, "ci95": [0, 0], "recovery": None},
                                     "first_line": {"score": score, "ci95": [0, 0],
                                                    "recovery": None}}}}
                for name, (score, stopped) in arms.items()
            ],
        },
    }  # fmt: skip


def check(model: str, rows: int, rate: float | None, others: float | None) -> dict[str, Any]:
    return {"model": model, "alpha": 0.5, "rows": rows, "certified": 100 * rows, "rate": rate,
            "ci95": [0.0, 1.0], "others_rate": others}  # fmt: skip


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(TOP / "benchmarks"))
    from evidence_parts.cells import Setting
    from evidence_parts.questions import plan
    from evidence_parts.results import Results
    from evidence_parts.shown.scores import Scores

    setting = Setting(tmp_path)
    cells = {cell.key: cell for cell in plan(["p5", "p6"], setting)}
    results = Results(tmp_path, setting)
    rows = {
        ("where-ks_lottery", "es", 0): explained(
            "plain", original=(2.0, 0.0), tuned=(10.0, 1.0), instruction=(12.0, 0.9),
            source=(2.0, 0.0),
        ),
        ("where-ks_lottery", "es", 1): explained(
            "plain", original=(4.0, 0.0), tuned=(12.0, 0.8), instruction=(10.0, 0.9),
            source=(0.0, 0.1),
        ),
        ("four-ks-asked-plain", "es", 0): explained(
            "plain", original=(2.0, 0.0), tuned=(9.0, 1.0), instruction=(8.0, 1.0)
        ),
        ("ks_lottery-asked-alpaca", "ro", 0): explained(
            "alpaca", original=(2.0, 0.0), tuned=(0.0, 1.0), instruction=(0.5, 1.0)
        ),
        ("four-ks-asked-alpaca", "ro", 0): explained(
            "alpaca", original=(2.0, 0.0), tuned=(8.0, 1.0), instruction=(7.0, 1.0)
        ),
        ("ks_lottery-asked-say", "es", 0): explained(
            "say", original=(2.0, 0.0), tuned=(1.0, 1.0), instruction=(1.0, 1.0)
        ),
        ("certificate", "ro", 0): {"recipe": None, "certify": {"checks": [
            check("transfer", 3, 0.10, 0.5), check("transfer", 18, 0.08, 0.4),
            check("partial", 18, 0.05, 0.3), check("permuted", 18, 0.9, None),
        ]}},
        ("certificate", "ro", 2): {"recipe": None, "certify": {"checks": [
            check("transfer", 3, None, None), check("transfer", 20, 0.04, 0.2),
            check("partial", 18, 0.07, 0.5), check("permuted", 20, 0.8, None),
        ]}},
    }  # fmt: skip
    for key, row in rows.items():
        results.add(cells[key], row, 60.0, {"commit": None, "machine": None})
    return Scores(results, setting)


def test_the_certificate_over_seeds(scores: Any) -> None:
    from evidence_parts.shown.certified import certificates_by_language

    said = certificates_by_language(scores)
    assert said[2:-1] == [
        "| en→ro | copied | 3 | 1 | 300 | 10.0% | 50.0% |",  # the other seed certified nothing
        "| en→ro | copied | 18–20 | 2 | 1,800–2,000 | 6.0% (4.0 to 8.0) | 30.0% |",
        "| en→ro | **tuned** | 18 | 2 | 1,800 | 6.0% (5.0 to 7.0) | 40.0% |",
        "| en→ro | copied, all other rows in random order | 18–20 | 2 | 1,800–2,000 "
        "| 85.0% (80.0 to 90.0) | — |",
    ]
    scores.results.rows.clear()
    assert certificates_by_language(scores) == []


def test_where_rows_are_read(scores: Any) -> None:
    from evidence_parts.shown.asked import read_where

    said = read_where(scores)
    assert said[0] == "| the rows are read | es, first line | of the gain | stops |"
    assert "| everywhere | 11.0 (10.0 to 12.0) | 1.00 | 90% |" in said
    assert "| **in the instruction** | 11.0 (10.0 to 12.0) | 1.00 | 90% |" in said
    assert "| in the source | 1.0 (0.0 to 2.0) | −0.25 | 5% |" in said  # (1 − 3) / (11 − 3)
    assert not any("bos" in line for line in said)  # no run has that arm
    scores.results.rows.clear()
    assert read_where(scores) == []


def test_asked_in_other_words(scores: Any) -> None:
    from evidence_parts.shown.asked import asked_as, asked_figure

    said = asked_as(scores)
    plain, alpaca = said[2:-1]  # `say` has rows of one training alone
    assert plain.endswith(", labels | 1–2 | 2.7 | 11.0 (10.0 to 12.0) | 11.0 (10.0 to 12.0) "
                          "| 9.0 | 8.0 |")  # fmt: skip
    assert alpaca == "| `alpaca`: Alpaca's | 1 | 2.0 | 0.0 | 0.5 | 8.0 | 7.0 |"
    (axes,) = asked_figure(scores).axes
    heights = [bar.get_height() for bars in axes.containers for bar in bars]
    assert heights == [3.0, 2.0, 11.0, 0.0, 9.0, 8.0]  # an original, rows of one, rows of four
    scores.results.rows.clear()
    assert asked_as(scores) == [] and asked_figure(scores) is None


def test_rows_of_single_tokens(scores: Any) -> None:
    from evidence_parts.questions import plan
    from evidence_parts.results import packed
    from evidence_parts.shown.pages import BLOCKS

    cells = {cell.key: cell for cell in plan(["p1", "p6"], scores.setting)}
    for (arm, lang), score, word in (
        (("ks_lottery", "es"), 10.0, ""), (("ks_lottery", "ro"), 8.0, ""),
        (("one_row", "es"), 9.0, ""), (("token-4", "es"), 7.0, "▁Spanish"),
        (("token-4", "ro"), 8.5, "▁Romanian"),
    ):  # fmt: skip
        entry = {"score": score, "ci95": [score, score],
                 "resamples": packed(np.full(1000, score))}  # fmt: skip
        scores.results.add(cells[arm, lang, 0], {
            "recipe": "x", "ticket": [1], "text": {"test_pairs": 9}, "words": word and [word],
            "scores": {"chrf": {"raw": entry, "first_line": entry, "column": "chrF++"}},
        }, 60.0, {"commit": None, "machine": None})  # fmt: skip
    said = BLOCKS["tokens"](scores)
    assert said[2:-1] == [
        "| the line break | 1 | 9.0 [9.0, 9.0] | −1.0 [−1.0, −1.0] | — | — | — |",
        "| `▁Spanish`, `▁Romanian` | 1 | 7.0 [7.0, 7.0] | −3.0 [−3.0, −3.0] "
        "| 1 | 8.5 [8.5, 8.5] | 0.5 [0.5, 0.5] |",
    ]


def test_each_language_counts_once_however_many_runs_it_has(scores: Any) -> None:
    from evidence_parts.questions import plan
    from evidence_parts.shown.asked import asked_as, asked_figure

    cells = {cell.key: cell for cell in plan(["p6"], scores.setting)}
    more = explained("plain", original=(5.0, 0.0), tuned=(5.0, 1.0), instruction=(5.0, 1.0))
    scores.results.add(
        cells["where-ks_lottery", "ro", 0], more, 60.0, {"commit": None, "machine": None}
    )
    plain = asked_as(scores)[2]
    # Spanish 10 and 12, Romanian 5; no Romanian run of four wordings
    assert plain.endswith(", labels | 0–2 | 3.8 | 8.0 (5.0 to 12.0) | 8.0 (5.0 to 12.0) "
                          "| 9.0 | 8.0 |")  # fmt: skip
    (axes,) = asked_figure(scores).axes
    assert [bars[0].get_height() for bars in axes.containers] == [4.0, 8.0, 9.0]
