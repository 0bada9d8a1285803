"""The commands in the pages, as a reader would type them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[1]
PAGES = [
    *(TOP / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((TOP / "docs").glob("*.md")),
    *sorted((TOP / "examples").glob("*/README.md")),
]
PROGRAMS = ("mt-train", "mt-bench", "mt-ticket", "mt-translate")
#: What a line has that only shows the form of a command, or an excerpt of one.
FORM = re.compile(r"…|\.\.\.|⇥|\[-|\bNAME\b|\[key")
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>\w+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Command:
    """One call of one of our programs.

    Attributes:
        where: page and line.
        words: the program, and its arguments.
        said: what ``echo`` gives it as input; None for none.
        reads, writes: files of its standard input and output.
    """

    where: str
    words: tuple[str, ...]
    said: str | None = None
    reads: str | None = None
    writes: str | None = None


def _words(line: str) -> list[str]:
    made = shlex.shlex(line, posix=True, punctuation_chars="|<>")
    made.whitespace_split = True
    return list(made)


def command(line: str, where: str) -> Command | None:
    """A line of a shell as a command of ours; None if it calls none."""
    words = _words(line.strip().removeprefix("$ "))
    said = None
    if words[:1] == ["echo"] and "|" in words:
        said, words = f"{words[1]}\n", words[words.index("|") + 1 :]
    if not words or words[0] not in PROGRAMS:
        return None
    files = dict.fromkeys("<>")
    for sign in files:
        if sign in words:
            place = words.index(sign)
            files[sign] = words[place + 1]
            del words[place : place + 2]
    return Command(where, tuple(words), said, files["<"], files[">"])


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; those that a backslash continues are one."""
    waiting, number = "", 0
    for count, line in enumerate(text.splitlines(), 1):
        number = number or count
        if line.endswith("\\"):
            waiting += line.removesuffix("\\")
            continue
        yield number, waiting + line
        waiting, number = "", 0


def shown_in(page: Path) -> Iterator[Command]:
    """Every whole command in a page's blocks."""
    inside = False
    for number, line in lines(page.read_text("utf-8")):
        if line.startswith("```"):
            inside = not inside
        starts = line.strip().removeprefix("$ ").startswith((*PROGRAMS, "echo "))
        if not starts or not (inside or line.startswith("    ")) or FORM.search(line):
            continue
        found = command(line, f"{page.relative_to(TOP)}, line {number}")
        if found is not None:
            yield found


def marked_blocks(page: Path) -> list[tuple[str, str, str]]:
    """Mark, kind and text of the blocks under ``<!-- tested -->`` or ``<!-- prints -->``."""
    found = _BLOCK.finditer(page.read_text("utf-8"))
    return [(m["mark"], m["kind"], m["text"]) for m in found if m["mark"] in ("tested", "prints")]
