"""What is compared: two embedding tables, given as model folders or as finished runs."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch

from mt_lottery.config import RunConfig
from mt_lottery.data.joint import load_text
from mt_lottery.errors import (
    ConfigError,
    ModelError,
    MTLotteryError,
    RecordError,
    TuningError,
    plural,
)
from mt_lottery.model.hf import load_tokenizer
from mt_lottery.model.loading import load
from mt_lottery.model.tables import input_table
from mt_lottery.paper.find.given import TableLike, open_given, table_of
from mt_lottery.paper.find.tables import (
    DEFAULT_MODEL,
    MemoryTable,
    ModelFolder,
    PatchedTable,
    Table,
    open_model,
)
from mt_lottery.runs.context import make_context
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.preparing import CONFIG
from mt_lottery.runs.folder.record import NAME, SWAP
from mt_lottery.runs.planning.plan import Echo
from mt_lottery.runs.stages.gradients import gradients_of
from mt_lottery.tuners.base import RowGradients
from mt_lottery.tuners.recipes import recipes_that
from mt_lottery.tuners.rows.adapter_file import load_rows
from mt_lottery.tuners.rows.ks_lottery import DEFAULT_PAIRS

#: From a number of training pairs to their gradients.
Gradients: TypeAlias = Callable[[int | None], RowGradients]
#: From an argument of a Python call, and what it is to be, to how a message writes it.
Spelling: TypeAlias = Callable[..., str]


def keyword(name: str, value: object = True) -> str:
    """An argument as Python writes it: ``rows=18``."""
    return f"{name}={value}"


@dataclass
class Side:
    """One embedding table, and whose it is.

    Attributes:
        name: the folder or run as it was given.
        table: the table, [V, d].
        base: for a run the original model's table.
        tokenizer: of that model; None where there is none.
        counts: token id → occurrences in the run's training text, where that is known.
        gradients: of a run: of so many of its training pairs at the rows of its original model;
            None stands for the number that it used itself.
        config: of a run.
        folder: of a model, what :func:`open_model` takes.
        tied: whether the model's output head is its input table.
    """

    name: str
    table: Table
    tied: bool
    base: Table | None = None
    tokenizer: Any | None = None
    counts: Counter[int] | None = None
    gradients: Gradients | None = None
    config: RunConfig | None = None
    folder: str | None = None


@dataclass
class Pair:
    """Two tables to be compared row by row.

    Attributes:
        before, after: the tables; only the first ``rows`` rows of each are looked at.
        rows: V.
        names: what they are called.
        tokenizer: names the rows; None where there is none.
        counts: occurrences in the training text, None where there is no corpus.
        gradients: as of :class:`Side`, None where there is no corpus.
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


def is_run(where: TableLike) -> bool:
    """Whether something is the path of a run directory (and of no model folder)."""
    if not isinstance(where, str | os.PathLike):
        return False
    path = Path(where).expanduser()
    return any((path / name).is_file() for name in (NAME, CONFIG, SWAP))


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


def open_side(
    where: TableLike, name: str, device: str, echo: Echo, *, compared: bool = True
) -> Side:
    """A model's table, or the one that a run ended with.

    Args:
        where: see :data:`~mt_lottery.paper.find.given.TableLike`.
        name: what messages call it, if it has no path.
        device, echo, compared: as of :func:`open_pair`.

    Raises:
        as :func:`open_pair`.
    """
    if not isinstance(where, str | os.PathLike):
        return Side(name, table_of(where, name), False)
    path = os.fspath(where)
    if is_run(path):
        return _open_run(Run(path, device, echo=echo), path, echo, compared)
    folder = open_given(path)
    tokenizer = None if folder.path.is_file() else _tokenizer(folder)
    # a hub id is no name that `open_model` takes
    again = path if path == DEFAULT_MODEL or Path(path).expanduser().exists() else folder.path
    return Side(path, folder.table(), folder.tied, tokenizer=tokenizer, folder=str(again))


