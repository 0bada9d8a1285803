"""``record.json``: what a finished run was, cost and scored (schema 1)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import types
import typing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mt_lottery.errors import RecordError, nearest, nearest_file
from mt_lottery.reading import parse_json, read_json
from mt_lottery.runs.folder.sections import (
    CostRecord,
    DataRecord,
    GenerationRecord,
    ModelRecord,
    TicketRecord,
)
from mt_lottery.system.atomic import write_text
from mt_lottery.system.values import user_path

SCHEMA = 1
#: Where a record of several directions has what it says of each (``folder/directions.py``).
DIRECTIONS = "directions"
NAME = "record.json"
#: There while a new run takes an old one's place (:mod:`mt_lottery.runs.folder.takeover`).
SWAP = ".mt_lottery.swap.json"
#: Fields from 0 to 1; every other number of the dataclasses is 0 or above.
SHARES = ("stopped", "empty", "truncated", "off_target", "alpha")


@dataclass
class Record:
    """One finished run.

    >>> import mt_lottery as mtl
    >>> record = mtl.read_record("run")
    >>> record.method, record.tickets.count, record.trainable_parameters
    ('ks_lottery', 18, 576)

    Attributes:
        method: the recipe.
        lang: the direction, ``en-ro``; of several, ``en-ro,en-es``.
        seed: of batches, initialisation and sampling.
        model: the original model.
        trainable_parameters: how many numbers were trained.
        tickets: the chosen rows; None where the tuner chooses none.
        data: the text and the prompt.
        scores: key of a metric → ``raw`` and ``first_line``, each with ``score`` and ``ci95`` (two
            bounds), and ``signature`` and ``column`` (the name of the metric).
        generation: how the outputs ended.
        cost: time, memory, bytes.
        environment: Python, device, number of processes, versions of packages.
        config_hash: SHA-256 of the settings and of all else that the result depends on.
        tuning: of a search (``tune``): its trials and the ``chosen`` settings; None of any other.
        baseline: run directory of the original model's scores; None where there is none.
        schema: version of this layout.
        status: ``done``; a run that is not has no record.
        extra: every further key, as it is.
    """

    method: str
    lang: str
    seed: int
    model: ModelRecord
    trainable_parameters: int
    tickets: TicketRecord | None
    data: DataRecord
    scores: dict[str, Any]
    generation: GenerationRecord
    cost: CostRecord
    environment: dict[str, str]
    config_hash: str
    tuning: dict[str, Any] | None = None
    baseline: str | None = None
    schema: int = SCHEMA
    status: str = "done"
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-like content, ``schema`` and ``status`` first."""
        content = dataclasses.asdict(self)
        extra = content.pop("extra")
        return {
            "schema": content.pop("schema"),
            "status": content.pop("status"),
            **content,
            **extra,
        }

    def write(self, run_dir: Path) -> None:
        """Write ``record.json`` atomically.

        Raises:
            RecordError: it could not be read again: a number in it is NaN or infinite, a value is
                of another type than its field.
        """
        try:
            text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
            _checked(parse_json(text, "record", RecordError))
        except ValueError as error:
            raise RecordError(
                f"{run_dir / NAME}: not written, a number in it is not finite: {self.to_dict()}"
            ) from error
        except (TypeError, RecordError) as error:
            raise RecordError(f"{run_dir / NAME}: not written: {error}") from error
        write_text(run_dir / NAME, text + "\n")


def converted(
    kind: Any, value: Any, where: str, least: float = -math.inf, most: float = math.inf
) -> Any:
    """A JSON value as ``kind``, everything inside of it checked too.

    Raises:
        RecordError: another type, or a number outside of ``least`` … ``most``.
    """
    origin = typing.get_origin(kind)
    inner = typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        one = next(a for a in inner if a is not type(None))
        return converted(one, value, where, least, most)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise RecordError(f"{where}: expected an object, not {value!r}.")
        assert isinstance(kind, type)
        return _object(kind, value, where)
    expected = origin or kind
    if expected is Any:
        return value
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise RecordError(f"{where}: expected {expected.__name__}, not {value!r:.60}.")
    if expected in (int, float) and not least <= value <= most:
        allowed = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise RecordError(f"{where}: expected a number {allowed}, not {value!r:.60}.")
    if expected is dict and inner:
        return {k: converted(inner[1], v, f"{where}.{k}", least, most) for k, v in value.items()}
    if expected is list and inner:
        return [converted(inner[0], v, f"{where}[{i}]", least, most) for i, v in enumerate(value)]
    return value


