"""The same budget of trials for every recipe: settings tried on the dev set.

A tuner's search space is a list of values per key.  The first trial is the
recipe as it is (a finished run of it is not done again); the others are drawn at
random, without repetition.  Each trains, translates the dev set and is scored on
it; the test set is not looked at.  The first tokens of ``forced_prefix`` are chosen on it too.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from mt_lottery.config import RunConfig, digest
from mt_lottery.config.stored import allowing
from mt_lottery.data.prompts.batches import Encoded
from mt_lottery.errors import ConfigError, MTLotteryError, RecordError, plural
from mt_lottery.model.loading import LoadedModel
from mt_lottery.registry import TUNERS
from mt_lottery.report.tokens import decode_text
from mt_lottery.runs.decode import decode, decode_test
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.directions import without
from mt_lottery.runs.folder.preparing import (
    HYPOTHESES,
    LOG,
    SENTENCES,
    TICKETS,
    TRIALS,
    finished,
    locked,
    prepare,
)
from mt_lottery.runs.folder.record import Record, read_record
from mt_lottery.runs.folder.takeover import done_in
from mt_lottery.runs.outcome import (
    directions_record,
    metric_context,
    score_outputs,
    split_record,
)
from mt_lottery.runs.planning.chosen import with_settings
from mt_lottery.runs.planning.plan import Echo, Plan, make_plan
from mt_lottery.scoring.report import evaluate
from mt_lottery.system.parallel import on_main
from mt_lottery.system.secrets import redacted

Space = Mapping[str, Sequence[Any]]

#: What a run leaves that depends on its settings alone.
LEFT = (HYPOTHESES, SENTENCES, TICKETS, LOG, "adapter", "model", "control")


def candidates(config: RunConfig, space: Space, trials: int) -> list[dict[str, Any]]:
    """Settings of each trial: the recipe's own first, then ``trials`` − 1 drawn ones.

    Fewer where the space has no more.  The draw depends on nothing but the seed, the
    recipe and the space.
    """

    def current(key: str) -> Any:
        found: Any = config
        for part in key.split("."):  # tuner.options.r: in a dictionary
            found = found.get(part) if isinstance(found, dict) else getattr(found, part)
        return found

    own = {key: current(key) for key in space}
    # a value that is listed twice is tried once; values may be lists, which have no hash
    listed = [
        [v for at, v in enumerate(values) if v not in values[:at]] for values in space.values()
    ]
    every = [dict(zip(space, values, strict=True)) for values in itertools.product(*listed)]
    others = [settings for settings in every if settings != own]
    random.Random(f"{config.seed} {config.recipe}").shuffle(others)
    return [own, *others][:trials]


def search(
    plan: Plan,
    run_dir: Path,
    same: Path | None,
    execute: Callable[[Plan, Path], Record],
    echo: Echo,
) -> tuple[Plan, dict[str, Any], Path]:
    """Try settings on the dev set and choose the best.

    Args:
        plan: the run, with ``tune`` trials asked for.
        run_dir: trials are kept under ``trials/``; finished ones are not done again.
        same: a finished run with the plan's settings and no search, if there is one.
        execute: does one trial in a folder that is prepared.
        echo: prints a line for the user.

    Returns:
        the plan with the settings of the best trial, what the record says under ``tuning``, and
        the folder of that trial.

    Raises:
        ConfigError: there is no dev set.
    """
    config, dev = plan.config, plan.corpora.dev
    if dev is None:
        raise ConfigError(
            f"`tune` is {config.tune}, but data={config.data.name} has no dev set: give data.dev."
        )
    settings = candidates(config, plan.tuner.search_space, config.tune)
    tried: list[dict[str, Any]] = []
    best: tuple[float, RunConfig, dict[str, Any], Path] | None = None
    metric, seconds = "", 0.0
    for number, chosen in enumerate(settings):
        trial = with_settings(dataclasses.replace(config, tune=0, baseline=False), chosen)
        folder = run_dir / TRIALS / str(number)
        own = dataclasses.replace(
            plan,
            config=dataclasses.replace(trial, out_dir=str(folder)),
            corpora=dataclasses.replace(plan.corpora, test=dev),
            tuner=TUNERS.get(config.tuner.name)(trial.tuner),
            config_hash=digest([plan.config_hash, "trial", chosen]),
        )
        place = folder.relative_to(run_dir)
        echo(f"Trial {number + 1} of {len(settings)} ({place}): {_written(chosen)}")
        try:
            # the first one is the recipe as it is
            record = _trial(own, folder, same if number == 0 else None, execute, echo)
        except MTLotteryError as error:  # diverged, say: a trial that lost
            tried.append({"settings": chosen, "failed": redacted(str(error))})
            echo(f"Trial {number + 1} failed: {tried[-1]['failed']}")
            continue
        metric = next(iter(record.scores))
        score = float(record.scores[metric]["raw"]["score"])
        seconds += record.cost.train_seconds + record.cost.probe_seconds
        seconds += record.cost.decode_seconds
        tried.append({"settings": chosen, "score": score})
        echo(f"Trial {number + 1} of {len(settings)}: {metric} {score:.2f} on dev")
        if best is None or score > best[0]:
            best = (score, trial, chosen, folder)
    if best is None:
        raise ConfigError(
            [f"Every trial failed: {line['settings']}: {line['failed']}" for line in tried]
        )
    echo(f"Best: {metric} {best[0]:.4g} on dev, with {_written(best[2])}.")
    tuning = {
        "trials": len(settings),
        "metric": f"{metric} raw, dev",
        "chosen": best[2],
        "seconds": round(seconds, 3),
        "tried": tried,
        "dev": {"name": dev.name, "pairs": len(dev.pairs), "sha256": dev.sha256},
    }
    final = dataclasses.replace(best[1], tune=config.tune, baseline=config.baseline)
    tuner = TUNERS.get(final.tuner.name)(final.tuner)
    return dataclasses.replace(plan, config=final, tuner=tuner), tuning, best[3]


def _written(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _trial(
    trial: Plan,
    folder: Path,
    same: Path | None,
    execute: Callable[[Plan, Path], Record],
    echo: Echo,
) -> Record:
    """A trial's record: found, had from the finished run of the same settings, or made now."""
    done = on_main(lambda: done_in(folder, trial.config_hash))
    if done is not None:
        return done
    with locked(folder):
        anew = dataclasses.replace(trial.config, overwrite=True)
        on_main(lambda: prepare(folder, anew, trial.config_hash))
        return execute(trial, folder) if same is None else trial_of(trial, same, folder, echo)


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
            _ = Run(folder, plan.config.device).stored
        return True
    except (RecordError, ConfigError):  # of other settings, or damaged: the trial is done anew
        return False


