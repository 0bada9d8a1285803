"""The corpus ``opus100``: the hub's ``Helsinki-NLP/opus-100`` (Zhang et al. 2020).

A subset a pair, named by its two codes in alphabetical order (``ca-en`` for
either direction), each with a train, a validation and a test split: training
reads the first, dev the second, the test the third.  Nearly all pairs are with
English.  The filters apply to the training text; a published test set is left
as it is, but for pairs with an empty side, which no score can use.

Norwegian: ``no`` reads ``en-no``, a million pairs of Norwegian whose form is
not labelled.  ``data.subset=en-nb`` reads the 142,906 that are labelled Bokmål;
Nynorsk (``en-nn``) is the language ``nn``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from mt_lottery.config import setting
from mt_lottery.data.filters import PairFilter, Report
from mt_lottery.data.hub.corpus import HubConfig, HubCorpus
from mt_lottery.data.hub.fields import Fields, shorten, what_is_there
from mt_lottery.data.text import Pair
from mt_lottery.errors import DataError, nearest
from mt_lottery.languages import Language, LanguagePair, named_among
from mt_lottery.reading import Records, format_of
from mt_lottery.reading.records import FORMATS
from mt_lottery.registry import register_corpus

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
FIELD = "translation"
_SPLIT = re.compile(rf"(?:^|[/_-])({'|'.join(SPLITS.values())})(?=[/_.-])")
_SUBSET = re.compile(r"[a-z]{2,3}-[a-z]{2,3}")


@dataclass
class Opus100Config(HubConfig):
    """Which subset of ``opus100``, and its filters."""

    repo: str = setting(
        "Helsinki-NLP/opus-100", "repository on the hub, where data.path is not set"
    )
    subset: str | None = setting(
        None, "subset to read; the two codes in alphabetical order if null (ca-en)"
    )


@register_corpus("opus100", dataclass=Opus100Config)
class Opus100(HubCorpus):
    """A subset's splits (module docstring)."""

    name = "opus100"
    layout = (
        "a folder a pair, its codes in alphabetical order: ca-en/train-00000-of-00001.parquet, "
        "ca-en/validation-…, ca-en/test-…"
    )
    schema = Opus100Config
    settings: Opus100Config

    def pool(self, role: str) -> str:
        """Each role has a split of its own."""
        return SPLITS[role]

    def _subset(self, pair: LanguagePair, names: list[str]) -> str:
        """Name of the subset to read.

        Raises:
            DataError: there is none for this pair.
        """
        usual, given = _usual(pair), self.settings.subset
        found = {PurePosixPath(name).parts[0] for name in names}
        have = sorted(name for name in found if _SUBSET.fullmatch(name))
        if (given or usual) in have:
            return given or usual
        asked = f"data.subset={given}" if given else f"{pair}: {usual}"
        shown = ", ".join(have) or f"none. Expected: {self.layout}"
        # not taken by itself where codes differ: en-nb is no part of en-no
        raise DataError(
            f"The corpus 'opus100' ({self.place}) has no subset for {asked}."
            f"{nearest(given or usual, have)} There are: {shown}. data.subset=NAME chooses one."
        )

    def pairs(self, pool: str, pair: LanguagePair) -> tuple[list[Pair], Report]:
        """All rows of a split; filtered if it is the training split.

        Raises:
            DataError: no such subset or split, one that is incomplete, or rows of another kind.
        """
        names = self.files(f"{self.settings.subset or _usual(pair)}/*")
        subset = self._subset(pair, names)
        files = self._files_of(subset, pool, names)
        training = pool == SPLITS["train"]
        notes = self.incomplete(pool, files, names, training)
        keep = PairFilter(self.settings if training else None)
        kept = keep(text for name in files for text in self._rows(name, pair))
        where = self.where(files) if self.local else f"{self._repository} ({subset}, {pool})"
        rows = len(kept) + sum(keep.counts.values())
        return kept, Report(where, str(pair), rows, rows, keep.counts, tuple(notes))

    def _rows(self, name: str, pair: LanguagePair) -> Iterable[Pair]:
        records, where = Records(self.fetch(name), DataError), self.where([name])
        if not records.first:  # a shard without rows
            return ()
        if FIELD not in records.first:
            raise DataError(f"{where}: no field '{FIELD}'. {what_is_there(records)}")
        texts = records.first[FIELD]
        if not isinstance(texts, dict):
            raise DataError(
                f"{where}: '{FIELD}' must hold an object of language codes and texts, "
                f"found {type(texts).__name__}: {str(texts)[:60]}."
            )
        source, target = (
            f"{FIELD}.{_key(texts, side, where)}" for side in (pair.source, pair.target)
        )
        fields = Fields(self.name, where, records, pair, source, target)
        return (text for _, text in fields.read(records, None))

    def _files_of(self, subset: str, split: str, names: list[str]) -> list[str]:
        """The files of a split.

        Raises:
            DataError: there are none.
        """
        by_split: dict[str, list[str]] = {}
        for name in names:
            folder, _, rest = name.partition("/")
            matched = _SPLIT.search(rest) if folder == subset else None
            if matched:
                by_split.setdefault(matched[1], []).append(name)
        found = by_split.get(split, [])
        for kind in FORMATS:  # the hub's Parquet first, where both lie there
            if same := [name for name in found if format_of(name) == kind]:
                return same
        role = next(role for role, name in SPLITS.items() if name == split)
        ways = [] if role == "train" else [f"Read {role} from another corpus: data.{role}=NAME."]
        if self.local is not None:  # a part of the repository, maybe
            whole = self.download(f"{subset}/*", str(self.folder or "FOLDER"))
            ways.insert(0, f"To download what the hub has of it: {whole}.")
        raise DataError(
            f"{self.place}/{subset}: no {split} split, which {role} reads. There are: "
            f"{', '.join(sorted(by_split)) or 'none'}. {' '.join(ways)}".rstrip()
        )


def _usual(pair: LanguagePair) -> str:
    """A subset's name: the two codes in alphabetical order."""
    return "-".join(sorted((pair.source.code, pair.target.code)))


def _key(row: Mapping[str, object], language: Language, where: str) -> str:
    key = named_among(language, row)
    if key is not None:
        return key
    raise DataError(
        f"{where}: no text in {language.name} ('{language.code}'). "
        f"The keys of '{FIELD}' are: {', '.join(row) or 'none'}. Its first record: {shorten(row)}."
    )