def _object(kind: type, value: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind) if f.name != "extra"}
    for f in known.values():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in value:
            raise RecordError(f"{where}.{f.name}: missing.{nearest(f.name, value)}")
    given = {
        k: converted(hints[k], v, f"{where}.{k}", 0, 1 if k in SHARES else math.inf)
        for k, v in value.items()
        if k in known
    }
    extra = {k: v for k, v in value.items() if k not in known}
    if extra and "extra" in hints:  # another program's additions are kept, not lost
        given["extra"] = extra
    return kind(**given)


def _check_scores(scores: dict[str, Any]) -> None:
    if not scores:
        raise RecordError("record.scores: empty.")
    for metric, both in scores.items():
        for which in ("raw", "first_line"):
            where = f"record.scores.{metric}.{which}"
            one = both.get(which) if isinstance(both, dict) else None
            numbers = (one.get("score"), one.get("ci95")) if isinstance(one, dict) else (None, None)
            converted(float, numbers[0], f"{where}.score")
            bounds = converted(list[float], numbers[1], f"{where}.ci95")
            if len(bounds) != 2 or bounds[0] > bounds[1]:
                raise RecordError(f"{where}.ci95: expected two bounds, not {numbers[1]!r:.60}.")
        converted(str | None, both.get("signature"), f"record.scores.{metric}.signature")


def _check_directions(record: Record) -> None:
    if DIRECTIONS in record.extra:
        from mt_lottery.runs.folder.directions import directions_in

        for lang, one in directions_in(record).items():
            try:
                _check_scores(one.scores)
            except RecordError as error:
                raise RecordError(f"record.{DIRECTIONS}.{lang}: {error}") from error


def _checked(content: dict[str, Any]) -> Record:
    """The record of a JSON object of this schema.

    Raises:
        RecordError: what is wrong in it, by its key.
    """
    record: Record = _object(Record, content, "record")
    _check_scores(record.scores)
    if record.tuning is not None:  # a setting may be a number, a text, a list, an object
        converted(dict, record.tuning.get("chosen"), "record.tuning.chosen")
    _check_directions(record)
    return record


def _missing(file: Path) -> str:
    if os.path.lexists(file.with_name(SWAP)):
        return (
            f"{file}: no such file: a new run was about to take the old one's place in this folder "
            "when it was cut short; nothing is lost. The same mt-train command (with "
            f"out_dir={file.parent}) finishes it, without training again."
        )
    if file.name != NAME:
        return f"{file}: no such file or folder.{nearest_file(file.name, _beside(file))}"
    inside = _runs_in(file.parent)
    hint = f" Finished runs in it: {', '.join(inside)}." if inside else ""
    return f"{file}: no such file; the run is not finished, or this is not a run's folder.{hint}"


def _beside(path: Path) -> list[str]:
    with contextlib.suppress(OSError, ValueError), os.scandir(path.parent) as entries:
        return [entry.name for entry in islice(entries, 1000)]
    return []


def _runs_in(folder: Path) -> list[str]:
    """Up to three run directories in a folder such as ``runs/en-ro/ks_lottery``, for a hint."""
    with contextlib.suppress(OSError, ValueError):
        found = chain(folder.glob(f"[!.]*/{NAME}"), folder.glob(f"[!.]*/[!.]*/{NAME}"))
        return sorted(str(f.parent) for f in islice(found, 3) if f.parent.parent.name != "trials")
    return []


def read_record(path: str | Path) -> Record:
    """The record of a run directory (or of a ``record.json``).

        >>> import mt_lottery as mtl
        >>> mtl.read_record("run").lang
        'en-ro'

    Raises:
        RecordError: missing, damaged, not of schema 1, or of a run that is not done.
    """
    file = user_path(path, RecordError)
    file = file / NAME if os.path.isdir(file) else file  # a name too long is no folder either
    try:
        content = read_json(file, RecordError)
    except RecordError as error:
        if isinstance(error.__cause__, FileNotFoundError) and not file.is_symlink():
            error = RecordError(_missing(file))
        raise error from error.__cause__
    if content.get("schema") != SCHEMA or isinstance(content["schema"], bool):
        raise RecordError(
            f"{file}: schema {content.get('schema')!r:.60}; this version of "
            f"mt-lottery reads schema {SCHEMA}."
        )
    if content.get("status") != "done":
        raise RecordError(f"{file}: status {content.get('status')!r:.60}, not 'done'.")
    try:
        return _checked(content)
    except RecordError as error:
        raise RecordError(f"{file}: damaged: {error}") from error
