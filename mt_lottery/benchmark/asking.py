"""What a command line asks ``mt-bench`` for, checked before anything runs."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt_lottery import registry
from mt_lottery.benchmark.board import contamination
from mt_lottery.benchmark.choosing import choose_langs, choose_recipes
from mt_lottery.benchmark.executors.slurm_options import parse_options
from mt_lottery.benchmark.plan import PRESETS, Bench, Cell
from mt_lottery.config import RunConfig
from mt_lottery.config.overrides import as_text, literal
from mt_lottery.config.recipe_files import names_in
from mt_lottery.data.corpora import load_corpora
from mt_lottery.errors import ConfigError, argument, unknown
from mt_lottery.languages import parse_pair
from mt_lottery.registry import TUNERS
from mt_lottery.registry.code import used_plugins
from mt_lottery.registry.loading import is_anywhere
from mt_lottery.runs.planning.requirements import (
    check_metrics,
    check_packages,
    trackers_and_metrics,
)
from mt_lottery.system.values import LONGEST_NAME, path_problem, wholes

EXECUTORS = ("local", "slurm")


@dataclass
class Asked:
    """What is asked for; the command line's arguments have the same names.

    Attributes:
        recipes: names, and ``key=value`` settings of every cell.
        langs: target languages, separated by commas.
        source: the source language.
        seeds: whole numbers, separated by commas.
        preset, model, data: as :mod:`mt_lottery.benchmark.plan` knows them.
        tune: trials a recipe on dev.
        out: its folder.
        executor, jobs, slurm: where cells run, and how many at a time.
        user_dir: plugins to import first.
        joint: each recipe that learns is run once more, with all directions in one run.
        force: go on in ``out`` with other settings.
        command_line: what the reports say that it was.
    """

    recipes: list[str]
    langs: str
    source: str = "en"
    seeds: str = "0"
    preset: str | None = None
    model: str | None = None
    data: str | None = None
    tune: int = 0
    out: Path | None = None
    executor: str = "local"
    jobs: int = 1
    slurm: list[str] = field(default_factory=list)
    user_dir: str | None = None
    joint: bool = False
    force: bool = False
    command_line: str = "mt-bench"


def ask(given: Any) -> Bench:
    """The benchmark that was asked for; every mistake is found before anything runs.

    Raises:
        ConfigError: with every mistake.
        DataError: a language that the corpus does not have.
    """
    asked: Asked = given
    if asked.user_dir is not None:
        literal("user_dir", Path(asked.user_dir).resolve())
        registry.load_user_dir(asked.user_dir)
    names = [m for m in asked.recipes if "=" not in m]
    pairs = [m.partition("=") for m in asked.recipes if "=" in m]
    problems = []
    if not names:
        problems.append("No recipe is given: name some, or `all`.")
    for key, count, least in (("jobs", asked.jobs, 1), ("tune", asked.tune, 0)):
        if not isinstance(count, int):
            problems.append(f"{argument(key)} must be a whole number, not {count!r}.")
        elif count < least:
            problems.append(f"{argument(key)} must be at least {least}, not {count}.")
    for key, name, known in (
        ("preset", asked.preset, PRESETS),
        ("executor", asked.executor, EXECUTORS),
    ):
        if name is not None and name not in known:
            problems.append(f"{argument(key)}: {unknown(key, name, known)}")
    if asked.slurm and asked.executor != "slurm":
        problems.append(
            f"{argument('slurm')} {asked.slurm[0]}: it goes with {argument('executor', 'slurm')}."
        )
    try:
        seeds = wholes(asked.seeds, 0, 2**32 - 1)
    except ValueError as error:
        seeds = []
        problems.append(f"{argument('seeds')}: each {error}.")
    langs: list[str] = []
    out = (asked.out or Path("bench") / (asked.preset or "default")).expanduser()
    for choose in (
        lambda: _check_out(out, asked.executor),
        lambda: parse_options(asked.slurm),
        lambda: choose_recipes(names),
        lambda: langs.extend(choose_langs(asked.source, asked.langs.split(","))),
    ):
        try:
            choose()
        except ConfigError as error:
            problems += error.problems
    if asked.joint and len(langs) == 1:
        problems.append(f"{argument('joint', True)}: {langs[0]} alone; give several languages.")
    if problems:
        raise ConfigError(problems)
    bench = Bench(
        out=out,
        recipes=choose_recipes(names),
        langs=langs,
        seeds=list(dict.fromkeys(seeds)),
        overrides=overrides_of(asked, [(k, v) for k, _, v in pairs]),
        tune=asked.tune,
        joint=asked.joint,
    )
    check(bench)
    return bench


def _check_out(out: Path, executor: str) -> None:
    """Refuse what can be no folder, or none for jobs of Slurm.

    Raises:
        ConfigError: it is a file, or its path cannot be used.
    """
    try:
        if not stat.S_ISDIR(out.stat().st_mode):
            raise ConfigError(f"{argument('out', out)}: it is a file; a folder is needed.")
    except FileNotFoundError:
        if out.is_symlink():
            raise ConfigError(f"{argument('out', out)}: a link that leads nowhere.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{argument('out', out)}: {reason}.") from error
    path = literal("out", out.resolve())
    shown = path if path.isprintable() else repr(path)
    if problem := path_problem(path):
        raise ConfigError(f"{argument('out')}: the path {shown} cannot be used: {problem}.")
    # a job's output goes there: Slurm replaces %j and drops backslashes, and the job fails
    if executor == "slurm" and ({*"%\\"} & {*path} or not path.isprintable()):
        raise ConfigError(
            f"{argument('out')}: the path {shown} cannot be used with "
            f"{argument('executor', 'slurm')}: Slurm reads % and backslashes in it as its own, and "
            "no line breaks. Allowed: a path without them, in printable letters."
        )


def overrides_of(
    asked: Any, pairs: list[tuple[str, str]], command: str = "mt-bench"
) -> dict[str, str]:
    """Settings of every cell: those of ``--preset``, ``--model``, ``--data``, then the pairs.

    Raises:
        ConfigError: one that the command sets itself.
    """
    overrides = dict(PRESETS.get(asked.preset or "", {}))
    if asked.model is not None:
        registry.load_entry_points()
        if asked.model in names_in("model"):
            overrides["model"] = asked.model
        else:
            where = Path(asked.model).expanduser()
            overrides["model"] = "hf"
            overrides["model.name_or_path"] = as_text(
                literal("model", where.resolve()) if where.exists() else asked.model
            )
    if asked.data is not None:
        overrides["data"] = asked.data
    if asked.user_dir is not None:
        overrides["user_dir"] = as_text(literal("user_dir", Path(asked.user_dir).resolve()))
    for key, value in pairs:
        overrides[key] = value
    for key in ("lang", "seed", "out_dir", "recipe", "resume", "overwrite", "baseline", "tune"):
        if key in overrides:
            raise ConfigError(f"{key}={overrides[key]}: {command} sets it itself, for each cell.")
    for key, value in overrides.items():
        if key.rpartition(":")[2] == "test_lang":
            raise ConfigError(
                f"{key}={value}: {command} tests each cell in the direction that it trains; "
                "mt-train takes test_lang."
            )
    return overrides


def _can_be_a_folder(name: str) -> bool:
    bad = name in ("", ".", "..") or "/" in name or "\0" in name
    return not bad and len(os.fsencode(name)) <= LONGEST_NAME


def _scored_by(config: RunConfig) -> dict[str, Any]:
    """The settings that all cells of one table must share: model, test text, decoding, metric."""
    found = {f"model.{k}": getattr(config.model, k, None) for k in ("name", "name_or_path")}
    text = ("test", "test_path", "test_pairs", "test_source", "test_target")
    found |= {f"data.{key}": getattr(config.data, key, None) for key in text}
    decoding = ("beam_size", "max_new_tokens")
    found |= {f"translate.{key}": getattr(config.translate, key) for key in decoding}
    return found | {"metrics": config.metrics[0]}


def _of_this_process(config: RunConfig) -> Iterator[str]:
    """Plugins that a cell, which is a separate process, would not find."""
    for kind, name in used_plugins(config):
        place = kind.origin(name)
        if place is not None and not is_anywhere(place, config.user_dir):
            yield (
                f"the {kind.kind} '{name}' was registered in {place}, and a cell of a benchmark is "
                f"a separate process: put it into a Python file, and give the folder of that file "
                f"as {argument('user_dir')}."
            )


def check(bench: Bench) -> None:
    """Compose one cell of each recipe (and variant) and read the text of each pair.

    Raises:
        ConfigError: with every mistake in the settings.
        DataError: a pair that the corpus does not have, or fewer sentences than asked.
    """
    literal("out", bench.out.resolve())
    problems: list[str] = []
    for key in bench.overrides:
        recipe = key.partition(":")[0]
        if ":" in key and recipe not in bench.recipes:
            problems.append(f"{key}: the recipe {recipe} is not among those asked for.")
    cells = bench.cells()
    seen: set[str] = set()
    first: tuple[Cell, dict[str, Any]] | None = None
    for cell in cells:
        if cell.name in seen:
            continue
        for part in (cell.recipe, cell.variant or "-"):
            if not _can_be_a_folder(part):
                problems.append(
                    f"{part[:80]}{'…' if len(part) > 80 else ''}: a cell's folder is called so; "
                    f"allowed: a name of 1 to {LONGEST_NAME} bytes without /."
                )
        seen.add(cell.name)
        try:
            config = bench.config(cell)
            problems += TUNERS.get(config.tuner.name)(config.tuner).problems_with_settings()
            problems += _of_this_process(config)
            own = _scored_by(config)
            first = first or (cell, own)
            problems += [
                f"{cell.name}: `{key}` is {value}, and of {first[0].name} it is {first[1][key]}: "
                "their scores could not stand in one table. Give all recipes the same."
                for key, value in own.items()
                if value != first[1][key]
            ]
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    config = bench.config(cells[0])
    check_packages(*trackers_and_metrics(config))
    for lang in bench.langs:
        check_metrics(dataclasses.replace(config, lang=lang))
        corpora = load_corpora(config.data, parse_pair(lang), ("train", "dev", "test"))
        if corpora.train is not None and corpora.test is not None:
            bench.overlaps.append(contamination.overlap(lang, corpora.train, corpora.test))
