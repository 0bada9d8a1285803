"""The corpus ``hub``: any data set of the Hugging Face hub, or a folder in its layout.

``data.path`` is a hub id (``owner/name``) or a folder with a copy of a repository, or of a part of
it.  Parquet, JSON Lines and CSV are read; a repository that has nothing but a script (as some of
the hub's oldest) is refused, for none is ever run.

- *Configuration* (``data.config``): the only one, ``default``, or the one that is named by both
  languages, in their own order or turned round (:mod:`~mt_lottery.data.hub.layout`).
- *Split* (``data.split.train``, ``dev``, ``test``): ``train``; ``validation``, ``dev``, …;
  ``test``, ``devtest``.  A role without a split of its own has a block of the training split
  (:mod:`mt_lottery.data.blocks`).
- *Fields* (``data.source_field``, ``data.target_field``; ``translation.en`` is a field within
  another): ``source`` and ``target``, ``translation`` with the two codes, or columns named by them.
- *Direction* (``data.source_lang_field``, ``data.target_lang_field``; the same twice holds both,
  ``en-ro``): where they are given, only records of the wanted direction are read.

Training text is filtered (:mod:`mt_lottery.data.filters`); of a published dev or test split only
pairs with an empty side are left out.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mt_lottery.config import DataConfig, setting
from mt_lottery.data.filters import PairFilter, Report
from mt_lottery.data.hub.corpus import HubConfig, HubCorpus
from mt_lottery.data.hub.fields import Fields
from mt_lottery.data.hub.layout import (
    DEFAULT,
    Layout,
    absent_of,
    config_for,
    layout_of,
    unread_of,
)
from mt_lottery.data.text import Pair, listed
from mt_lottery.errors import DataError, nearest, plural
from mt_lottery.languages import LanguagePair
from mt_lottery.reading import Records, front_matter, read_text
from mt_lottery.registry import register_corpus

USUAL = {
    "train": ("train",),
    "dev": ("validation", "dev", "valid", "val"),
    "test": ("test", "devtest"),
}
HEAD = "README.md"
README = 8 << 20  # bytes; the hub itself takes less
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass
class SplitsConfig:
    """Which split of the data set each role reads."""

    train: str | None = setting(None, "split for training; train if null")
    dev: str | None = setting(None, "split for the dev set; validation, dev, … if null")
    test: str | None = setting(None, "split for the test; test, devtest if null")


@dataclass
class AnyDatasetConfig(HubConfig):
    """What is read of a data set of the hub (``data.path=OWNER/NAME`` or a folder)."""

    config: str | None = setting(None, "configuration (subset); that of the two languages if null")
    split: SplitsConfig = field(default_factory=SplitsConfig)
    source_field: str | None = setting(
        None, "field with the source text; one within another: translation.en"
    )
    target_field: str | None = setting(None, "field with the target text")
    source_lang_field: str | None = setting(None, "field with the source language, if there is one")
    target_lang_field: str | None = setting(
        None, "field with the target language; the same field twice holds both (en-ro)"
    )
    max_records: int | None = setting(
        1_000_000, "records read of a split, from the front; null for all", ge=1
    )


@register_corpus("hub", dataclass=AnyDatasetConfig)
class AnyDataset(HubCorpus):
    """A data set whose layout its files and its settings say (module docstring)."""

    name = "hub"
    layout = "Parquet, JSON Lines or CSV files, as in a repository of the hub"
    schema = AnyDatasetConfig
    settings: AnyDatasetConfig

    def __init__(self, path: str | None, config: DataConfig) -> None:
        super().__init__(path, config)
        if path and not os.path.exists(path) and _REPO.fullmatch(path):
            self.settings = dataclasses.replace(self.settings, repo=path)
            self._path = None
            self.repo_key = "data.path"
        self._roles: dict[str, set[str]] = {}  # split → the roles that read it

    @property
    def root(self) -> str:
        """The folder, else the repository and its revision.

        Raises:
            DataError: neither is given, or no such folder.
        """
        if not self._path and not self.settings.repo:
            raise DataError(
                "data=hub needs a data set: data.path=OWNER/NAME of the hub, or a folder with a "
                "copy of one (data.dev_path, data.test_path for one role)."
            )
        return super().root

    def reads(self, name: str) -> bool:
        """Parquet, JSON and CSV, and the description of the data set."""
        return name == HEAD or super().reads(name)

    @cached_property
    def _names(self) -> list[str]:
        wanted = self.settings.config
        return self.files(f"{wanted}/*" if wanted else "*")

    @cached_property
    def _head(self) -> dict[str, Any]:
        """The YAML head of the README; empty if there is none.

        Raises:
            DataError: it is no YAML, or too long.
        """
        if HEAD not in self._names:
            return {}
        readme = self.fetch(HEAD)
        return front_matter(read_text(readme, DataError, limit=README), str(readme), DataError)

    @cached_property
    def _texts(self) -> list[str]:
        return [name for name in self._names if name != HEAD]

    @cached_property
    def _absent(self) -> Layout:
        return absent_of(self._texts, self._head)

    @cached_property
    def _layout(self) -> Layout:
        if not self._texts:
            raise DataError(
                f"{self.place}: no file that can be read. Expected: {self.layout}. "
                "What only a script of the repository makes is not read: none is run."
            )
        return layout_of(self._texts, self._head)

    def _split(self, role: str) -> str:
        """Name of the split of a role.

        Raises:
            DataError: one that is named is not there.
        """
        given = getattr(self.settings.split, role)
        config = self.settings.config
        layout = {config: self._layout[config]} if config in self._layout else self._layout
        have = list(dict.fromkeys(split for splits in layout.values() for split in splits))
        if given is not None and given not in have:
            self._refuse_absent([given], self._candidates, [role])
            raise DataError(
                f"data.split.{role}={given}: no such split in {self.place}."
                f"{nearest(given, have)} There are: {listed(have)}."
            )
        return given or next((name for name in USUAL[role] if name in have), "")

    @property
    def _candidates(self) -> list[str]:
        """Configurations that may be the one to read; the languages are not known yet."""
        given = self.settings.config
        return [given] if given else list(self._layout or self._absent)

    def _refuse_absent(
        self, splits: Sequence[str], configs: Sequence[str], roles: Iterable[str]
    ) -> None:
        """Refuse a split that the README declares and that has no files.

        Args:
            splits, configs: what is looked for.
            roles: who would read it.

        Raises:
            DataError: files of one of these splits are not there.
        """
        for split in splits:
            found = [p for c in configs for p in self._absent.get(c, {}).get(split, ())]
            if not found:
                continue
            patterns = list(dict.fromkeys(found))
            ways = [
                f" Or read {role} from another corpus (data.{role}=NAME) or split "
                f"(data.split.{role}=SPLIT; train: a block of the training text)."
                for role in roles
                if role != "train"
            ]
            raise DataError(
                f"{self.place}: {HEAD} names files of the split '{split}' that are not there, or "
                f"are none of Parquet, JSON Lines and CSV: {listed(patterns)}."
                f"{self.to_download(patterns)}{''.join(ways)}"
            )

    def pool(self, role: str) -> str:
        """The split of a role; that of the training text where it has none of its own.

        Raises:
            DataError: there is no such split, none that a training text is read from, or only a
                README that declares it.
        """
        found = self._split(role)
        if not found:
            self._refuse_absent(USUAL[role], self._candidates, [role])
            found = self._split("train")
        if not found:
            have = dict.fromkeys(split for splits in self._layout.values() for split in splits)
            raise DataError(
                f"{self.place}: no split for {role}. There are: {listed(list(have))}. "
                f"Name one: data.split.{role}=SPLIT."
            )
        self._roles.setdefault(found, set()).add(role)
        return found

    def _config(self, pair: LanguagePair) -> str:
        """The configuration to read.

        Raises:
            DataError: there is none for this pair.
        """
        given, have = self.settings.config, sorted(self._layout)
        if given is not None and given not in have:
            self._refuse_absent(list(self._absent.get(given, ())), [given], ())
            raise DataError(
                f"data.config={given}: no such configuration in {self.place}."
                f"{nearest(given, have)} There are: {listed(have)}."
            )
        found = [given] if given else config_for(pair, have)
        if not found and (DEFAULT in have or len(have) == 1):
            found = [DEFAULT if DEFAULT in have else have[0]]
        if not found:
            raise DataError(
                f"{self.place}: none of its configurations is named {pair}. "
                f"There are: {listed(have)}. data.config=NAME chooses one."
            )
        return found[0]

    def pairs(self, pool: str, pair: LanguagePair) -> tuple[list[Pair], Report]:
        """The records of a split that are in the wanted direction; filtered if it is for training.

        Raises:
            DataError: no such configuration or split, other fields, damaged files.
        """
        s = self.settings
        config = self._config(pair)
        roles = self._roles.get(pool, set())
        names = self._layout[config].get(pool)
        absent = self._absent.get(config, {}).get(pool)
        partial = bool(absent and names) and "train" in roles
        if not partial:
            self._refuse_absent([pool], [config], () if "train" in roles else sorted(roles))
        if not names:
            raise DataError(
                f"{self.place}: the configuration '{config}' has no split '{pool}'. "
                f"There are: {listed(list(self._layout[config]))}. For dev or test, another corpus "
                "can be read: data.dev=NAME, data.test=NAME."
            )
        notes = self.incomplete(pool, names, self._names, "train" in self._roles.get(pool, ()))
        if partial and absent:
            notes.append(
                f"Warning: {self.place}: {HEAD} names files of the split '{pool}' that are not "
                f"there: {listed(absent)}. The others are read.{self.to_download(absent)}"
            )
        if unread := unread_of(self._texts, self._head):
            first = next(found[0] for found in self._layout[config].values())
            notes.append(
                f"{self.place}: not read: {listed(unread)}. The splits are files such as {first}."
            )
        where = self.where(names)
        languages = (s.source_lang_field, s.target_lang_field)
        counts: Counter[str] = Counter()

        def wanted() -> Iterator[Pair]:
            fields: Fields | None = None
            for name in names:
                left = None if s.max_records is None else s.max_records - counts.total()
                if left == 0:
                    return
                records = Records(self.fetch(name), DataError)
                if not records.first:  # a shard without rows
                    continue
                place = self.where([name])
                fields = fields or Fields(
                    self.name, place, records, pair, s.source_field, s.target_field, languages
                )
                yield from fields.of_direction(records, left, counts, " to ")

        # a pool that the training split is read from is training text for every role
        keep = PairFilter(s if pool == self._split("train") else None)
        kept = keep(wanted())
        if counts.total() == s.max_records:
            where += f", the first {plural(s.max_records, 'record')}"
        available = len(kept) + sum(keep.counts.values())
        if counts.total() and not available:
            common = ", ".join(f"{name} ({n:,})" for name, n in counts.most_common(8))
            raise DataError(
                f"{where}: none of its {plural(counts.total(), 'record')} is {pair}, by "
                f"data.source_lang_field={languages[0]} and data.target_lang_field={languages[1]}. "
                f"The most frequent there: {common}."
            )
        counted = (counts.total(), available, keep.counts)
        return kept, Report(where, str(pair), *counted, tuple(notes))
