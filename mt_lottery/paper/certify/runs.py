"""Runs of partial tuning at several α, which share all that a certificate rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_lottery.config import TrainConfig
from mt_lottery.errors import ConfigError, TuningError
from mt_lottery.paper.source import open_plan
from mt_lottery.runs.folder.record import Record
from mt_lottery.runs.planning.plan import Plan
from mt_lottery.ticket.level import Level

SELECTOR = "ks"


@dataclass(frozen=True)
class GivenRun:
    """A finished run that the user named.

    Attributes:
        run_dir: its folder.
        record: its record.
        plan: configuration, text, method.
        level: of its ticket by the KS test: the α given, or implied by a number of rows, which
            is counted off without any correction; None where the run has no such ticket.
    """

    run_dir: Path
    record: Record
    plan: Plan
    level: Level | None

    @property
    def alpha(self) -> float | None:
        """α of :attr:`level`."""
        return None if self.level is None else self.level.alpha

    @property
    def partial(self) -> bool:
        """Whether it trained its ticket's rows from the original model (partial tuning)."""
        return self.plan.config.tuner.name == "ks_lottery" and self.level is not None


def read_run(run_dir: str | Path, device: str = "auto") -> GivenRun:
    """Read a run's record and plan.

    Raises:
        RecordError: no finished run there, or what it depends on has changed.
    """
    folder = Path(run_dir).expanduser()
    record, plan = open_plan(folder, device)
    ticket, tuner = record.tickets, plan.config.tuner
    level = None
    if ticket is not None and ticket.selector == SELECTOR and ticket.alpha is not None:
        by_alpha: Level | None = getattr(tuner, "level", None)
        level = Level(ticket.alpha, by_alpha.correction if by_alpha else "none")
    return GivenRun(folder, record, plan, level)


def read_runs(run_dirs: Sequence[str | Path], device: str = "auto") -> list[GivenRun]:
    """Read the runs and make sure that one certificate can speak of all of them.

    Args:
        run_dirs: the first gives original model, test set and embed-tuned probe; the others
            are runs of ``ks_lottery`` at other α.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        RecordError: as :func:`read_run`.
        ConfigError: another model, test set, template or probe; two runs at one α; a run that
            is not partial tuning of a ticket of the KS test.
        TuningError: the first run has no embed-tuned probe.
    """
    runs = [read_run(folder, device) for folder in run_dirs]
    first = runs[0]
    if first.plan.tuner.probe is None:  # before the others are complained of
        raise TuningError(
            f"{first.run_dir}: recipe={first.plan.config.recipe} has no embed-tuned probe; "
            "allowed: runs of ks_lottery, ks_transfer, ks_freeze and embed."
        )
    problems = [text for run in runs[1:] for text in _problems(first, run)]
    at: dict[float, Path] = {}
    for run in runs:
        if not run.partial or run.alpha is None:
            continue
        if run.alpha in at:
            problems.append(
                f"{run.run_dir}: α = {run.alpha:.6g}, as of {at[run.alpha]}; give one run "
                "at each α."
            )
        at.setdefault(run.alpha, run.run_dir)
    corrections = {run.level.correction: run.run_dir for run in runs if run.level is not None}
    if len(corrections) > 1:
        named = ", ".join(f"{how} ({where})" for how, where in corrections.items())
        problems.append(
            f"The runs correct p differently, so that their α are not comparable: {named}."
        )
    if problems:
        raise ConfigError(problems)
    return runs


def common_correction(runs: Sequence[GivenRun]) -> str:
    """How p is corrected before it is compared with α: as the given tickets were chosen."""
    return next((run.level.correction for run in runs if run.level is not None), "none")


def _basis(run: GivenRun) -> dict[str, Any]:
    """What runs must share, by the name that a user knows it by."""
    plan, config = run.plan, run.plan.config
    section: TrainConfig = getattr(config, plan.tuner.probe_section)
    settings = dataclasses.asdict(section)
    settings.pop("save_steps")
    assert plan.corpora.train is not None
    return {
        "lang": config.lang,
        "model (sha256 or revision)": plan.model_id[:12],
        "model.dtype": config.model.dtype,
        "test set (sha256)": plan.test.sha256[:12],
        "data.template": config.data.template,
        "training text of the probe (sha256)": plan.corpora.train.sha256[:12],
        "data.max_length": config.data.max_length,
        "seed": config.seed,
        "tuner.scope": plan.tuner.scope,
        **{f"probe.{key}": value for key, value in settings.items()},
    }


def _problems(first: GivenRun, run: GivenRun) -> list[str]:
    recipe = run.plan.config.recipe
    if not run.partial:
        if run.plan.config.tuner.name == "ks_lottery":
            found = "its ticket was not chosen by the KS test, so that it has no α"
        else:
            found = f"recipe={recipe} is not partial tuning"
        hint = (
            " (partial transfer is measured without a run: --check-alphas)"
            if run.plan.config.tuner.name == "ks_transfer"
            else ""
        )
        return [
            f"{run.run_dir}: {found}; after the first RUN, runs of ks_lottery at other α are "
            f"allowed{hint}."
        ]
    ours, theirs = _basis(first), _basis(run)
    differing = [
        f"{key} is {theirs[key]}, there {ours[key]}" for key in ours if ours[key] != theirs[key]
    ]
    if not differing:
        return []
    return [
        f"{run.run_dir} and {first.run_dir} do not share model, test set, template and probe: "
        f"{'; '.join(differing)}."
    ]
