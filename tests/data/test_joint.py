"""The text of several directions: mixed for training, one by one for the test."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_lottery.config import DataConfig, RunConfig
from mt_lottery.data.corpora import load_corpora
from mt_lottery.data.joint import JointSplit, load_text, mixing
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.errors import ConfigError, DataError
from mt_lottery.languages import parse_pair, parse_pairs

sizes = st.lists(st.integers(1, 30), min_size=1, max_size=5)


def config(lang: str, test_lang: str | None = None, **data: Any) -> RunConfig:
    return RunConfig(lang=lang, test_lang=test_lang, data=DataConfig(**data))


@given(sizes)
def test_proportional_has_every_pair_once_and_each_direction_evenly_spread(
    sizes: list[int],
) -> None:
    order = mixing(sizes, "proportional")
    assert sorted(order) == [(part, i) for part, size in enumerate(sizes) for i in range(size)]
    for part, size in enumerate(sizes):
        assert [i for p, i in order if p == part] == list(range(size))
        for length in range(len(order) + 1):
            here = sum(p == part for p, _ in order[:length])
            assert abs(here - length * size / sum(sizes)) <= len(sizes)


@given(sizes)
def test_uniform_has_as_many_of_each_and_repeats_the_smaller(sizes: list[int]) -> None:
    order = mixing(sizes, "uniform")
    assert Counter(part for part, _ in order) == dict.fromkeys(range(len(sizes)), max(sizes))
    for part, size in enumerate(sizes):
        times = Counter(i for p, i in order if p == part)
        assert set(times) == set(range(size)) and max(times.values()) - min(times.values()) <= 1


def test_uniform_is_what_interleaving_of_datasets_does() -> None:
    datasets = pytest.importorskip("datasets")
    sizes = [5, 2, 3]
    parts = [
        datasets.Dataset.from_dict({"place": [f"{part} {i}" for i in range(size)]})
        for part, size in enumerate(sizes)
    ]
    theirs = datasets.interleave_datasets(parts, stopping_strategy="all_exhausted")["place"]
    assert [f"{part} {i}" for part, i in mixing(sizes, "uniform")] == list(theirs)


def test_the_splits_of_several_directions() -> None:
    found = load_text(config("en-ro,ro-en", "en-ca", train_pairs=6, dev_pairs=3, test_pairs=4))
    train, dev, test = found.train, found.dev, found.test
    assert isinstance(train, JointSplit) and isinstance(dev, JointSplit)
    assert isinstance(test, JointSplit) and found.overlap == 0
    assert [str(pair) for pair, _ in train.parts] == ["en-ro", "ro-en"]
    assert [str(pair) for pair, _ in test.parts] == ["en-ro", "ro-en", "en-ca"]
    assert (len(train.pairs), len(dev.pairs), len(test.pairs)) == (12, 6, 12)
    for pair, own in test.parts:  # the very sentences of a run of that direction alone
        alone = load_corpora(DataConfig(train_pairs=6, dev_pairs=3, test_pairs=4), pair)
        assert alone.test is not None and own.sha256 == alone.test.sha256
    assert train.pairs[0].source == train.pairs[1].target


def test_the_order_and_the_directions_count_in_the_hash() -> None:
    def sha(lang: str, **data: Any) -> str:
        found = load_text(config(lang, train_pairs=6, **data), ("train",)).train
        assert found is not None
        return found.sha256

    one = load_corpora(DataConfig(train_pairs=6), parse_pair("en-ro"), ("train",)).train
    assert one is not None and sha("en-ro") == one.sha256
    assert len({sha("en-ro"), sha("en-ro,ro-en"), sha("ro-en,en-ro"), sha("en-ro,en-es")}) == 4


def jsonl(path: Path, lines: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return str(path)


def test_a_file_with_a_key_for_each_language(tmp_path: Path) -> None:
    lines = [{lang: f"{lang} text {i}." for lang in ("en", "ro", "es")} for i in range(30)]
    several = config("en-ro,en-es", name="files", path=jsonl(tmp_path / "all.jsonl", lines))
    found = load_text(several)
    assert found.train is not None and found.train.pairs[0].target == "ro text 0."
    assert found.train.pairs[1].target == "es text 0."


def test_files_that_do_not_say_which_language_is_which_are_refused(tmp_path: Path) -> None:
    lines = [{"source": f"text {i}.", "target": f"Text {i}."} for i in range(30)]
    one = config("en-ro,en-es", name="files", path=jsonl(tmp_path / "one.jsonl", lines))
    with pytest.raises(DataError, match="en-ro and en-es have the very same train text"):
        load_text(one)


def test_what_one_direction_teaches_of_anothers_test_is_counted(tmp_path: Path) -> None:
    """``ro-en`` has the sentences that ``en-ro`` is tested on as its targets."""
    train = [{"en": f"A {i}.", "ro": f"B {i}.", "es": f"C {i}."} for i in range(9)]
    test = [{"en": f"A {i}.", "ro": f"D {i}.", "es": f"E {i}."} for i in range(3)]
    both = config(
        "ro-es,ro-en",
        "en-es",
        name="files",
        train_source=jsonl(tmp_path / "train.jsonl", train),
        dev_source=jsonl(tmp_path / "dev.jsonl", train),
        test_source=jsonl(tmp_path / "test.jsonl", test),
    )
    found = load_text(both)
    assert (found.overlap, found.dev_in_train, found.test_in_dev) == (3, 18, 3)


def test_every_example_is_worded_in_its_direction() -> None:
    import tiny

    both = config("en-ro,en-es", train_pairs=5, sampling="uniform")
    train = load_text(both, ("train",)).train
    assert isinstance(train, JointSplit)
    text, tokenizer = PreparedText.of(both), tiny.tokenizer()
    whole = text.encode(train, tokenizer, 512)
    assert [each.index for each in whole.examples] == list(range(10))
    for part, (pair, own) in enumerate(train.parts):
        alone = text.of_pair(pair).encode(own, tokenizer, 512)
        mine = [e for e, (p, _) in zip(whole.examples, train.order, strict=True) if p == part]
        assert [e.prompt_ids for e in mine] == [e.prompt_ids for e in alone.examples]
        assert [e.target_ids for e in mine] == [e.target_ids for e in alone.examples]
    assert "to Romanian" in whole.texts[0][0] and "to Spanish" in whole.texts[1][0]
    short = text.encode(train, tokenizer, sorted(map(len, whole.examples))[4])
    assert len(short.examples) + len(short.dropped) == 10 and short.dropped
    with pytest.raises(ConfigError, match=r"several directions \(en-ro, en-es\)"):
        text.prompts(["A."], tokenizer)


def test_several_directions_are_read_and_one_is_asked_for() -> None:
    assert [*map(str, parse_pairs("en-ron, en-ro,pt-BR-en"))] == ["en-ro", "pt_br-en"]
    with pytest.raises(ConfigError, match="several directions; one is needed"):
        parse_pair("en-ro,en-es")
    with pytest.raises(ConfigError, match="two languages"):
        parse_pairs("en-ro,")