def _tokenizer(folder: ModelFolder) -> Any | None:
    try:
        return load_tokenizer(folder.path)[0]
    except ModelError:
        return None


def _open_run(run: Run, where: str, echo: Echo, compared: bool) -> Side:
    run.check()
    tied = run.record.model.tied_embeddings
    if compared and run.tuner.has_probe and not run.tuner.is_probe:
        probe = run.probe
        before: Table = MemoryTable(run.table)
        after: Table = PatchedTable(before, probe.token_ids, probe.values)
        tokenizer, counts = run.original.tokenizer, run.context.counts
        return Side(
            where, after, tied, before, tokenizer, counts, partial(_gradients, run), run.config
        )
    model = run.folder / "model"
    rows = _adapter_rows(run) if compared and not model.is_dir() else None
    before, tokenizer = base_table(run.config)
    after = before if rows is None else PatchedTable(before, *rows)
    if compared and rows is None:
        after = open_model(model).table()
    found = _training_counts(run, tokenizer, echo)
    return Side(where, after, tied, before, tokenizer, found, partial(_gradients, run), run.config)


def _gradients(run: Run, pairs: int | None) -> RowGradients:
    """Of a run's training pairs, at the rows of its original model."""
    plan = run.plan
    context, encoded, _ = make_context(plan, run.original, run.echo)
    if encoded is None:
        raise TuningError(
            f"{run.folder}: recipe={run.config.recipe} has no training pairs, whose gradients "
            "selector=gradient needs; allowed: runs that train, or choose rows by their text."
        )
    wanted = pairs or run.tuner.gradient_pairs or DEFAULT_PAIRS
    return gradients_of(plan, context, encoded, wanted, run.echo)


def _adapter_rows(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    adapter = run.folder / "adapter"
    try:
        return load_rows(adapter)
    except RecordError as error:
        if (adapter / "adapter_config.json").is_file() and "not an adapter" not in str(error):
            raise
        raise TuningError(
            f"{run.folder}: recipe={run.config.recipe} leaves the embedding table as it is: there "
            "is nothing to compare. Allowed: runs that keep a whole model, or vocabulary rows "
            f"({recipes_that(lambda tuner: tuner.scope)})."
        ) from error


def base_folder(config: RunConfig) -> ModelFolder | None:
    """The folder of a run's original model; None if it has none that can be read in parts."""
    where = config.model.name_or_path
    if config.model.name == DEFAULT_MODEL:
        return open_model(DEFAULT_MODEL)
    if config.model.name == "hf" and where is not None:
        path = Path(where).expanduser()
        if path.is_dir() and (path / "config.json").is_file():
            return open_model(path)
    return None


def base_table(config: RunConfig) -> tuple[Table, Any | None]:
    """The original embedding table of a run as it was loaded, and the tokenizer."""
    folder = base_folder(config)
    if folder is None:  # a hub id, a GGUF file, a plugin's model
        loaded = load(config.model, "cpu")
        return MemoryTable(input_table(loaded.model)), loaded.tokenizer
    settings = folder.model.config.get_text_config()
    dtype: Any = config.model.dtype
    if dtype == "auto":
        dtype = getattr(settings, "dtype", None) or getattr(settings, "torch_dtype", None)
        if dtype is torch.float16:  # held exactly by the float32 that a CPU computes in
            dtype = None
    else:
        dtype = getattr(torch, dtype)
    return folder.table(dtype), _tokenizer(folder)


def _training_counts(run: Run, tokenizer: Any | None, echo: Echo) -> Counter[int] | None:
    """Token counts of a run's training text, if that is still what it was."""
    train = run.record.data.train
    if tokenizer is None or train is None:
        return None
    try:
        split = load_text(run.config, ("train",)).train
    except MTLotteryError as error:
        echo(f"Note: the training text is not there any more, so tokens are not counted: {error}")
        return None
    if split is None or split.sha256 != train.sha256:
        echo("Note: the training text has changed since, so tokens are not counted.")
        return None
    return run.text.counts(split, tokenizer)


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
