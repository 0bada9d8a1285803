"""Write the leaderboard in every format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mt_lottery.atomic import write_text
from mt_lottery.bench.collect import Results, collect, join
from mt_lottery.bench.leaderboard import build
from mt_lottery.bench.side_by_side import sentences
from mt_lottery.bench.tables import comma_separated, latex, markdown
from mt_lottery.errors import RecordError

NAME = "leaderboard"
FORMATS = ("md", "csv", "tex", "json", "html")


def load(folders: Sequence[Path]) -> Results:
    """The results of one benchmark, or of several joined.

    Raises:
        RecordError: a folder is no benchmark, or they cannot be compared.
    """
    parts = [collect(folder) for folder in folders]
    return parts[0] if len(parts) == 1 else join(parts)


def write_reports(results: Results, out: Path, *, command: str) -> dict[str, Any]:
    """Write ``leaderboard.md``, ``.csv``, ``.tex``, ``.json`` and ``.html``.

    Only the page holds text of the test set.

    Returns:
        the leaderboard.

    Raises:
        RecordError: no cell is done yet.
        DiskError: a file cannot be written.
    """
    board = build(results, command=command)
    write_text(out / f"{NAME}.md", markdown(board))
    write_text(out / f"{NAME}.csv", comma_separated(board))
    write_text(out / f"{NAME}.tex", latex(board))
    text = json.dumps(board, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(out / f"{NAME}.json", text + "\n")
    from mt_lottery.bench.page import render_page

    write_text(out / f"{NAME}.html", render_page(board, sentences(results)))
    return board


def read_board(path: Path) -> dict[str, Any]:
    """A ``leaderboard.json``.

    Raises:
        RecordError: missing or damaged.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: missing or damaged: {error}") from error
    assert isinstance(content, dict)
    return content
