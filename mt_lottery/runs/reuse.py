"""A search's first trial is the recipe as it is: a finished run of it is not done again."""

from __future__ import annotations

import dataclasses
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path

from mt_lottery.config import RunConfig
from mt_lottery.config.stored import allowing, read_stored
from mt_lottery.errors import ConfigError, RecordError
from mt_lottery.runs.decode import decode
from mt_lottery.runs.folder.preparing import CONFIG, HYPOTHESES, LOG, SENTENCES, TICKETS, finished
from mt_lottery.runs.folder.record import Record, read_record
from mt_lottery.runs.outcome import generation_of, score_outputs, split_record
from mt_lottery.runs.planning.plan import Echo, Plan, make_plan
from mt_lottery.runs.tuned import open_run
from mt_lottery.system.parallel import on_main

#: What a run leaves that depends on its settings alone.
LEFT = (HYPOTHESES, SENTENCES, TICKETS, LOG, "adapter", "model", "control")


def is_unsearched(plan: Plan, folder: Path | None) -> bool:
    """Whether a folder holds a finished run of a plan's recipe, with its settings and no search.

    Args:
        plan: of a run with ``tune``.
        folder: where to look; None: nowhere.
    """
    if folder is None:
        return False
    alone = make_plan(dataclasses.replace(plan.config, tune=0), lambda _: None)
    try:
        if on_main(lambda: finished(folder, alone.config_hash, False)) is None:
            return False
        with _as_allowed(plan.config):
            read_stored(folder / CONFIG)
        return True
    except (RecordError, ConfigError):  # of other settings, or damaged: the trial is done anew
        return False


def _as_allowed(config: RunConfig) -> AbstractContextManager[None]:
    """The earlier run is allowed what this run is, and no more."""
    return allowing(config.user_dir, config.model.trust_remote_code)


def trial_of(trial: Plan, finished: Path, folder: Path, echo: Echo) -> Record:
    """The record of a trial with a finished run's settings: its model translates the dev set.

    Args:
        trial: the trial; its test set is the dev set.
        finished: that run.
        folder: of the trial, prepared.
        echo: prints a line for the user.

    Returns:
        the trial's record, written; training cost is that of the finished run.
    """
    echo(f"{finished} is this very training, done: its model translates the dev set.")
    with _as_allowed(trial.config):
        tuned = open_run(finished, trial.config.device)
    began = time.monotonic()
    sources, lead = trial.test.sources, tuned.tuner.lead
    outputs = decode(trial.config, tuned.loaded, sources, lead=lead, text=trial.text)
    cost = dataclasses.replace(tuned.record.cost, decode_seconds=time.monotonic() - began)

    def write() -> Record:
        first = trial.config.metrics[:1]
        record = dataclasses.replace(
            tuned.record,
            scores=score_outputs(trial, tuned.loaded, outputs, folder, first, echo),
            generation=generation_of(trial, outputs),
            data=dataclasses.replace(tuned.record.data, test=split_record(trial.test)),
            cost=cost,
            config_hash=trial.config_hash,
            baseline=None,
        )
        record.write(folder)
        return record

    return on_main(write)


def take(plan: Plan, finished: Path, run_dir: Path, echo: Echo) -> Record:
    """Take the finished run, whose settings did best, as the search's result.

    Args:
        plan: the search's.
        finished: that run.
        run_dir: of the search; gets what the run left.
        echo: prints a line for the user.

    Returns:
        the search's record, not written.
    """
    echo(f"The recipe's own settings did best: the result is that of {finished}.")

    def copy() -> Record:
        for name in LEFT:
            path = finished / name
            if path.is_dir():
                shutil.copytree(path, run_dir / name, dirs_exist_ok=True)
            elif path.exists():
                shutil.copyfile(path, run_dir / name)
        return dataclasses.replace(read_record(finished), config_hash=plan.config_hash)

    return on_main(copy)
