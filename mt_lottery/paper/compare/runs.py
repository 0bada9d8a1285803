"""Finished runs side by side: their tickets, what sets them apart, how each is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor

from mt_lottery.errors import MTLotteryError, RecordError, TuningError, plural
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.record import Record
from mt_lottery.ticket.analysis import most_changed
from mt_lottery.tuners.base import Tuner
from mt_lottery.tuners.recipes import tuner_of


class TicketRun(Run):
    """A finished run whose ticket is compared.

    Attributes:
        label: a short name, unlike that of the runs beside it.
    """

    label = ""

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """The ticket's token ids, most changed first."""
        return tuple(self.ticket)

    @property
    def tokens(self) -> Mapping[int, str]:
        """Token id → token, of every row in ``tickets.csv``."""
        return self.ticket.names or {}

    def can(self, what: Callable[[Tuner], bool]) -> bool:
        """Whether its recipe's tuner can do something; False for a recipe that is not known here.

        A ticket and its record are all that a comparison needs: ``config.yaml`` may be missing.
        """
        try:
            return what(tuner_of(self.record.method))
        except MTLotteryError:
            return False

    @property
    def has_distances(self) -> bool:
        """Whether the rows were scored by the KS distance D."""
        return self.ticket.pvalue is not None

    def distances(self) -> Tensor:
        """D of every row of the vocabulary, [V] float64; 0 where the file has none.

        Raises:
            TuningError: this run has none.
        """
        scores = self.ticket.scores
        if scores is None or scores.pvalue is None:
            raise TuningError(
                f"{self.folder}: its rows were not chosen by KS distance (method "
                f"{self.record.method}): there is no D to compare."
            )
        return scores.statistic


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
    "amount": lambda r: plural(r.data.train.pairs, "pair") if r.data.train else "no text",
    "template": lambda r: r.data.template,
    "corpus": lambda r: _corpus(r)[0],
    "targets": lambda r: _corpus(r)[2] or "own targets",
    "seed": lambda r: f"seed {r.seed}",
    "rows": lambda r: plural(r.tickets.count, "row") if r.tickets else "",
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
    runs = [TicketRun(place) for place in places]
    for run in runs:
        _ = run.ticket
    for run in runs[1:]:
        _check_vocabulary(runs[0], run)
    if top is not None:
        for run in runs:
            try:
                run.rows = tuple(most_changed(run.distances(), top).tolist())
            except TuningError as error:
                raise TuningError(f"--top {top}: {run.folder}: {error}") from error
    for run, label in zip(runs, _labels(runs), strict=True):
        run.label = label
    return runs


def _check_vocabulary(first: TicketRun, second: TicketRun) -> None:
    one, other = first.record.model, second.record.model
    if one.vocab_size != other.vocab_size:
        raise RecordError(
            f"{first.folder} ({one.name}) has a vocabulary of {plural(one.vocab_size, 'row')}, "
            f"{second.folder} ({other.name}) of {other.vocab_size}: token ids can be compared "
            "within one vocabulary only."
        )
    for token_id in sorted(first.tokens.keys() & second.tokens.keys()):
        if first.tokens[token_id] != second.tokens[token_id]:
            raise RecordError(
                f"Token {token_id} is {first.tokens[token_id]!r} in {first.folder} and "
                f"{second.tokens[token_id]!r} in {second.folder}: these are two vocabularies."
            )
