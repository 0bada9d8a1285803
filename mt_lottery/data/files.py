"""The corpus ``files``: pairs from a user's own files.

Each role (``train``, ``dev``, ``test``) is one of

- two text files, ``data.train_source`` and ``data.train_target``: line N of one
  translates line N of the other;
- one TSV (``.tsv``, ``.tab``), ``data.train_source`` alone: two columns, source
  and target; no quoting; a first row of ``source``, ``target`` (``src``, ``tgt``,
  ``source_text``, …) or of the two languages, by code as in ``lang=`` or by name, is a header,
  and says which column is which;
- one Parquet file (``.parquet``, needs pyarrow), ``data.train_source`` alone: columns as the keys
  of JSONL are;
- one JSONL (``.jsonl``, ``.ndjson``, ``.json``), ``data.train_source`` alone:
  ``{"source": …, "target": …}``, ``{"translation": {"en": …, "ro": …}}`` or
  ``{"en": …, "ro": …}`` in each line.

``data.path`` (``data.dev_path``, ``data.test_path``) may name the TSV,
JSONL or Parquet instead, or the folder in which the named files lie.  A role without files of
its own shares those of ``data.path``, else the training files, and gets a
block of its own (:mod:`mt_lottery.data.blocks`).  All files are UTF-8.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_lottery.data.text import (
    Pair,
    Problems,
    is_empty,
    listed,
    open_folder,
    read_lines,
    read_parallel,
    why_empty,
)
from mt_lottery.data.tsv import read_tsv
from mt_lottery.errors import DataError
from mt_lottery.languages import LanguagePair, named_among, nearest_code
from mt_lottery.reading import Records, json_value
from mt_lottery.reading.given_texts import HALF, is_unicode
from mt_lottery.registry import register_corpus
from mt_lottery.system.values import user_path

if TYPE_CHECKING:
    from mt_lottery.config import DataConfig

TSV = (".tsv", ".tab")
JSONL = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet",)
BOTH_SIDES = (*TSV, *JSONL, *PARQUET)  # one file that holds both


def sides_of(value: Any, pair: LanguagePair) -> tuple[Any, Any]:
    """Source and target of one JSON object.

    Raises:
        ValueError: it has not both; the message says what is there.
    """
    if not isinstance(value, dict):
        raise ValueError(
            f"an object is needed, found {type(value).__name__} (one object a line: JSON Lines)."
        )
    if "source" in value and "target" in value:
        others = [named_among(language, value) for language in (pair.source, pair.target)]
        if None not in others:
            raise ValueError(
                f"it has 'source' and 'target', and '{others[0]}' and '{others[1]}': which of them "
                "are the texts? Leave the others out."
            )
        return value["source"], value["target"]
    texts = value.get("translation", value)
    if not isinstance(texts, dict):
        raise ValueError("'translation' must be an object of language codes and texts.")
    sides = []
    for language in (pair.source, pair.target):
        key = named_among(language, texts)
        if key is None:
            have = sorted(str(key) for key in texts)
            hint = nearest_code(language, language.code, have)
            raise ValueError(
                f"no text for {language.name} ('{language.code}').{hint} "
                f"The keys are: {listed(have)}; needed: 'source' and 'target', or "
                f"'{pair.source.code}' and '{pair.target.code}'."
            )
        sides.append(texts[key])
    return sides[0], sides[1]


def check_text(side: str, text: Any) -> str:
    """One side's text without whitespace at its end.

    Raises:
        ValueError: no text, or one that a text file in UTF-8 cannot hold.
    """
    if not isinstance(text, str):
        raise ValueError(f"the {side} must be a text, found {json.dumps(text, default=str)[:40]}.")
    if is_empty(text):
        raise ValueError(f"the {side} {why_empty(text)}.")
    if "\0" in text:  # as in a text file: what reads the run's files may end there
        raise ValueError(f"the {side} holds a NUL character (\\u0000).")
    if not is_unicode(text):
        raise ValueError(f"the {side} holds {HALF}.")
    return text.rstrip()


def read_jsonl(path: Path, pair: LanguagePair) -> list[Pair]:
    """Read a file with one JSON object a line; blank lines are skipped.

    Raises:
        DataError: a line that is no JSON object, lacks a side or has an empty one.
    """
    problems = Problems()
    lines = read_lines(path, problems)
    problems.raise_if_any()
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            source, target = sides_of(json_value(line), pair)
            pairs.append(Pair(check_text("source", source), check_text("target", target)))
        except ValueError as error:
            problems.add(path, number, f"{str(error).rstrip('.')}.")
    problems.raise_if_any()
    if not pairs:
        raise DataError(f"{path}: no pairs.")
    return pairs


def fields_with_texts(record: dict[str, Any], pair: LanguagePair) -> list[str]:
    """The fields of a record that hold its two sides, for :func:`sides_of`.

    Raises:
        ValueError: as :func:`sides_of`.
    """
    found = sides_of(record, pair)
    for usual in (["source", "target"], ["translation"]):
        if set(usual) <= record.keys():
            return usual
    return [name for name, value in record.items() if any(value is side for side in found)]


def read_parquet(path: Path, pair: LanguagePair) -> list[Pair]:
    """Read a Parquet file with the columns that :func:`read_jsonl` knows as keys.

    Raises:
        DataError: no pyarrow, damaged, other columns, or a row without a side.
    """
    records = Records(path, DataError)
    if not records.first:
        raise DataError(f"{path}: no pairs.")
    try:
        fields = fields_with_texts(records.first, pair)
    except ValueError as error:
        raise DataError(f"{path}: {error} Its columns are: {listed(records.fields)}.") from None
    problems, pairs = Problems(), []
    for number, (_, values) in enumerate(records.read(fields), 1):
        try:
            source, target = sides_of(dict(zip(fields, values, strict=True)), pair)
            pairs.append(Pair(check_text("source", source), check_text("target", target)))
        except ValueError as error:
            problems.add(path, number, str(error))
    problems.raise_if_any()
    return pairs


@register_corpus("files")
class Files:
    """Pairs from files that the user names (module docstring)."""

    # Pools are absolute file names: the same file is the same pool, however it was reached.
    root = ""

    def __init__(self, path: str | None, config: DataConfig) -> None:
        self._path = user_path(path, DataError) if path else None
        self._config = config
        self._pools: dict[str, tuple[Path, Path | None]] = {}

    def _file(self, name: str) -> Path:
        path = user_path(name, DataError)
        base = self._path
        if base is None or (base.suffix.lower() in BOTH_SIDES and not os.path.isdir(base)):
            base = Path()  # the path is a file of its own, for the roles without named files
        else:
            open_folder(str(base), "data.path is the folder of the files that data names.")
        return (base / path).absolute()  # links stay: messages name what was given

    def _named(self, role: str) -> tuple[Path, Path | None] | None:
        """The files that the settings of one role name.

        Raises:
            DataError: a target without a source, or one file of another kind.
        """
        source = getattr(self._config, f"{role}_source", None)
        target = getattr(self._config, f"{role}_target", None)
        if source is None:
            if target is not None:
                raise DataError(
                    f"data.{role}_target={target} without data.{role}_source: name both files, or "
                    f"one TSV, JSONL or Parquet as data.{role}_source alone."
                )
            return None
        path = self._file(source)
        known = path.suffix.lower() in BOTH_SIDES
        if target is None and path.suffix.lower() == ".csv":
            raise DataError(
                f"data.{role}_source={source} is CSV, which data=files does not read; allowed: "
                f"{', '.join(BOTH_SIDES)}, or data=hub data.path=FOLDER with the file in it."
            )
        if target is None and not known:
            raise DataError(
                f"data.{role}_source={source} without data.{role}_target: name the file with the "
                f"translations too, or one file that holds both ({', '.join(BOTH_SIDES)})."
            )
        if target is not None and known:
            kind = path.suffix.removeprefix(".")
            kind = "Parquet" if path.suffix.lower() in PARQUET else kind.upper()
            raise DataError(
                f"data.{role}_source={source} is {kind} and holds both sides: leave "
                f"data.{role}_target={target} out."
            )
        return path, None if target is None else self._file(target)

    def pool(self, role: str) -> str:
        """The files of a role: its own, those of ``data.path``, or the training files.

        Raises:
            DataError: the settings name no files for this role.
        """
        files = self._named(role)
        if files is None and self._path is not None and not os.path.isdir(self._path):
            if self._path.suffix.lower() not in BOTH_SIDES:
                raise DataError(
                    f"{self._path}: for data=files the path names a TSV, JSONL or Parquet file "
                    f"({', '.join(BOTH_SIDES)}), or the folder of the files named by "
                    f"data.{role}_source and data.{role}_target."
                )
            files = self._path.absolute(), None
        if files is None and role != "train":
            files = self._named("train")
        if files is None:
            raise DataError(
                f"data=files names no file for {role}: set data.{role}_source and "
                f"data.{role}_target (two text files), or data.{role}_source alone (a TSV, "
                "JSONL or Parquet file)."
            )
        pool = " + ".join(os.path.realpath(path) for path in files if path is not None)
        self._pools[pool] = files
        return pool

    def read(self, pool: str, pair: LanguagePair) -> list[Pair]:
        """Read the files of a pool.

        Raises:
            DataError: missing or damaged files, with file and line.
        """
        source, target = self._pools[pool]
        if target is not None:
            return read_parallel(source, target)
        if source.suffix.lower() in TSV:
            return read_tsv(source, pair)
        if source.suffix.lower() in PARQUET:
            return read_parquet(source, pair)
        return read_jsonl(source, pair)
