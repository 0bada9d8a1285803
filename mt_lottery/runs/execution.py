"""One run in a folder that is prepared: model, probe, tuning, translation, scores, record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mt_lottery.config import TrainConfig, TunerConfig
from mt_lottery.config.written import as_written
from mt_lottery.errors import RecordError
from mt_lottery.model.kernels import check_kernels
from mt_lottery.model.loading import LoadedModel
from mt_lottery.runs.decode import load_for
from mt_lottery.runs.folder import integrity
from mt_lottery.runs.folder.preparing import (
    default_folder,
    finished,
    locked,
    prepare,
    tidy,
)
from mt_lottery.runs.folder.record import Record
from mt_lottery.runs.folder.takeover import NEW, told_of
from mt_lottery.runs.planning.plan import Echo, Plan, make_plan
from mt_lottery.runs.planning.sharding import divided
from mt_lottery.runs.search import is_unsearched, search, take
from mt_lottery.runs.stages.course import Course
from mt_lottery.runs.stages.steps import Steps
from mt_lottery.scoring.spm import find_spm
from mt_lottery.system.parallel import on_main
from mt_lottery.system.values import cache_folder
from mt_lottery.tracking import trackers as trackers_of


def do(
    plan: Plan, work: Path, given: Path | None, resume: bool, echo: Echo, unsearched: Path | None
) -> tuple[Record, Path | None]:
    """Do a run in a folder that is prepared: its record, and where the original model's run is.

    Args:
        plan: what it depends on.
        work: where it is made.
        given: ``out_dir``, if there was one.
        resume: go on from a checkpoint.
        echo: prints a line for the user.
        unsearched: as :func:`mt_lottery.runs.running.run`.
    """
    config = plan.config
    if work.name == NEW:
        echo = told_of(echo, work, work.parent)
    course = Course(plan, echo)
    echo(f"Loading {config.model.name_or_path or config.model.name} on {plan.device} …")
    loaded = load_for(config, plan.device, plan.text)
    plan.tuner.check_model(loaded.model)
    check_kernels(loaded.model, config.train.kernels, config.probe.kernels)
    baseline_dir = None
    if config.baseline and config.tuner.name != "none":
        baseline_dir = _baseline(plan, loaded, given, echo)
        course.original(baseline_dir)
    tuning, best, taken = None, None, None
    if config.tune and plan.tuner.search_space:

        def execute(trial: Plan, folder: Path) -> Record:
            # a tuner may wrap or quantise its model: each trial loads its own
            own = load_for(trial.config, trial.device, trial.text)
            return _execute(trial, own, folder, False, None, echo, is_trial=True)

        same = unsearched if is_unsearched(plan, unsearched) else None
        plan, tuning, best = search(plan, work, same, execute, echo)
        taken = same if plan.config == config else None  # no other settings were chosen
        course.plan = plan
    record = _execute(plan, loaded, work, resume, baseline_dir, echo, tuning, best, taken, course)
    return record, baseline_dir


def _baseline(plan: Plan, loaded: LoadedModel, given: Path | None, echo: Echo) -> Path:
    """The ``none`` run of the same model, test set and decoding; found, or done now.

    With the default layout it is ``runs/LANG/none/seed-0``; where ``out_dir`` was
    given, or another model's run is there, it is kept in the cache.
    """
    config = dataclasses.replace(
        plan.config,
        recipe="none",
        preset=None,
        seed=0,
        tuner=TunerConfig("none"),
        train=TrainConfig(sharding=plan.config.train.sharding),
        probe=TrainConfig(),
        tracker="none",
        resume=False,
        overwrite=False,
        baseline=False,
        tune=0,
    )
    own = make_plan(config, lambda _: None)
    kept = cache_folder() / "baselines" / own.config_hash
    folders = [kept] if given is not None else [default_folder(config), kept]
    for folder in folders:
        with locked(folder, wait=echo):
            try:
                found = on_main(partial(finished, folder, own.config_hash, False))
                usable = found is None or on_main(partial(_scored_alike, found, config.metrics))
            except RecordError:  # another model's run is there, or a damaged one
                found, usable = None, False
            if usable and found is not None:
                echo(f"Original model: scored before, in {folder}.")
                return folder
            if not usable and folder is not kept:
                continue  # what is there is the user's own
            wanted = dataclasses.replace(config, out_dir=str(folder), overwrite=not usable)
            on_main(partial(prepare, folder, wanted, own.config_hash))
            echo("Original model: translating the test set (once; later runs reuse it).")
            if divided(config) and plan.tuner.trains_weights:
                loaded = load_for(config, plan.device, plan.text)  # `loaded` is divided later
            _execute(own, loaded, folder, False, None, echo)
            return folder
    raise RecordError(f"{kept}: the original model's run cannot be kept there.")


def _scored_alike(record: Record, metrics: Sequence[str]) -> bool:
    """Whether ``spbleu`` means now what it meant for a record."""
    if "spbleu" not in metrics:
        return True
    now = "bleu_subword" if find_spm() is None else "spbleu"
    return now in record.scores


def _execute(
    plan: Plan,
    loaded: LoadedModel,
    run_dir: Path,
    resume: bool,
    baseline_dir: Path | None,
    echo: Echo,
    tuning: dict[str, Any] | None = None,
    best: Path | None = None,
    taken: Path | None = None,
    course: Course | None = None,
    is_trial: bool = False,
) -> Record:
    """Do a run whose folder is prepared.

    Args:
        plan: what it depends on.
        loaded: the original model, used up.
        run_dir: where to.
        resume: go on from a checkpoint.
        baseline_dir: the original model's run.
        echo: prints a line for the user.
        tuning: for the record: how the settings were found.
        best: the trial with these settings, whose trained parameters serve again.
        taken: a finished run with these settings, whose result serves.
        course: says how long it takes.
        is_trial: keep what was trained, but write no adapter.
    """
    config = plan.config
    trackers: list[trackers_of.Guarded] = []
    record = None

    def begin() -> None:
        if not is_trial:  # a run is one experiment, whatever was tried for it
            content = dataclasses.asdict(config)
            settings = as_written(content) | {k: content[k] for k in ("tracker", "tracking")}
            trackers.extend(trackers_of.begin(settings, str(run_dir), echo))

    def end(record: Record) -> None:
        record.extra[integrity.KEY] = integrity.measure(run_dir, config, tuning)
        record.write(run_dir)
        tidy(run_dir)

    try:
        on_main(begin)
        if taken is not None:
            record = take(plan, taken, run_dir, echo)
        else:
            steps = Steps(plan, loaded, run_dir, resume, trackers, echo, best, course, is_trial)
            record = steps.run()
        record.baseline = None if baseline_dir is None else str(baseline_dir)
        record.tuning = tuning
        on_main(partial(end, record))
        return record
    finally:
        content = None if record is None else record.to_dict()
        trackers_of.end(trackers, content, config.tracking.deadline)
