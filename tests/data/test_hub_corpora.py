"""``lego_mt`` and ``opus100`` from folders in the hub's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hub_folders import lego, lego_file, lego_record, numbered, opus, opus_split

from mt_lottery.config import DataConfig
from mt_lottery.data.corpora import Corpora, Split, load_corpora
from mt_lottery.data.hub.lego_mt import LegoMTConfig
from mt_lottery.data.hub.opus100 import Opus100Config
from mt_lottery.data.text import Pair
from mt_lottery.errors import ConfigError, DataError
from mt_lottery.languages import parse_pair
from mt_lottery.registry import CORPORA


def lego_config(folder: Path, **more: Any) -> LegoMTConfig:
    return LegoMTConfig(name="lego_mt", path=str(folder), **more)


def opus_config(folder: Path, **more: Any) -> Opus100Config:
    return Opus100Config(name="opus100", path=str(folder), **more)


def read(config: DataConfig, pair: str = "en-ca", *roles: str) -> Corpora:
    return load_corpora(config, parse_pair(pair), roles or ("train", "dev", "test"))


def train(config: DataConfig, pair: str = "en-ca") -> Split:
    split = read(config, pair).train
    assert split is not None
    return split


def fails(config: DataConfig, pair: str = "en-ca", *roles: str) -> str:
    with pytest.raises(DataError) as caught:
        read(config, pair, *roles)
    return str(caught.value)


# ---------------------------------------------------------------- lego_mt


def test_only_the_wanted_direction(tmp_path: Path) -> None:
    corpora = read(lego_config(lego(tmp_path), dev_pairs=4, test_pairs=6))
    assert corpora.train and corpora.dev and corpora.test
    assert [len(s.pairs) for s in (corpora.train, corpora.dev, corpora.test)] == [20, 4, 6]
    sources = [p.source for s in (corpora.train, corpora.dev, corpora.test) for p in s.pairs]
    assert sources == [f"en-ca source {i}" for i in range(30)]
    report = corpora.train.report
    assert report is not None and report is corpora.test.report
    assert (report.records, report.available, report.left) == (120, 30, 30)
    assert str(report).startswith(f"{tmp_path / 'ca.jsonl'}: 30 of 120 records are en-ca")
    assert train(lego_config(tmp_path), "ca-en").pairs[0] == Pair(
        "ca-en source 0", "ca-en target 0"
    )


def test_nothing_is_filled_up(tmp_path: Path) -> None:
    """More pairs than there are of the direction is an error that says how many there are."""
    message = fails(lego_config(lego(tmp_path), train_pairs=31, test_pairs=1, dev_pairs=1))
    assert "30 of 120 records are en-ca" in message and "leaves 28 for train" in message
    alone = lego_config(tmp_path, train_pairs=31, dev="mini", test="mini")
    assert "data.train_pairs=31, but the corpus 'lego_mt' (train, en-ca; 30 of 120" in fails(alone)


def test_the_file_of_the_language_that_is_not_english(tmp_path: Path) -> None:
    lego(tmp_path)
    lego_file(tmp_path, "en.jsonl", [lego_record("en-ca", "other", "altre")] * 3)
    lego_file(tmp_path, "es.jsonl", [lego_record("ca-es", f"a{i}", f"b{i}") for i in range(4)])
    for pair in ("en-ca", "ca-en"):
        assert train(lego_config(tmp_path), pair).pairs[0].source == f"{pair} source 0"
    assert train(lego_config(tmp_path), "ca-es").pairs[0].source == "a0"  # the target's
    asked = lego_config(tmp_path, language_file="ca.jsonl")
    assert train(asked, "ca-es").pairs[0].source == "ca-es source 0"
    said = fails(lego_config(tmp_path, language_file="cat.jsonl"))
    assert "data.language_file=cat.jsonl: no such file" in said and "ca.jsonl, en.jsonl" in said
    # English has a file, but of other pairs: it is offered, not taken
    said = fails(lego_config(tmp_path), "en-ro")
    assert "no file of Romanian (ro.jsonl)" in said and "data.language_file=en.jsonl" in said


@pytest.mark.parametrize("name", ["no.jsonl", "nb.jsonl", "nob.jsonl", "sub/no.jsonl"])
def test_bokmaal_under_its_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    lego_file(tmp_path, name, [lego_record("en-nb", f"a{i}", f"b{i}") for i in range(4)])
    assert len(train(lego_config(tmp_path), "en-no").pairs) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [("en", "ca"), ("eng", "cat"), ("eng_Latn", "cat_Latn"), ("English", "Catalan"), ("EN", "CA")],
)
def test_ways_to_write_a_language(tmp_path: Path, one: str, other: str) -> None:
    records = [lego_record(f"{one}-{other}", f"a{i}", f"b{i}") for i in range(4)]
    unknown = [lego_record("ber-qqq", "x", "y"), lego_record("en-", "x", "y")]
    config = lego_config(lego_file(tmp_path, "ca.jsonl", [*unknown, *records]))
    report = train(config).report
    assert report and (report.records, report.available) == (6, 4)


def test_scripts_are_not_mixed_up(tmp_path: Path) -> None:
    records = [lego_record("en-zho_Hant", f"a{i}", f"b{i}") for i in range(4)]
    assert "none of its 4 records is en-zh" in fails(
        lego_config(lego_file(tmp_path, "zh.jsonl", records)), "en-zh"
    )


@pytest.mark.parametrize("written", ["en-ca", "en2ca", "eng -> cat", "en_to_ca"])
def test_one_field_for_both_languages(tmp_path: Path, written: str) -> None:
    records = [{"way": written, "in": f"a{i}", "out": f"b{i}"} for i in range(4)]
    records.append({"way": "ca-en", "in": "x", "out": "y"})
    config = lego_config(
        lego_file(tmp_path, "ca.jsonl", records),
        source_field="in",
        target_field="out",
        source_lang_field="way",
        target_lang_field="way",
    )
    report = train(config).report
    assert report and (report.records, report.available) == (5, 4)
    assert train(config).pairs[0] == Pair("a0", "b0")


def test_other_fields_are_shown(tmp_path: Path) -> None:
    record = {"src": "x" * 200, "output": "y", "languages": ["en", "ca"], "tgt_lang": "ca"}
    message = fails(lego_config(lego_file(tmp_path, "ca.jsonl", [record])))
    assert "ca.jsonl: no field 'tgt' (data.target_field), no field 'src_lang'" in message
    assert "Its fields are: src, output, languages, tgt_lang." in message
    first = message[message.index("{") : message.index("}") + 1]
    assert json.loads(first) == {**record, "src": "x" * 60 + "…"}
    assert message.endswith(
        "data.target_field=FIELD, data.source_lang_field=FIELD (settings of data=lego_mt)."
    )


def test_no_record_of_the_direction(tmp_path: Path) -> None:
    message = fails(lego_config(lego(tmp_path), language_file="ca.jsonl"), "en-ro")
    assert "none of its 120 records is en-ro" in message
    for direction in ("en-ca", "ca-en", "ca-es", "fr-ca"):
        assert f"{direction} (30)" in message


def test_filters_and_their_counts(tmp_path: Path) -> None:
    records = [lego_record("en-ca", f"source {i}", f"target {i}") for i in range(12)]
    records += [
        lego_record("en-ca", "source 0", "target 0"),
        lego_record("en-ca", None, "target"),
        lego_record("en-ca", "copied", "copied"),
        lego_record("ca-en", "copied", "copied"),
    ]
    config = lego_config(lego_file(tmp_path, "ca.jsonl", records))
    report = train(config).report
    assert report and report.filters == {
        **{"empty": 1, "identical": 1, "too_long": 0, "ratio": 0, "duplicate": 1}
    }
    assert (report.records, report.available, report.left) == (16, 15, 12)
    message = fails(lego_config(tmp_path, train_pairs=90))
    assert "15 of 16 records are en-ca; left out: 1 empty, 1 identical, 1 duplicate" in message
    message = fails(lego_config(tmp_path, min_chars=50))
    assert "13 too_short; 0 pairs left. Nothing is left to be read" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b'{"src_lang":"en","tgt_lang":"ca","src":"a","tgt":"b"}\n{oops\n',
            "line 2: damaged: not JSON",
        ),
        (b"", "the file is empty"),
        (b'{"src_lang":"en","tgt_lang":"ca","src":"caf\xe9 x","tgt":"b"}\n', "not valid UTF-8"),
        (
            b'{"src_lang":"en","tgt_lang":"ca","src":3,"tgt":"b"}\n',
            "the source must be a text, found int: 3",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "ca.jsonl").write_bytes(content)
    message = fails(lego_config(tmp_path))
    assert said in message and str(tmp_path / "ca.jsonl") in message


@pytest.mark.parametrize("make", [lego_config, opus_config])
def test_wrong_paths(tmp_path: Path, make: Any) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    assert "nowhere: no such folder" in fails(make(tmp_path / "nowhere"))
    assert "file: a file, not a folder" in fails(make(tmp_path / "file"))
    assert "There are: none" in fails(make(tmp_path / "empty"))


def test_only_json_lines_and_parquet_are_read(tmp_path: Path) -> None:
    """No script and no pickle, whatever they are called."""
    lego(tmp_path)
    for name in ("ro.pkl", "ro.pt", "ro.arrow", "Parallel_Dataset.py", ".cache/ro.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((tmp_path / "ca.jsonl").read_bytes())
    assert "There are: ca.jsonl." in fails(lego_config(tmp_path), "en-ro")
    assert train(lego_config(tmp_path)).pairs


# ---------------------------------------------------------------- opus100


def test_a_split_for_each_role_in_both_directions(tmp_path: Path) -> None:
    config = opus_config(opus(tmp_path), train_pairs=7, test_pairs=2)
    for pair, (one, other) in {"en-ca": ("en", "ca"), "ca-en": ("ca", "en")}.items():
        corpora = read(config, pair)
        assert corpora.train and corpora.dev and corpora.test
        assert [len(s.pairs) for s in (corpora.train, corpora.dev, corpora.test)] == [7, 6, 2]
        assert corpora.train.pairs[0] == Pair(f"{one} train 0", f"{other} train 0")
        assert corpora.dev.pairs[0] == Pair(f"{one} validation 0", f"{other} validation 0")
        assert corpora.test.pairs[1] == Pair(f"{one} test 1", f"{other} test 1")
        assert corpora.train.available == 20


@pytest.mark.parametrize(
    "names",
    [
        ("opus100-train.parquet",),
        ("train/0000.parquet", "train/0001.parquet"),
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"),
        ("train.jsonl",),
        ("train-00000-of-00001.parquet", "train.jsonl"),  # Parquet alone: not twice the same
    ],
)
def test_the_layouts_of_the_hub(tmp_path: Path, names: tuple[str, ...]) -> None:
    for i, name in enumerate(names):
        opus_split(tmp_path, "ca-en", "train", numbered("ca-en", f"file {i}", 4), name)
    opus_split(tmp_path, "ca-en", "test", numbered("ca-en", "test", 3), "opus100-test.parquet")
    split = read(opus_config(tmp_path), "en-ca", "train").train
    parquet = [name for name in names if name.endswith(".parquet")] or names
    assert split and len(split.pairs) == 4 * len(parquet)
    assert split.pairs[0].source == "en file 0 0" and split.pairs[-1].target == (
        f"ca file {len(parquet) - 1} 3"
    )


def test_a_shard_is_missing(tmp_path: Path) -> None:
    for split in ("train", "test"):
        name = f"{split}-00001-of-00002.parquet"
        opus_split(tmp_path, "ca-en", split, numbered("ca-en", split, 4), name)
    corpus = read(opus_config(tmp_path), "en-ca", "train").train
    assert corpus and len(corpus.pairs) == 4 and corpus.report
    (note,) = corpus.report.notes
    assert f"Warning: {tmp_path}: the split 'train' is incomplete." in note
    assert "1 of 2 is missing: ca-en/train-00000-of-00002.parquet. The others are read." in note
    message = fails(opus_config(tmp_path), "en-ca", "test")  # it would be another test set
    assert "the split 'test' is incomplete" in message
    assert "--include 'ca-en/test-00000-of-00002.parquet'" in message


def test_the_training_text_is_filtered_and_the_test_left_alone(tmp_path: Path) -> None:
    odd = [("b", "b"), ("c", "d"), ("c", "d"), ("x" * 30, "y"), ("", "z"), (None, "z")]
    for split in ("train", "validation", "test"):
        opus_split(tmp_path, "ca-en", split, odd)
    corpora = read(opus_config(tmp_path))
    assert corpora.train and corpora.dev and corpora.test
    assert corpora.train.pairs == (Pair("d", "c"),)
    assert corpora.test.pairs == tuple(Pair(b, a) for a, b in odd[:4] if a)
    assert corpora.dev.pairs == corpora.test.pairs
    assert corpora.train.report and corpora.train.report.filters == {
        **{"empty": 2, "identical": 1, "too_long": 0, "ratio": 1, "duplicate": 1}
    }
    assert corpora.test.report and corpora.test.report.filters == {"empty": 2}
    assert corpora.test.report.available == 6


def test_norwegian(tmp_path: Path) -> None:
    """``no`` is the subset en-no; en-nb only where it is asked for; nn is another language."""
    opus(tmp_path, "en-nb", "en-nn", "en-no")
    assert train(opus_config(tmp_path), "en-no").pairs[0].target == "no train 0"
    assert train(opus_config(tmp_path), "en-nb").pairs[0].target == "no train 0"
    assert train(opus_config(tmp_path, subset="en-nb"), "en-no").pairs[0].target == "nb train 0"
    assert train(opus_config(tmp_path), "nn-en").pairs[0].source == "nn train 0"
    assert "no text in Norwegian ('no')" in fails(opus_config(tmp_path, subset="en-nn"), "en-no")
    only = opus(tmp_path / "only", "en-nb")
    assert "no subset for en-no: en-no." in fails(opus_config(only), "en-no")


def test_pairs_that_it_has_not(tmp_path: Path) -> None:
    opus(tmp_path, "ca-en", "en-es")
    message = fails(opus_config(tmp_path), "es-ca")
    assert "no subset for es-ca: ca-es." in message and "There are: ca-en, en-es." in message
    assert "data.subset=en-ce" in fails(opus_config(tmp_path, subset="en-ce"))


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    opus_split(tmp_path, "ca-en", "test", numbered("ca-en", "test", 3))
    message = fails(opus_config(tmp_path))
    assert "no train split, which train reads. There are: test." in message
    assert "--include 'ca-en/*'" in message
    assert len(read(opus_config(tmp_path), "en-ca", "test").test.pairs) == 3  # type: ignore[union-attr]
    opus_split(tmp_path, "ca-en", "train", numbered("ca-en", "train", 3))
    assert "Read dev from another corpus: data.dev=NAME." in fails(opus_config(tmp_path))


def test_rows_of_another_kind(tmp_path: Path) -> None:
    folder = tmp_path / "ca-en"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"en": "a", "ca": "b"}\n')
    message = fails(opus_config(tmp_path))
    assert "no field 'translation'. Its fields are: en, ca." in message
    assert '{"en": "a", "ca": "b"}' in message
    (folder / "train.jsonl").write_text('{"translation": "a"}\n')
    assert "must hold an object of language codes" in fails(opus_config(tmp_path))
    (folder / "train.jsonl").write_text('{"translation": {"en": "a", "es": "b"}}\n')
    message = fails(opus_config(tmp_path))
    assert "no text in Catalan ('ca')" in message and "are: en, es." in message


# ---------------------------------------------------------------- with other corpora


def test_train_and_test_from_two_of_them(tmp_path: Path) -> None:
    lego(tmp_path / "lego")
    opus(tmp_path / "opus")
    config = lego_config(
        tmp_path / "lego", dev_pairs=5, test="opus100", test_path=str(tmp_path / "opus")
    )
    corpora = read(config)
    assert corpora.train and corpora.dev and corpora.test
    assert [len(s.pairs) for s in (corpora.train, corpora.dev, corpora.test)] == [25, 5, 6]
    assert corpora.test.pairs[0] == Pair("en test 0", "ca test 0")
    # lego_mt's own settings have their defaults where another corpus gave the schema
    other = DataConfig(name="mini", dev="lego_mt", dev_path=str(tmp_path / "lego"), dev_pairs=3)
    assert read(other).dev.pairs[2].source == "en-ca source 2"  # type: ignore[union-attr]


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = lego_config(lego(tmp_path))
    assert CORPORA.missing("lego_mt") is None
    monkeypatch.setitem(CORPORA._needs, "lego_mt", ("no-such-library>=2",))
    with pytest.raises(ConfigError, match="pip install 'no-such-library>=2'"):
        read(config)
