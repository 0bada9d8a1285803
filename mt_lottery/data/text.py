"""Lines of text from files, with every complaint naming file and line.

Text is kept as it is in the file but for whitespace at the end of a line,
which is removed; nothing is normalised (no NFC), so that scores stay
comparable with those of others on the same files.
"""

from __future__ import annotations

import errno
import os
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mt_lottery.errors import DataError, plural
from mt_lottery.reading import raw_lines, reason, shown
from mt_lottery.system.values import user_path

MAX_REPORTED = 5
UNREADABLE = "\ufffd"
#: Whitespace, and characters of no width: zero-width spaces and joiners, direction marks, U+FEFF.
_NOTHING = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*")


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation."""

    source: str
    target: str


def is_empty(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    return _NOTHING.fullmatch(text) is not None


def why_empty(text: str) -> str:
    """What an empty text is, for a message, with the characters of no width that it has."""
    codes = sorted({f"U+{ord(each):04X}" for each in text if not each.isspace()})
    return f"is empty, but for characters of no width ({', '.join(codes)})" if codes else "is empty"


def shuffle_targets(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """Each source with the target of another pair (``data.shuffle_targets``).

    A control: text of the same words and lengths that teaches no translation.

    Args:
        pairs: at least two.
        seed: of the order; the same pairs and seed give the same result.

    Raises:
        DataError: a single pair, which has no other target.
    """
    if len(pairs) < 2:
        raise DataError(
            f"data.shuffle_targets={seed}: the training set has {len(pairs)} pair; at least 2 "
            "are needed."
        )
    targets = [pair.target for pair in pairs]
    rng = random.Random(f"shuffle targets {seed}")
    for last in range(len(targets) - 1, 0, -1):  # Sattolo: one cycle, so no target stays
        other = rng.randrange(last)
        targets[last], targets[other] = targets[other], targets[last]
    return [Pair(pair.source, target) for pair, target in zip(pairs, targets, strict=True)]


def listed(names: Sequence[str]) -> str:
    """Names for a message: at most 40, and 60 characters of each; "none" if there are none."""
    shown = [name if len(name) <= 60 else f"{name[:60]}…" for name in names[:40]]
    more = f", … ({len(names)})" if len(names) > len(shown) else ""
    return ", ".join(shown) + more or "none"


def decomposed(references: Sequence[str]) -> str | None:
    """A warning of references whose letters and marks are separate characters, or None.

    Texts are compared as they are: ``ă`` of one character is not the two of ``a`` and U+0306.

    Args:
        references: said of if it is so in most of those that have such letters at all. What is not
            NFC for another reason, as the order of marks in Hebrew and Arabic, does not count.
    """
    apart = {t for t in references if not unicodedata.is_normalized("NFC", t)}
    apart = {t for t in apart if len(unicodedata.normalize("NFC", t)) < len(t)}
    if not apart:
        return None
    # those that are NFC, and would not be NFD
    joined = sum(t not in apart and not unicodedata.is_normalized("NFD", t) for t in references)
    number = sum(t in apart for t in references)
    if number <= joined:
        return None
    return (
        f"{number:,} of {plural(len(references), 'reference')} "
        f"{'is' if number == 1 else 'are'} not in Unicode's form NFC: letters and their marks are "
        "separate characters. Nothing is normalised, and translations in NFC, as most models "
        'write them, score too low. unicodedata.normalize("NFC", text) of Python converts a text.'
    )


class Problems:
    """What is wrong with the files of one corpus, told together.

    The first :data:`MAX_REPORTED` complaints are shown, the rest counted.
    """

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._count = 0

    def add(self, path: Path, line: int | None, message: str) -> None:
        """Note one complaint; ``line`` counts from 1, None is the file as a whole."""
        self._count += 1
        if len(self._shown) < MAX_REPORTED:
            where = shown(path)
            self._shown.append(f"{where}:{line}: {message}" if line else f"{where}: {message}")

    def extend(self, other: Problems) -> None:
        """Take over what another file's list shows and counts."""
        self._shown += other._shown
        self._count += other._count

    def raise_if_any(self) -> None:
        """End the reading of these files.

        Raises:
            DataError: at least one complaint was noted.
        """
        if self._count:
            rest = self._count - len(self._shown)
            more = [f"… and {plural(rest, 'more problem')}."] if rest else []
            raise DataError("\n".join([*self._shown, *more]))


def open_folder(given: str, hint: str) -> Path:
    """A folder that a user names, which is there and can be read.

    Args:
        given: its path.
        hint: what is expected there, for the message.

    Raises:
        DataError: no such folder, a file, a loop of links, not permitted.
    """
    folder = user_path(given, DataError)
    try:
        os.scandir(folder).close()
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        why = "a file, not a folder" if os.path.exists(folder) else "no such folder"
        raise DataError(
            f"{shown(folder)}: {why if missing else reason(error, folder)}. {hint}"
        ) from error
    return folder


def read_lines(path: Path, problems: Problems) -> list[str]:
    """Read a UTF-8 file (with or without a byte order mark, LF or CRLF).

    Only ``\\n`` ends a line: U+2028, U+0085 and their kind occur inside
    sentences, and ``str.splitlines`` would tear the two sides apart.

    Args:
        path: a regular file; pipes and devices are refused, not waited for.
        problems: receives each line that is not UTF-8 or holds a NUL character; such a line
            comes back as U+FFFD.

    Raises:
        DataError: there is no such file, it cannot be read, is empty or no text, or has a line
            that is no sentence by its length.
    """
    lines = []
    for number, line in enumerate(raw_lines(path, DataError), 1):
        if b"\0" in line:
            problems.add(path, number, "a NUL character: this is not a text file in UTF-8.")
            lines.append(UNREADABLE)
            continue
        try:
            lines.append(line.decode("utf-8").rstrip())
        except UnicodeDecodeError as error:
            problems.add(
                path,
                number,
                f"not valid UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1}).",
            )
            lines.append(UNREADABLE)
    return lines


def _read_side(path: Path, problems: Problems) -> list[str]:
    lines = read_lines(path, own := Problems())
    for number, line in enumerate(lines, 1):
        if is_empty(line):
            own.add(path, number, f"the line {why_empty(line)}.")
    problems.extend(own)
    return lines


def read_parallel(source: Path, target: Path) -> list[Pair]:
    """Read two files of which line N of one translates line N of the other.

    Raises:
        DataError: a missing or empty file, unequal numbers of lines, empty or
            undecodable lines; up to five complaints of each file at once.
    """
    problems = Problems()
    sources, targets = _read_side(source, problems), _read_side(target, problems)
    if len(sources) != len(targets):
        longer = source if len(sources) > len(targets) else target
        alone = min(len(sources), len(targets)) + 1
        mismatch = Problems()
        mismatch.add(
            longer,
            alone,
            f"this line has no partner: {source} has {plural(len(sources), 'line')}, {target} has "
            f"{len(targets)}.",
        )
        mismatch.extend(problems)
        problems = mismatch
    problems.raise_if_any()
    return [Pair(s, t) for s, t in zip(sources, targets, strict=True)]
