"""Finished runs side by side: their tickets, what sets them apart, how each is called."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mt_lottery.errors import RecordError, TuningError
from mt_lottery.runs.folder.preparing import TICKETS
from mt_lottery.runs.folder.record import Record, read_record
from mt_lottery.ticket.analysis import most_changed


@dataclass(frozen=True)
class TicketRun:
    """A finished run and its ``tickets.csv``.

    Attributes:
        folder: the run directory.
        record: its record.
        label: a short name, unlike that of the runs beside it.
        rows: the ticket's token ids, most changed first.
        tokens: token id → token, of every row in the file.
        statistic, pvalue: D (or another selector's measure) and nominal p of every row of
            the vocabulary, [V] float64, 0 and 1 where the file has none; None for a method
            without a measure, or without p.
    """

    folder: Path
    record: Record
    label: str
    rows: tuple[int, ...]
    tokens: dict[int, str]
    statistic: Tensor | None
    pvalue: Tensor | None

    @property
    def has_distances(self) -> bool:
        """Whether ``statistic`` is the KS distance D."""
        return self.statistic is not None and self.pvalue is not None

    def distances(self) -> Tensor:
        """D of every row, [V].

        Raises:
            TuningError: this run has none.
        """
        if self.statistic is None or self.pvalue is None:
            raise TuningError(
                f"{self.folder}: its rows were not chosen by KS distance (method "
                f"{self.record.method}): there is no D to compare."
            )
        return self.statistic


def _read(folder: Path) -> TicketRun:
    record = read_record(folder)
    path = folder / TICKETS
    if record.tickets is None or not os.path.lexists(path):
        raise RecordError(
            f"{folder}: a run of {record.method} has no {TICKETS}; allowed: runs that choose "
            "rows (ks_lottery, ks_transfer, ks_freeze, random, frequency, …)."
        )
    ticket = record.tickets.ticket(path, record.model.vocab_size)
    scores = ticket.scores
    numbers = (None, None) if scores is None else (scores.statistic, scores.pvalue)
    return TicketRun(folder, record, "", tuple(ticket), dict(ticket.names or {}), *numbers)


def _train(record: Record) -> str:
    train = record.data.train
    return "no text" if train is None else train.sha256[:8]


def _corpus(record: Record) -> tuple[str, str, str]:
    """(``ntrex``, ``targets shuffled`` or nothing) of the training text's name."""
    return ("no text" if record.data.train is None else record.data.train.name).partition(", ")


def _model(record: Record) -> str:
    """Name and the beginning of the weights' hash: two folders may be called alike."""
    identity = record.model.sha256 or record.model.revision or ""
    return f"{Path(record.model.name).name} {identity[:8]}".strip()


#: What may set two runs apart, in the order in which a label names it.
_FACETS: dict[str, Callable[[Record], str]] = {
    "model": _model,
    "language": lambda r: r.lang,
    "method": lambda r: r.method,
    "amount": lambda r: f"{r.data.train.pairs} pairs" if r.data.train else "no text",
    "template": lambda r: r.data.template,
    "corpus": lambda r: _corpus(r)[0],
    "targets": lambda r: _corpus(r)[2] or "own targets",
    "seed": lambda r: f"seed {r.seed}",
    "rows": lambda r: f"{r.tickets.count} rows" if r.tickets else "",
}


def differences(first: Record, second: Record) -> tuple[str, ...]:
    """In what two runs differ: model, language, method, amount, template, corpus, seed, rows, …

    ``text`` is there where none of these explains why the training text is another, ``settings``
    where the configurations differ in something else (training, decoding, the selector).
    """
    found = [name for name, value in _FACETS.items() if value(first) != value(second)]
    explained = {"language", "amount", "corpus", "targets"} & set(found)
    if not explained and _train(first) != _train(second):
        found.append("text")
    if not found and first.config_hash != second.config_hash:
        found.append("settings")
    return tuple(found)


def _labels(runs: Sequence[TicketRun]) -> list[str]:
    """Language, method where there are several, and in what a run differs from the first."""
    several = len({run.record.method for run in runs}) > 1
    first = runs[0].record
    labels = []
    for run in runs:
        shown = [
            value(run.record)
            for name, value in _FACETS.items()
            if name == "language"
            or (several if name == "method" else value(run.record) != value(first))
        ]
        labels.append(", ".join(shown))
    if len(set(labels)) == len(labels):
        return labels
    return [f"{label} ({r.folder})" for label, r in zip(labels, runs, strict=True)]


def open_runs(folders: Sequence[str | Path], top: int | None = None) -> list[TicketRun]:
    """Read the tickets of several runs over one vocabulary; no model is loaded.

    Args:
        folders: run directories.
        top: take the ``top`` most changed rows as each run's ticket, not its own.

    Raises:
        RecordError: no finished run, no ``tickets.csv``, one run given twice, or two
            vocabularies.
        TuningError: ``top`` is more than the rows that changed.
    """
    places = [Path(folder).expanduser() for folder in folders]
    resolved = [place.resolve() for place in places]
    for place, whole in zip(places, resolved, strict=True):
        if resolved.count(whole) > 1:
            raise RecordError(f"{place} is given more than once.")
    runs = [_read(place) for place in places]
    for run in runs[1:]:
        _check_vocabulary(runs[0], run)
    if top is not None:
        for index, run in enumerate(runs):
            try:
                rows = most_changed(run.distances(), top)
            except TuningError as error:
                raise TuningError(f"--top {top}: {run.folder}: {error}") from error
            chosen = tuple(int(row) for row in rows)
            runs[index] = _with(run, rows=chosen)
    labels = _labels(runs)
    return [_with(run, label=label) for run, label in zip(runs, labels, strict=True)]


def _with(run: TicketRun, **changes: object) -> TicketRun:
    return dataclasses.replace(run, **changes)  # type: ignore[arg-type]


def _check_vocabulary(first: TicketRun, second: TicketRun) -> None:
    one, other = first.record.model, second.record.model
    if one.vocab_size != other.vocab_size:
        raise RecordError(
            f"{first.folder} ({one.name}) has a vocabulary of {one.vocab_size} rows, "
            f"{second.folder} ({other.name}) of {other.vocab_size}: token ids can be compared "
            "within one vocabulary only."
        )
    for token_id in sorted(first.tokens.keys() & second.tokens.keys()):
        if first.tokens[token_id] != second.tokens[token_id]:
            raise RecordError(
                f"Token {token_id} is {first.tokens[token_id]!r} in {first.folder} and "
                f"{second.tokens[token_id]!r} in {second.folder}: these are two vocabularies."
            )
