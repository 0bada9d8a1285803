"""What the tuners that pick vocabulary rows share: settings, the module, its file."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mt_lottery.config import TunerConfig, setting
from mt_lottery.errors import TuningError, plural
from mt_lottery.model.folder.saving import cast
from mt_lottery.model.tables import is_tied
from mt_lottery.ticket.level import RowScores
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.base import Tuner, TuningContext
from mt_lottery.tuners.rows.adapter_file import load_rows, save_rows
from mt_lottery.tuners.rows.module import TokenRows, attach, check_scope, fold

DEFAULT_TICKETS = 18  # the paper's smallest ticket (Table 1)


@dataclass
class RowsConfig(TunerConfig):
    """Settings of tuners that tune vocabulary rows."""

    scope: str = setting(
        "input",
        "of a tied model, change the input table only, or the output head too",
        choices=("input", "tied"),
    )


#: Why no more rows can be asked for (:meth:`RowTuner.most_rows`).
VOCABULARY = "rows of the vocabulary"
SEEN = "tokens in the training inputs: no other row can have moved"
COUNTED = "different tokens in the training text"


class RowTuner(Tuner):
    """Base of the tuners that tune (or copy) vocabulary rows.

    One that does not choose them (:attr:`chosen` stays None) sets ``chooses_rows = False``.
    """

    chooses_rows = True

    @property
    def search_space(self) -> dict[str, list[Any]]:
        space: dict[str, list[Any]] = {"train.lr": [3e-3, 1e-2, 3e-2], "train.epochs": [2, 4]}
        if getattr(self.config, "tickets", None) is not None:  # not where α or a file chooses
            space["tuner.tickets"] = [18, 100, 400]
        return space

    @property
    def scope(self) -> str:
        scope: str = self.config.scope
        return scope

    def check_model(self, model: Any) -> None:
        check_scope(model, self.scope)
        there, wanted = len(model.get_input_embeddings().weight), getattr(self.config, "tickets", 0)
        if wanted and wanted > there:
            raise TuningError(
                f"`tuner.tickets` is {wanted:,}, but the embedding table of {type(model).__name__} "
                f"has {plural(there, 'row')}."
            )

    @abstractmethod
    def rows(self, context: TuningContext) -> Tensor:
        """Token ids of the rows, [k]."""

    def values(self, context: TuningContext, rows: Tensor) -> Tensor | None:
        """Start values of the rows, [k, d]; None for the model's own."""
        return None

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        check_scope(context.model, self.scope)
        rows = self.rows(context)
        values = self.values(context, rows)
        embedding = attach(context.model, rows, values, tied=self.scope == "tied")
        embedding.rows.requires_grad_(self.trains)
        return [embedding.rows] if self.trains else []

    def trainable_parameters(self, context: TuningContext) -> int:
        return int(context.model.get_input_embeddings().rows.numel())

    def count(self, model: Any) -> int:
        rows, width = model.get_input_embeddings().weight.shape
        return self.count_rows(int(rows)) * int(width) if self.trains else 0

    def count_rows(self, vocab_size: int) -> int:
        """How many rows are trained, as far as the settings tell."""
        return int(getattr(self.config, "tickets", None) or DEFAULT_TICKETS)

    def most_rows(self, vocabulary: int, seen: int, counted: int) -> tuple[int, str] | None:
        """Most rows that can be asked for, and why; None where that is not known ahead.

        It may turn out to be fewer: a row that occurs need not have moved.

        Args:
            vocabulary: rows of the table.
            seen: different tokens in the training inputs whose rows training can move, template and
                special tokens included.
            counted: different tokens in sources and targets alone.
        """
        return None

    def reached(self, context: TuningContext) -> Tensor:
        """Token ids of the rows that training can move, ascending; of a tied table all."""
        if self.scope == "tied":
            return torch.arange(context.table.shape[0])
        return context.seen if context.followed is None else context.followed

    def cannot_move(self, context: TuningContext) -> bool:
        rows = context.model.get_input_embeddings().token_ids.cpu()
        return not bool(torch.isin(rows, self.reached(context)).any())

    def save(self, context: TuningContext, run_dir: Path) -> Path:
        embedding = context.model.get_input_embeddings()
        assert isinstance(embedding, TokenRows)
        folder = run_dir / "adapter"
        save_rows(
            folder,
            context.model,
            embedding.token_ids,
            embedding.rows.detach(),
            base_name=str(getattr(context.model.config, "_name_or_path", "") or ""),
            input_only=self.scope == "input" and is_tied(context.model),
        )
        return folder

    def restore(self, model: Any, run_dir: Path) -> Any:
        token_ids, values = load_rows(run_dir / "adapter", model)
        attach(model, token_ids, values, tied=self.scope == "tied").rows.requires_grad_(False)
        return model

    def merge(self, model: Any, dtype: torch.dtype) -> Any:
        return fold(cast(model, dtype))


@dataclass
class CountedRowsConfig(RowsConfig):
    """Settings of baselines that choose a given number of rows."""

    tickets: int = setting(DEFAULT_TICKETS, "number of rows", ge=1, most=10**7)
    seed: int | None = setting(None, "of the choice of rows; the run's seed if null", ge=0)


def enough(rows: Tensor, wanted: int, what: str) -> Tensor:
    """The first ``wanted`` of ``rows``, or an error that says how many there are.

    Raises:
        TuningError: fewer rows than wanted.
    """
    if len(rows) < wanted:
        raise TuningError(f"`tuner.tickets` is {wanted}, but there are only {len(rows)} {what}.")
    return rows[:wanted]


class ChosenRows(Ticket):
    """:class:`Ticket` under its name and with the arguments of version 0.1.

    Args:
        rows, selector, alpha, correction, tau: as of a ticket.
        statistic, pvalue: of every row of the table, [V] (a ticket's ``scores``).
    """

    def __new__(  # type: ignore[misc]  # a plain ticket
        cls,
        rows: Tensor,
        selector: str,
        alpha: float | None = None,
        correction: str | None = None,
        tau: float | None = None,
        statistic: Tensor | None = None,
        pvalue: Tensor | None = None,
    ) -> Ticket:
        """A ticket."""
        warnings.warn(
            "ChosenRows is mt_lottery.plugin.Ticket now, its statistic and pvalue are scores.",
            DeprecationWarning,
            stacklevel=2,
        )
        scores = None if statistic is None else RowScores(statistic, pvalue)
        return Ticket(rows, selector, alpha, correction, tau, scores)
