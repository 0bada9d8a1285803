"""Lines of text from files, with every complaint naming file and line.

Text is kept as it is in the file but for whitespace at the end of a line,
which is removed; nothing is normalised (no NFC), so that scores stay
comparable with those of others on the same files.
"""

from __future__ import annotations

import codecs
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mt_lottery.errors import DataError

MAX_REPORTED = 5
UNREADABLE = "\ufffd"


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation."""

    source: str
    target: str


def shuffle_targets(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """Each source with the target of another pair (``data.shuffle_targets``).

    A control (DESIGN §2.8): text of the same words and lengths that teaches no translation.

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
            self._shown.append(f"{path}:{line}: {message}" if line else f"{path}: {message}")

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
            more = [f"… and {rest} more problem{'s' if rest > 1 else ''}."] if rest else []
            raise DataError("\n".join([*self._shown, *more]))


#: First bytes of packed files, none of them the start of a text.
PACKED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh91AY&SY": "bzip2",
    b"PK\x03\x04": "zip",
}


def read_lines(path: Path, problems: Problems) -> list[str]:
    """Read a UTF-8 file (with or without a byte order mark, LF or CRLF).

    Only ``\\n`` ends a line: U+2028, U+0085 and their kind occur inside
    sentences, and ``str.splitlines`` would tear the two sides apart.

    Args:
        path: the file.
        problems: receives each line that is not UTF-8; such a line comes back as U+FFFD.

    Raises:
        DataError: there is no such file, it cannot be read, or it is empty.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}:1: the file is UTF-16; save it as UTF-8.")
    for start, kind in PACKED.items():
        if data.startswith(start):
            raise DataError(f"{path}: the file is packed ({kind}); unpack it first.")
    raw = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if not raw[-1]:
        raw.pop()
    if not raw:
        raise DataError(f"{path}: the file is empty.")
    lines = []
    for number, line in enumerate(raw, 1):
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
        if not line:
            own.add(path, number, "the line is empty.")
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
            f"this line has no partner: {source} has {len(sources)} lines, "
            f"{target} has {len(targets)}.",
        )
        mismatch.extend(problems)
        problems = mismatch
    problems.raise_if_any()
    return [Pair(s, t) for s, t in zip(sources, targets, strict=True)]
