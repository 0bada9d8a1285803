"""The corpus ``lego_mt``: the hub's ``Lego-MT/Parallel_Dataset`` (Yuan et al. 2025).

One JSON Lines file a language (``ca.jsonl``), each with about 10,000 pairs
between that language and *many* others, in both directions; a replication
counted 935 from English to Catalan.  Only records of the wanted direction are
taken, from one file: that of the language that is not English (of the target,
where neither or both are), or ``data.language_file``.  How many there are is
printed and kept in the record; nothing is filled up from elsewhere.

The file's fields are settings.  Their defaults are the usual names (``src``,
``tgt``, ``src_lang``, ``tgt_lang``): the repository's page does not name them.
All roles share the file, in disjoint blocks (:mod:`mt_lottery.data.blocks`).
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mt_lottery.config import setting
from mt_lottery.data.filters import PairFilter, Report
from mt_lottery.data.hub.datasets import NEEDS, HubConfig, HubCorpus, batches, check_fields, text_of
from mt_lottery.data.text import Pair
from mt_lottery.errors import ConfigError, DataError, nearest
from mt_lottery.languages import Language, LanguagePair, find_language, named_among, parse_pair
from mt_lottery.registry import register_corpus

POOL = "train"  # the one split that `datasets` makes of such a repository


@dataclass
class LegoMTConfig(HubConfig):
    """Where the fields of ``lego_mt`` are named, and its filters."""

    repo: str = setting(
        "Lego-MT/Parallel_Dataset", "repository on the hub, where data.path is not set"
    )
    language_file: str | None = setting(
        None, "file to read; that of the language that is not English if null (ca.jsonl)"
    )
    source_field: str = setting("src", "field with the source text")
    target_field: str = setting("tgt", "field with the target text")
    source_lang_field: str = setting("src_lang", "field with the source language")
    target_lang_field: str = setting(
        "tgt_lang", "field with the target language; the same field twice holds both (en-ca)"
    )


_language = functools.lru_cache(maxsize=4096)(find_language)


@functools.lru_cache(maxsize=4096)
def direction(source: str, target: str | None) -> tuple[Language | None, Language | None]:
    """The languages of a record; ``target`` is None where ``source`` names both."""
    if target is not None:
        return _language(source), _language(target)
    try:
        pair = parse_pair(re.sub(r"\s*(?:->|→|>|_to_|(?<=[a-z])2(?=[a-z]))\s*", "-", source))
    except ConfigError:
        return None, None
    return pair.source, pair.target


@register_corpus("lego_mt", dataclass=LegoMTConfig, needs=NEEDS)
class LegoMT(HubCorpus):
    """Pairs of one direction out of a language's file (module docstring)."""

    name = "lego_mt"
    layout = "one file a language: ca.jsonl, ro.jsonl, …"
    schema = LegoMTConfig
    settings: LegoMTConfig

    def pool(self, role: str) -> str:
        """There is one file: all roles share it."""
        return POOL

    def _file(self, pair: LanguagePair) -> str:
        """Name of the file to read.

        Raises:
            DataError: there is none.
        """
        # English has a file too, but of all languages' pairs: the other one's holds more of them
        first, second = sorted((pair.target, pair.source), key=lambda x: x.iso3 == "eng")
        given = self.settings.language_file
        names = self.files(given or f"{first.code}.jsonl")
        if given is not None:
            if given not in names:
                raise DataError(
                    f"data.language_file={given}: no such file in {self.place}."
                    f"{nearest(given, names)} There are: {_listed(names)}."
                )
            return given
        stems = {PurePosixPath(n).stem: n for n in sorted(names, key=lambda n: -len(n))}
        stem = named_among(first, stems)
        if stem is not None:
            return stems[stem]
        # not read by itself, where only a part was downloaded: it holds other pairs
        other = stems.get(named_among(second, stems) or "")
        raise DataError(
            f"The corpus 'lego_mt' ({self.place}) has no file of {first.name} ({first.code}.jsonl) "
            f"for {pair}. There are: {_listed(names)}."
            + (f" data.language_file={other} reads that of {second.name}." if other else "")
        )

    def pairs(self, pool: str, pair: LanguagePair) -> tuple[list[Pair], Report]:
        """The records of the wanted direction, filtered.

        Raises:
            DataError: no file, other fields than the settings name, or no such record.
        """
        name = self._file(pair)
        dataset, where = self.load([name], name, data_files=name, split="train")
        fields = ("source_field", "target_field", "source_lang_field", "target_lang_field")
        named = {f"data.{key}": getattr(self.settings, key) for key in fields}
        check_fields(self.name, where, dataset, named)
        directions: Counter[str] = Counter()
        wanted = list(self._wanted(dataset, where, pair, directions))
        if not wanted:
            common = ", ".join(f"{name} ({n:,})" for name, n in directions.most_common(8))
            raise DataError(
                f"{where}: none of its {len(dataset):,} records is {pair}, by the fields "
                f"data.source_lang_field='{self.settings.source_lang_field}' and "
                f"data.target_lang_field='{self.settings.target_lang_field}'. "
                f"The most frequent there: {common or 'none'}. Another file may have some "
                "(data.language_file=NAME)."
            )
        keep = PairFilter(self.settings)
        kept = keep(wanted)
        return kept, Report(where, str(pair), len(dataset), len(wanted), keep.counts)

    def _wanted(
        self, dataset: Any, where: str, pair: LanguagePair, directions: Counter[str]
    ) -> Iterator[Pair]:
        """The records of one direction; all directions are counted."""
        s = self.settings
        one_field = s.source_lang_field == s.target_lang_field
        for batch in batches(dataset, where):
            languages = batch[s.source_lang_field], batch[s.target_lang_field]
            texts = batch[s.source_field], batch[s.target_field]
            for source, target, text, translation in zip(*languages, *texts, strict=True):
                both = str(source), None if one_field else str(target)
                directions[both[0] if both[1] is None else f"{both[0]}-{both[1]}"] += 1
                if direction(*both) == (pair.source, pair.target):
                    yield Pair(
                        text_of(text, s.source_field, where),
                        text_of(translation, s.target_field, where),
                    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:40])
    return (f"{shown}, … ({len(names)} files)" if len(names) > 40 else shown) or "none"
