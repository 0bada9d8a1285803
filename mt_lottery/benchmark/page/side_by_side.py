"""What every recipe wrote for every test sentence, side by side, for the leaderboard's page."""

from __future__ import annotations

from typing import Any

from mt_lottery.benchmark.board.collect import Results
from mt_lottery.benchmark.board.leaderboard import Builder
from mt_lottery.benchmark.plan import BLOCKS
from mt_lottery.runs import Run
from mt_lottery.runs.folder.preparing import HYPOTHESES


def sentences(results: Results, limit: int | None = None) -> dict[str, list[dict[str, Any]]]:
    """Every recipe's output side by side, for the page; of each cell's first seed.

    Args:
        results: the benchmark.
        limit: sentences a language; all if None.

    Returns:
        language → sentences with ``source``, ``reference`` and ``outputs`` (block's name →
        recipe → ``hypothesis``, ``first_line``, ``stopped``).
    """
    builder = Builder(results)
    by_language: dict[str, list[dict[str, Any]]] = {}
    for block in BLOCKS:
        for recipe in builder.recipes(block):
            for lang in builder.langs:
                cells = builder.cells(block, recipe, lang)
                folder = results.folders[cells[0]] if cells else None
                # numbers may be published without their text
                if folder is None or not (folder / HYPOTHESES).exists():
                    continue
                # of several directions, a run says which a line is of
                said = Run(folder).hypotheses
                lines = [line for line in said if line.get("lang", lang) == lang][:limit]
                rows = by_language.setdefault(
                    lang,
                    [
                        {"source": x["source"], "reference": x["reference"], "outputs": {}}
                        for x in lines
                    ],
                )
                for row, line in zip(rows, lines, strict=True):
                    shown = row["outputs"].setdefault(builder.block_name(block), {})
                    shown[recipe] = {
                        key: line[key] for key in ("hypothesis", "first_line", "stopped")
                    }
    return by_language
