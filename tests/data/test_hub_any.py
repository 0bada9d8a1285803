"""``data=hub``: any data set, from folders in the hub's layouts."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hub_folders import numbered, opus
from published import jsonl, parquet

from mt_lottery.config import DataConfig
from mt_lottery.data.corpora import Corpora, load_corpora
from mt_lottery.data.hub.any_dataset import AnyDatasetConfig, SplitsConfig
from mt_lottery.data.text import Pair
from mt_lottery.errors import DataError
from mt_lottery.languages import parse_pair
from mt_lottery.reading import LONGEST


def config(folder: Path, split: dict[str, str] | None = None, **more: Any) -> AnyDatasetConfig:
    return AnyDatasetConfig(
        name="hub", path=str(folder), split=SplitsConfig(**(split or {})), **more
    )


def read(given: DataConfig, pair: str = "en-ro", *roles: str) -> Corpora:
    return load_corpora(given, parse_pair(pair), roles or ("train", "dev", "test"))


def pairs(given: DataConfig, pair: str = "en-ro", role: str = "train") -> list[tuple[str, str]]:
    split = getattr(read(given, pair, role), role)
    return [(each.source, each.target) for each in split.pairs]


def fails(given: DataConfig, pair: str = "en-ro", *roles: str) -> str:
    with pytest.raises(DataError) as caught:
        read(given, pair, *roles)
    return str(caught.value)


def rows(split: str, count: int = 4) -> list[dict[str, Any]]:
    return [{"id": i, "source": f"{split} {i}", "target": f"{split} ro {i}"} for i in range(count)]


def write(file: Path, found: list[dict[str, Any]]) -> Path:
    """A file of the format that its name says."""
    if file.suffix == ".parquet":
        return parquet(file, found)
    if ".csv" not in file.name:
        return jsonl(file, found)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        table = csv.DictWriter(out, list(found[0]))
        table.writeheader()
        table.writerows(found)
    if file.suffix == ".gz":
        file.write_bytes(gzip.compress(file.read_bytes()))
    return file


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz"])
def test_formats_and_a_split_for_each_role(tmp_path: Path, ending: str) -> None:
    for split in ("train", "validation", "test"):
        write(tmp_path / f"data/{split}-00000-of-00001{ending}", rows(split))
    corpora = read(config(tmp_path, train_pairs=3))
    assert corpora.train and corpora.dev and corpora.test
    assert [len(s.pairs) for s in (corpora.train, corpora.dev, corpora.test)] == [3, 4, 4]
    assert corpora.train.pairs[2] == Pair("train 2", "train ro 2")
    assert corpora.dev.pairs[0] == Pair("validation 0", "validation ro 0")
    assert corpora.test.pairs[3] == Pair("test 3", "test ro 3")
    assert corpora.train.report and corpora.train.report.records == 4


def test_a_whole_json_list(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text('[{"en": "a", "ro": "b"}, {"en": "c", "ro": "d"}]')
    assert pairs(config(tmp_path, dev="mini", test="mini")) == [("a", "b"), ("c", "d")]
    (tmp_path / "all.json").write_text('[{"en": "a", "ro": "b"}, 3]')
    assert "all.json: item 2: an object {…} is needed." in fails(config(tmp_path))


def test_a_role_without_a_split_has_a_block_of_the_training_text(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", rows("train", 20))
    corpora = read(config(tmp_path, dev_pairs=3, test_pairs=5))
    assert corpora.train and corpora.dev and corpora.test
    assert [s.pairs[0].source for s in (corpora.train, corpora.dev, corpora.test)] == [
        *("train 0", "train 12", "train 15"),
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_configurations_of_the_readme_as_datasets_reads_them(
    tmp_path: Path, turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    opus(tmp_path / "hub", "ca-en", "en-ro")
    pair = "ro-en" if turned else "en-ro"
    for role, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        found = pairs(config(tmp_path / "hub"), pair, role)
        wanted = datasets.load_dataset(str(tmp_path / "hub"), "en-ro", split=split)["translation"]
        assert found == [tuple(row[code] for code in pair.split("-")) for row in wanted]
    given = config(tmp_path / "hub", config="ca-en", **NESTED)
    assert pairs(given)[0] == ("en train 0", "ca train 0")  # the user says which text is which


NESTED = {"source_field": "translation.en", "target_field": "translation.ca"}

HEADS = {
    "one path": "configs:\n- config_name: default\n  data_files: b/*.jsonl\n",
    "a list": "configs:\n- config_name: default\n  data_files: [b/x.jsonl, 'b/[y]*.jsonl']\n",
    "a folder": "configs:\n- config_name: default\n  data_dir: b\n",
    "any depth": "configs:\n- config_name: default\n  data_files:\n"
    "  - split: train\n    path: '**/b/*'\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=list(HEADS))
def test_ways_to_describe_files(tmp_path: Path, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "hub"
    for name in ("a/x", "b/x", "b/y"):
        jsonl(folder / f"{name}.jsonl", rows(name, 2))
    (folder / "README.md").write_text(f"---\nlicense: mit\n{head}---\n# Data\n---\n")
    found = pairs(config(folder, dev="mini", test="mini"))
    assert found == [(f"b/{n} {i}", f"b/{n} ro {i}") for n in "xy" for i in range(2)]
    wanted = datasets.load_dataset(str(folder), "default", split="train")
    assert sorted(wanted["source"]) == [source for source, _ in found]


def test_a_part_of_a_repository_without_its_readme(tmp_path: Path) -> None:
    opus(tmp_path, "ca-en", "en-ro")
    (tmp_path / "README.md").unlink()
    assert pairs(config(tmp_path), role="test")[0] == ("en test 0", "ro test 0")
    message = fails(config(tmp_path), "en-es")
    assert "none of its configurations is named en-es. There are: ca-en, en-ro." in message
    assert "data.config=NAME" in message
    message = fails(config(tmp_path, config="en-rro"))
    assert "data.config=en-rro: no such configuration" in message
    assert "Did you mean 'en-ro'?" in message and "There are: ca-en, en-ro." in message


def test_splits_that_are_named(tmp_path: Path) -> None:
    for split in ("train", "tune", "held_out"):
        write(tmp_path / f"data/{split}-00000-of-00001.parquet", rows(split))
    given = config(tmp_path, {"dev": "tune", "test": "held_out"})
    assert pairs(given, role="dev")[0][0] == "tune 0"
    assert pairs(given, role="test")[0][0] == "held_out 0"
    message = fails(config(tmp_path, {"test": "hold_out"}))
    assert "data.split.test=hold_out: no such split" in message
    assert "Did you mean 'held_out'?" in message
    assert "There are: held_out, train, tune." in message
    (tmp_path / "data/train-00000-of-00001.parquet").unlink()
    message = fails(config(tmp_path))
    assert "no split for train. There are: held_out, tune. Name one: data.split.train=" in message


def test_fields(tmp_path: Path) -> None:
    found = [{"meta": {"n": i}, "text": {"src.en": f"a{i}", "b": f"b{i}"}} for i in range(3)]
    for ending in ("parquet", "jsonl"):
        write(tmp_path / ending / f"train.{ending}", found)
        named = {"source_field": "text.src.en", "target_field": "text.b", "dev": "mini"}
        assert pairs(config(tmp_path / ending, test="mini", **named))[2] == ("a2", "b2")
        message = fails(config(tmp_path / ending, source_field="text.a", target_field="text.b"))
        assert "no field 'text.a' (data.source_field). Did you mean 'text.b'" in message
        assert "Its fields are: meta.n, text.src.en, text.b." in message
        assert 'Its first record: {"meta": {"n": 0}' in message
        message = fails(config(tmp_path / ending))
        assert "no text for English ('en')" in message and "data.source_field=FIELD" in message
        message = fails(config(tmp_path / ending, source_field="text.b"))
        assert "data.source_field=text.b: data.target_field is needed too." in message


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_only_records_of_the_direction(tmp_path: Path, ending: str) -> None:
    ways = ("en-ro", "ro-en", "en-es")
    both = [
        {"way": w, "source": f"{w} {i}", "target": "t" + str(i)} for i in range(5) for w in ways
    ]
    write(tmp_path / f"one/train.{ending}", both)
    two = [{**row, "from": row["way"][:2], "to": row["way"][3:]} for row in both]
    write(tmp_path / f"two/train.{ending}", two)
    for place, one, other in (("one", "way", "way"), ("two", "from", "to")):
        languages = {"source_lang_field": one, "target_lang_field": other, "dev": "mini"}
        given = config(tmp_path / place, test="mini", **languages)
        split = read(given, "ro-en").train
        assert split and split.report
        assert [p.source for p in split.pairs] == [f"ro-en {i}" for i in range(5)]
        assert (split.report.records, split.report.available) == (15, 5)
        message = fails(given, "en-ca")
        assert "none of its 15 records is en-ca" in message
        assert ("en-ro (5)" if place == "one" else "en to ro (5)") in message


def test_what_the_filters_leave_out(tmp_path: Path) -> None:
    odd = [("a", "b"), ("c", "c"), ("", "d"), (None, "d"), ("a", "b"), ("x" * 90, "y")]
    for split in ("train", "test"):
        found = [{"source": s, "target": t} for s, t in odd]
        parquet(tmp_path / f"{split}.parquet", found)
    corpora = read(config(tmp_path, dev="mini"), "en-ro", "train", "test")
    assert corpora.train and corpora.train.report and corpora.test and corpora.test.report
    assert corpora.train.report.filters == {
        **{"empty": 2, "identical": 1, "too_long": 0, "ratio": 1, "duplicate": 1}
    }
    assert corpora.test.report.filters == {"empty": 2}
    assert [p.source for p in corpora.test.pairs] == ["a", "c", "a", "x" * 90]
    told = fails(config(tmp_path, min_chars=95, dev="mini"), "en-ro", "train")
    assert "Nothing is left to be read" in told


def test_a_large_set_is_read_from_the_front(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"data/train-0000{i}-of-00003.jsonl", rows(f"{i}", 4))
    (tmp_path / "data/train-00002-of-00003.jsonl").write_text("{damaged")  # is not reached
    split = read(config(tmp_path, max_records=6, dev="mini", test="mini")).train
    assert split and split.report and split.report.records == 6
    assert "the first 6 records" in split.report.where


def test_labels_and_texts_without_end(tmp_path: Path) -> None:
    found = [{"from": f"{i:04}" * 99, "to": None, "en": "a", "ro": "b"} for i in range(2000)]
    jsonl(tmp_path / "train.jsonl", found)
    given = config(tmp_path, source_lang_field="from", target_lang_field="to", dev="mini")
    message = fails(given)
    assert "none of its 2,000 records is en-ro" in message and "others (1,000)" in message
    assert len(message) < 1500
    long = [{"translation": {"en": "x" * (LONGEST + 1), "ro": "b"}}]
    parquet(tmp_path / "p/train.parquet", long, use_dictionary=False)
    message = fails(config(tmp_path / "p", dev="mini"))
    assert "row 1: the source has 8,388,609 characters; a text may have 8,388,608." in message
    wide = [{f"{i}" * 99: i for i in range(500)}]
    jsonl(tmp_path / "w/train.jsonl", wide)
    assert len(fails(config(tmp_path / "w", dev="mini"))) < 60_000


def test_configurations_of_languages_in_no_table(tmp_path: Path) -> None:
    opus(tmp_path, "de-hsb", "de-dsb")
    split = read(config(tmp_path), "hsb-de").train
    assert split and split.pairs[0] == Pair("hsb train 0", "de train 0")


def test_languages_in_no_table_that_records_name(tmp_path: Path) -> None:
    found = [
        {"from": "de", "to": lang, "source": "Haus", "target": lang} for lang in ("dsb", "hsb")
    ]
    write(tmp_path / "train.jsonl", found)
    more = {"source_lang_field": "from", "target_lang_field": "to", "dev": "mini", "test": "mini"}
    assert pairs(config(tmp_path, **more), "de-hsb") == [("Haus", "hsb")]


def test_a_shard_without_rows(tmp_path: Path) -> None:
    table = parquet(tmp_path / "train-00001.parquet", rows("train"))
    pq.write_table(pq.read_table(table).slice(0, 0), tmp_path / "train-00000.parquet")
    assert len(pairs(config(tmp_path, dev="mini", test="mini"))) == 4
    table.unlink()
    assert "0 pairs left. Nothing is left to be read" in fails(config(tmp_path, dev="mini"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train.parquet", b"PAR1 and no more", "cannot be read as Parquet"),
        ("train.parquet", b"", "the file is empty"),
        ("train.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("train.jsonl", b'{"en": "a", "ro": "b"}\n{oops\n', "line 2: damaged: not JSON"),
        (
            "train.jsonl",
            b'{"en": "a", "ro": "b"}\n{"en": 1, "ro": "b"}\n',
            ":2: the source must be",
        ),
        ("train.jsonl", b'{"en": "caf\xe9", "ro": "b"}\n', "train.jsonl:1: not valid UTF-8"),
        ("train.jsonl", b'{"en": "a", "en": "c", "ro": "b"}\n', "the key 'en' twice"),
        ("train.jsonl", b'{"en": "\\ud800", "ro": "b"}\n', "half of a surrogate pair"),
        ("train.csv", b"en,ro\na,b\nc\n", "line 3: 1 cell, but the header names 2 columns"),
        ("train.csv", b'en,ro\n"a,b\n', "damaged"),
        ("train.csv.gz", gzip.compress(b"en,ro\na,b\n")[:-9], "not all of it can be unpacked"),
        ("train.jsonl", b"\xff\xfe{\0}\0", "UTF-16"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    message = fails(config(tmp_path))
    assert said in message and str(tmp_path / name) in message


def test_a_script_is_never_run(tmp_path: Path) -> None:
    script = f"open({str(tmp_path / 'run')!r}, 'w')\n"
    for name in ("hub.py", "data.py"):
        (tmp_path / name).write_text(script)
    for name in ("train.pkl", "train.arrow", "train.pt"):
        (tmp_path / name).write_bytes(b"x")
    message = fails(config(tmp_path))
    assert "no file that can be read" in message and "script" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "head", ["configs: {a: b}\n", "configs:\n- 3\n- {config_name: [x], data_files: 3}\n"]
)
def test_a_readme_that_says_nothing_of_use(tmp_path: Path, head: str) -> None:
    write(tmp_path / "train.jsonl", rows("train"))
    (tmp_path / "README.md").write_text(f"---\n{head}---\n")
    given = config(tmp_path, dev="mini", test="mini")
    try:
        assert len(pairs(given)) == 4
    except DataError as error:
        assert "no split" in str(error) or "no file" in str(error)
    (tmp_path / "README.md").write_text("---\na: !!python/object:os.system x\n---\n")
    assert "README.md" in fails(given) and "tag" in fails(given)


def test_no_path_and_wrong_paths(tmp_path: Path) -> None:
    assert "data=hub needs a data set: data.path=OWNER/NAME" in fails(AnyDatasetConfig(name="hub"))
    told = fails(config(tmp_path / "nowhere"))
    assert "no such folder" in told and told.endswith("or it is OWNER/NAME of the hub.")


def test_as_dev_and_test_beside_another_corpus(tmp_path: Path) -> None:
    opus(tmp_path, "en-ro")
    other = DataConfig(
        name="mini", dev="hub", dev_path=str(tmp_path), test="hub", test_path=str(tmp_path)
    )
    corpora = read(other)
    assert corpora.dev and corpora.test and len(numbered("en-ro", "test", 6)) == 6
    assert corpora.dev.pairs[0] == Pair("en validation 0", "ro validation 0")
    assert corpora.test.pairs[0] == Pair("en test 0", "ro test 0")
