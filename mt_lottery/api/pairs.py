"""Sentence pairs as Python has them, put where a run (and whoever repeats it) finds them again."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from mt_lottery.data.files import check_text, sides_of
from mt_lottery.errors import DataError, nearest, plural
from mt_lottery.languages import LanguagePair
from mt_lottery.reading.given_texts import check_ordered
from mt_lottery.system.atomic import write_bytes
from mt_lottery.system.values import cache_folder

Texts: TypeAlias = Iterable[tuple[str, str]] | Iterable[Mapping[str, Any]]
#: A file name; two of them; pairs of texts; objects with both sides; a table of them.
Pairs: TypeAlias = str | os.PathLike[str] | tuple[str, str] | Texts


def pair_settings(
    role: str,
    given: Pairs,
    pair: LanguagePair,
    columns: tuple[str, str] | None = None,
    taken: Collection[str] = (),
) -> dict[str, str]:
    """The ``data.*`` settings that say where a role's text is.

    Args:
        role: ``train``, ``dev`` or ``test``.
        given: the name of a TSV, JSONL or Parquet file; a tuple of two file names, source and
            target; a list of (source, target) texts; a list of objects as a JSONL's lines have
            them; a ``datasets.Dataset`` or a pandas frame with such columns.
        pair: the direction.
        columns: names of the source's and the target's column, where they are not ``source`` and
            ``target`` or the two language codes.
        taken: files of other roles. Roles that read one file share its pairs, and a list that is
            given for two roles is meant whole in both.

    Returns:
        settings of the corpus ``files``. Texts are written to the cache (``MT_LOTTERY_CACHE``),
        under the hash of their content: the same texts are the same file, but for ``taken``.

    Raises:
        DataError: no pair, one side missing or empty, with the place: ``train[3]``.
    """
    if isinstance(given, str | os.PathLike):
        return {f"data.{role}_source": os.fspath(given)}
    if isinstance(given, tuple) and len(given) == 2 and all(map(_is_name, given)):
        source, target = map(str, given)
        return {f"data.{role}_source": source, f"data.{role}_target": target}
    lines = [
        json.dumps({"source": source, "target": target}, ensure_ascii=False)
        for source, target in _texts(role, given, pair, columns)
    ]
    if not lines:
        raise DataError(f"{role}: no pairs; give at least one (source, target).")
    content = "".join(f"{line}\n" for line in lines).encode()
    name = sha256(content).hexdigest()[:32]
    path = cache_folder() / "pairs" / f"{name}.jsonl"
    if str(path) in taken:
        path = path.with_name(f"{name}-{role}.jsonl")
    if not _holds(path, content):
        write_bytes(path, content)
    return {f"data.{role}_source": str(path)}


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content, whatever its name says."""
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def _is_name(given: Any) -> bool:
    return isinstance(given, str | os.PathLike)


def _texts(
    role: str, given: Any, pair: LanguagePair, columns: tuple[str, str] | None
) -> Iterator[tuple[str, str]]:
    for place, row in enumerate(_rows(role, given)):
        try:
            if isinstance(row, Mapping):
                texts = _chosen(row, columns) if columns else sides_of(dict(row), pair)
            elif isinstance(row, tuple | list) and len(row) == 2:
                texts = row[0], row[1]
            else:
                what = "a text" if isinstance(row, str) else f"{type(row).__name__}"
                if isinstance(row, tuple | list):
                    what += f" of {plural(len(row), 'item')}"
                elif isinstance(row, str) and os.path.isfile(row):
                    what += ": two files are a tuple, (source, target)"
                raise ValueError(f"a pair (source, target) is needed, found {what}.")
            sides = zip(("source", "target"), texts, strict=True)
            source, target = (check_text(side, text) for side, text in sides)
        except ValueError as error:
            raise DataError(f"{role}[{place}]: {error}") from None
        yield source, target


def _chosen(row: Mapping[str, Any], columns: tuple[str, str]) -> tuple[Any, Any]:
    for name in columns:
        if name not in row:
            have = [str(key) for key in row]
            raise ValueError(
                f"no column '{name}'.{nearest(name, have)} There are: {', '.join(have)}."
            )
    return row[columns[0]], row[columns[1]]


def _rows(role: str, given: Any) -> Iterable[Any]:
    if hasattr(given, "to_dict") and hasattr(given, "columns"):  # a pandas frame
        rows: list[Any] = given.to_dict("records")
        return rows
    if isinstance(given, Mapping):
        named = ", ".join(map(str, given))
        raise DataError(
            f"{role}: several splits or columns ({named}) where pairs are needed: give one split, "
            "or a list of (source, target)."
        )
    if isinstance(given, set | frozenset):
        check_ordered(role, given, DataError)
    if not isinstance(given, Iterable):
        raise DataError(
            f"{role}: {type(given).__name__}; allowed: a file name, two file names, a list of "
            "(source, target), a datasets.Dataset, a pandas frame."
        )
    return given
