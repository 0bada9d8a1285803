"""``data.shuffle_targets``: no source keeps its target, and the text's hash tells."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_lottery.config import DataConfig
from mt_lottery.data.corpora import load_corpora
from mt_lottery.data.text import Pair, shuffle_targets
from mt_lottery.errors import DataError
from mt_lottery.languages import parse_pair


@given(st.integers(2, 60), st.integers(0, 2**32))
def test_a_permutation_without_a_fixed_point(size: int, seed: int) -> None:
    pairs = [Pair(f"s{i}", f"t{i}") for i in range(size)]
    mixed = shuffle_targets(pairs, seed)
    assert [p.source for p in mixed] == [p.source for p in pairs]
    assert Counter(p.target for p in mixed) == Counter(p.target for p in pairs)
    assert all(p.source[1:] != p.target[1:] for p in mixed)
    assert mixed == shuffle_targets(pairs, seed)


def test_seeds_differ() -> None:
    pairs = [Pair(f"s{i}", f"t{i}") for i in range(40)]
    assert shuffle_targets(pairs, 0) != shuffle_targets(pairs, 1)


def test_one_pair_has_no_other_target() -> None:
    with pytest.raises(DataError, match="shuffle_targets=3: the training set has 1 pair"):
        shuffle_targets([Pair("s", "t")], 3)


def test_only_the_training_text_changes_and_says_so() -> None:
    pair = parse_pair("en-es")
    plain = load_corpora(DataConfig(train_pairs=20), pair)
    mixed = load_corpora(DataConfig(train_pairs=20, shuffle_targets=0), pair)
    again = load_corpora(DataConfig(train_pairs=20, shuffle_targets=1), pair)
    assert plain.train and mixed.train and again.train
    assert mixed.train.name == "mini, targets shuffled"
    assert len({plain.train.sha256, mixed.train.sha256, again.train.sha256}) == 3
    assert mixed.train.available == plain.train.available
    assert (mixed.dev, mixed.test) == (plain.dev, plain.test)
