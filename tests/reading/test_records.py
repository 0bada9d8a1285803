"""Parquet, JSON Lines and CSV from anybody: streamed, bounded, with a place in every complaint."""

from __future__ import annotations

import gzip
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_lottery.errors import DataError
from mt_lottery.reading import LONGEST, Records, format_of, raw_lines, text_lines
from mt_lottery.reading.parquet_files import ParquetTable


def values(path: Path, *fields: str) -> list[list[Any]]:
    return [found for _, found in Records(path, DataError).read(fields)]


def refused(path: Path, *fields: str) -> str:
    with pytest.raises(DataError) as caught:
        values(path, *(fields or ("s",)))
    return str(caught.value)


def test_formats() -> None:
    assert [format_of(n) for n in ("a.PARQUET", "b.jsonl", "c.csv.gz", "d.json", "e.ndjson")] == [
        *(".parquet", ".jsonl", ".csv", ".json", ".ndjson")
    ]
    assert not any(map(format_of, ("a.parquet.gz", "b.gz", "c.txt", "d", "README.md", "e.pkl")))


def test_all_kinds_of_columns(tmp_path: Path) -> None:
    """As pyarrow itself converts them, whatever the type; a dot may be part of a name."""
    table = pa.table({
        "large": pa.array(["a", None], pa.large_string()),
        "coded": pa.array(["b", "b"]).dictionary_encode(),
        "n": [1, 2],
        "when": pa.array([0, 1], pa.timestamp("s")),
        "raw": [b"\xff", b"x"],
        "in": pa.array([{"x.y": "c", "z": {"w": "d"}}, {"x.y": "e", "z": None}]),
        "dot.ted": ["f", "g"],
        "many": [["h", "i"], []],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet")
    records = Records(tmp_path / "t.parquet", DataError)
    assert records.fields[5:8] == ["in.x.y", "in.z.w", "dot.ted"]
    assert records.first == {k: v for k, v in table.to_pylist()[0].items() if k != "raw"}
    wanted = ["large", "coded", "n", "when", "raw", "in.x.y", "in.z.w", "dot.ted", "many", "in.z"]
    assert [found for _, found in records.read(wanted)] == [
        [*list(row.values())[:5], row["in"]["x.y"], (row["in"]["z"] or {}).get("w"), row["dot.ted"],
         row["many"], row["in"]["z"]]
        for row in table.to_pylist()
    ]  # fmt: skip
    assert next(iter(records.read(["n", "n"])))[1] == [1, 1]
    assert "no column 'm'. Did you mean" not in refused(tmp_path / "t.parquet", "m")
    assert "no column 'large2'. Did you mean 'large'?" in refused(tmp_path / "t.parquet", "large2")


@pytest.mark.parametrize("how", [{}, {"compression": "zstd"}, {"use_dictionary": False}])
def test_a_row_group_is_not_loaded_whole(tmp_path: Path, how: dict[str, Any]) -> None:
    texts = [f"{i} " + "some words " * 20 for i in range(100_000)]
    others = [text[::-1] for text in texts]
    table = pa.table({"s": texts, "other": others})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=len(texts), **how)
    whole = table.nbytes // 2
    del table
    before = pa.total_allocated_bytes()
    most = count = 0
    for _, (text,) in Records(tmp_path / "t.parquet", DataError).read(["s"]):
        assert text == texts[count]
        count += 1
        if count % 1000 == 0:
            most = max(most, pa.total_allocated_bytes() - before)
    assert count == len(texts)
    assert most < whole / 4, (most, whole)


def test_a_value_that_stands_for_gigabytes(tmp_path: Path) -> None:
    """A long text in a dictionary, and as many rows as one likes that name it."""
    long = pa.array(["short", "x" * (LONGEST + 1)])
    rows = pa.array([0] * 300 + [1] * 100_000, pa.int32())
    coded = pa.DictionaryArray.from_arrays(rows, long)
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"s": coded}), file, dictionary_pagesize_limit=1 << 30)
    assert file.stat().st_size < 1 << 20
    told = refused(file)
    assert f"a value of 's' has {LONGEST + 1:,} bytes; a text may have {LONGEST:,}" in told
    nested = pa.StructArray.from_arrays([coded.slice(0, 301)], ["en"])
    pq.write_table(pa.table({"t": nested}), file, dictionary_pagesize_limit=1 << 30)
    assert "a value of 't.en' has" in refused(file, "t")
    pq.write_table(pa.table({"s": ["x" * (LONGEST + 1)]}), file, use_dictionary=False)
    assert "a value of 's' has" in refused(file)
    pq.write_table(pa.table({"s": ["x" * LONGEST]}), file)
    assert values(file, "s") == [["x" * LONGEST]]


