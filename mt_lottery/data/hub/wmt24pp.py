"""The corpus ``wmt24pp``: WMT24++ (Deutsch et al. 2025), English into 55 languages and varieties.

The layout is that of the hub's ``google/wmt24pp``: a file ``en-ro_RO.jsonl`` a target, one record
a line with ``lp``, ``domain``, ``document_id``, ``segment_id``, ``is_bad_source``, ``source``,
``target``, ``original_target``.  The names of files are from the YAML head of its dataset card (a
copy of it, ``synquid/wmt24pp``), the fields from the card and from public programs that read it;
the files themselves could not be looked at.

It is a test set, the same 998 English segments in each file.  Those that are marked
``is_bad_source`` are left out, as its authors advise, and counted; ``data.bad_sources=true`` keeps
them.  Where several varieties of a language are there, ``data.variety`` chooses: by default
``ar_SA``, ``fr_FR``, ``pt_PT``, ``sw_KE``, ``zh_CN``; Spanish is there as ``es_MX`` alone.  From
another language into English the same files are read the other way round: the source is then a
translation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mt_lottery.config import setting
from mt_lottery.data.filters import PairFilter, Report
from mt_lottery.data.hub.corpus import HubCorpus, RepoConfig
from mt_lottery.data.hub.fields import Fields
from mt_lottery.data.text import Pair, listed
from mt_lottery.errors import DataError, nearest
from mt_lottery.languages import Language, LanguagePair, find_language
from mt_lottery.reading import Records
from mt_lottery.registry import register_corpus

POOL = "train"  # the hub's name for the one split
FIRST = ("ar_SA", "fr_FR", "pt_PT", "sw_KE", "zh_CN")
BAD = "is_bad_source"
_FILE = re.compile(r"(?:.*/)?en-([a-z]{2,3}_[A-Z]{2})\.jsonl(?:\.gz)?")


@dataclass
class WMT24ppConfig(RepoConfig):
    """Which files of WMT24++, and which of their segments."""

    repo: str = setting("google/wmt24pp", "repository on the hub, where data.path is not set")
    variety: str | None = setting(
        None, "data=wmt24pp: variety to read (ar_EG, pt_BR, …); that of the language if null"
    )
    bad_sources: bool = setting(False, "data=wmt24pp: keep segments that are marked is_bad_source")


@register_corpus("wmt24pp", dataclass=WMT24ppConfig)
class WMT24pp(HubCorpus):
    """The file of a target language (module docstring)."""

    name = "wmt24pp"
    layout = "en-ro_RO.jsonl, en-de_DE.jsonl, …"
    schema = WMT24ppConfig
    settings: WMT24ppConfig

    def pool(self, role: str) -> str:
        """There is one set of segments: all roles share it."""
        return POOL

    def _file(self, language: Language) -> str:
        """Name of a language's file.

        Raises:
            DataError: there is none.
        """
        names = {m[1]: name for name in self.files("*") if (m := _FILE.fullmatch(name))}
        given = self.settings.variety
        if given is not None and given not in names:
            raise DataError(
                f"data.variety={given}: not in {self.place}.{nearest(given, names)} "
                f"It has: {listed(sorted(names))}."
            )
        found = {variety: find_language(variety) for variety in names}
        same = [v for v, each in found.items() if each == language] or [
            v for v, each in found.items() if each is not None and each.iso3 == language.iso3
        ]
        if given is not None and given not in same:
            raise DataError(
                f"data.variety={given} is no variety of {language.name}. "
                f"There are: {listed(sorted(same))}."
            )
        if given is None and not same:
            have = listed(sorted(names)) if names else f"none. Expected: {self.layout}"
            raise DataError(
                f"The corpus 'wmt24pp' ({self.place}) has no {language.name} "
                f"('{language.code}'). It has: {have}."
            )
        return names[given or next((v for v in FIRST if v in same), sorted(same)[0])]

    def pairs(self, pool: str, pair: LanguagePair) -> tuple[list[Pair], Report]:
        """The segments of a file, without those of a bad source.

        Raises:
            DataError: a direction without English, no such file, other fields.
        """
        english = [language.iso3 == "eng" for language in (pair.source, pair.target)]
        if not any(english):
            raise DataError(f"{pair}: wmt24pp has English on one side, as in en-ro or ro-en.")
        into = pair.target if english[0] else pair.source
        name = self._file(into)
        where = self.where([name])
        records = Records(self.fetch(name), DataError)
        for name in ("source", "target", BAD):
            if not records.has(name):
                raise DataError(
                    f"{where}: no field '{name}'. Its fields are: {listed(records.fields)}."
                )
        texts = ("source", "target") if english[0] else ("target", "source")
        fields = Fields(self.name, where, records, pair, *texts)
        # the flag is read as a "language": the one more field of a record
        fields.languages = [BAD]
        total, bad = 0, 0

        def good() -> Iterator[Pair]:
            nonlocal total, bad
            for (flag,), text in fields.read(records, None):
                total += 1
                if self._flag(flag, where) and not self.settings.bad_sources:
                    bad += 1
                else:
                    yield text

        keep = PairFilter(None)
        kept = keep(good())
        left_out = {} if self.settings.bad_sources else {"bad_source": bad}
        return kept, Report(where, str(pair), total, total, left_out | keep.counts)

    @staticmethod
    def _flag(flag: Any, where: str) -> bool:
        if not isinstance(flag, bool):
            raise DataError(f"{where}: '{BAD}' must be true or false, found {flag!r:.60}.")
        return flag
