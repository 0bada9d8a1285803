"""What is compared: two embedding tables, given as model folders or as finished runs."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from mt_lottery.config import RunConfig
from mt_lottery.errors import ConfigError, ModelError, plural
from mt_lottery.model.loading import load
from mt_lottery.paper.find.given import TableLike
from mt_lottery.paper.find.sides import Gradients, Side, open_side
from mt_lottery.paper.find.tables import Table, open_model, read_rows
from mt_lottery.runs.planning.plan import Echo

#: From an argument of a Python call, and what it is to be, to how a message writes it.
Spelling: TypeAlias = Callable[..., str]
#: So many rows, spread over the vocabulary, say whether two tables are one model's.
LOOKED_AT = 64
#: Cosine of a row before and after, below which it is another model's.
UNRELATED = 0.5


def keyword(name: str, value: object = True) -> str:
    """An argument as Python writes it: ``rows=18``."""
    return f"{name}={value}"


@dataclass
class Pair:
    """Two tables to be compared row by row.

    Attributes:
        before, after: the tables; only the first ``rows`` rows of each are looked at.
        rows: V.
        names: what they are called.
        tokenizer: names the rows; None where there is none.
        counts: occurrences in the training text, None where there is no corpus.
        gradients: as of :class:`~mt_lottery.paper.find.sides.Side`, None where there is no corpus.
        model: the original model: a folder, or a run's configuration.
        tied: whether the output head of BEFORE is its input table.
    """

    before: Table
    after: Table
    rows: int
    names: tuple[str, str]
    tokenizer: Any
    counts: Counter[int] | None
    model: str | RunConfig
    tied: bool
    gradients: Gradients | None = None

    @property
    def dimension(self) -> int:
        """d, coordinates of a row."""
        return self.before.shape[1]


def open_pair(
    before: TableLike,
    after: TableLike | None = None,
    *,
    compared: bool = True,
    shared_rows: bool = False,
    device: str = "auto",
    echo: Echo = print,
    option: Spelling = keyword,
) -> Pair:
    """Open BEFORE and AFTER, or one run, whose original model is then BEFORE.

    Args:
        before: a model in any form, or a run directory.
        after: likewise; None where ``before`` is a run.
        compared: whether the tables' values count; without it a run that left them alone will do.
        shared_rows: of tables of different length, compare the rows that both have.
        device: where a run's probe is trained if it is no longer in the cache.
        echo: prints a line for the user.
        option: how messages spell an argument.

    Raises:
        ConfigError: one model that is no run, or something that is no model.
        ModelError: a model cannot be read, or the tables do not fit together.
        RecordError: a run is damaged, or its model has changed since.
        TuningError: a run whose method leaves the embedding table as it is.
    """
    one = open_side(before, "the first model", device, echo, compared=compared)
    if after is None:
        if one.base is None or one.config is None:
            kind = "a model folder" if isinstance(before, str | os.PathLike) else "one model"
            raise ConfigError(
                f"{one.name} is {kind}; allowed: two of them, before and after tuning, or a run "
                "directory alone."
            )
        names = (f"the original model of {one.name}", one.name)
        rows = one.base.shape[0]
        known = (one.tokenizer, one.counts, one.config, one.tied, one.gradients)
        return Pair(one.base, one.table, rows, names, *known)
    other = open_side(after, "the second model", device, echo, compared=compared)
    rows = _rows(one, other, shared_rows, option)
    kinds = one.table.dtype, other.table.dtype
    if torch.promote_types(*kinds) != kinds[1]:  # not every value of BEFORE can stand in AFTER
        shown = [str(kind).removeprefix("torch.") for kind in kinds]
        echo(
            f"Note: {one.name} is in {shown[0]}, {other.name} in {shown[1]}: rounding alone moves "
            "rows a little, also those that were never tuned."
        )
    if compared:
        _say_if_unrelated(one, other, rows, echo)
    tokenizer = one.tokenizer or other.tokenizer
    if tokenizer is None and all(isinstance(x, str | os.PathLike) for x in (before, after)):
        echo("Note: neither folder has a tokenizer: the rows have no names.")
    model = one.config or one.folder or one.name
    counts = other.counts or one.counts
    names = (one.name, other.name)
    found = (tokenizer, counts, model, one.tied, other.gradients or one.gradients)
    return Pair(one.table, other.table, rows, names, *found)


def _rows(one: Side, other: Side, shared: bool, option: Spelling) -> int:
    (rows, width), (more, depth) = one.table.shape, other.table.shape
    if width != depth:
        raise ModelError(
            f"{one.name} has rows of {plural(width, 'coordinate')}, {other.name} of {depth}: two "
            "states of one model are needed."
        )
    if rows != more and not shared:
        longer = other.name if more > rows else one.name
        raise ModelError(
            f"{one.name} has {plural(rows, 'row')} of vocabulary, {other.name} {more:,}. If "
            f"{longer} is the same model with tokens added at the end, {option('shared_rows')} "
            f"compares the first {plural(min(rows, more), 'row')} of both."
        )
    return min(rows, more)


def _looked_at(first: Table, second: Table, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A few rows of two tables, spread over the first ``rows`` ones, float32."""
    ids = torch.linspace(0, rows - 1, min(rows, LOOKED_AT)).long()
    return read_rows(first, ids).float(), read_rows(second, ids).float()


