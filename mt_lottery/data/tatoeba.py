"""The corpus ``tatoeba``: the Tatoeba Translation Challenge (Tiedemann 2020), from a folder.

Both published layouts are read, wherever in ``data.path`` the folder of the pair is
(``README.md``, ``data/dev/README.md`` and ``data/dev/ara-zho/dev.txt`` of
``Helsinki-NLP/Tatoeba-Challenge``):

- a release's archive: ``eng-ron/train.src.gz``, ``train.trg.gz``, ``train.id.gz`` (corpus, source
  label, target label), ``dev.src``, ``dev.trg``, ``dev.id`` (the two labels), ``test.…``;
- the repository's tables: ``dev/eng-ron/dev.txt``, ``test/eng-ron/test.txt``, four columns with
  tabs between them: source label, target label, source text, target text; no quoting.

A pair's folder is named by two codes of ISO 639-3 in alphabetical order, those of macrolanguages
where there are any (``eng-nor``, ``eng-zho``, ``eng-hbs``), and serves both directions.  Labels
say which language a line is in (``nob``, ``cmn_Hans``, ``srp_Cyrl``): only lines of the wanted
ones are read; all are counted.

Training text is filtered (:mod:`mt_lottery.data.filters`); of dev and test only pairs with an empty
side are left out.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from mt_lottery.config import DataConfig, setting
from mt_lottery.data.filters import (
    CODE,
    FilterConfig,
    PairFilter,
    Report,
    count_label,
    settings_for,
)
from mt_lottery.data.text import Pair, listed, open_folder
from mt_lottery.errors import DataError, plural
from mt_lottery.languages import Language, LanguagePair, names
from mt_lottery.reading import text_lines
from mt_lottery.registry import register_corpus

LAYOUT = (
    "eng-ron/train.src.gz, train.trg.gz, train.id.gz, dev.src, …, or test/eng-ron/test.txt with "
    "four columns"
)
#: ISO 639-3 of a language → that of the macrolanguage that a folder may be named by.
MACRO = {"bos": "hbs", "hrv": "hbs", "srp": "hbs", "nob": "nor", "nno": "nor", "yue": "zho"}
MACRO |= {"azj": "aze", "ckb": "kur", "kmr": "kur", "ind": "msa", "mey": "ara", "npi": "nep"}
MACRO |= {"ory": "ori", "prs": "fas", "swh": "swa"}

Labelled = tuple[str, str, str, str]  # source label, target label, source text, target text


@dataclass
class TatoebaConfig(FilterConfig):
    """How much of the Tatoeba Challenge is read, and its filters."""

    max_records: int | None = setting(
        1_000_000, "records read of a split, from the front; null for all", ge=1
    )


labelled = lru_cache(maxsize=4096)(names)  # "nob" is Norwegian, "cmn_Hani" Chinese


@register_corpus("tatoeba", dataclass=TatoebaConfig)
class Tatoeba:
    """The folders of one release, or tables (module docstring)."""

    def __init__(self, path: str | None, config: DataConfig) -> None:
        self._path = path
        self._settings = settings_for(config, TatoebaConfig)
        self._reports: dict[str, Report] = {}

    @cached_property
    def root(self) -> Path:
        """The folder that ``data.path`` names.

        Raises:
            DataError: none is given, or there is none.
        """
        if not self._path:
            raise DataError(
                "The corpus 'tatoeba' needs the folder that holds it: data.path=FOLDER "
                f"(data.dev_path, data.test_path for one role). Expected there: {LAYOUT}."
            )
        folder = open_folder(self._path, f"The corpus 'tatoeba' expects there: {LAYOUT}.")
        return Path(os.path.realpath(folder))

    def pool(self, role: str) -> str:
        """Each role has files of its own."""
        return role

    def report(self, pool: str) -> Report | None:
        """The counts of a pool that was read."""
        return self._reports.get(pool)

    @cached_property
    def _folders(self) -> dict[str, list[Path]]:
        """A pair's name → the folders that are called so."""
        found: dict[str, list[Path]] = {}
        for folder in [self.root, *sorted(p for p in self.root.rglob("*-*") if p.is_dir())]:
            one, dash, other = folder.name.partition("-")
            if dash and len(one) == len(other) == 3:
                found.setdefault(folder.name, []).append(folder)
        return found

    def _files(self, pair: LanguagePair, pool: str) -> tuple[list[Path], bool]:
        """The files of a split (one table, or source, target and labels), and whether turned round.

        Raises:
            DataError: no such pair, or no such split of it.
        """
        sides = [_codes(language) for language in (pair.source, pair.target)]
        asked = [("-".join(sorted(two)), two) for two in itertools.product(*sides)]
        there = [(name, two) for name, two in asked if name in self._folders]
        if not there:
            raise DataError(
                f"The corpus 'tatoeba' ({self.root}) has no folder {asked[0][0]} for {pair}. "
                f"There are: {listed(sorted(self._folders))}. Expected: {LAYOUT}."
            )
        splits = set()
        for name, two in there:
            for folder in self._folders[name]:
                inside = {p.name: p for p in sorted(folder.iterdir())}
                splits |= {p.partition(".")[0] for p in inside if p.endswith((".txt", ".src"))}
                splits |= {"train"} & {p.partition(".")[0] for p in inside}
                for ending in ("", ".gz"):
                    three = [f"{pool}.{kind}{ending}" for kind in ("src", "trg", "id")]
                    if three[0] in inside:
                        if lacking := [each for each in three if each not in inside]:
                            raise DataError(f"{folder}: no {lacking[0]} beside {three[0]}.")
                        return [inside[each] for each in three], two[0] > two[1]
                if f"{pool}.txt" in inside:
                    return [inside[f"{pool}.txt"]], two[0] > two[1]
        raise DataError(
            f"{self._folders[there[0][0]][0]}: no {pool} split for {pair}. "
            f"There are: {listed(sorted(splits))}. Expected: {LAYOUT}."
            + ("" if pool == "train" else f" Read {pool} from another corpus: data.{pool}=NAME.")
        )

    def read(self, pool: str, pair: LanguagePair) -> list[Pair]:
        """The lines that are in both languages; filtered if it is the training split.

        Raises:
            DataError: a pair or split that is not there, damaged files, or no line of the pair.
        """
        files, turned = self._files(pair, pool)
        most = self._settings.max_records
        rows = _table(files[0]) if len(files) == 1 else _three(*files)
        labels: Counter[str] = Counter()

        def wanted() -> Iterator[Pair]:
            for one, other, *texts in itertools.islice(rows, most):
                count_label(labels, f"{one} to {other}")
                two = (other, one) if turned else (one, other)
                if labelled(two[0], pair.source) and labelled(two[1], pair.target):
                    yield Pair(*(texts[::-1] if turned else texts))

        keep = PairFilter(self._settings if pool == "train" else None)
        kept = keep(wanted())
        where = str(files[0]) + (
            f", the first {plural(most, 'line')}" if labels.total() == most else ""
        )
        available = len(kept) + sum(keep.counts.values())
        if not available:
            common = ", ".join(f"{name} ({n:,})" for name, n in labels.most_common(8))
            raise DataError(
                f"{where}: none of its {plural(labels.total(), 'line')} is {pair}, by their "
                f"labels. The most frequent there: {common or 'none'}."
            )
        self._reports[pool] = Report(where, str(pair), labels.total(), available, keep.counts)
        if not kept:
            raise DataError(f"{self._reports[pool]} Nothing is left: change data's filters.")
        return kept


