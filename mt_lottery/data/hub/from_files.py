"""A data set of the hub as files, which our own readers read: without ``datasets``, without a copy.

:class:`FileCorpus` finds the files and brings those that are needed; :class:`Fields` says what
of a record is the source, the target, and the direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mt_lottery.data.files import fields_with_texts, sides_of
from mt_lottery.data.hub.access import check_regular_data, gated, root_cause
from mt_lottery.data.hub.datasets import HubCorpus, shorten
from mt_lottery.data.text import Pair, listed
from mt_lottery.errors import DataError, nearest
from mt_lottery.languages import LanguagePair
from mt_lottery.reading import LONGEST, Records, format_of


class FileCorpus(HubCorpus):
    """A repository of the hub whose files are read one by one."""

    def reads(self, name: str) -> bool:
        """Parquet, JSON and CSV."""
        return format_of(name) is not None

    def fetch(self, name: str) -> Path:
        """A file of the folder, or of the hub: downloaded, or from its local cache.

        Raises:
            DataError: it cannot be had, is empty, or a pointer of git-lfs.
        """
        path = self.local / name if self.local is not None else self._download(name)
        check_regular_data(path)
        return path

    def _download(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import GatedRepoError

        repo, revision = self.settings.repo, self.settings.revision
        try:
            return Path(hf_hub_download(repo, name, repo_type="dataset", revision=revision))
        except GatedRepoError as error:
            raise gated(repo) from error
        except OSError as error:
            if error.errno is not None:
                raise  # the disk: the commands have words for it
            raise DataError(f"{self.place}: {name}: {root_cause(error)}.") from error
        except Exception as error:  # requests or httpx, by the version of huggingface_hub
            raise DataError(f"{self.place}: {name}: {root_cause(error)}.") from error

    def where(self, names: Sequence[str]) -> str:
        """Some files, for a message."""
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        if self.local is not None:
            return f"{self.local / names[0]}{more}"
        return f"{self.place} ({names[0]}{more})"


class Fields:
    """Which fields of a record are read.

    Args:
        corpus: its name, for messages.
        records: of the first file that has any: fields that are named must be there.
        pair: the direction.
        source, target: fields with the texts; found by their names if None.
        languages: fields with the two languages; the same twice holds both.

    Raises:
        DataError: a field that is not there, with those that are.
    """

    def __init__(
        self,
        corpus: str,
        where: str,
        records: Records,
        pair: LanguagePair,
        source: str | None = None,
        target: str | None = None,
        languages: tuple[str | None, str | None] = (None, None),
    ) -> None:
        self._pair = pair
        keys = ("source_field", "target_field", "source_lang_field", "target_lang_field")
        named = dict(zip(keys, (source, target, *languages), strict=True))
        lacking = {k: f for k, f in named.items() if f is not None and not records.has(f)}
        told = f"Its fields are: {listed(records.fields)}. Its first record: "
        told += f"{shorten(records.first) if records.first else 'none'}."
        if lacking:
            what = ", ".join(f"no field '{f}' (data.{k})" for k, f in lacking.items())
            hint = "".join(nearest(field, records.fields) for field in lacking.values())
            raise DataError(f"{where}: {what}.{hint} {told}")
        for one, other in (keys[:2], keys[2:]):
            if (named[one] is None) != (named[other] is None):
                given, needed = (other, one) if named[one] is None else (one, other)
                raise DataError(f"data.{given}={named[given]}: data.{needed} is needed too.")
        self.languages = list(dict.fromkeys(f for f in languages if f is not None))
        self.texts = [f for f in (source, target) if f is not None]
        if self.texts:
            return
        try:
            self.texts = fields_with_texts(records.first, pair)
        except ValueError as error:
            raise DataError(
                f"{where}: {error} {told} Name the fields: data.source_field=FIELD "
                f"data.target_field=FIELD (settings of data={corpus}; "
                "one in another with a dot: translation.en)."
            ) from error
        self._by_name = True

    _by_name = False

    def sides(self, values: Sequence[Any], where: str) -> tuple[str, str]:
        """Source and target text of a record; empty where there is none.

        Raises:
            DataError: no texts.
        """
        found: Sequence[Any] = values
        if self._by_name:
            try:
                found = sides_of(dict(zip(self.texts, values, strict=True)), self._pair)
            except ValueError as error:
                raise DataError(f"{where}: {error}") from error
        for side, text in zip(("source", "target"), found, strict=True):
            if text is not None and not isinstance(text, str):
                shown = f"{type(text).__name__}: {str(text)[:60]}"
                raise DataError(f"{where}: the {side} must be a text, found {shown}.")
            if text is not None and len(text) > LONGEST:  # within another field, not checked before
                size = f"{len(text):,} characters; a text may have {LONGEST:,}"
                raise DataError(f"{where}: the {side} has {size}.")
        return found[0] or "", found[1] or ""

    def read(self, records: Records, most: int | None) -> Iterator[tuple[list[Any], Pair]]:
        """The languages (none, one or two fields) and the texts of each record.

        Args:
            records: of one file.
            most: records that are read at most.

        Raises:
            DataError: a record is damaged, or holds no texts.
        """
        more = len(self.texts)
        for where, values in islice(records.read([*self.texts, *self.languages]), most):
            yield values[more:], Pair(*self.sides(values[:more], where))