def test_values_that_repeat_the_start_of_the_last(tmp_path: Path) -> None:
    texts = [chr(97 + i % 26) * 300_000 for i in range(60)]
    file = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({"s": texts}), file, use_dictionary=False,
        column_encoding={"s": "DELTA_BYTE_ARRAY"},
    )  # fmt: skip
    assert [v for (v,) in values(file, "s")] == texts


@pytest.mark.parametrize("at", range(4, 400, 23))
def test_damaged_parquet(tmp_path: Path, at: int) -> None:
    """A clear message, or the same values: never a traceback."""
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"s": ["a", "b", None] * 50, "t": ["c", "d", "e"] * 50}), file)
    whole = file.read_bytes()
    for damaged in (whole[:-at], whole[:at] + b"\xff" * 9 + whole[at + 9 :]):
        file.write_bytes(damaged)
        try:
            assert len(values(file, "s", "t")) == 150
        except DataError as error:
            assert str(file) in str(error)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    column = pa.array([b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table({"s": column}), tmp_path / "t.parquet")
    assert "not valid UTF-8: b'caf\\xe9'" in refused(tmp_path / "t.parquet")


@pytest.mark.parametrize("version", ["14.0.0", None, "odd"])
def test_without_pyarrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    pq.write_table(pa.table({"s": ["a"]}), tmp_path / "t.parquet")

    def found(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", found)
    with pytest.raises(DataError, match=r"Parquet needs pyarrow>=15: pip install 'pyarrow>=15'"):
        ParquetTable(tmp_path / "t.parquet", DataError)


def test_no_file_of_data(tmp_path: Path) -> None:
    for name in ("t.parquet", "t.jsonl", "t.csv"):
        assert "no such file" in refused(tmp_path / name)
        (tmp_path / name).mkdir()
        assert "a folder, not a file" in refused(tmp_path / name)
    assert "not one of .parquet" in refused(tmp_path / "t.pkl")


def test_packed_lines(tmp_path: Path) -> None:
    file = tmp_path / "t.gz"
    file.write_bytes(gzip.compress("\ufeffä\n\nb".encode()))
    assert list(text_lines(file, DataError)) == [(1, "ä"), (2, ""), (3, "b")]
    with pytest.raises(DataError, match=r"packed \(gzip\)"):
        list(raw_lines(file, DataError))
    for content, said in (
        (gzip.compress(b""), "the file is empty"),
        (gzip.compress(b"x" * (LONGEST + 1)), "the line is longer than"),
        (gzip.compress("a".encode("utf-16")), "UTF-16"),
        (gzip.compress(b"a\0b"), "NUL"),
        (gzip.compress(b"\xff"), "not valid UTF-8"),
        (gzip.compress(b"a\n" * 99)[:-12], "not all of it can be unpacked"),
        (b"\x1f\x8b" + b"\0" * 30, "not all of it can be unpacked"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=said):
            list(text_lines(file, DataError))


def test_a_list_of_more_than_a_line_may_have(tmp_path: Path) -> None:
    item = '{"s": "' + "x" * 1000 + '"}'
    file = tmp_path / "t.json"
    file.write_text("\ufeff [" + ",".join([item] * 10_000) + "]")
    assert file.stat().st_size > LONGEST and len(values(file, "s")) == 10_000
    packed = tmp_path / "t.json.gz"
    packed.write_bytes(gzip.compress(b'{"s": "a"}\n\n{"s": "b"}\n'))
    assert values(packed, "s") == [["a"], ["b"]]
    packed.write_bytes(gzip.compress(b'[{"s": "a"}]'))
    assert "it must hold an object" in refused(packed)