def _codes(language: Language) -> list[str]:
    """ISO 639-3 codes of a language that a folder may be named by, its own first."""
    return list(dict.fromkeys([language.iso3, MACRO.get(language.iso3, language.iso3)]))


def _table(path: Path) -> Iterator[Labelled]:
    for number, line in text_lines(path, DataError):
        cells = line.rstrip("\r").split("\t")
        if len(cells) != 4:
            raise DataError(
                f"{path}:{number}: 4 columns with tabs between them are needed (two labels, two "
                f"texts), found {len(cells)}."
            )
        yield cells[0][:CODE], cells[1][:CODE], cells[2], cells[3]


def _three(source: Path, target: Path, labels: Path) -> Iterator[Labelled]:
    sides = [text_lines(path, DataError) for path in (source, target, labels)]
    for both in itertools.zip_longest(*sides):
        if None in both:
            number = next(each[0] for each in both if each is not None)
            ended = (source, target, labels)[both.index(None)]
            raise DataError(f"{ended}: it ends before line {number}, which the others have.")
        (number, text), (_, translation), (_, named) = both
        cells = named.rstrip("\r").split("\t")
        if len(cells) < 2:
            raise DataError(f"{labels}:{number}: two labels are needed, found {named[:60]!r}.")
        yield cells[-2][:CODE], cells[-1][:CODE], text.rstrip("\r"), translation.rstrip("\r")
