"""The corpus of a user's own files."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_lottery.config import DataConfig
from mt_lottery.data.corpora import load_corpora
from mt_lottery.data.text import Pair
from mt_lottery.errors import DataError
from mt_lottery.languages import parse_pair
from mt_lottery.reading import LONGEST

EN_RO = parse_pair("en-ro")
EXPECTED = (Pair("one", "unu"), Pair("two", "doi"), Pair("three", "trei"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the same three pairs in every format; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    write("a.en", "one\ntwo\nthree\n")
    write("a.ro", "unu\r\ndoi\r\ntrei\r\n")
    write("a.tsv", "one\tunu\ntwo\tdoi\nthree\ttrei\n")
    write("a.jsonl", jsonl(*({"source": p.source, "target": p.target} for p in EXPECTED)))
    return tmp_path


def write(name: str, text: str | bytes) -> None:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())


def jsonl(*objects: Any) -> str:
    return "".join(json.dumps(each) + "\n" for each in objects)


def read(pair: str = "en-ro", **settings: Any) -> tuple[Pair, ...]:
    config = DataConfig(name="files", **settings)
    train = load_corpora(config, parse_pair(pair), ["train"]).train
    assert train
    return train.pairs


def alone(**settings: Any) -> DataConfig:
    """Settings in which train has its files to itself."""
    return DataConfig(name="files", **settings, dev="mini", test="mini")


def fails(pair: str = "en-ro", **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_corpora(alone(**settings), parse_pair(pair), ["train"])
    return str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"train_source": "a.en", "train_target": "a.ro"},
        {"train_source": "a.tsv"},
        {"path": "a.tsv"},
        {"train_source": "a.jsonl"},
        {"path": "a.jsonl"},
    ],
)
def test_every_way_to_name_the_files(folder: Path, settings: dict[str, str]) -> None:
    corpora = load_corpora(alone(**settings), EN_RO, ["train"])
    assert corpora.train and corpora.train.pairs == EXPECTED
    absolute = {key: str(folder / name) for key, name in settings.items()}
    assert load_corpora(alone(**absolute), EN_RO, ["train"]) == corpora


def test_names_are_looked_up_in_the_folder_of_path(folder: Path, tmp_path: Path) -> None:
    settings = alone(path=str(folder), train_source="a.en", train_target="a.ro")
    corpora = load_corpora(settings, EN_RO, ["train"])
    assert corpora.train and corpora.train.pairs == EXPECTED
    message = fails(path="nowhere", train_source="a.en", train_target="a.ro")
    assert message.startswith("nowhere: no such folder")


def test_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    corpora = load_corpora(alone(train_source="~/a.tsv"), EN_RO, ["train"])
    assert corpora.train and corpora.train.pairs == EXPECTED


def test_files_of_their_own_for_each_role(folder: Path) -> None:
    write("d.tsv", "d\td\n")
    write("t.en", "t\nu\n")
    write("t.ro", "t\nu\n")
    config = DataConfig(
        name="files",
        train_source="a.tsv",
        dev_source="d.tsv",
        test_source="t.en",
        test_target="t.ro",
    )
    corpora = load_corpora(config, EN_RO)
    assert corpora.train and corpora.dev and corpora.test
    assert [len(s.pairs) for s in (corpora.train, corpora.dev, corpora.test)] == [3, 1, 2]
    assert corpora.test.name == "files"


def test_roles_without_files_share_those_of_training(folder: Path) -> None:
    write("ten.tsv", "".join(f"s{i}\tt{i}\n" for i in range(10)))
    for settings in (
        {"path": "ten.tsv"},
        {"train_source": "ten.tsv"},
        {"train_source": "ten.tsv", "test_source": str(folder / "ten.tsv")},
    ):
        config = DataConfig(name="files", **settings, dev_pairs=2, test_pairs=3)  # type: ignore[arg-type]
        corpora = load_corpora(config, EN_RO)
        splits = [s.pairs for s in (corpora.train, corpora.dev, corpora.test) if s]
        assert [pairs[0].source for pairs in splits] == ["s0", "s5", "s7"]
        assert [len(pairs) for pairs in splits] == [5, 2, 3]
        assert corpora.overlap == 0


def test_files_for_the_test_of_another_corpus(folder: Path) -> None:
    config = DataConfig(name="mini", test="files", test_source="a.tsv")
    test = load_corpora(config, EN_RO, ["test"]).test
    assert test and test.pairs == EXPECTED
    by_path = DataConfig(name="mini", test="files", test_path="a.jsonl", test_pairs=2)
    test = load_corpora(by_path, EN_RO, ["test"]).test
    assert test and test.pairs == EXPECTED[:2]


# ---------------------------------------------------------------- TSV


@pytest.mark.parametrize(
    "header",
    ["source\ttarget", "en\tro", "ENG\tRON", "source_text\ttarget_text",
     "Source sentence\tTarget sentence", "English text\tRomanian text", "text_en\ttext_ro"],
)  # fmt: skip
def test_tsv_header(folder: Path, header: str) -> None:
    write("h.tsv", f"\ufeff{header}\r\none\tunu\r\n")
    corpora = load_corpora(alone(path="h.tsv"), EN_RO, ["train"])
    assert corpora.train and corpora.train.pairs == EXPECTED[:1]


@pytest.mark.parametrize(
    ("lang", "header"),
    [
        *(("en-pt_br", "en\tpt-BR"), ("en-zh_hant", "eng\tzh-TW"), ("en-sr_latn", "en\tsr-Latn")),
        *(
            ("en-pt_br", "English\tBrazilian Portuguese"),
            ("en-no", "EN\tnb"),
            ("en-de", "en-US\tde-DE"),
        ),
        *(("en-zh", "src\ttgt"), ("fr_ca-en", "fr-CA\teng"), ("en-zh", "en\tzho_Hans")),
    ],
)
def test_tsv_header_of_any_code_that_lang_accepts(folder: Path, lang: str, header: str) -> None:
    write("h.tsv", f"{header}\none\tunu\n")
    corpora = load_corpora(alone(path="h.tsv"), parse_pair(lang), ["train"])
    assert corpora.train and corpora.train.pairs == EXPECTED[:1]


def test_the_header_of_another_pair(folder: Path) -> None:
    write("h.tsv", "en\tfr\none\tun\n")
    assert "h.tsv:1: the header names 'en' and 'fr', but lang=en-ro" in fails(path="h.tsv")
    write("h.tsv", "No\tSi\none\tunu\n")  # two codes, but not of this pair: two sentences
    corpora = load_corpora(alone(path="h.tsv"), EN_RO, ["train"])
    assert corpora.train and corpora.train.pairs[0] == Pair("No", "Si")


def test_jsonl_keys_of_any_code_that_lang_accepts(folder: Path) -> None:
    pairs = [("en-pt_br", "pt-BR"), ("en-zh_hant", "zh_TW"), ("en-no", "NB"), ("en-ro", "ron_Latn")]
    for lang, key in pairs:
        write("k.jsonl", jsonl({"EN": "one", key: "unu"}))
        corpora = load_corpora(alone(path="k.jsonl"), parse_pair(lang), ["train"])
        assert corpora.train and corpora.train.pairs == EXPECTED[:1]


def test_tsv_header_says_which_column_is_which(folder: Path) -> None:
    write("h.tsv", "ro\ten\nunu\tone\n")
    corpora = load_corpora(alone(path="h.tsv"), EN_RO, ["train"])
    assert corpora.train and corpora.train.pairs == EXPECTED[:1]


def test_tsv_keeps_quotes_and_line_separators(folder: Path) -> None:
    write("q.tsv", 'say "hi\tspune\u2028"salut" \x85x\n')
    corpora = load_corpora(alone(path="q.tsv"), EN_RO, ["train"])
    assert corpora.train and corpora.train.pairs == (Pair('say "hi', 'spune\u2028"salut" \x85x'),)


def test_tsv_problems(folder: Path) -> None:
    write("bad.tsv", "one\tunu\ntwo\n\n\tpatru\na\tb\tc\nfive\t\n \tx\n")
    message = fails(path="bad.tsv")
    assert "bad.tsv:2: 2 columns separated by a tab are needed, found 1 (no tab" in message
    assert "bad.tsv:3: the line is empty." in message
    assert "bad.tsv:4: the source is empty." in message
    assert "bad.tsv:5: 2 columns separated by a tab are needed, found 3." in message
    assert "bad.tsv:6: 2 columns" in message
    assert "… and 1 more problem." in message
    write("bad.tsv", "one\tunu\n\ufeff\u200b\tdoi\n")
    wanted = "bad.tsv:2: the source is empty, but for characters of no width (U+200B, U+FEFF)."
    assert wanted in fails(path="bad.tsv")
    write("bad.tsv", b"one\tunu\ntwo\t\xff\n")
    assert "bad.tsv:2: not valid UTF-8" in fails(path="bad.tsv")
    write("bad.tsv", "en\tro\n")
    assert "only a header" in fails(path="bad.tsv")


# ---------------------------------------------------------------- JSONL


@pytest.mark.parametrize(
    "value",
    [
        {"source": "one", "target": "unu", "id": 7},
        {"translation": {"en": "one", "ro": "unu", "es": "uno"}},
        {"en": "one", "ro": "unu "},
        {"eng": "one", "ron": "unu"},
    ],
)
def test_jsonl_forms(folder: Path, value: dict[str, Any]) -> None:
    write("x.jsonl", "\n" + jsonl(value) + "\n\n")
    corpora = load_corpora(alone(path="x.jsonl"), EN_RO, ["train"])
    assert corpora.train and corpora.train.pairs == EXPECTED[:1]


def test_jsonl_norwegian(folder: Path) -> None:
    for code in ("no", "nb", "nob"):
        write("x.jsonl", jsonl({"en": "one", code: "en"}))
        corpora = load_corpora(alone(path="x.jsonl"), parse_pair("en-no"), ["train"])
        assert corpora.train and corpora.train.pairs == (Pair("one", "en"),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON: Expecting property name"),
        ('["one", "unu"]', "an object is needed, found list"),
        ('{"en": "one", "rom": "unu"}', "no text for Romanian ('ro'). Did you mean 'rom'?"),
        ('{"translation": {"en": "one", "es": "uno"}}', "The keys are: en, es"),
        ('{"translation": "one"}', "'translation' must be an object"),
        ("{}", "The keys are: none"),
        ('{"en": "one", "ro": 5}', "the target must be a text, found 5."),
        ('{"en": null, "ro": "unu"}', "the source must be a text, found null."),
        ('{"en": " ", "ro": "unu"}', "the source is empty."),
        (r'{"en": "one", "ro": " \u2060 "}', "the target is empty, but for characters of no width"),
        ('{"en": "one", "ro": "\\ud800"}', "half of a surrogate pair"),
        ("[" * 100_000, "nested more than 100 deep."),
        ('{"en": "one", "ro": NaN}', "NaN is no number in JSON."),
        (r'{"en": "one", "ro": "u\u0000nu"}', "the target holds a NUL character"),
    ],
)
def test_jsonl_problems(folder: Path, line: str, said: str) -> None:
    write("bad.jsonl", '{"en": "one", "ro": "unu"}\n' + line + "\n")
    message = fails(path="bad.jsonl")
    assert "bad.jsonl:2: " in message
    assert said in message


def test_jsonl_without_pairs(folder: Path) -> None:
    write("bad.jsonl", "\n\n")
    assert "bad.jsonl: no pairs." in fails(path="bad.jsonl")
    write("bad.jsonl", jsonl(*[{}] * 9))
    message = fails(path="bad.jsonl")
    assert message.count("bad.jsonl:") == 5 and "… and 4 more problems." in message
    write("bad.jsonl", b'{"en": "\xff"}\n')
    assert "bad.jsonl:1: not valid UTF-8" in fails(path="bad.jsonl")


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "names no file for train"),
        ({"train_target": "a.ro"}, "data.train_target=a.ro without data.train_source"),
        ({"train_source": "a.en"}, "data.train_source=a.en without data.train_target"),
        ({"train_source": "a.jsonl", "train_target": "a.ro"}, "leave data.train_target=a.ro out"),
        ({"train_source": "a.csv"}, "a.csv is CSV, which data=files does not read; allowed: .tsv"),
        ({"path": "a.en"}, "for data=files the path names a TSV, JSONL or Parquet file"),
        ({"path": "."}, "names no file for train"),
        ({"path": "b.tsv"}, "b.tsv: no such file."),
        ({"train_source": "b.en", "train_target": "a.ro"}, "b.en: no such file."),
    ],
)
def test_settings_that_name_no_files(folder: Path, settings: dict[str, str], said: str) -> None:
    assert said in fails(**settings)


def test_a_loop_of_links(folder: Path) -> None:
    (folder / "loop.en").symlink_to("loop.en")
    said = fails(train_source="loop.en", train_target="a.ro")
    assert "loop.en: a loop of links." in said


def test_text_files_have_the_checks_of_all_corpora(folder: Path) -> None:
    write("b.ro", "unu\n\n")
    message = fails(train_source="a.en", train_target="b.ro")
    assert "a.en:3: this line has no partner" in message
    assert "b.ro:2: the line is empty." in message
    more = fails(train_source="a.en", train_target="a.ro", train_pairs=4)
    assert "data.train_pairs=4" in more and "has 3 pairs" in more


# ---------------------------------------------------------------- what is no text file


def made(name: str, what: str) -> str:
    """A file of that kind; its name."""
    path = Path(name)
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(name)
    elif what == "loop":
        path.symlink_to(name)
    elif what == "nowhere":
        path.symlink_to("nothing")
    else:
        path.symlink_to(what)
    return name


KINDS = [
    *(("pipe", "a named pipe"), ("folder", "a folder"), ("socket", "a socket")),
    *(("loop", "a loop of links"), ("nowhere", "a link to nothing"), ("/dev/zero", "a device")),
]


@pytest.mark.parametrize(("what", "told"), KINDS)
@pytest.mark.parametrize("suffix", [".en", ".tsv", ".jsonl"])
def test_what_is_no_file_is_refused_and_not_waited_for(
    folder: Path, suffix: str, what: str, told: str
) -> None:
    name = made(f"x{suffix}", what)
    target = {"train_target": "a.ro"} if suffix == ".en" else {}
    assert told in fails(train_source=name, **target)
    if suffix == ".en":
        assert told in fails(train_source="a.en", train_target=name)
    elif what != "folder":
        assert told in fails(path=name)
        config = DataConfig(name="mini", test="files", test_path=name)
        with pytest.raises(DataError, match=told):
            load_corpora(config, EN_RO, ["test"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"MZ\x00\x01\n\x00\n", "x.en:1: a NUL character"),
        (b"one\nt\x00wo\nthree\n", "x.en:2: a NUL character"),
        ("one\ntwo\nthree\n".encode("utf-16-le"), "x.en:1: a NUL character"),
        ("one\ntwo\nthree\n".encode("utf-32"), "UTF-16"),
        (b"\xef\xbb\xbfone\ntw\xffo\nthree\n", "x.en:2: not valid UTF-8 (byte 0xff at position 3)"),
        (b"one\rtwo\rthree\r", "x.en:1: lines end in a carriage return alone"),
        (b"one\n" + b"x" * (LONGEST + 1) + b"\nthree\n", "x.en:2: the line is longer than"),
        (b"\xed\xa0\x80\ntwo\nthree\n", "x.en:1: not valid UTF-8"),
        (b"\x1f\x8b\x08\x00", "packed (gzip)"),
        (b"\xef\xbb\xbf", "the file is empty"),
    ],
)
def test_what_is_no_text(folder: Path, content: bytes, told: str) -> None:
    write("x.en", content)
    assert told in fails(train_source="x.en", train_target="a.ro")


def test_carriage_returns_in_lines_and_the_longest_line(folder: Path) -> None:
    write("x.en", b"one\r\ntwo\rmore\r\nthree\r\n")
    given = alone(train_source="x.en", train_target="a.ro")
    found = load_corpora(given, EN_RO, ["train"]).train
    assert found and found.pairs[1].source == "two\rmore"
    write("x.en", b"one\n" + b"x" * LONGEST + b"\nthree")
    found = load_corpora(given, EN_RO, ["train"]).train
    assert found and len(found.pairs[1].source) == LONGEST


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[" * 200_000, "nested more than 100 deep"),
        ('{"source": "a", "target": "b", "n": ' + "9" * 5000 + "}", "of 5,000 digits"),
        ('{"source": "a", "source": "b", "target": "c"}', "the key 'source' twice in one object"),
        (r'{"source": "\ud800", "target": "b"}', "half of a surrogate pair"),
        ('{"source": ["a"], "target": "b"}', "the source must be a text"),
        ("[1]", "an object is needed, found list"),
        ("7", "an object is needed, found int"),
        ("null", "an object is needed"),
        ('{"translation": 3}', "'translation' must be an object"),
    ],
)
def test_hostile_json(folder: Path, line: str, told: str) -> None:
    write("x.jsonl", '{"source": "a", "target": "b"}\n' + line + "\n")
    message = fails(path="x.jsonl")
    assert "x.jsonl:2: " in message and told in message


@pytest.mark.parametrize("path", ["~nobody-here/x", "x" * 300, "loop", "a.en", "a.en/b"])
@pytest.mark.parametrize("name", ["ntrex", "flores101", "mini", "files", "opus100"])
def test_what_is_no_folder(folder: Path, name: str, path: str) -> None:
    Path("loop").symlink_to("loop")
    more = {"train_source": "a", "train_target": "b"} if name == "files" else {}
    config = DataConfig(name=name, path=path, **more)
    with pytest.raises(DataError, match=re.escape(path[:50])):
        load_corpora(config, EN_RO, ["train", "dev", "test"])


# ---------------------------------------------------------------- Parquet


def parquet(name: str, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), name)


@pytest.mark.parametrize(
    "row",
    [
        {"target": "t{}", "source": "s{}", "more": 1},
        {"ro": "t{}", "en": "s{}", "id": 3},
        {"translation": {"ron_Latn": "t{}", "EN": "s{}"}, "more": "x"},
    ],
)
def test_parquet_as_jsonl(folder: Path, row: dict[str, Any]) -> None:
    """The same rows as JSON Lines give the same pairs."""
    rows = [json.loads(json.dumps(row).replace("{}", str(i))) for i in range(300)]
    parquet("a.parquet", rows)
    Path("a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    one, other = (
        read(train_source=f"a.{ending}", dev="mini", test="mini") for ending in ("parquet", "jsonl")
    )
    assert one == other and one[299] == Pair("s299", "t299")


def test_parquet_mistakes(folder: Path) -> None:
    parquet("a.parquet", [{"en": "a", "ro": "b"}, {"en": " ", "ro": "b"}, {"en": "a", "ro": None}])
    told = fails(train_source="a.parquet")
    assert "a.parquet:2: the source is empty." in told
    assert "a.parquet:3: the target must be a text, found null." in told
    parquet("a.parquet", [{"english": b"a", "x": "b"}])
    told = fails(train_source="a.parquet")
    assert "no text for English ('en')" in told and "Its columns are: english, x." in told
    parquet("a.parquet", [{"source": b"a", "target": "b"}])
    assert "needed: 'source' and 'target'" in fails(train_source="a.parquet")
    assert "is Parquet and holds both sides" in fails(train_source="a.parquet", train_target="b.ro")
    Path("a.parquet").write_bytes(b"PAR1")
    assert "cannot be read as Parquet" in fails(train_source="a.parquet")


def test_what_looks_like_a_header_and_is_a_pair(folder: Path) -> None:
    write("h.tsv", "Source of the river\tIzvorul râului\nsource\tizvor\n")
    assert read(path="h.tsv", dev="mini", test="mini")[0].source == "Source of the river"


def test_quotes_are_no_part_of_a_text(folder: Path) -> None:
    write("q.tsv", '"one"\t"unu"\n"two"\t"doi"\n')
    assert "q.tsv: every cell is in double quotes" in fails(path="q.tsv")
    write("q.tsv", '"one"\t"unu"\ntwo\tdoi\n')  # one sentence of speech
    assert read(path="q.tsv", dev="mini", test="mini")[0] == Pair('"one"', '"unu"')


def test_keys_that_may_both_be_meant(folder: Path) -> None:
    write("k.jsonl", jsonl({"source": "en", "target": "ro", "en": "one", "ro": "unu"}))
    told = fails(path="k.jsonl")
    assert "k.jsonl:1: it has 'source' and 'target', and 'en' and 'ro': which" in told
    write("k.jsonl", jsonl({"source": "one", "target": "unu", "en": "x"}))
    assert read(path="k.jsonl", dev="mini", test="mini") == (Pair("one", "unu"),)
    write("k.json", '[{"source": "one", "target": "unu"}]\n')
    assert "found list (one object a line: JSON Lines)" in fails(path="k.json")


@pytest.mark.parametrize(("name", "kind"), [("a.tsv", "TSV"), ("a.jsonl", "JSONL")])
def test_a_file_of_both_sides_with_another_of_translations(
    folder: Path, name: str, kind: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(train_source=name, train_target="a.ro")
    assert f"data.train_source={name} is {kind} and holds both sides: leave " in str(caught.value)
