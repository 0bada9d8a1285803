"""``data=hub``: a copy of a data set that lacks files, or has some that belong to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
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
    assert "1 of 4 are missing: data/train-00002-of-00004.jsonl. The others are read." in note
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
