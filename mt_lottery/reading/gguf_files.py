"""The head of a GGUF file: its metadata, and where its tensors are.

The package ``gguf`` reads it too, and believes every size in it: 10 seconds for the 262,144 tokens
of Gemma 3, where this takes a quarter of one.  Here the head is walked once, each size is compared
with what the file has, and the bytes of each entry stay known: they can be copied as they are.

Layout: ggml, ``docs/gguf.md`` (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mt_lottery.errors import plural
from mt_lottery.reading.files import Error, check_regular, reason, shown

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32  # unless `general.alignment` says otherwise
#: Entries of metadata, and tensors: far above all that is sensible.
ENTRIES = 1 << 17

#: Kinds of values: struct's letter of each scalar; a string and an array.
SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


@dataclass(frozen=True)
class Entry:
    """Where an entry of metadata is: all of it, and its value; what kind it is."""

    start: int
    value: int
    end: int
    kind: int


@dataclass(frozen=True)
class TensorPlace:
    """A tensor of a file.

    Attributes:
        name: ``token_embd.weight``.
        shape: as NumPy would have it: the last dimension is contiguous.
        kind: the number of its type (``GGMLQuantizationType``).
        start: first byte in the file.
        end: after its last byte and the filling up to the next tensor.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int
    end: int


class GGUFFile:
    """A GGUF file, its head read, the rest on the disk.

    Args:
        path: of the file.
        error: the class to raise.

    Attributes:
        entries: metadata by key.
        tensors: by name, in the order of the file.
        alignment: each tensor starts at a multiple of it, counted from the first.

    Raises:
        error: no regular file, no GGUF, of another version, or damaged.
    """

    def __init__(self, path: Path, error: Error) -> None:
        self.path, self._error = path, error
        check_regular(path, error)
        try:
            with open(path, "rb") as file:
                self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as cause:
            empty = isinstance(cause, ValueError)
            why = "the file is empty" if empty else reason(cause, path)
            raise error(f"{shown(path)}: {why}.") from cause
        if self.bytes[:4] != MAGIC:
            self.refuse("no GGUF file (it does not begin with 'GGUF')")
        self._at = 4
        self.version = self._number("I")
        if self.version not in VERSIONS:
            swapped = self.version & 0xFFFF == 0
            self.refuse(
                "big-endian; only little-endian files are read"
                if swapped
                else f"GGUF of version {self.version}; versions 2 and 3 are read"
            )
        tensors, entries = self._number("Q"), self._number("Q")
        if max(tensors, entries) > ENTRIES:
            self.refuse(
                f"damaged: it claims {plural(tensors, 'tensor')} and {plural(entries, 'entry')}"
            )
        self.entries: dict[str, Entry] = {}
        for _ in range(entries):
            self._entry()
        found = [self._tensor() for _ in range(tensors)]
        end = self._at
        alignment = self.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            self.refuse(f"damaged: general.alignment is {alignment!r}, not a power of 2")
        self.alignment: int = alignment
        self.tensors = self._placed(found, end + -end % alignment)

    def refuse(self, why: str) -> NoReturn:
        """Raise the caller's class of error, with the path."""
        raise self._error(f"{shown(self.path)}: {why}.")

    def get(self, key: str, default: Any = None) -> Any:
        """The value of an entry: a number, a text, or a list of them.

        Raises:
            error: a text that is not UTF-8.
        """
        entry = self.entries.get(key)
        if entry is None:
            return default
        self._at = entry.value
        if entry.kind != ARRAY:
            return self._value(entry.kind)
        kind, count = self._number("I"), self._number("Q")
        if kind in SCALARS:
            return list(struct.unpack_from(f"<{count}{SCALARS[kind]}", self.bytes, self._at))
        return [self._value(kind) for _ in range(count)]

    # reading on from self._at

    def _take(self, size: int) -> int:
        """The place of the next ``size`` bytes, which are then behind."""
        at = self._at
        if size > len(self.bytes) - at:
            self.refuse("damaged: it ends within its head")
        self._at = at + size
        return at

    def _number(self, letter: str) -> Any:
        size = struct.calcsize(f"<{letter}")
        return struct.unpack_from(f"<{letter}", self.bytes, self._take(size))[0]

    def _text(self) -> str:
        at = self._take(size := self._number("Q"))
        try:
            return self.bytes[at : at + size].decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(f"damaged: a text at byte {at:,} is not UTF-8")

    def _value(self, kind: int) -> Any:
        return self._text() if kind == STRING else self._number(SCALARS[kind])

    def _skip(self, kind: int) -> None:
        if kind == STRING:
            self._take(self._number("Q"))
        elif kind in SCALARS:
            self._take(struct.calcsize(f"<{SCALARS[kind]}"))
        elif kind == ARRAY:
            inner, count = self._number("I"), self._number("Q")
            if inner in SCALARS:
                self._take(count * struct.calcsize(f"<{SCALARS[inner]}"))
            elif inner == STRING:
                if count > len(self.bytes) // 8:
                    self.refuse(f"damaged: a list of {plural(count, 'text')}")
                for _ in range(count):
                    self._take(self._number("Q"))
            else:
                self.refuse(f"damaged: a list of values of kind {inner}")
        else:
            self.refuse(f"damaged: a value of kind {kind}")

    def _entry(self) -> None:
        start, key = self._at, self._text()
        if key in self.entries:
            self.refuse(f"damaged: it has {key!r} twice")
        kind, value = self._number("I"), self._at
        self._skip(kind)
        self.entries[key] = Entry(start, value, self._at, kind)

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dimensions = self._text(), self._number("I")
        if not 1 <= dimensions <= 8:
            self.refuse(f"damaged: {name!r} has {plural(dimensions, 'dimension')}")
        shape = tuple(self._number("Q") for _ in range(dimensions))[::-1]
        return name, shape, self._number("I"), self._number("Q")

    def _placed(
        self, found: list[tuple[str, tuple[int, ...], int, int]], start: int
    ) -> dict[str, TensorPlace]:
        if not found:
            self.refuse("it holds no tensor: a vocabulary alone, or damaged")
        whole = len(self.bytes)
        placed = {}
        ends = [start + offset for *_, offset in found[1:]] + [whole]
        for (name, shape, kind, offset), end in zip(found, ends, strict=True):
            if name in placed:
                self.refuse(f"damaged: it has the tensor {name!r} twice")
            if offset % self.alignment or not start + offset <= end <= whole:
                self.refuse(f"damaged, or cut short: {name!r} is not where its head says")
            placed[name] = TensorPlace(name, shape, kind, start + offset, end)
        return placed
