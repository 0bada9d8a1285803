"""Runs of partial tuning at several α, which share all that a certificate rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mt_lottery.config import TrainConfig
from mt_lottery.errors import ConfigError, argument
from mt_lottery.runs.finished import Run
from mt_lottery.runs.planning.plan import Echo
from mt_lottery.ticket.level import Level
from mt_lottery.tuners.recipes import recipes_that

SELECTOR = "ks"


class GivenRun(Run):
    """A finished run that the user named."""

    @cached_property
    def level(self) -> Level | None:
        """Of its ticket by the KS test: the α given, or implied by a number of rows; else None.

        A number of rows is counted off without any correction.
        """
        ticket = self.record.tickets
        if ticket is None or ticket.selector != SELECTOR or ticket.alpha is None:
            return None
        by_alpha: Level | None = getattr(self.config.tuner, "level", None)
        return Level(ticket.alpha, by_alpha.correction if by_alpha else "none")

    @property
    def alpha(self) -> float | None:
        """α of a run that trained its ticket's rows from the original model (partial tuning)."""
        level = self.level if self.tuner.tunes_chosen else None
        return None if level is None else level.alpha


def read_runs(
    run_dirs: Sequence[str | Path], device: str = "auto", echo: Echo = print
) -> list[GivenRun]:
    """Read the runs and make sure that one certificate can speak of all of them.

    Args:
        run_dirs: the first gives original model, test set and embed-tuned probe; the others
            are runs of partial tuning at other α.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        echo: prints a line for the user.

    Raises:
        RecordError: no finished run there, or what it depends on has changed.
        ConfigError: another model, test set, template or probe; two runs at one α; a run that
            is not partial tuning of a ticket of the KS test.
        TuningError: the first run has no embed-tuned probe.
    """
    runs = [GivenRun(folder, device, echo=echo) for folder in run_dirs]
    for run in runs:
        _ = run.pair, run.plan
    first = runs[0]
    first.need_probe()  # before the others are complained of
    problems = [text for run in runs[1:] for text in _problems(first, run)]
    at: dict[float, Path] = {}
    for run in runs:
        if run.alpha is None:
            continue
        if run.alpha in at:
            problems.append(
                f"{run.folder}: α = {run.alpha:.6g}, as of {at[run.alpha]}; give one run at each α."
            )
        at.setdefault(run.alpha, run.folder)
    corrections = {run.level.correction: run.folder for run in runs if run.level is not None}
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


def _basis(run: Run) -> dict[str, Any]:
    """What runs must share, by the name that a user knows it by."""
    plan, config = run.plan, run.config
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
        "data.prompt": config.data.prompt,
        "data.system": config.data.system,
        "data.train_templates": config.data.train_templates,
        "wording (sha256)": plan.text.worded(plan.test)[:12],
        "training text of the probe (sha256)": plan.corpora.train.sha256[:12],
        "data.max_length": config.data.max_length,
        "seed": config.seed,
        "engine": config.engine,
        "deterministic": config.deterministic,
        "tuner.scope": plan.tuner.scope,
        **{f"probe.{key}": value for key, value in settings.items()},
    }


def _problems(first: Run, run: GivenRun) -> list[str]:
    if run.alpha is None:
        if run.tuner.tunes_chosen:
            found = "its ticket was not chosen by the KS test, so that it has no α"
        else:
            found = f"recipe={run.config.recipe} is not partial tuning"
        hint = (
            f" (partial transfer is measured without a run: {argument('check_alphas')})"
            if run.tuner.copies_chosen
            else ""
        )
        recipes = recipes_that(lambda tuner: tuner.tunes_chosen and tuner.has_probe)
        return [
            f"{run.folder}: {found}; after the first RUN, runs at other α that tune the rows "
            f"which the KS test chose are allowed ({recipes}){hint}."
        ]
    ours, theirs = _basis(first), _basis(run)
    differing = [
        f"{key} is {theirs[key]}, there {ours[key]}" for key in ours if ours[key] != theirs[key]
    ]
    if not differing:
        return []
    return [
        f"{run.folder} and {first.folder} do not share model, test set, template and probe: "
        f"{'; '.join(differing)}."
    ]
