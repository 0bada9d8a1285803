"""Files from somebody else: read, or refused with path and reason, and never waited for."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_lottery.errors import DataError, RecordError
from mt_lottery.reading import (
    check_regular,
    json_files,
    parse_json,
    read_bytes,
    read_csv_rows,
    read_json,
    read_json_lines,
    read_text,
    read_yaml,
    yaml_files,
)

READERS: list[Callable[..., Any]] = [
    check_regular,
    read_bytes,
    read_text,
    read_json,
    read_json_lines,
    read_yaml,
    read_csv_rows,
]


def made(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "given"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def odd(tmp_path: Path, kind: str) -> str:
    path = tmp_path / "odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made_socket:
            made_socket.bind(str(path))
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "broken":
        path.symlink_to("nothing")
    elif kind == "fifo link":
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to("fifo")
    elif kind == "below a file":
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "odd"
    elif kind == "misspelt":
        (tmp_path / "ode").write_text("")
    elif kind == "long":
        path = tmp_path / ("ș" * 200)
    elif kind == "no folder":
        path = tmp_path / "nowhere" / "odd"
    elif kind == "device":
        return "/dev/zero"
    elif kind == "NUL":
        return f"{tmp_path}/a\0b"
    elif kind == "empty":
        return ""
    return str(path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("folder", "a folder, not a file"),
        ("fifo", "a named pipe"),
        ("fifo link", "a named pipe"),
        ("socket", "a socket"),
        ("device", "a device"),
        ("loop", "a loop of links"),
        ("broken", "a link to nothing, which does not exist"),
        ("below a file", "a file is where the path needs a folder"),
        ("misspelt", "no such file. Did you mean 'ode'?"),
        ("no folder", "no such file, and no folder"),
        ("long", "the name is too long (400 bytes"),
        ("NUL", "no name of a file"),
        ("empty", "no such file"),
    ],
)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, reader: Callable[..., Any], kind: str, why: str
) -> None:
    path = odd(tmp_path, kind)
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        reader(path, DataError)
    assert time.monotonic() - started < 2
    shown = path if path.isprintable() and path else repr(path)
    assert str(caught.value).startswith(f"{shown}: {why}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_permissions(tmp_path: Path) -> None:
    path = made(tmp_path, "{}")
    path.chmod(0)
    with pytest.raises(DataError, match="permission denied"):
        read_json(path, DataError)


def test_permission_denied_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, "{}")

    def denied(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(DataError, match="given: it may not be read"):
        read_json(path, DataError)


def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "JSON", 10)
    monkeypatch.setattr(yaml_files, "YAML", 10)
    path = made(tmp_path, "a" * 11)
    bytes_of, text_of = partial(read_bytes, limit=10), partial(read_text, limit=10)
    for reader in (bytes_of, text_of, read_json, read_yaml):
        with pytest.raises(DataError, match=r"11 bytes; .* 10 at most"):
            reader(path, DataError)


def test_a_file_without_a_size_is_bounded_too() -> None:
    assert Path("/proc/self/maps").stat().st_size == 0
    with pytest.raises(DataError, match="100 bytes at most"):
        read_bytes("/proc/self/maps", DataError, limit=100)


@pytest.mark.parametrize("reader", READERS[2:])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_bad_utf8_names_line_and_byte(
    tmp_path: Path, reader: Callable[..., Any], mark: bytes
) -> None:
    with pytest.raises(DataError, match=r"given: line 2: not UTF-8 \(byte 0xff\)"):
        reader(made(tmp_path, mark + b"one\ntw\xff\n"), DataError)
    with pytest.raises(DataError, match="UTF-16"):
        reader(made(tmp_path, "one".encode("utf-16")), DataError)


def test_text_is_kept_but_for_the_mark(tmp_path: Path) -> None:
    path = made(tmp_path, b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path, DataError) == "a\r\nb\rc\n"
    assert read_text(path, DataError, bom=False) == "\ufeffa\r\nb\rc\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("{", "not JSON: "),
        ('{"a": 1', "not JSON: "),
        ('{"a":\n}', "line 2, column 1: not JSON"),
        ("[1]", r"must hold an object {…}, not \[1\]"),
        ("null", "not None"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "1e999 is too large"),
        ('{"a": ' + "9" * 5000 + "}", "a whole number of 5,000 digits"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ('{"a": {"\\udfff": 1}}', "half of a surrogate pair"),
        ('{"a": ' + "[" * 101 + "]" * 101 + "}", "nested more than 100 deep"),
        ('{"a": ' + "[" * 200_000, "nested more than 100 deep"),
        ('{"a":' * 200_000, "nested more than 100 deep"),
    ],
)
def test_damaged_json(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(RecordError, match=f"given: (damaged: )?.*{why}"):
        read_json(made(tmp_path, text), RecordError)
    if "\n" not in text and text:
        with pytest.raises(RecordError, match=f"given: line 2: .*{why}"):
            read_json_lines(made(tmp_path, "{}\n" + text), RecordError)


def test_json_that_is_meant(tmp_path: Path) -> None:
    content = {"a": [[1, 2.5, None, True]] * 200, "ș": "😀", "n": -(10**38)}
    path = made(tmp_path, "\ufeff" + json.dumps(content))
    assert read_json(path, DataError) == content
    path = made(tmp_path, '{"a": NaN, "b": Infinity}')
    assert read_json(path, DataError, finite=False)["b"] == float("inf")
    assert read_json(made(tmp_path, "[1]"), DataError, (dict, list)) == [1]
    assert read_json(made(tmp_path, "null"), DataError, object) is None
    with pytest.raises(DataError, match="a whole number, not True"):
        read_json(made(tmp_path, "true"), DataError, int)
    lines = made(tmp_path, '{"a": "\u2028\x85"}\n\n{"b": 2}\r\n')
    assert read_json_lines(lines, DataError) == [(1, {"a": "\u2028\x85"}), (3, {"b": 2})]


#: Calls of functions while a file is refused: unfolded, these would make billions.
MOST_CALLS = 500_000
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "unfold to more"),
        (MERGES, "unfold to more"),
        ("a: &a [*a]", "alias inside of what it names"),
        ("a: &a {b: *a}", "alias inside of what it names"),
        ("a: !!python/object/apply:os.system [true]", "line 1: the tag"),
        ("b: 1\na: !!python/object/apply:pathlib.Path [x]", "line 2: the tag"),
        ("a: !mine x", "line 1: the tag '!mine'"),
        ("a: " + "[" * 100_000, "nested too deep"),
        ("a: " + "9" * 5000, "thousands of digits"),
        ("a: 1\na: 2", "line 2: .*duplicate key a"),
        ("a: [", "line 1: "),
        ("a: *b", "line 1: .*undefined alias"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: \x00", "special characters are not allowed"),
        ("{[1]: 2}", "unhashable key"),
        ("- 1", "an object"),
        ("text", "an object"),
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path, called = made(tmp_path, text), 0

    def count(*_: object) -> None:
        nonlocal called
        called += 1

    sys.setprofile(count)
    try:
        with pytest.raises(DataError, match=f"given: .*{why}"):
            read_yaml(path, DataError)
    finally:
        sys.setprofile(None)
    assert called < MOST_CALLS


def test_yaml_is_read_as_omegaconf_reads_it(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    text = "a: 1e-3\nb: &b [1, no, on, 2020-01-01, 1_000]\nc: {d: *b}\ne: ${a}\nf:\ng: '1'\n"
    path = made(tmp_path, text)
    assert read_yaml(path, DataError) == OmegaConf.to_container(OmegaConf.load(path))
    assert read_yaml(made(tmp_path, "# nothing\n"), DataError) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty; its first line must name id, p"),
        ("id,q\n1,2\n", "line 1: no column p."),
        ("ids,p\n1,2\n", "line 1: no column id. Did you mean 'ids'?"),
        ("id,p,p\n1,2,3\n", "line 1: the column 'p' is there twice"),
        ("id,p\n1,2\n3\n", "line 3: 1 cell, but the header names 2"),
        ("id,p\n1,2,3\n", "line 2: 3 cells"),
        ('id,p\n1,"2\n', "line 2: damaged: unexpected end of data"),
        ("id,p\n1," + "2" * 200_000, "line 2: damaged: field larger"),
    ],
)
def test_damaged_tables(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(DataError, match=f"given: {why}"):
        read_csv_rows(made(tmp_path, text), DataError, ("id", "p"))


def test_a_table_that_is_meant(tmp_path: Path) -> None:
    path = made(tmp_path, b'\xef\xbb\xbfid,p,more\n1,"\r","a,b"\n\n2,"""",\n')
    assert read_csv_rows(path, DataError, ("id", "p")) == [
        (2, {"id": "1", "p": "\r", "more": "a,b"}),
        (4, {"id": "2", "p": '"', "more": ""}),
    ]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(tmp_path_factory: Any, content: bytes) -> None:
    path = made(tmp_path_factory.getbasetemp(), content)
    for reader in READERS[1:]:
        try:
            reader(path, DataError)
        except DataError as error:
            assert str(error).startswith(f"{path}: ")


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_json_is_read_back(value: Any) -> None:
    assert parse_json(json.dumps(value), "x", DataError, object) == value


@settings(max_examples=100, deadline=None)
@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_yaml_is_read_back(tmp_path_factory: Any, value: Any) -> None:
    path = made(tmp_path_factory.getbasetemp(), yaml.safe_dump({"a": value}, allow_unicode=True))
    assert read_yaml(path, DataError)["a"] == value


def test_a_missing_file_is_not_taken_for_a_folder_or_another_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    for name in ("notes.txt", "LICENSE.txt", "trained.txt", "Case.csv"):
        (tmp_path / name).touch()

    def hint(name: str) -> str:
        with pytest.raises(DataError) as caught:
            READERS[0](tmp_path / name, DataError)
        return str(caught.value).partition("no such file")[2]

    assert hint("bas") == hint("xyz.txt") == "."
    assert hint("tained.txt") == ". Did you mean 'trained.txt'?"
    assert hint("CASE.CSV") == ". Did you mean 'Case.csv'?"