def two_models_note(names: tuple[str, str], first: Table, second: Table, rows: int) -> str | None:
    """What to say where two tables are hardly one model before and after tuning; else None."""
    before, after = _looked_at(first, second, rows)
    # tuning turns few rows far; rows of two models are as good as orthogonal
    turned = torch.cosine_similarity(before, after, dim=1)
    if len(turned) < 2 or not bool(turned.median() < UNRELATED):
        return None
    return (
        f"Note: {names[0]} and {names[1]} look like two models, not like one before and after "
        f"tuning: of {plural(len(turned), 'row')} looked at, half have a cosine below {UNRELATED} "
        "with the same row of the other."
    )


def _say_if_unrelated(one: Side, other: Side, rows: int, echo: Echo) -> None:
    """Note that a run and what it is compared with do not come of one original model.

    Of a model alone its own table is looked at: an earlier state of the run's model is no other
    model as long as most rows are the same.
    """
    first, second = one.base or one.table, other.base or other.table
    if one.base is None and other.base is None:
        note = two_models_note((one.name, other.name), first, second, rows)
        if note is not None:
            echo(f"{note} Rows copied from one into the other would mean nothing there.")
        return
    before, after = _looked_at(first, second, rows)
    # what a narrower dtype rounds away is no difference
    same = torch.isclose(before, after, rtol=2**-7, atol=1e-6).all(dim=1)
    differ = len(same) - int(same.sum())
    if 2 * differ <= len(same):
        return
    run, which = (other, one) if other.base is not None else (one, other)
    its = which.name if which.base is None else f"the original model of {which.name}"
    echo(
        f"Note: {its} is not the model that {run.name} was tuned from: of "
        f"{plural(len(same), 'row')} looked at, {differ} differ before any tuning. D compares two "
        "models then, not one before and after."
    )


def original(model: str | RunConfig, dtype: str | None = None) -> Any:
    """The original model of a pair, loaded on the CPU: model, tokenizer and facts.

    Args:
        model: :attr:`Pair.model`.
        dtype: to load in; None for the one that it is stored in.
    """
    if isinstance(model, RunConfig):
        settings = model.model
        return load(dataclasses.replace(settings, dtype=dtype or settings.dtype), "cpu")
    from mt_lottery.model.hf import load_folder

    folder = open_model(model)
    stored = str(folder.dtype(folder.embedding)).removeprefix("torch.")
    return load_folder(folder.path, name=model, dtype=dtype or stored, device="cpu")
