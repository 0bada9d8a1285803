"""One side of a comparison: an embedding table, and whose it is."""

from __future__ import annotations

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
from mt_lottery.errors import ModelError, MTLotteryError, RecordError, TuningError
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


def is_run(where: TableLike) -> bool:
    """Whether something is the path of a run directory (and of no model folder)."""
    if not isinstance(where, str | os.PathLike) or not os.fspath(where):
        return False
    path = Path(where).expanduser()
    return any((path / name).is_file() for name in (NAME, CONFIG, SWAP))


def open_side(
    where: TableLike, name: str, device: str, echo: Echo, *, compared: bool = True
) -> Side:
    """A model's table, or the one that a run ended with.

    Args:
        where: see :data:`~mt_lottery.paper.find.given.TableLike`.
        name: what messages call it, if it has no path.
        device, echo, compared: as of :func:`~mt_lottery.paper.find.pair.open_pair`.

    Raises:
        as :func:`open_pair`.
    """
    if not isinstance(where, str | os.PathLike):
        return Side(name, table_of(where, name), False)
    path = os.fspath(where)
    if not path.strip():  # pathlib would read it as the current folder
        raise ModelError(f"{name} is {path!r}; a folder, a file, a hub id or a run is needed.")
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
