"""Rows in the embedding table of a GGUF file, in the type that the table has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_lottery.errors import ModelError
from mt_lottery.reading.gguf_files import GGUFFile, TensorPlace
from mt_lottery.runs.export.gguf.writing import NewTensor

TABLE, HEAD = "token_embd.weight", "output.weight"
_ROWS = 1 << 12  # at a time
#: Ternary types: gguf writes them, but a row of -1, 0 and 1 is not the row that was learnt.
_COARSE = ("TQ1_0", "TQ2_0")


@dataclass(frozen=True)
class Rows:
    """Rows of a table: ids [k], ascending, and float32 values [k, d]."""

    ids: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Table:
    """A table of a file, [V, d].

    Attributes:
        base: the file.
        place: where it is there.
        kind: its type (``gguf.GGMLQuantizationType``).
    """

    base: GGUFFile
    place: TensorPlace
    kind: Any

    @classmethod
    def of(cls, base: GGUFFile, name: str) -> Table:
        """The table with this name.

        Raises:
            ModelError: not there, of a type that the package ``gguf`` does not read, or cut short.
        """
        from gguf import GGMLQuantizationType

        place = base.tensors.get(name)
        if place is None or len(place.shape) != 2 or 0 in place.shape:
            base.refuse(f"it has no table '{name}'")
        try:
            table = cls(base, place, GGMLQuantizationType(place.kind))
            table.read(np.zeros(1, np.int64))
        except (ValueError, NotImplementedError, KeyError) as error:
            kind = getattr(error, "name", None) or str(error)
            raise ModelError(
                f"{base.path}: the installed gguf cannot read the type of '{name}' ({kind}): "
                "pip install -U gguf, or give a GGUF of another quantisation."
            ) from error
        return table

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return bytes_of(self.place.shape[1], self.kind)

    def raw(self, first: int, last: int) -> NDArray[np.uint8]:
        """Rows ``first`` to ``last`` as they are in the file, [n, bytes]."""
        at, count = self.place.start + first * self.row_bytes, (last - first) * self.row_bytes
        return np.frombuffer(self.base.bytes, np.uint8, count, at).reshape(last - first, -1)

    def read(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows [k, d] in float32."""
        raw = [self.raw(index, index + 1) for index in ids.tolist()]
        return decoded(np.concatenate(raw), self.kind)

    def with_rows(self, rows: Rows) -> tuple[NewTensor, float]:
        """The table with other rows, and how far those are rounded (relative, RMS).

        It keeps its type where ``gguf`` can write that; else all of it is written again, in Q8_0.
        """
        kind = self.written_as()
        own = encoded(rows.values, kind)
        count, width = self.place.shape

        def chunks() -> Iterator[Any]:
            for first in range(0, count, _ROWS):
                last = min(first + _ROWS, count)
                low, high = np.searchsorted(rows.ids, (first, last))
                raw = self.raw(first, last)
                kept = raw if kind == self.kind else encoded(decoded(raw, self.kind), kind)
                if low < high:
                    kept = kept.copy()
                    kept[rows.ids[low:high] - first] = own[low:high]
                yield np.ascontiguousarray(kept)

        size = count * bytes_of(width, kind)
        made = NewTensor(self.place.name, self.place.shape, int(kind), size, chunks)
        return made, apart(decoded(own, kind), rows.values)

    def written_as(self) -> Any:
        """The type in which :meth:`with_rows` writes it."""
        from gguf import GGMLQuantizationType

        try:
            if self.kind.name not in _COARSE:
                encoded(np.zeros((1, self.place.shape[1]), np.float32), self.kind)
                return self.kind
        except NotImplementedError:
            pass
        return GGMLQuantizationType.Q8_0  # blocks of 32; those of all such types are multiples


def check_sizes(base: GGUFFile) -> None:
    """Make sure that every tensor has its bytes, as far as ``gguf`` knows the types.

    Raises:
        ModelError: the file was cut short.
    """
    from gguf.constants import GGML_QUANT_SIZES

    sizes = {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
    for place in base.tensors.values():
        block, size = sizes.get(place.kind, (1, 0))
        rows = math.prod(place.shape[:-1])
        if place.shape[-1] % block or rows * (place.shape[-1] // block) * size > (
            place.end - place.start
        ):
            base.refuse(f"damaged, or cut short: '{place.name}' has too few bytes")


def apart(values: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """How far values are from others, relative (RMS)."""
    return float(np.linalg.norm(values - wanted)) / max(float(np.linalg.norm(wanted)), 1e-30)


def bytes_of(width: int, kind: Any) -> int:
    """Bytes of a row of ``width`` values."""
    from gguf.constants import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[kind]
    return width // int(block) * int(size)


def decoded(raw: NDArray[np.uint8], kind: Any) -> NDArray[np.float32]:
    """Rows of a type, [k, bytes] → [k, d] in float32."""
    from gguf.quants import dequantize

    with np.errstate(all="ignore"):  # a damaged scale is found where it matters
        values: NDArray[np.float32] = dequantize(raw, kind)
    return values


def encoded(values: NDArray[np.float32], kind: Any) -> NDArray[np.uint8]:
    """Rows in a type, [k, d] → [k, bytes].

    Raises:
        NotImplementedError: ``gguf`` cannot write the type.
    """
    from gguf.quants import quantize

    raw: NDArray[np.uint8] = np.ascontiguousarray(quantize(np.ascontiguousarray(values), kind))
    return raw.view(np.uint8)
