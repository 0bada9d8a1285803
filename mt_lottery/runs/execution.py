"""One run in a folder that is prepared: model, probe, tuning, translation, scores, record."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mt_lottery.config import TrainConfig, TunerConfig
from mt_lottery.config.written import as_written
from mt_lottery.data.prompts.batches import Encoded
from mt_lottery.errors import RecordError, plural
from mt_lottery.model.kernels import check_kernels
from mt_lottery.model.loading import LoadedModel
from mt_lottery.model.sharding import on_main as on_main_in_step
from mt_lottery.model.sharding import shard
from mt_lottery.registry import ENGINES, TUNERS
from mt_lottery.runs.card import describe_folder
from mt_lottery.runs.context import make_context, put_together
from mt_lottery.runs.course import Course
from mt_lottery.runs.decode import check_room, decode_test, load_for, pad_id
from mt_lottery.runs.folder import integrity
from mt_lottery.runs.folder.preparing import (
    LOG,
    TICKETS,
    default_folder,
    finished,
    locked,
    prepare,
    tidy,
)
from mt_lottery.runs.folder.record import Record, read_record
from mt_lottery.runs.folder.sections import CostRecord
from mt_lottery.runs.folder.takeover import NEW, told_of
from mt_lottery.runs.gradients import gradients_of
from mt_lottery.runs.outcome import make_record, peak_memory, score_outputs, start_peak
from mt_lottery.runs.planning.plan import Echo, Plan, make_plan
from mt_lottery.runs.planning.sharding import divided
from mt_lottery.runs.probe import probe_of
from mt_lottery.runs.search import choose_forced, is_unsearched, search, take
from mt_lottery.system import parallel
from mt_lottery.system.parallel import on_main
from mt_lottery.system.values import cache_folder
from mt_lottery.tracking import trackers as trackers_of
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.engine import TrainResult
from mt_lottery.training.sealing import TRAINED
from mt_lottery.training.trained import load_trained, save_trained
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.declared import declare
from mt_lottery.tuners.kept import finish, note_logits


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
        with locked(folder, wait=True):
            damaged = False
            try:
                found = on_main(partial(finished, folder, own.config_hash, False))
            except RecordError:
                if folder is not kept:
                    continue  # another model's run is there, or a damaged one
                damaged, found = True, None
            if found is not None:
                echo(f"Original model: scored before, in {folder}.")
                return folder
            wanted = dataclasses.replace(config, out_dir=str(folder), overwrite=damaged)
            on_main(partial(prepare, folder, wanted, own.config_hash))
            echo("Original model: translating the test set (once; later runs reuse it).")
            if divided(config) and plan.tuner.trains_weights:
                loaded = load_for(config, plan.device, plan.text)  # `loaded` is divided later
            _execute(own, loaded, folder, False, None, echo)
            return folder
    raise RecordError(f"{kept}: the original model's run cannot be kept there.")


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
            record = _tune_and_score(
                plan, loaded, run_dir, resume, trackers, echo, best, course, is_trial
            )
        record.baseline = None if baseline_dir is None else str(baseline_dir)
        record.tuning = tuning
        on_main(partial(end, record))
        return record
    finally:
        content = None if record is None else record.to_dict()
        trackers_of.end(trackers, content, config.tracking.deadline)


def _tune_and_score(
    plan: Plan,
    loaded: LoadedModel,
    run_dir: Path,
    resume: bool,
    trackers: Sequence[Tracker],
    echo: Echo,
    best: Path | None,
    course: Course | None,
    is_trial: bool,
) -> Record:
    config, tuner = plan.config, plan.tuner
    start_peak(plan.device)
    if divided(config) and not tuner.trains_weights:
        shard(loaded.model, plan.device)
    context, encoded, dev = make_context(plan, loaded, echo)
    check_room(plan, loaded)
    cost = CostRecord()
    if tuner.probe is not None:
        assert encoded is not None
        section = getattr(config, tuner.probe_section)
        watch = course.watch("probe", section, encoded, loaded) if course else []
        trained = probe_of(plan, context, encoded, dev, trackers, echo, watch)
        context.probe = trained.probe
        if tuner.is_probe:
            cost.train_seconds, cost.train_steps = trained.probe.seconds, trained.steps
            cost.train_tokens_per_second = trained.tokens_per_second
            if parallel.is_main():
                shutil.copyfile(trained.log, run_dir / LOG)
        else:
            cost.probe_seconds = trained.probe.seconds
    if tuner.gradient_pairs is not None:
        assert encoded is not None
        context.gradients = gradients_of(plan, context, encoded, tuner.gradient_pairs, echo)
        cost.probe_seconds += context.gradients.seconds
    declare(tuner, context)
    loaded = dataclasses.replace(loaded, model=context.model)  # some tuners wrap the model
    if tuner.reads_dev:
        assert encoded is not None
        choose_forced(plan, loaded, encoded, echo)
    if tuner.trains and tuner.cannot_move(context) and config.train.weight_decay == 0:
        echo("None of the rows occurs in a training input: no gradient can reach them, and they")
        echo("stay as they are; training is skipped (it would end with exactly this model).")
    elif tuner.trains and best is not None and (best / TRAINED).is_file():
        load_trained(context.model, best / TRAINED)
        tried = read_record(best).cost
        cost.train_seconds, cost.train_steps = tried.train_seconds, tried.train_steps
        cost.train_tokens_per_second = tried.train_tokens_per_second
        if parallel.is_main():
            shutil.copyfile(best / LOG, run_dir / LOG)
        finish(tuner, context)
    elif tuner.trains:
        assert encoded is not None
        if divided(config):
            shard(context.model, plan.device)
        watch = course.watch("training", config.train, encoded, loaded) if course else []
        result = _train(plan, context, encoded, dev, run_dir, resume, [*trackers, *watch], echo)
        cost.train_seconds, cost.train_steps = result.seconds, result.steps
        cost.train_tokens_per_second = result.tokens_per_second
        if is_trial:
            save_trained(context.model, run_dir / TRAINED)
        if divided(config) and tuner.trains_weights:
            loaded = put_together(plan, context)
        finish(tuner, context)

    def save() -> None:
        if not (run_dir / LOG).exists():
            (run_dir / LOG).touch()
        saved = None if is_trial else tuner.save(context, run_dir)
        if not is_trial and (tuner.by_others or TUNERS.is_plugin(config.tuner.name)):
            note_logits(tuner, context.model, run_dir)
        if saved is not None:
            cost.adapter_bytes = sum(f.stat().st_size for f in saved.rglob("*") if f.is_file())
            describe_folder(saved, config, plan.text, loaded, tuner.lead)
        if tuner.chosen is not None:
            tuner.chosen.named(loaded.tokenizer, context.counts).save(run_dir / TICKETS)

    on_main_in_step(context.model, save)
    if divided(config):
        shard(context.model, plan.device)
    began = time.monotonic()
    outputs = decode_test(plan, loaded, tuner)
    cost.decode_seconds = time.monotonic() - began
    for remark in tuner.remarks():
        echo(remark)
    cost.peak_memory_bytes = max(parallel.gather(peak_memory(plan.device)))

    def score() -> Record:
        # a trial is judged by the first metric; another one may cost as much as the trial
        names = config.metrics[:1] if is_trial else config.metrics
        judged = score_outputs(plan, loaded, outputs, run_dir, names, echo)
        return make_record(plan, loaded, context, cost, encoded, judged)

    return on_main(score)


def _train(
    plan: Plan,
    context: TuningContext,
    encoded: Encoded,
    dev: Encoded | None,
    run_dir: Path,
    resume: bool,
    trackers: Sequence[Tracker],
    echo: Echo,
) -> TrainResult:
    config, tuner = plan.config, plan.tuner
    count = tuner.trainable_parameters(context)
    echo(
        f"Training {plural(count, 'parameter')} on {plural(len(encoded.examples), 'pair')} "
        f"({config.recipe})."
    )
    result = plan.engine.train(
        context.model,
        config.train,
        encoded.examples,
        pad_id=pad_id(context.tokenizer),
        seed=config.seed,
        folder=run_dir / "checkpoints",
        log=run_dir / LOG,
        title=config.recipe,
        dev=dev.examples if dev else None,
        autocast=tuner.autocast,
        resume=resume,
        trackers=trackers,
    )
    trained: TrainResult = ENGINES.expect(config.engine, result, "train must return", TrainResult)
    return trained
