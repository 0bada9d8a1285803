"""Partial transfer without training: the ticket's rows of one model put into another (§3)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from mt_lottery.atomic import DiskError
from mt_lottery.errors import RecordError, TuningError
from mt_lottery.evidence.pair import Pair, original
from mt_lottery.evidence.tables import read_rows
from mt_lottery.model.saving import save_folder
from mt_lottery.model.tables import is_tied
from mt_lottery.pipeline.rundir import TICKETS, write_tickets
from mt_lottery.tuner.base import ChosenRows
from mt_lottery.tuner.token_rows import attach, fold


def check_out(out: str | Path, overwrite: bool) -> Path:
    """The folder to write, which must not be there, or may be replaced.

    Raises:
        RecordError: it exists.
    """
    folder = Path(out).expanduser()
    if folder.exists() and not overwrite:
        raise RecordError(f"{folder} exists; give another folder, or --overwrite.")
    return folder


def check_scope(pair: Pair, scope: str) -> None:
    """Whether BEFORE can be changed in this scope, by what is known before it is loaded.

    Raises:
        TuningError: ``scope=tied`` for a model whose head is its own.
    """
    _check_scope(pair, scope, pair.tied)


def _check_scope(pair: Pair, scope: str, tied: bool) -> None:
    if scope == "tied" and not tied:
        raise TuningError(
            f"--scope tied: the output head of {pair.names[0]} has a table of its own; allowed "
            "for it: input."
        )


def transfer(pair: Pair, chosen: ChosenRows, out: Path, *, scope: str = "input") -> Any:
    """Write BEFORE with some rows of AFTER as a plain transformers folder.

    The weights keep BEFORE's dtype. A tied model whose input table alone is to change gets
    an output head of its own. ``tickets.csv`` in the folder says which rows were copied.

    Args:
        pair: BEFORE and AFTER.
        chosen: the rows.
        out: the folder; replaced if it exists.
        scope: ``input``, or ``tied`` to change the head of a tied model as well.

    Returns:
        the facts of the model that was changed.

    Raises:
        TuningError: ``scope=tied`` for a model whose head is its own.
        ModelError: the model cannot be loaded.
        DiskError: the folder cannot be written.
    """
    values = read_rows(pair.after, chosen.rows)
    loaded = original(pair.model)
    model = loaded.model
    _check_scope(pair, scope, is_tied(model))
    attach(model, chosen.rows, values.to(torch.float32), tied=scope == "tied")
    fold(model)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_folder(model, loaded.tokenizer, out)
    except OSError as error:
        shutil.rmtree(out.with_name(f".{out.name}.partial"), ignore_errors=True)
        raise DiskError(f"{out}: cannot be written: {error.strerror or error}.") from error
    write_tickets(out / TICKETS, chosen, loaded.tokenizer, pair.counts)
    return loaded.info
