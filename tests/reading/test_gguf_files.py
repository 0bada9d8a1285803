"""The head of a GGUF file: as gguf's own reader sees it; damage is one message, never a crash."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_lottery.errors import ModelError
from mt_lottery.reading.gguf_files import GGUFFile


def write(path: Path, **more: Any) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(more.get("alignment", 32))
    writer.add_uint8("u8", 7)
    writer.add_int64("i64", -(2**40))
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_string("text", "ș ▁ă")
    writer.add_array("words", ["", "a", "ț" * 300])
    writer.add_array("numbers", [1, -2, 3])
    writer.add_array("floats", [0.5, 2.0])
    writer.add_tensor("one", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("two", np.arange(5, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("alignment", [32, 64])
def test_it_sees_what_ggufs_own_reader_sees(tmp_path: Path, alignment: int) -> None:
    path = write(tmp_path / "x.gguf", alignment=alignment)
    found, oracle = GGUFFile(path, ModelError), gguf.GGUFReader(path)
    keys = [key for key in oracle.fields if not key.startswith("GGUF.")]
    assert [*found.entries] == keys
    for key in keys:
        assert found.get(key) == oracle.fields[key].contents(), key
    assert found.get("nothing", 3) == 3
    assert found.alignment == alignment
    for tensor in oracle.tensors:
        place = found.tensors[tensor.name]
        assert place.shape == tensor.data.shape and place.kind == tensor.tensor_type
        assert place.start == tensor.data_offset
        assert found.bytes[place.start :][: tensor.n_bytes] == tensor.data.tobytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("whole") / "x.gguf").read_bytes()


def refused(content: bytes, path: Path) -> str:
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        GGUFFile(path, ModelError)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_cut_short_is_refused_wherever_it_ends(whole: bytes, tmp_path: Path) -> None:
    head = gguf.GGUFReader(write(tmp_path / "whole.gguf")).data_offset
    for length in range(0, head, 7):
        refused(whole[:length], tmp_path / "x.gguf")


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 600), new=st.binary(min_size=1, max_size=8))
def test_damage_is_a_message_or_nothing(
    whole: bytes, at: int, new: bytes, tmp_path_factory
) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    path.write_bytes(whole[:at] + new + whole[at + len(new) :])
    try:
        found = GGUFFile(path, ModelError)
        for key in found.entries:
            found.get(key)
    except ModelError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04" + bytes(60), "no GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1; versions 2 and 3"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "damaged: it claims"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "it holds no tensor"),
        (
            b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 1 << 60),
            "damaged: a list of",
        ),
        (
            b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 3),
            "a list of values of kind 9",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * struct.pack("<Q1sIB", 1, b"k", 0, 0),
            "'k' twice",
        ),
    ],
)
def test_what_is_no_such_file_says_so(content: bytes, said: str, tmp_path: Path) -> None:
    assert said in refused(content, tmp_path / "x.gguf")
