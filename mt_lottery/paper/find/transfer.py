"""Partial transfer without training: the ticket's rows of one model put into another (§3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mt_lottery.config import RunConfig
from mt_lottery.errors import TuningError
from mt_lottery.model.folder.configuration import read_config
from mt_lottery.model.folder.quantised import quantisation, refuse_merging
from mt_lottery.model.folder.saving import save_folder
from mt_lottery.model.loading import quantisation_of
from mt_lottery.model.tables import is_tied
from mt_lottery.paper.find.pair import Pair, original
from mt_lottery.paper.find.tables import all_finite, not_finite, open_model, read_rows
from mt_lottery.runs.folder.preparing import TICKETS
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.rows.module import attach, fold


def check_scope(pair: Pair, scope: str) -> None:
    """Whether BEFORE can be changed, and in this scope, by what is known before it is loaded.

    Raises:
        TuningError: ``scope=tied`` for a model whose head is its own.
        ModelError: its weights are quantised.
    """
    _check_scope(pair, scope, pair.tied)
    model = pair.model
    if isinstance(model, RunConfig):
        where = model.model.name_or_path or model.model.name
        refuse_merging(where, quantisation_of(model.model))
    else:
        refuse_merging(model, quantisation(read_config(str(open_model(model).path), model)))


def _check_scope(pair: Pair, scope: str, tied: bool) -> None:
    if scope == "tied" and not tied:
        raise TuningError(
            f"--scope tied: the output head of {pair.names[0]} has its own table; allowed "
            "for it: input."
        )


def transfer(pair: Pair, chosen: Ticket, out: Path, *, scope: str = "input") -> Any:
    """Write BEFORE with some rows of AFTER as a plain transformers folder.

    The weights keep BEFORE's dtype. A tied model whose input table alone is to change gets
    its own output head. ``tickets.csv`` in the folder says which rows were copied.

    Args:
        pair: BEFORE and AFTER.
        chosen: the rows.
        out: from :func:`mt_lottery.runs.folder.targets.check_model_folder`.
        scope: ``input``, or ``tied`` to change the head of a tied model as well.

    Returns:
        the facts of the model that was changed.

    Raises:
        TuningError: ``scope=tied`` for a model whose head is its own, or a NaN or ∞ in a row.
        ModelError: the model cannot be loaded.
        DiskError: the folder cannot be written.
    """
    values = read_rows(pair.after, chosen.rows)
    if not all_finite(values):  # a selector need not have looked at them
        raise TuningError(f"{pair.names[1]}: a row of the ticket holds {not_finite(values)}.")
    loaded = original(pair.model)
    model = loaded.model
    _check_scope(pair, scope, is_tied(model))
    attach(model, chosen.rows, values.to(torch.float32), tied=scope == "tied")
    fold(model)

    def list_rows(folder: Path) -> None:
        chosen.named(loaded.tokenizer, pair.counts).save(folder / TICKETS)

    save_folder(model, loaded.tokenizer, out, marked=True, more=list_rows)
    return loaded.info
