"""The same budget of trials for every recipe: settings tried on the dev set.

A tuner's search space is a list of values per key.  The first trial is the
recipe as it is; the others are drawn at random, without repetition.  Each
trains, translates the dev set and is scored on it; the test set is not looked at.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mt_lottery.config import RunConfig, digest, problems
from mt_lottery.errors import ConfigError, MTLotteryError, RecordError
from mt_lottery.registry import TUNERS
from mt_lottery.runs.folder.record import Record
from mt_lottery.runs.planning.plan import Echo, Plan
from mt_lottery.system.secrets import redacted

Space = Mapping[str, Sequence[Any]]


def with_settings(config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """A configuration with some keys (``train.lr``, ``tuner.r``) set to other values.

    Raises:
        ConfigError: a key that is not there, or a value out of its range.
    """
    changed = config
    for key, value in settings.items():
        section, _, name = key.partition(".")
        part = getattr(changed, section, None)
        if not dataclasses.is_dataclass(part) or not hasattr(part, name):
            raise ConfigError(f"The search space of recipe={config.recipe} has no key '{key}'.")
        assert not isinstance(part, type)
        new: dict[str, Any] = {section: dataclasses.replace(part, **{name: value})}
        changed = dataclasses.replace(changed, **new)
    own: Any = getattr(changed.tuner, "problems", list)
    if found := [*problems(changed), *own()]:
        raise ConfigError(found)
    return changed


def as_chosen(config: RunConfig, record: Record) -> RunConfig:
    """A run's configuration with the settings that its trials on dev chose, if it had any.

    Raises:
        RecordError: the record names others than a search can try: a record is data, and must
            not lead to another model, or to code.
    """
    if record.tuning is None:
        return config
    chosen = record.tuning.get("chosen")
    if not isinstance(chosen, dict):
        raise RecordError(f"record.json: tuning.chosen is {chosen!r}, no settings.")
    changed = with_settings(config, chosen)
    for section in ("model", "metric"):
        if getattr(changed, section) != getattr(config, section):
            raise RecordError(f"record.json: tuning.chosen sets {section}, which no search tries.")
    return changed


def candidates(config: RunConfig, space: Space, trials: int) -> list[dict[str, Any]]:
    """Settings of each trial: the recipe's own first, then ``trials`` − 1 drawn ones.

    Fewer where the space has no more.  The draw depends on nothing but the seed, the
    recipe and the space.
    """

    def current(key: str) -> Any:
        section, _, name = key.partition(".")
        return getattr(getattr(config, section), name)

    own = {key: current(key) for key in space}
    every = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    others = [settings for settings in every if settings != own]
    random.Random(f"{config.seed} {config.recipe}").shuffle(others)
    return [own, *others][:trials]


def search(
    plan: Plan,
    run_dir: Path,
    execute: Callable[[Plan, Path], Record],
    finished: Callable[[Path, str], Record | None],
    echo: Echo,
) -> tuple[RunConfig, dict[str, Any], Path]:
    """Try settings on the dev set and choose the best.

    Args:
        plan: the run, with ``tune`` trials asked for.
        run_dir: trials are kept under ``trials/``; finished ones are not done again.
        execute: does one trial.
        finished: the record of a trial that is done already.
        echo: prints a line for the user.

    Returns:
        the configuration of the best trial, what the record says under ``tuning``, and the
        folder of that trial.

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
        folder = run_dir / "trials" / str(number)
        own = dataclasses.replace(
            plan,
            config=dataclasses.replace(trial, out_dir=str(folder)),
            corpora=dataclasses.replace(plan.corpora, test=dev),
            tuner=TUNERS.get(config.tuner.name)(trial.tuner),
            config_hash=digest([plan.config_hash, "trial", chosen]),
        )
        shown = ", ".join(f"{key}={value}" for key, value in chosen.items())
        echo(f"Trial {number + 1} of {len(settings)}: {shown}")
        try:
            record = finished(folder, own.config_hash) or execute(own, folder)
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
    tuning = {
        "trials": len(settings),
        "metric": f"{metric} raw, dev",
        "chosen": best[2],
        "seconds": round(seconds, 3),
        "tried": tried,
        "dev": {"name": dev.name, "pairs": len(dev.pairs), "sha256": dev.sha256},
    }
    final = dataclasses.replace(best[1], tune=config.tune, baseline=config.baseline)
    return final, tuning, best[3]
