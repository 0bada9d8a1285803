"""``data=hub``: a copy of a data set that lacks files, or has some that belong to nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub_folders import opus
from test_hub_any import config, fails, read, rows, write

from mt_lottery.data.hub.layout import missing_shards


def shards(folder: Path, split: str, count: int, *lacking: int, name: str = "") -> None:
    """The shards of a split, some of them missing."""
    for i in range(count):
        if i not in lacking:
            write(folder / f"{name or f'data/{split}'}-{i:05}-of-{count:05}.jsonl", rows(f"{i}", 3))


@pytest.mark.parametrize("role", ["dev", "test"])
@pytest.mark.parametrize("folder", ["data", "en-ro"])
def test_shards_that_are_missing_of_a_test_set(tmp_path: Path, folder: str, role: str) -> None:
    split = {"dev": "validation", "test": "test"}[role]
    for each in ("train", "validation", "test"):
        lacking = (0, 2) if each == split else ()
        shards(tmp_path, each, 3, *lacking, name=f"{folder}/{each}")
    message = fails(config(tmp_path))
    there = f"{folder}/{split}-00000-of-00003.jsonl, {folder}/{split}-00002-of-00003.jsonl."
    assert f"{tmp_path}: the split '{split}' is incomplete." in message
    assert f"2 of 3 are missing: {there}" in message
    assert f"--include '{folder}/{split}-*' --local-dir {tmp_path}`" in message
    assert read(config(tmp_path, **{role: "mini"})).train  # nobody reads that split


def test_shards_that_are_missing_of_the_training_text(tmp_path: Path) -> None:
    shards(tmp_path, "train", 4, 2)
    for split in ("validation", "test"):
        shards(tmp_path, split, 1)
    corpora = read(config(tmp_path))
    assert corpora.train and corpora.train.report and corpora.test and corpora.test.report
    assert len(corpora.train.pairs) == 9 and corpora.test.report.notes == ()
    (note,) = corpora.train.report.notes
    assert note.startswith(f"Warning: {tmp_path}: the split 'train' is incomplete.")
    assert "1 of 4 is missing: data/train-00002-of-00004.jsonl. The others are read." in note
    assert "--include 'data/train-00002-of-00004.jsonl'" in note
    whole = tmp_path / "whole"
    shards(whole, "train", 4)
    split = read(config(whole, dev="mini", test="mini")).train
    assert split and split.report and split.report.notes == ()


def test_which_shards_are_missing() -> None:
    there = ["a/x-00000-of-00002-0f3e.parquet", "x-00001-of-00002.parquet", "x.parquet"]
    assert missing_shards(there, there) == [
        "a/x-00001-of-00002-*.parquet",
        "x-00000-of-00002.parquet",
    ]
    # each shard may have a hash of its own; what a README leaves out is there
    hashed = ["x-00000-of-00002-0f3e.parquet", "x-00001-of-00002-77aa.parquet"]
    assert missing_shards(hashed, hashed) == missing_shards(hashed[:1], hashed) == []
    from_one = [f"x-0000{i}-of-00003.parquet" for i in (1, 2, 3)]
    assert missing_shards(from_one, from_one) == []
    assert missing_shards(from_one[1:], from_one[1:]) == from_one[:1]


def readme(folder: Path, **splits: str | list[str]) -> None:
    """A README that says which files are which split."""
    files = [{"split": split, "path": path} for split, path in splits.items()]
    head = {"configs": [{"config_name": "default", "data_files": files}]}
    (folder / "README.md").write_text(f"---\n{json.dumps(head)}\n---\n# Data\n")


def test_a_test_set_that_only_the_readme_has(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        shards(tmp_path, split, 1)
    readme(tmp_path, train="data/train-*", validation="data/validation-*", test="data/test-*")
    for given in (config(tmp_path), config(tmp_path, {"test": "test"})):
        message = fails(given)
        assert f"{tmp_path}: README.md names files of the split 'test'" in message
        assert ": data/test-*. To download them: `hf download OWNER/NAME" in message
        assert f"--include 'data/test-*' --local-dir {tmp_path}`" in message
        assert "data.test=NAME" in message and "data.split.test=SPLIT" in message
    corpora = read(config(tmp_path, test="mini"))  # it is not needed
    assert corpora.train and len(corpora.train.pairs) == 3
    corpora = read(config(tmp_path, {"test": "train"}, test_pairs=1))  # or it is asked for
    assert corpora.test and corpora.test.pairs[0].source == "0 2"


def test_a_validation_set_and_one_path_of_several(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        shards(tmp_path, split, 2)
    (tmp_path / "gone").mkdir()
    readme(tmp_path, train="data/train-*", validation="data/dev-*.jsonl", test="data/test-*")
    assert "split 'validation' that are not there" in fails(config(tmp_path))
    assert read(config(tmp_path), "en-ro", "test").test  # a run that reads no dev set
    for each in (f"data/train-{i:05}-of-00002.jsonl" for i in (0, 1)):
        paths = [each, "data/more.jsonl", "gone"]
        readme(tmp_path, train=paths, validation="data/val*", test="data/test-*")
        split = read(config(tmp_path)).train  # a part of a training text may do
        assert split and split.report and len(split.pairs) == 3
        note = " ".join(split.report.notes)
        assert f"Warning: {tmp_path}: README.md names files of the split 'train'" in note
        assert "not there: data/more.jsonl, gone. The others are read." in note
        assert "--include 'data/more.jsonl' --include 'gone'" in note
        readme(tmp_path, train="data/train-*", validation="data/val*", test=paths)
        message = fails(config(tmp_path))
        assert "split 'test' that are not there" in message
        assert "CSV: data/more.jsonl, gone. To download" in message


def test_a_glob_of_several_may_match_nothing(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        shards(tmp_path, split, 1)
    readme(tmp_path, train="data/train-*", validation="data/val*", test=["data/test-*", "more/t-*"])
    assert len(read(config(tmp_path)).test.pairs) == 3  # type: ignore[union-attr]


def test_configurations_that_only_the_readme_has(tmp_path: Path) -> None:
    opus(tmp_path, "ca-en", "en-ro")
    for file in (tmp_path / "ca-en").iterdir():
        file.unlink()
    assert len(read(config(tmp_path)).train.pairs) == 20  # type: ignore[union-attr]
    message = fails(config(tmp_path, config="ca-en"), "en-ca")
    assert "README.md names files of the split 'train'" in message
    assert "--include 'ca-en/train-*'" in message


def test_files_of_a_second_layout_are_said_not_to_be_read(tmp_path: Path) -> None:
    shards(tmp_path / "shards", "train", 1)
    write(tmp_path / "folders/train/part.jsonl", rows("train"))
    for folder, stray in (("shards", "test.jsonl"), ("folders", "train.jsonl")):
        place = tmp_path / folder
        write(place / stray, rows("stray"))
        (place / "dataset_infos.json").write_text("{}")
        corpora = read(config(place, dev_pairs=1, test_pairs=1))
        splits = [s for s in (corpora.train, corpora.dev, corpora.test) if s and s.report]
        notes = {note for split in splits for note in split.report.notes}  # type: ignore[union-attr]
        (note,) = notes  # one for all roles
        assert note.startswith(f"{place}: not read: {stray}. The splits are files such as ")
    readme(tmp_path / "shards", train="data/train-*")  # it says which files are the data set
    split = read(config(tmp_path / "shards", dev="mini", test="mini")).train
    assert split and split.report and split.report.notes == ()