def _as_allowed(config: RunConfig) -> AbstractContextManager[None]:
    """The earlier run is allowed what this run is, and no more."""
    return allowing(config.user_dir, config.model.trust_remote_code)


def trial_of(trial: Plan, same: Path, folder: Path, echo: Echo) -> Record:
    """The record of a trial with a finished run's settings: its model translates the dev set.

    Args:
        trial: the trial; its test set is the dev set.
        same: that run.
        folder: of the trial, prepared.
        echo: prints a line for the user.

    Returns:
        the trial's record, written; training cost is that of the finished run.
    """
    echo(f"{same} is this very training, done: its model translates the dev set.")
    with _as_allowed(trial.config):
        run = Run(same, trial.config.device)
    began = time.monotonic()
    outputs = decode_test(trial, run.tuned, run.tuner)
    cost = dataclasses.replace(run.record.cost, decode_seconds=time.monotonic() - began)

    def write() -> Record:
        first = trial.config.metrics[:1]
        judged = score_outputs(trial, run.tuned, outputs, folder, first, echo)
        record = dataclasses.replace(
            run.record,
            scores=judged.scores,
            generation=judged.generation,
            extra=without(run.record.extra) | directions_record(trial, judged),
            data=dataclasses.replace(run.record.data, test=split_record(trial.test)),
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


def choose_forced(plan: Plan, loaded: LoadedModel, encoded: Encoded, echo: Echo) -> None:
    """Translate dev with each of the tuner's prefixes, and have it take the best.

    Judged by the first lines: a model that does not stop by itself says most after them, which
    also costs most.  Ties go to the first, which is shorter or more frequent.

    Args:
        plan: the run; its tuner's ``forced`` is set, and ``choice``: the prefix, every one that
            was tried with its score, and the score without any.
        loaded: the model.
        encoded: the training pairs, whose targets the prefixes are taken from.
        echo: prints a line for the user.

    Raises:
        TuningError: there is no prefix to try.
    """
    tuner, dev = plan.tuner, plan.corpora.dev
    assert dev is not None
    on_dev = dataclasses.replace(plan, corpora=dataclasses.replace(plan.corpora, test=dev))
    about = dataclasses.replace(metric_context(on_dev, loaded), bootstrap=1)
    names = plan.config.metrics[:1]  # as for a trial
    prefixes = tuner.prefixes([example.target_ids for example in encoded.examples])
    echo(
        f"Trying {plural(len(prefixes), 'first token')} on "
        f"{plural(len(dev.pairs), 'dev sentence')} …"
    )
    began, key = time.monotonic(), ""
    tried: list[dict[str, Any]] = []
    for prefix in ((), *prefixes):
        tuner.forced = prefix
        outputs = decode(
            plan.config, loaded, dev.sources, tuner=tuner, one_line=True, quiet=True, text=plan.text
        )
        scores = on_main(partial(evaluate, outputs, dev.targets, names, about))
        key = next(iter(scores))
        score = float(scores[key]["first_line"]["score"])
        text = decode_text(loaded.tokenizer, prefix)
        tried.append({"token_ids": list(prefix), "text": text, "score": score})
    without, *forced = tried
    best = max(forced, key=lambda one: one["score"])
    tuner.forced = tuple(best["token_ids"])
    echo(
        f"Every translation begins with {best['text']!r}: {key} {best['score']:.2f} on dev "
        f"(first lines), {without['score']:.2f} without."
    )
    tuner.choice = {
        **best,
        "metric": f"{key} first line, dev",
        "without": without["score"],
        "tried": forced,
        "seconds": round(time.monotonic() - began, 3),
        "dev": dataclasses.asdict(split_record(dev)),
    }
