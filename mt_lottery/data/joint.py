"""The text of a run of several directions: mixed for training, one by one for the test."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mt_lottery.config import RunConfig
from mt_lottery.data.corpora import ROLES, Corpora, Split, load_corpora
from mt_lottery.data.overlap import overlap_of
from mt_lottery.errors import DataError
from mt_lottery.languages import LanguagePair, parse_pairs

Part = tuple[LanguagePair, Split]


@dataclass(frozen=True)
class JointSplit(Split):
    """The pairs of one role in several directions.

    Attributes:
        parts: each direction with its own pairs.
        order: where each of ``pairs`` comes from: the number of its part, and its place there.
    """

    parts: tuple[Part, ...] = ()
    order: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, parts: Sequence[Part], order: Sequence[tuple[int, int]]) -> JointSplit:
        """The parts' pairs in that order."""
        names = dict.fromkeys(split.name for _, split in parts)
        pairs = tuple(parts[part][1].pairs[place] for part, place in order)
        available = sum(split.available for _, split in parts)
        return cls(", ".join(names), pairs, available, parts=tuple(parts), order=tuple(order))

    @cached_property
    def sha256(self) -> str:
        """Hash of all texts in their order, and of the direction of each."""
        digest = hashlib.sha256(super().sha256.encode())
        digest.update(" ".join(str(self.parts[part][0]) for part, _ in self.order).encode())
        return digest.hexdigest()


def parts_of(split: Split, pair: LanguagePair) -> tuple[Part, ...]:
    """The directions of a split; of a plain one ``pair``, with all of it."""
    return split.parts if isinstance(split, JointSplit) else ((pair, split),)


def one_by_one(parts: Sequence[Part]) -> Split:
    """One direction after the other."""
    if len(parts) == 1:
        return parts[0][1]
    places = [(part, i) for part, (_, own) in enumerate(parts) for i in range(len(own.pairs))]
    return JointSplit.of(parts, places)


def mixed(parts: Sequence[Part], sampling: str) -> Split:
    """The directions mixed, each spread evenly over the whole.

    Args:
        parts: each direction with its pairs.
        sampling: ``proportional`` or ``uniform``, as :func:`mixing`.
    """
    if len(parts) == 1:
        return parts[0][1]
    return JointSplit.of(parts, mixing([len(own.pairs) for _, own in parts], sampling))


def mixing(sizes: Sequence[int], sampling: str) -> list[tuple[int, int]]:
    """Which pair of which direction comes when.

    Args:
        sizes: pairs of each direction.
        sampling: ``proportional``: every pair once, so that a larger direction has a larger share;
            ``uniform``: as many of each as the largest has, smaller ones begun again from the
            front (``interleave_datasets(…, stopping_strategy="all_exhausted")`` of ``datasets``).

    Returns:
        for each place of an epoch's text the number of the direction, and the place there.
    """
    if sampling == "uniform":
        return [(part, i % size) for i in range(max(sizes)) for part, size in enumerate(sizes)]
    spread = [((2 * i + 1) / size, part, i) for part, size in enumerate(sizes) for i in range(size)]
    return [(part, i) for _, part, i in sorted(spread)]


def load_text(config: RunConfig, roles: Sequence[str] = ROLES) -> Corpora:
    """Read the splits of a run of one direction or several.

    Training and dev text have the directions of ``lang``; the test set those of ``test_lang`` too.

    Raises:
        DataError: as :func:`~mt_lottery.data.corpora.load_corpora`; or two directions whose text
            is the very same, from files that do not say which language is which.
        RegistryError: an unknown corpus.
    """
    trained, tested = directions_of(config)
    if len(tested) == 1:
        return load_corpora(config.data, tested[0], roles)
    only_test = [role for role in roles if role == "test"]
    found = {
        pair: load_corpora(config.data, pair, roles if pair in trained else only_test)
        for pair in tested
    }
    of_role: dict[str, list[Part]] = {}
    for pair, corpora in found.items():
        for role in ROLES:
            split: Split | None = getattr(corpora, role)
            if split is not None:
                of_role.setdefault(role, []).append((pair, split))
    for role, parts in of_role.items():
        _refuse_same(role, parts)
    # a direction without a dev set leaves all without: a mean over some would mislead
    dev = of_role.get("dev", [])
    train = mixed(of_role["train"], config.data.sampling) if "train" in of_role else None
    test = one_by_one(of_role["test"]) if "test" in of_role else None
    together = one_by_one(dev) if len(dev) == len(trained) else None
    splits = (train, together, test)
    pairs = (None if split is None else split.pairs for split in splits)
    return Corpora(*splits, *overlap_of(*pairs, targets=True))


def directions_of(config: RunConfig) -> tuple[tuple[LanguagePair, ...], tuple[LanguagePair, ...]]:
    """The directions that a run trains, and those that it tests: the same, and ``test_lang``."""
    trained = parse_pairs(config.lang)
    return trained, (*trained, *(parse_pairs(config.test_lang) if config.test_lang else ()))


def in_direction(config: RunConfig, pair: LanguagePair | str) -> RunConfig:
    """The configuration of a run of several directions for what is done in one of them."""
    return dataclasses.replace(config, lang=str(pair), test_lang=None)


def _refuse_same(role: str, parts: Sequence[Part]) -> None:
    first: dict[str, LanguagePair] = {}
    for pair, split in parts:
        other = first.setdefault(split.sha256, pair)
        if other != pair:
            raise DataError(
                f"{other} and {pair} have the very same {role} text (corpus '{split.name}'): "
                "its files do not say which language is which. For several directions give "
                'JSONL with a key for each language, {"en": …, "ro": …, "es": …}, or a corpus '
                "with a file for each."
            )
