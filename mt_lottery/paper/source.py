"""A finished run, opened again: its text, its original model and its embedding-tuned probe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mt_lottery.config.compose import compose_saved
from mt_lottery.data.prompts.batches import Encoded
from mt_lottery.errors import RecordError, TuningError
from mt_lottery.model.loading import LoadedModel, load
from mt_lottery.registry import TUNERS
from mt_lottery.runs.context import make_context
from mt_lottery.runs.folder.preparing import CONFIG
from mt_lottery.runs.folder.record import Record, read_record
from mt_lottery.runs.planning.plan import Echo, Plan, make_plan
from mt_lottery.runs.probe import probe_of
from mt_lottery.runs.search import as_chosen
from mt_lottery.ticket.level import RowScores
from mt_lottery.tuners.base import Probe, TuningContext
from mt_lottery.tuners.rows.ks_lottery import score_probe


@dataclass
class Source:
    """What a run was made from.

    Attributes:
        run_dir: the run directory.
        record: its record.
        plan: configuration, text, method.
        loaded: the original model (frozen, eval mode) and its tokenizer.
        context: what the tuner looked at; ``context.probe`` is the embedding-tuned probe.
        encoded: the training pairs as token ids.
    """

    run_dir: Path
    record: Record
    plan: Plan
    loaded: LoadedModel
    context: TuningContext
    encoded: Encoded

    @property
    def probe(self) -> Probe:
        """The embedding-tuned rows."""
        assert self.context.probe is not None
        return self.context.probe

    @property
    def table(self) -> Tensor:
        """The original embedding table, [V, d]."""
        return self.context.table

    def ks(self) -> RowScores:
        """KS distance and nominal p of every row of the vocabulary, [V] each."""
        return score_probe("ks", self.table, self.probe)


def open_plan(run_dir: str | Path, device: str = "auto") -> tuple[Record, Plan]:
    """Record and plan of a finished run, from its files and its text; no model is loaded.

    Args:
        run_dir: a run directory.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        RecordError: no finished run there, or its text or model has changed since.
    """
    folder = Path(run_dir).expanduser()
    record = read_record(folder)
    config = dataclasses.replace(compose_saved(folder / CONFIG), device=device, tracker="none")
    plan = make_plan(config, lambda _: None)
    if plan.config_hash != record.config_hash:
        raise RecordError(
            f"{folder}: what the run depends on has changed since (its text, its model, or this "
            f"package's defaults): its config_hash is {record.config_hash[:12]}, now it would be "
            f"{plan.config_hash[:12]}. Run it again (overwrite=true)."
        )
    if record.tuning is not None:
        config = as_chosen(config, record)
        tuner = TUNERS.get(config.tuner.name)(config.tuner)
        plan = dataclasses.replace(plan, config=config, tuner=tuner)
    return record, plan


def open_source(run_dir: str | Path, device: str = "auto", echo: Echo = print) -> Source:
    """Open a finished run of a method that has an embedding-tuned probe.

    The probe comes from the cache (``MT_LOTTERY_CACHE``), or is trained again, with the
    run's own settings and seed, where the cache was emptied.

    Args:
        run_dir: of ``ks_lottery``, ``ks_transfer``, ``ks_freeze`` or ``embed``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        echo: prints a line for the user.

    Raises:
        RecordError: no finished run there, or its text or model has changed since.
        TuningError: its method has no probe.
    """
    folder = Path(run_dir).expanduser()
    record, plan = open_plan(folder, device)
    if plan.tuner.probe is None:
        raise TuningError(
            f"{folder}: recipe={plan.config.recipe} has no embedding-tuned probe; allowed: runs of "
            "ks_lottery, ks_transfer, ks_freeze and embed."
        )
    loaded = load(plan.config.model, plan.device)
    context, encoded, dev = make_context(plan, loaded, echo)
    assert encoded is not None
    context.probe = probe_of(plan, context, encoded, dev, (), echo).probe
    return Source(folder, record, plan, loaded, context, encoded)
