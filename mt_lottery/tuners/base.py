"""What every tuner offers."""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from mt_lottery.config import RunConfig
from mt_lottery.errors import TuningError
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.context import FACTS as FACTS
from mt_lottery.tuners.context import Probe as Probe
from mt_lottery.tuners.context import RowGradients as RowGradients
from mt_lottery.tuners.context import TuningContext as TuningContext


class Tuner(ABC):
    """A tuner: it changes a model in place and says what is to be trained.

    Attributes:
        trains: False for tuners that change nothing, or copy.
        reads_text: the training text is needed although nothing is trained.
        reads_prompt: :meth:`apply` looks at ``context.prompt_ids``; the template is then asked for
            sentences that are in no text.
        reads_dev: :attr:`forced` is chosen on the dev set, among :meth:`prefixes`.
        leaderboard: ``mt-bench all`` runs it; False for an arm of a single figure.
        probe_section: the section that says how the probe is trained: ``probe``,
            or ``train`` for the tuner that is nothing but the probe.
        over_quantised: it can train beside weights that arrive quantised (4 bits), which cannot
            themselves be trained.
        chooses_rows: :meth:`apply` chooses vocabulary rows and says which in ``chosen``.
        trains_weights: it trains weights of the model's own layers, not only what it adds to them
            or the tables' rows: ``train.sharding`` divides them after :meth:`apply`.
        by_others: another library decides what :meth:`save` keeps: what the scored model computes
            is noted, and what :meth:`restore` returns must compute the same.
        autocast: dtype of the computation where the trained master copy is wider
            (None: as the model is).
        chosen: the ticket, once :meth:`apply` ran, for tuners that choose.
        lead: text that goes before every prompt that is translated.
        forced: token ids with which every translation begins.
        choice: what the record says of how they were chosen.
        one_line: a translation ends at its first line break.
        tokenizer: the model's, set before :meth:`restore` is called.
    """

    trains: ClassVar[bool] = True
    reads_text: ClassVar[bool] = False
    reads_prompt: bool = False
    reads_dev: ClassVar[bool] = False
    leaderboard: ClassVar[bool] = True
    probe_section: ClassVar[str] = "probe"
    over_quantised: ClassVar[bool] = True
    chooses_rows: ClassVar[bool] = False
    trains_weights: ClassVar[bool] = False
    by_others: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        self.config = config
        self.autocast: torch.dtype | None = None
        self.chosen: Ticket | None = None
        self.lead = ""
        self.forced: tuple[int, ...] = ()
        self.choice: dict[str, Any] = {}
        self.one_line = False
        self.tokenizer: Any = None

    @property
    def probe(self) -> str | None:
        """The tuner whose training must come first (``"embed"``), or None."""
        return None

    @property
    def gradient_pairs(self) -> int | None:
        """Training pairs whose gradients at the rows must be measured first, or None."""
        return None

    # what the paper's analyses ask; a variant answers as what it extends

    @property
    def has_probe(self) -> bool:
        """Whether an embedding-tuned probe is trained first: its rows can be tested and shown."""
        return self.probe is not None

    @property
    def is_probe(self) -> bool:
        """Whether it is nothing but the probe: what it saves are the probe's rows."""
        return self.has_probe and self.probe_section == "train"

    @property
    def takes_gradients(self) -> bool:
        """Whether the model runs backward over the training text, its probe's training included."""
        return self.trains or self.has_probe or self.gradient_pairs is not None

    @property
    def tunes_chosen(self) -> bool:
        """Whether it trains the rows that its measure chose, from the original model.

        That is partial tuning; a variant that trains other rows than those overrides this.
        """
        return self.chooses_rows and self.trains

    @property
    def copies_chosen(self) -> bool:
        """Whether it takes the rows that it chose from the probe as they are (partial transfer)."""
        return self.chooses_rows and self.has_probe and not self.trains

    @property
    def scope(self) -> str | None:
        """``input`` or ``tied`` for tuners that change vocabulary rows."""
        return None

    @property
    def virtual_tokens(self) -> int:
        """Positions that the tuner puts before every input."""
        return 0

    @property
    def undivided(self) -> str | None:
        """Why it takes no model that is divided among processes, in a clause; None if it does."""
        return None

    @property
    def seeded(self) -> bool:
        """Whether the result depends on the run's seed (the original model's does not)."""
        return self.trains or self.reads_text or self.has_probe

    @property
    def outside_model(self) -> str | None:
        """What it does that is no part of the model's weights, in a sentence; None if nothing."""
        return None

    @property
    def search_space(self) -> dict[str, list[Any]]:
        """Values that ``tune=N`` may try: key (``train.lr``, ``tuner.r``) → list; {} for none."""
        return {"train.lr": [1e-4, 3e-4, 1e-3, 3e-3], "train.epochs": [2, 4]} if self.trains else {}

    def problems_with_settings(self) -> Iterator[str]:
        """What is wrong with its own settings, where it takes a library to say it.

        A schema's ``problems`` are asked for wherever settings are put together, ``--help``
        included; this is asked for before a run or a benchmark starts.
        """
        yield from ()

    def problems_with(self, run: RunConfig) -> Iterator[str]:
        """What this tuner cannot do of the whole run's settings, one sentence each."""
        yield from ()

    def problems_with_pairs(self, pairs: int) -> list[str]:
        """What this tuner cannot do with so many training pairs, one sentence each."""
        return []

    def check_model(self, model: Any) -> None:  # noqa: B027 (a hook, empty by default)
        """Refuse a model that the settings do not fit, before anything is computed with it.

        Args:
            model: the original one, as it was loaded; it is left as it is.

        Raises:
            TuningError: what does not fit, and what would.
        """

    @abstractmethod
    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        """Change ``context.model`` in place, or put a wrapper of it into the context.

        Returns:
            the parameters to be trained, all of them part of ``context.model``.  They, and no
            others, are trained: ``requires_grad`` is set accordingly.  Empty for a tuner with
            ``trains = False``.
        """

    def leads(self, sources: Sequence[str], fewer: int = 0) -> list[str]:
        """The text before each prompt: :attr:`lead`, unless it depends on the sentence.

        Args:
            sources: what is translated.
            fewer: by how many examples each is to be shorter than it would be, for prompts
                beyond the model's positions.
        """
        return [self.lead] * len(sources)

    def remarks(self) -> Iterator[str]:
        """What to say once the test set is translated, one sentence each."""
        yield from ()

    def prefixes(self, targets: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        """What :attr:`forced` may be, for a tuner that ``reads_dev``.

        Args:
            targets: token ids of the training targets, end-of-sequence included.

        Raises:
            TuningError: there is nothing to choose from.
        """
        return []

    def trainable_parameters(self, context: TuningContext) -> int:
        """Number of trained values, as the paper's Table 2 counts them."""
        return sum(p.numel() for p in context.model.parameters() if p.requires_grad)

    def count(self, model: Any) -> int:
        """Trainable values for a model of this shape, weights or none (meta device).

        What Table 2 calls the number of parameters; :meth:`trainable_parameters` after
        :meth:`apply` gives the same.

        Raises:
            TuningError: it does not fit the model, or the model alone does not tell.
        """
        context = TuningContext(model, None, 0)
        self.apply(context)
        return self.trainable_parameters(context)

    def details(self, context: TuningContext) -> dict[str, Any]:
        """What the record should say beside the common fields (JSON-like)."""
        return {}

    def cannot_move(self, context: TuningContext) -> bool:
        """Whether no training input reaches the trained parameters: their gradient is 0."""
        return False

    def finish(self, model: Any) -> None:  # noqa: B027 (a hook, empty by default)
        """Called once after training, before translation."""

    def save(self, context: TuningContext, run_dir: Path) -> Path | None:
        """Write what was learnt under ``run_dir``; returns the folder, None if nothing.

        Of several processes only the main one is asked.  By default what :meth:`apply` returned
        is kept, with what else it added to the model (``mt_lottery/tuners/kept.py``).  A tuner
        that overrides this overrides :meth:`restore` too.
        """
        from mt_lottery.tuners.kept import save_kept

        return save_kept(self, context, run_dir)

    def restore(self, model: Any, run_dir: Path) -> Any:
        """The tuned model saved in ``run_dir``, from the original one.

        By default :meth:`apply` is called again, in the context that it saw, and the saved
        tensors take the place of what it made.

        Returns:
            ``model`` itself, changed in place, or a wrapper of it.

        Raises:
            RecordError: what was saved is missing, damaged, or of another model.
        """
        from mt_lottery.tuners.kept import restore_kept

        return restore_kept(self, model, run_dir)

    def merge(self, model: Any, dtype: torch.dtype) -> Any:
        """What :meth:`restore` returned, as a plain transformers model that computes the same.

        Args:
            model: from :meth:`restore`; used up.
            dtype: of the weights.

        Raises:
            TuningError: a plain model cannot hold what this tuner learnt.
        """
        start = f"A run of {self.config.name} cannot be merged: "
        if self.outside_model:
            raise TuningError(
                f"{start}{self.outside_model} The model is still the original one: "
                "translate with mt-translate, or mtl.Run(…).translate."
            )
        raise TuningError(
            f"{start}what it learnt is not part of a plain model's weights. Translate with "
            "mt-translate, or load it with mtl.load_tuned."
        )


#: What moved out of this module after version 0.1, and where it is.
_MOVED = {
    "ChosenRows": "tuners.rows.base",
    "CountedRowsConfig": "tuners.rows.base",
    "DEFAULT_TICKETS": "tuners.rows.base",
    "RowTuner": "tuners.rows.base",
    "RowsConfig": "tuners.rows.base",
    "enough": "tuners.rows.base",
    "iterate_rows": "tuners.rows.rows_file",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MOVED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(
            f"{__name__}.{name} is in mt_lottery.{_MOVED[name]} now: plugins import from "
            "mt_lottery.plugin.",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(f"mt_lottery.{_MOVED[name]}"), name)
