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

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from mt_lottery.config import setting
from mt_lottery.data.filters import PairFilter, Report
from mt_lottery.data.hub.corpus import HubConfig, HubCorpus
from mt_lottery.data.hub.fields import Fields
from mt_lottery.data.text import Pair, listed
from mt_lottery.errors import DataError, nearest, plural
from mt_lottery.languages import LanguagePair, named_among
from mt_lottery.reading import Records
from mt_lottery.registry import register_corpus

POOL = "train"  # the one split that the hub makes of such a repository


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


@register_corpus("lego_mt", dataclass=LegoMTConfig)
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
                    f"{nearest(given, names)} There are: {listed(names)}."
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
            f"for {pair}. There are: {listed(names)}."
            + (f" data.language_file={other} reads that of {second.name}." if other else "")
        )

    def pairs(self, pool: str, pair: LanguagePair) -> tuple[list[Pair], Report]:
        """The records of the wanted direction, filtered.

        Raises:
            DataError: no file, other fields than the settings name, or no such record.
        """
        s = self.settings
        name = self._file(pair)
        where = self.where([name])
        records = Records(self.fetch(name), DataError)
        languages = (s.source_lang_field, s.target_lang_field)
        texts = (s.source_field, s.target_field)
        fields = Fields(self.name, where, records, pair, *texts, languages)
        directions: Counter[str] = Counter()
        keep = PairFilter(s)
        kept = keep(fields.of_direction(records, None, directions, "-"))
        available = len(kept) + sum(keep.counts.values())
        if not available:
            common = ", ".join(f"{name} ({n:,})" for name, n in directions.most_common(8))
            raise DataError(
                f"{where}: none of its {plural(directions.total(), 'record')} is {pair}, by the "
                f"fields data.source_lang_field='{s.source_lang_field}' and "
                f"data.target_lang_field='{s.target_lang_field}'. The most frequent there: "
                f"{common or 'none'}. Another file may have some (data.language_file=NAME)."
            )
        return kept, Report(where, str(pair), directions.total(), available, keep.counts)
