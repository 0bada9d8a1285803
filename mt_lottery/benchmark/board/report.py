"""Write the leaderboard in every format, each on its own: none stops another."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt_lottery.benchmark.bench_file import SETTINGS
from mt_lottery.benchmark.board.collect import Results, collect, join
from mt_lottery.benchmark.board.leaderboard import SCHEMA, build
from mt_lottery.benchmark.board.tables import comma_separated, latex, markdown
from mt_lottery.benchmark.page.side_by_side import sentences
from mt_lottery.errors import MTLotteryError, RecordError
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import write_text

NAME = "leaderboard"
FORMATS = ("md", "csv", "tex", "json", "html")


def load(folders: Sequence[Path]) -> Results:
    """The results of one benchmark, or of several joined.

    Raises:
        RecordError: a folder is no benchmark, or they cannot be compared.
    """
    parts = [collect(folder) for folder in folders]
    return parts[0] if len(parts) == 1 else join(parts)


@dataclass
class Written:
    """The leaderboard and what became of its files.

    Attributes:
        board: the leaderboard (or what a sweep found), JSON-like.
        files: those that were written.
        problems: file, or other output → why it could not be made.
        status: what the command ends with: 0; 2 where the disk or a damaged file is the reason
            of every problem; 1 where it is a mistake of this package.
    """

    board: dict[str, Any]
    files: list[Path] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    status: int = 0

    def attempt(self, name: str, do: Callable[[], Any]) -> bool:
        """Make one output; an error is kept under its name, and the others go on."""
        try:
            do()
        except MTLotteryError as error:
            self.problems[name] = str(error)
            self.status = self.status or 2
        except Exception as error:
            # a mistake of ours: where, for the report; the other formats are worth having
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}, line {last.lineno}"
            self.problems[name] = (
                f"{type(error).__name__}: {error} ({place}; a bug in mt-lottery or a plugin, "
                "please report it)"
            )
            self.status = 1
        return name not in self.problems

    def file(self, path: Path, render: Callable[[], str]) -> None:
        """Make one file of text."""
        if self.attempt(str(path), lambda: write_text(path, render())):
            self.files.append(path)


def write_reports(results: Results, out: Path) -> Written:
    """Write ``leaderboard.md``, ``.csv``, ``.tex``, ``.json`` and ``.html``.

    Only the page holds text of the test set.

    Raises:
        RecordError: no cell is done yet.
    """
    board = build(results)
    return _write(board, sentences_of=lambda: sentences(results), out=out)


def is_published(folder: Path) -> bool:
    """Whether a folder holds a finished leaderboard without the runs (``benchmarks/results``)."""
    return not os.path.lexists(folder / SETTINGS) and os.path.lexists(folder / f"{NAME}.json")


def write_published(folder: Path, out: Path) -> Written:
    """Render a leaderboard from its ``leaderboard.json`` alone: the same numbers, as computed then.

    The page has no sentences; nothing is resampled.

    Raises:
        RecordError: the file is damaged.
    """
    path = folder / f"{NAME}.json"
    board = read_board(path)
    written = _write(board, sentences_of=dict, out=out, kinds=[k for k in FORMATS if k != "json"])
    if written.status == 1:  # what was written by `build` is drawn; this was not
        reason = next(iter(written.problems.values())).partition(" (")[0]
        raise RecordError(f"{path}: damaged: it cannot be drawn ({reason}).")
    return written


def _write(
    board: dict[str, Any],
    sentences_of: Callable[[], dict[str, Any]],
    out: Path,
    kinds: Sequence[str] = FORMATS,
) -> Written:
    written = Written(board)
    made: dict[str, Callable[[], str]] = {
        "md": lambda: markdown(board),
        "csv": lambda: comma_separated(board),
        "tex": lambda: latex(board),
        "json": lambda: json_text(board),
        "html": lambda: _page(board, sentences_of()),
    }
    for kind in kinds:
        written.file(out / f"{NAME}.{kind}", made[kind])
    return written


def json_text(board: dict[str, Any]) -> str:
    """As it is written to a file."""
    text = json.dumps(board, indent=1, ensure_ascii=False, allow_nan=False)
    # half a surrogate pair cannot be written in UTF-8; as an escape it is JSON
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def _page(board: dict[str, Any], lines: dict[str, Any]) -> str:
    from mt_lottery.benchmark.page.document import render_page

    return render_page(board, lines)


def read_board(path: Path) -> dict[str, Any]:
    """A ``leaderboard.json``.

    Raises:
        RecordError: missing or damaged.
    """
    content: dict[str, Any] = read_json(path, RecordError)
    if content.get("schema") != SCHEMA:
        raise RecordError(f"{path}: schema {content.get('schema')!r}; this version draws {SCHEMA}.")
    return content
