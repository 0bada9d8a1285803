"""A GGUF file written: metadata, then tensors, a few megabytes in memory at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_lottery.reading.gguf_files import ARRAY, MAGIC, STRING, GGUFFile, TensorPlace

_CHUNK = 16 << 20
_UINT32, _INT32, _FLOAT32 = 4, 5, 6


@dataclass(frozen=True)
class NewTensor:
    """A tensor that is to be written.

    Attributes:
        name: ``token_embd.weight``.
        shape: as NumPy would have it.
        kind: the number of its type.
        size: its bytes.
        chunks: gives them, anything that a file takes.
    """

    name: str
    shape: Sequence[int]
    kind: int
    size: int
    chunks: Callable[[], Iterable[Any]]


def entry(key: str, value: str | int | float | Sequence[int]) -> bytes:
    """An entry of metadata: a text, a uint32, a float32 or a list of int32."""
    if isinstance(value, str):
        content = struct.pack("<I", STRING) + _text(value)
    elif isinstance(value, int):
        content = struct.pack("<II", _UINT32, value)
    elif isinstance(value, float):
        content = struct.pack("<If", _FLOAT32, value)
    else:
        content = struct.pack(f"<IIQ{len(value)}i", ARRAY, _INT32, len(value), *value)
    return _text(key) + content


def _text(value: str) -> bytes:
    content = value.encode("utf-8")
    return struct.pack("<Q", len(content)) + content


def as_it_is(base: GGUFFile, place: TensorPlace, name: str | None = None) -> NewTensor:
    """A tensor of another file, byte for byte, under its own name or a new one."""

    def chunks() -> Iterator[memoryview]:
        content = memoryview(base.bytes)
        for at in range(place.start, place.end, _CHUNK):
            yield content[at : min(at + _CHUNK, place.end)]

    return NewTensor(name or place.name, place.shape, place.kind, place.end - place.start, chunks)


def write_gguf(
    path: Path, entries: Sequence[bytes], tensors: Sequence[NewTensor], *, alignment: int
) -> None:
    """Write a file of version 3.

    Args:
        path: a new file.
        entries: of :func:`entry`, or copied from another file.
        tensors: in this order (llama.cpp wants them one after the other).
        alignment: as ``general.alignment`` says among the entries; 32 if it does not.

    Raises:
        OSError: the disk does not take it.
    """
    head = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(entries)), *entries]
    offset = 0
    for tensor in tensors:
        shape = tensor.shape[::-1]
        head.append(_text(tensor.name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        head.append(struct.pack("<IQ", tensor.kind, offset))
        offset += tensor.size + -tensor.size % alignment
    with open(path, "xb") as file:
        written = file.write(b"".join(head))
        file.write(bytes(-written % alignment))
        for tensor in tensors:
            size = sum(file.write(chunk) for chunk in tensor.chunks())
            assert size == tensor.size, tensor.name
            file.write(bytes(-size % alignment))
