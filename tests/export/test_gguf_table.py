"""Rows in tables of every type: untouched bytes stay, a type that cannot be written is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from mt_lottery.errors import ModelError
from mt_lottery.reading.gguf_files import GGUFFile
from mt_lottery.runs.export.gguf.table import TABLE, Rows, Table, apart, bytes_of, decoded
from mt_lottery.runs.export.gguf.writing import NewTensor, entry, write_gguf

Kind = gguf.GGMLQuantizationType
#: Older gguf lacks some.
KEPT = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4")
CHANGED = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0")
ROWS, WIDTH = 4500, 256  # more rows than are read at a time


def table_of(path: Path, kind: str) -> tuple[Table, np.ndarray[Any, Any]]:
    """A file with random bytes of a type as its table, none of them huge."""
    size = bytes_of(WIDTH, Kind[kind])
    raw = np.random.default_rng(0).integers(0, 256, (ROWS, size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        raw[~(np.abs(decoded(raw, Kind[kind])) < 1000).all(1)] = 0
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor(TABLE, raw, raw_dtype=Kind[kind])
    writer.add_tensor("after", np.arange(7, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Table.of(GGUFFile(path, ModelError), TABLE), raw


def with_rows(table: Table, path: Path) -> tuple[Rows, Any, float]:
    """Three rows put in, and the tensor read again with gguf's own reader."""
    ids = np.array([0, 4095, 4097])
    values = np.random.default_rng(1).normal(size=(3, table.place.shape[1])).astype(np.float32)
    rows = Rows(ids, values)
    tensor, lost = table.with_rows(rows)
    write_gguf(path, [entry("general.architecture", "llama")], [tensor], alignment=32)
    return rows, gguf.GGUFReader(path).tensors[0], lost


@pytest.mark.parametrize("kind", [kind for kind in KEPT if kind in Kind.__members__])
def test_a_type_that_can_be_written_is_kept(kind: str, tmp_path: Path) -> None:
    table, raw = table_of(tmp_path / "a.gguf", kind)
    rows, new, lost = with_rows(table, tmp_path / "b.gguf")
    assert new.tensor_type == Kind[kind]
    content = new.data.view(np.uint8)
    others = np.delete(np.arange(ROWS), rows.ids)
    assert np.array_equal(content[others], raw[others])
    there = gguf.quants.dequantize(content, Kind[kind])[rows.ids]
    assert lost == pytest.approx(apart(there, rows.values)) and lost < 0.15


@pytest.mark.parametrize("kind", CHANGED)
def test_another_type_is_written_again_as_a_whole(kind: str, tmp_path: Path) -> None:
    table, raw = table_of(tmp_path / "a.gguf", kind)
    rows, found, lost = with_rows(table, tmp_path / "b.gguf")
    assert found.tensor_type == Kind.Q8_0 and lost < 0.01
    there = gguf.quants.dequantize(found.data, Kind.Q8_0)
    assert apart(there[rows.ids], rows.values) == pytest.approx(lost)
    others = np.delete(np.arange(ROWS), rows.ids)
    assert apart(there[others], gguf.quants.dequantize(raw[others], Kind[kind])) < 0.01


def test_a_type_that_gguf_does_not_know_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    write_gguf(path, [], [NewTensor(TABLE, (4, 32), 99, 64, lambda: [bytes(64)])], alignment=32)
    with pytest.raises(ModelError, match=r"cannot read the type of 'token_embd.weight' \(99"):
        Table.of(GGUFFile(path, ModelError), TABLE)
