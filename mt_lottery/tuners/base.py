"""What every tuning method offers, and what those that pick rows share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mt_lottery.config import RunConfig, TunerConfig, setting
from mt_lottery.errors import TuningError
from mt_lottery.model.folder.saving import cast
from mt_lottery.model.tables import is_tied
from mt_lottery.tuners.rows.adapter_file import load_rows, save_rows
from mt_lottery.tuners.rows.module import TokenRows, attach, check_scope, fold

DEFAULT_TICKETS = 18  # the paper's smallest ticket (Table 1)
#: What of a context comes from the text, not from the model.
FACTS = ("counts", "seen", "probe", "input_counts", "examples")


@dataclass(frozen=True)
class Probe:
    """An embedding-tuned model, as the rows in which it differs from the original.

    Attributes:
        token_ids: rows that were trained, [k], ascending.
        values: their float32 values after training, [k, d].
        seconds: what the training cost.
    """

    token_ids: Tensor
    values: Tensor
    seconds: float


@dataclass(frozen=True)
class ChosenRows:
    """The rows that a method chose, and (for a test) the evidence.

    Attributes:
        rows: token ids, [k], most changed (or most frequent) first.
        selector: how they were chosen.
        alpha: the level given, or implied by their number; None without a test.
        correction: over the vocabulary; None without a test.
        tau: the estimated threshold τ(α) on the KS distance (§4.1); None without a test.
        statistic, pvalue: KS distance and nominal p of every row of the table,
            [V] float64; None without a test.
    """

    rows: Tensor
    selector: str
    alpha: float | None = None
    correction: str | None = None
    tau: float | None = None
    statistic: Tensor | None = None
    pvalue: Tensor | None = None


@dataclass
class TuningContext:
    """What a tuner may look at.

    Attributes:
        model: the original causal LM, frozen.
        tokenizer: its tokenizer.
        seed: the run's seed.
        counts: token id → occurrences in the training text (source and target;
            template and special tokens left out).
        seen: every token id among the training inputs, ascending, [s].
        probe: the embedding-tuned rows, where the tuner declared that it needs them.
        input_counts: token id → occurrences in the training inputs, template and special
            tokens included.
        examples: the training pairs as (prompt, target) text, where they are known.
        followed: those of ``seen`` that a trained token comes after, ascending: a token that only
            ever ends its input (end-of-sequence) gets no gradient; None where it is not known.
    """

    model: Any
    tokenizer: Any
    seed: int
    counts: Counter[int] = field(default_factory=Counter)
    seen: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    probe: Probe | None = None
    input_counts: Counter[int] = field(default_factory=Counter)
    examples: Sequence[tuple[str, str]] = ()
    followed: Tensor | None = None

    # for mt_lottery/tuners/declared.py and kept.py, not for a tuner
    declared: list[nn.Parameter] | None = field(default=None, repr=False)
    original: Any = field(default=None, repr=False)  # the tensors before `apply`
    read: set[str] | None = field(default=None, repr=False)  # collects, while `apply` runs
    read_by_apply: frozenset[str] | None = field(default=None, repr=False)
    kept: dict[str, Tensor] | None = field(default=None, repr=False)  # before `finish`
    finished: bool = False

    def __getattribute__(self, name: str) -> Any:
        if name in FACTS:
            read = vars(self).get("read")
            if read is not None:
                read.add(name)
        return object.__getattribute__(self, name)

    @property
    def table(self) -> Tensor:
        """The original embedding table, [V, d]."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight.detach()


class Tuner(ABC):
    """A tuning method: it changes a model in place and says what is to be trained.

    Attributes:
        trains: False for methods that change nothing, or copy.
        reads_text: the training text is needed although nothing is trained.
        leaderboard: ``mt-bench all`` runs it; False for an arm of a single figure.
        probe_section: the section that says how the probe is trained: ``probe``,
            or ``train`` for the method that is nothing but the probe.
        over_quantised: it can train beside weights that arrive quantised (4 bits), which cannot
            themselves be trained.
        autocast: dtype of the computation where the trained master copy is wider
            (None: as the model is).
        chosen: the rows that were chosen, once :meth:`apply` ran, for methods that choose.
        lead: text that goes before every prompt that is translated.
        tokenizer: the model's, set before :meth:`restore` is called.
    """

    trains: ClassVar[bool] = True
    reads_text: ClassVar[bool] = False
    leaderboard: ClassVar[bool] = True
    probe_section: ClassVar[str] = "probe"
    over_quantised: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        self.config = config
        self.autocast: torch.dtype | None = None
        self.chosen: ChosenRows | None = None
        self.lead = ""
        self.tokenizer: Any = None

    @property
    def probe(self) -> str | None:
        """The tuner whose training must come first (``"embed"``), or None."""
        return None

    @property
    def scope(self) -> str | None:
        """``input`` or ``tied`` for methods that change vocabulary rows."""
        return None

    @property
    def virtual_tokens(self) -> int:
        """Positions that the method puts before every input."""
        return 0

    @property
    def search_space(self) -> dict[str, list[Any]]:
        """Values that ``tune=N`` may try: key (``train.lr``, ``tuner.r``) → list; {} for none."""
        return {"train.lr": [1e-4, 3e-4, 1e-3, 3e-3], "train.epochs": [2, 4]} if self.trains else {}

    def problems_with(self, run: RunConfig) -> Iterator[str]:
        """What this method cannot do of the whole run's settings, one sentence each."""
        yield from ()

    def problems_with_pairs(self, pairs: int) -> list[str]:
        """What this method cannot do with so many training pairs, one sentence each."""
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
            others, are trained: ``requires_grad`` is set accordingly.  Empty for a method with
            ``trains = False``.
        """

    def trainable_parameters(self, context: TuningContext) -> int:
        """Number of trained values, as the paper's Table 2 counts them."""
        return sum(p.numel() for p in context.model.parameters() if p.requires_grad)

    def count(self, model: Any) -> int:
        """Trainable values for a model of this shape, weights or none (meta device).

        What Table 2 calls the number of parameters; :meth:`trainable_parameters` after
        :meth:`apply` gives the same.
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
        is kept, with what else it added to the model (``mt_lottery/tuners/kept.py``).  A method
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
            TuningError: a plain model cannot hold what this method learnt.
        """
        raise TuningError(
            f"A run of {self.config.name} cannot be merged: what it learnt is no part of a plain "
            "model's weights. Translate with mt-translate, or load it with mtl.load_tuned."
        )


@dataclass
class RowsConfig(TunerConfig):
    """Settings of methods that tune vocabulary rows."""

    scope: str = setting(
        "input",
        "of a tied model, change the input table only, or the output head too",
        choices=("input", "tied"),
    )


class RowTuner(Tuner):
    """Base of the methods that tune (or copy) vocabulary rows."""

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
                f"`tuner.tickets` is {wanted:,}, but the embedding table of "
                f"{type(model).__name__} has {there:,} rows."
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

    def cannot_move(self, context: TuningContext) -> bool:
        rows = context.model.get_input_embeddings().token_ids.cpu()
        reached = context.seen if context.followed is None else context.followed
        return self.scope == "input" and not bool(torch.isin(rows, reached).any())

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


def iterate_rows(text: str) -> Iterator[tuple[int, str]]:
    """Line number and content of every line that is neither empty nor a comment (``#``)."""
    for number, line in enumerate(text.split("\n"), 1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content
