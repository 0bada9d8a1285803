"""The corpora ``flores200`` and ``flores_plus``: a file a language, dev and devtest.

``flores200`` (NLLB Team 2022) is read from the folder of the published archive
(``flores200_dataset/dev/ron_Latn.dev``, ``devtest/ron_Latn.devtest``; ``README`` of
``facebookresearch/flores``) or from the hub's ``facebook/flores``
(``ron_Latn/dev-00000-of-00001.parquet``, fields ``id`` and ``sentence``; its commit 994d4cd).

``flores_plus`` is what the Open Language Data Initiative makes of it: the hub's
``openlanguagedata/flores_plus`` (``dev/ron_Latn.parquet`` or ``dev/ron_Latn.jsonl``, fields ``id``
and ``text`` among others; as public programs read them, for the repository itself is gated) or
the archives of its releases (``dev/dev.ron_Latn``).  It has other codes: ``cmn_Hans`` for
``zho_Hans``, ``fil_Latn`` for ``tgl_Latn``, ``ekk_Latn`` for ``est_Latn`` (``CHANGELOG`` of
``openlanguagedata/flores``).

Training and dev text are disjoint blocks of dev; the test is devtest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mt_lottery.config import setting
from mt_lottery.data.filters import PairFilter, Report
from mt_lottery.data.hub.corpus import HubCorpus, RepoConfig
from mt_lottery.data.text import Pair, listed
from mt_lottery.errors import DataError, plural
from mt_lottery.languages import Language, LanguagePair, named_among, nearest_code
from mt_lottery.reading import Records, format_of, text_lines
from mt_lottery.registry import register_corpus

_CODE = r"(?P<code>[a-z]{3}_[A-Z][a-z]{3}(?:_[a-z]+\d+)?)"
_SPLIT = r"(?P<split>dev|devtest)"


@dataclass
class Flores200Config(RepoConfig):
    """Where Flores-200 is."""

    repo: str = setting("facebook/flores", "repository on the hub, where data.path is not set")


@dataclass
class FloresPlusConfig(RepoConfig):
    """Where Flores+ is."""

    repo: str = setting(
        "openlanguagedata/flores_plus", "repository on the hub, where data.path is not set"
    )


class Flores(HubCorpus):
    """The files of two languages, joined line by line or by ``id``.

    Attributes:
        names: how files are called, with groups ``split`` and ``code``; the first that fits counts.
        field: with the text, where the file has fields.
    """

    names: tuple[str, ...] = ()
    field = ""

    def pool(self, role: str) -> str:
        """The published test set is kept for the test."""
        return "devtest" if role == "test" else "dev"

    def reads(self, name: str) -> bool:
        """Files of a language's split, in one of the layouts."""
        return any(re.fullmatch(f"(?:.*/)?{each}", name) for each in self.names)

    def pairs(self, pool: str, pair: LanguagePair) -> tuple[list[Pair], Report]:
        """The sentences of two languages.

        Raises:
            DataError: a language or split that is not there, damaged files, or files whose
                sentences do not go together.
        """
        files = self._files(pool)
        chosen = [
            self._file(language, files, pool, pair) for language in (pair.source, pair.target)
        ]
        source, target = (self._sentences(name) for name in chosen)
        where = " and ".join(self.where([name]) for name in chosen)
        if source.keys() != target.keys():
            alone = next(iter(source.keys() ^ target.keys()))
            raise DataError(
                f"{where}: {len(source):,} and {plural(len(target), 'sentence')}; the one with id "
                f"{alone} is in one of them alone."
            )
        keep = PairFilter(None)
        kept = keep(Pair(text, target[key]) for key, text in source.items())
        return kept, Report(where, str(pair), len(source), len(source), keep.counts)

    def _files(self, pool: str) -> dict[str, str]:
        """The corpus's code → file, of a split."""
        found = self.files(f"*{pool}*")
        for layout in self.names:
            matched = [(m, n) for n in found if (m := re.fullmatch(f"(?:.*/)?{layout}", n))]
            if files := {m["code"]: name for m, name in matched if m["split"] == pool}:
                return files
        raise DataError(f"{self.place}: no split '{pool}' here. Expected: {self.layout}.")

    def _file(
        self, language: Language, files: dict[str, str], pool: str, pair: LanguagePair
    ) -> str:
        # arb_Arab before arb_Latn, which is Arabic too, but romanised
        code = named_among(language, sorted(files))
        if code is None:
            hint = nearest_code(language, language.iso3, files)
            raise DataError(
                f"The corpus '{self.name}' ({self.place}) has no {language.name} "
                f"('{language.code}') for {pair} in '{pool}'.{hint} "
                f"It has: {listed(sorted(files))}. Expected layout: {self.layout}."
            )
        return files[code]

    def _sentences(self, name: str) -> dict[Any, str]:
        """Id (or number of the line) → sentence."""
        path = self.fetch(name)
        if format_of(name) is None:
            return {number: line.rstrip() for number, line in text_lines(path, DataError)}
        records = Records(path, DataError)
        for field in ("id", self.field):
            if not records.has(field):
                raise DataError(
                    f"{self.where([name])}: no field '{field}'. "
                    f"Its fields are: {listed(records.fields)}."
                )
        found: dict[Any, str] = {}
        for where, (key, text) in records.read(["id", self.field]):
            if not isinstance(text, str | None) or not isinstance(key, (int, str)) or key in found:
                raise DataError(
                    f"{where}: an id of its own and a text are needed, found {key!r:.40} and "
                    f"{text!r:.60}."
                )
            found[key] = text or ""
        return found


@register_corpus("flores200", dataclass=Flores200Config)
class Flores200(Flores):
    """Flores-200, from the archive or the hub."""

    name = "flores200"
    layout = "dev/ron_Latn.dev and devtest/ron_Latn.devtest, or ron_Latn/dev-00000-of-00001.parquet"
    schema = Flores200Config
    field = "sentence"
    names = (
        rf"{_SPLIT}/{_CODE}\.(?P=split)",
        rf"{_CODE}/{_SPLIT}-00000-of-00001\.parquet",
    )


@register_corpus("flores_plus", dataclass=FloresPlusConfig)
class FloresPlus(Flores):
    """Flores+, from the hub or the archive of a release."""

    name = "flores_plus"
    layout = "dev/ron_Latn.parquet (or .jsonl) and devtest/ron_Latn.parquet, or dev/dev.ron_Latn"
    schema = FloresPlusConfig
    field = "text"
    names = (
        rf"{_SPLIT}/{_CODE}\.parquet",
        rf"{_SPLIT}/{_CODE}\.jsonl",
        rf"{_SPLIT}/(?P=split)\.{_CODE}",
    )
