"""Which fields of a data set's records are read: the source, the target, and the direction."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mt_lottery.data.files import fields_with_texts, sides_of
from mt_lottery.data.filters import CODE, count_label
from mt_lottery.data.text import Pair, listed
from mt_lottery.errors import ConfigError, DataError, nearest, plural
from mt_lottery.languages import Language, LanguagePair, of_code, parse_pair
from mt_lottery.reading import LONGEST, Records

FIELDS = 40  # of a record in a message
SHOWN = 60  # characters of a field's value in a message


def shorten(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON, long values cut, and what it has behind many fields."""
    cut = {}
    for key, value in itertools.islice(record.items(), FIELDS):
        written = json.dumps(value, ensure_ascii=False, default=str)
        text = value if isinstance(value, str) else written
        cut[key[:SHOWN]] = text[:SHOWN] + "…" if len(text) > SHOWN else value
    return json.dumps(cut, ensure_ascii=False, default=str)


def what_is_there(records: Records) -> str:
    """The fields and the first record of a file, in two sentences."""
    first = shorten(records.first) if records.first else "none"
    return f"Its fields are: {listed(records.fields)}. Its first record: {first}."


_language = functools.lru_cache(maxsize=4096)(of_code)


@functools.lru_cache(maxsize=4096)
def direction(*named: str) -> tuple[Language | None, Language | None]:
    """The languages that a record names: in two fields, or both in one (``en-ro``)."""
    if len(named) == 2:
        return _language(named[0]), _language(named[1])
    try:
        pair = parse_pair(re.sub(r"\s*(?:->|→|>|_to_|(?<=[a-z])2(?=[a-z]))\s*", "-", named[0]))
    except ConfigError:
        return None, None
    return pair.source, pair.target


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
        told = what_is_there(records)
        if lacking:
            what = ", ".join(f"no field '{f}' (data.{k})" for k, f in lacking.items())
            hint = "".join(nearest(field, records.fields) for field in lacking.values())
            raise DataError(
                f"{where}: {what}.{hint} {told} Name the fields as the file does: "
                f"{', '.join(f'data.{k}=FIELD' for k in lacking)} (settings of data={corpus})."
            )
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
                size = f"{plural(len(text), 'character')}; a text may have {LONGEST:,}"
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
        for where, values in itertools.islice(records.read([*self.texts, *self.languages]), most):
            yield values[more:], Pair(*self.sides(values[:more], where))

    def of_direction(
        self, records: Records, most: int | None, counts: Counter[str], between: str
    ) -> Iterator[Pair]:
        """The texts of the records in the wanted direction, or of all where no field names it.

        Args:
            records, most: as of :meth:`read`.
            counts: counts what the records say of their languages, all of them.
            between: what is put between the two in ``counts``.

        Raises:
            DataError: as :meth:`read`.
        """
        wanted = (self._pair.source, self._pair.target)
        for found, texts in self.read(records, most):
            named = [str(each)[:CODE] for each in found]
            count_label(counts, between.join(named))
            if not named or direction(*named) == wanted:
                yield texts
