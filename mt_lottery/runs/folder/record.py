"""``record.json``: what a finished run was, cost and scored (schema 1)."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_lottery.errors import RecordError, nearest
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import write_text

if TYPE_CHECKING:
    from mt_lottery.ticket.ticket import Ticket

SCHEMA = 1
#: Where a record of several directions has what it says of each (``folder/directions.py``).
DIRECTIONS = "directions"
NAME = "record.json"
#: There while a new run takes an old one's place (:mod:`mt_lottery.runs.folder.takeover`).
SWAP = ".mt_lottery.swap.json"
#: Fields from 0 to 1; every other number of the dataclasses is 0 or above.
SHARES = ("stopped", "empty", "truncated", "off_target", "alpha")


@dataclass
class ModelRecord:
    """The original model. ``sha256`` for local files, ``revision`` for the hub's."""

    name: str
    sha256: str | None
    revision: str | None
    parameters: int
    vocab_size: int
    embedding_dim: int
    tied_embeddings: bool


@dataclass
class TicketRecord:
    """The rows that were tuned or copied.

    ``alpha`` was given, or is the nominal p of the last of ``count`` rows;
    ``tau`` is the estimated τ(α) (DESIGN §2.7); all three of ``alpha``,
    ``correction`` and ``tau`` are None where no test chose the rows.
    """

    count: int
    alpha: float | None
    correction: str | None
    tau: float | None
    selector: str
    scope: str

    @classmethod
    def of(cls, ticket: Ticket, scope: str) -> TicketRecord:
        """What a record says of a ticket."""
        how = (ticket.alpha, ticket.correction, ticket.tau, ticket.selector)
        return cls(len(ticket), *how, scope)

    def ticket(self, path: Path, vocab_size: int | None = None) -> Ticket:
        """The ticket again, with the rows of its ``tickets.csv``.

        Args:
            path: the file.
            vocab_size: V.

        Raises:
            RecordError: missing or damaged, or of another number of rows.
        """
        from mt_lottery.ticket.ticket import Ticket

        known = {k: getattr(self, k) for k in ("alpha", "correction", "tau", "selector")}
        found = Ticket.load(path, vocab_size, **known)
        if len(found) != self.count:
            raise RecordError(
                f"{path}: damaged: {len(found)} selected rows, but the run's record says "
                f"{self.count}."
            )
        return found


@dataclass
class SplitRecord:
    """Text that was used: pairs, those dropped as too long, sha256 of all of it.

    Where a corpus is filtered or holds several directions, of its whole pool
    (which roles may share): ``records`` of the files, ``available`` ones of the
    wanted direction, and ``filters``, reason → pairs left out of those.  None
    for a corpus that is read as it is.
    """

    name: str
    pairs: int
    sha256: str
    dropped: int = 0
    records: int | None = None
    available: int | None = None
    filters: dict[str, int] | None = None


@dataclass
class DataRecord:
    """Training and test text, and the prompt; ``overlap`` counts test sources seen in training."""

    train: SplitRecord | None
    test: SplitRecord
    template: str
    overlap: int = 0


@dataclass
class GenerationRecord:
    """How the outputs ended; all but the last three are shares in [0, 1]."""

    stopped: float
    empty: float
    truncated: float
    off_target: float | None
    length_ratio: float
    beam_size: int
    max_new_tokens: int


@dataclass
class CostRecord:
    """Seconds of wall-clock time, steps, tokens a second, bytes.

    ``probe_seconds`` is what choosing the rows cost before any was tuned: the embedding-tuned
    probe, or the gradients of ``selector=gradient``.
    """

    probe_seconds: float = 0.0
    train_seconds: float = 0.0
    train_steps: int = 0
    train_tokens_per_second: float = 0.0
    decode_seconds: float = 0.0
    peak_memory_bytes: int = 0
    adapter_bytes: int = 0


@dataclass
class Record:
    """One finished run. ``scores`` maps a metric's key to its raw and first-line scores.

    >>> import mt_lottery as mtl
    >>> record = mtl.read_record("run")
    >>> record.method, record.tickets.count, record.trainable_parameters
    ('ks_lottery', 18, 576)
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
            RecordError: a number in it is NaN or infinite.
        """
        try:
            text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        except ValueError as error:
            raise RecordError(
                f"{run_dir / NAME}: not written, a number in it is not finite: {self.to_dict()}"
            ) from error
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


def _check_tuning(tuning: dict[str, Any] | None) -> None:
    if tuning is not None:
        for key, value in converted(dict, tuning.get("chosen"), "record.tuning.chosen").items():
            if not isinstance(value, (bool, int, float, str, type(None))):
                raise RecordError(f"record.tuning.chosen.{key}: no setting: {value!r:.60}.")


def _check_directions(record: Record) -> None:
    if DIRECTIONS in record.extra:
        from mt_lottery.runs.folder.directions import directions_in

        for lang, one in directions_in(record).items():
            try:
                _check_scores(one.scores)
            except RecordError as error:
                raise RecordError(f"record.{DIRECTIONS}.{lang}: {error}") from error


def _missing(file: Path) -> str:
    if os.path.lexists(file.with_name(SWAP)):
        return (
            f"{file}: no such file: a new run was about to take the old one's place in this folder "
            "when it was cut short; nothing is lost. The same mt-train command (with "
            f"out_dir={file.parent}) finishes it, without training again."
        )
    return f"{file}: no such file; the run is not finished, or no run."


def read_record(path: str | Path) -> Record:
    """The record of a run directory (or of a ``record.json``).

        >>> import mt_lottery as mtl
        >>> mtl.read_record("run").lang
        'en-ro'

    Raises:
        RecordError: missing, damaged, not of schema 1, or of a run that is not done.
    """
    file = Path(path)
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
        record = _object(Record, content, "record")
        _check_scores(record.scores)
        _check_tuning(record.tuning)
        _check_directions(record)
    except RecordError as error:
        raise RecordError(f"{file}: damaged: {error}") from error
    assert isinstance(record, Record)
    return record
