"""What a sweep consists of: recipes × selectors × numbers of rows, as variants of a benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_lottery import registry
from mt_lottery.benchmark.asking import check, overrides_of
from mt_lottery.benchmark.choosing import choose_langs
from mt_lottery.benchmark.plan import Bench, Cell, Variant
from mt_lottery.config import RunConfig, shown
from mt_lottery.config.compose import compose
from mt_lottery.config.overrides import literal
from mt_lottery.data.corpora import load_corpora
from mt_lottery.errors import ConfigError, MTLotteryError, plural, unknown
from mt_lottery.languages import parse_pair
from mt_lottery.paper.sweep.limits import Limit, limits, vocabulary_use
from mt_lottery.registry import SELECTORS, TUNERS
from mt_lottery.system.values import wholes
from mt_lottery.tuners.recipes import all_recipes, settings_of, tuner_of

#: Sizes of ``--sizes`` where none is given: the paper's smallest tickets, and the prototype's.
SIZES = (1, 5, 18, 50, 100, 400)
RECIPES = ("ks_lottery", "ks_transfer", "random_seen", "frequency", "ks_freeze")
#: The horizontal lines: no row is tuned, all are.
BASELINES = ("none", "embed")
#: What the grid sets for each of its cells.
OWN = ("tuner.tickets", "tuner.selector", "tuner.alpha", "tuner.rows_file")


@dataclass(frozen=True)
class Series:
    """A curve: a recipe, and for recipes that choose rows by their change, by which measure.

    Attributes:
        recipe: as a benchmark runs it.
        selector: registered measure of change; empty for recipes that use none.
    """

    recipe: str
    selector: str = ""

    def variant(self, size: int) -> str:
        """Name of the cells with this many rows: ``ks-18``, ``18``."""
        return f"{self.selector}-{size}" if self.selector else str(size)

    def __str__(self) -> str:
        return f"{self.recipe} ({self.selector})" if self.selector else self.recipe


@dataclass(frozen=True)
class Sweep:
    """A sweep as it was asked for.

    Attributes:
        bench: its cells, with the baselines.
        series: the curves, in the order of the table.
        sizes: numbers of rows, ascending.
        dev: whether each size is scored on the dev set too.
        limits: most rows that a series can take for a pair, where that is known.
        used: pair → tokens that occur in its training inputs, where that is known.
    """

    bench: Bench
    series: list[Series]
    sizes: list[int]
    dev: bool
    limits: dict[tuple[str, Series], Limit]
    used: dict[str, int]

    def cell(self, series: Series, size: int, lang: str, seed: int) -> Cell:
        """The run of one point and seed."""
        return Cell("runs", series.recipe, lang, seed, series.variant(size))


def ask(given: Any) -> Sweep:
    """The sweep that was asked for; every mistake that can be known is found before anything runs.

    Args:
        given: what the command line gave, see :mod:`mt_lottery.cli.tickets.sweep`.

    Raises:
        ConfigError: with every mistake, sizes with more rows than there are among them.
        DataError: a language that the corpus does not have.
    """
    if given.user_dir is not None:
        literal("user_dir", Path(given.user_dir).resolve())
        registry.load_user_dir(given.user_dir)
    registry.load_entry_points()
    pairs = [text.partition("=") for text in given.settings]
    problems = [f"'{k}': neither an option nor key=value." for k, sign, _ in pairs if not sign]
    settings = {k: v for k, _, v in pairs}
    asked = [
        p for text in (given.lang, settings.pop("lang", None)) if text for p in text.split(",")
    ]
    if not asked:
        problems.append("The language pair is missing: for example lang=en-es.")
    problems += [
        f"{pair}: give source and target, for example en-es." for pair in asked if "-" not in pair
    ]
    problems += [
        f"{key}={value}: the sweep sets {key.rpartition(':')[2]} itself, for each size; give "
        "--sizes, --recipes, --selectors."
        for key, value in settings.items()
        if key.rpartition(":")[2] in OWN
    ]
    sizes = _sizes(given.sizes, problems)
    try:
        seeds = wholes(given.seeds, 0, 2**32 - 1)
    except ValueError as error:
        seeds = []
        problems.append(f"--seeds: each {error}.")
    if given.jobs < 1:
        problems.append(f"--jobs must be at least 1, not {given.jobs}.")
    series = _series(given.recipes, given.selectors, problems)
    if problems:
        raise ConfigError(problems)
    langs = choose_langs("en", asked)
    overrides = overrides_of(given, list(settings.items()), "mt-ticket sweep")
    if given.dev:
        # one trial, the settings as they are: trained once, scored on dev, then on the test set
        overrides["tune"] = "1"
    overrides |= _embed_as_probe(overrides, langs[0], series)
    bench = Bench(
        out=(given.out or Path("sweep") / "+".join(langs)).expanduser(),
        recipes=[*BASELINES, *dict.fromkeys(s.recipe for s in series)],
        langs=langs,
        seeds=list(dict.fromkeys(seeds)),
        overrides=overrides,
        variants=_variants(series, sizes),
    )
    check(bench)
    sweep = Sweep(bench, series, sizes, given.dev, {}, {})
    return _within_limits(sweep, explicit=given.sizes is not None)


def _sizes(text: str | None, problems: list[str]) -> list[int]:
    if text is None:
        return list(SIZES)
    try:
        return sorted(set(wholes(text, 1)))
    except ValueError as error:
        problems.append(f"--sizes: each {error}.")
        return []


def _series(recipes: str, selectors: str, problems: list[str]) -> list[Series]:
    measures = list(dict.fromkeys(selectors.split(",")))
    problems += [
        f"--selectors: {unknown('selector', name, SELECTORS.names())}"
        for name in measures
        if name not in SELECTORS.names()
    ]
    found: list[Series] = []
    for recipe in dict.fromkeys(recipes.split(",")):
        if recipe in BASELINES:
            continue  # always there
        if recipe not in all_recipes():
            problems.append(f"--recipes: {unknown('recipe', recipe, all_recipes())}")
            continue
        try:
            settings = settings_of(recipe)
        except MTLotteryError as error:
            problems.append(f"--recipes {recipe}: {error}")
            continue
        if not hasattr(settings, "tickets"):
            rows = [
                name for name in TUNERS.names() if hasattr(TUNERS.dataclass_of(name), "tickets")
            ]
            problems.append(
                f"--recipes {recipe}: it has no number of rows (tuner.tickets); allowed: "
                f"{', '.join(rows)}."
            )
        elif hasattr(settings, "selector"):
            # one that is chosen for its own measure (grad_lottery) keeps it
            own = settings.selector
            found += [Series(recipe, name) for name in (measures if own == "ks" else [own])]
        else:
            found.append(Series(recipe))
    if not found and not problems:
        problems.append(f"--recipes {recipes}: no recipe whose number of rows could be varied.")
    return found


def _variants(series: Sequence[Series], sizes: Sequence[int]) -> dict[str, list[Variant]]:
    made: dict[str, list[Variant]] = {}
    for one in series:
        for size in sizes:
            settings = {"tuner.tickets": str(size)}
            if one.selector:
                settings["tuner.selector"] = one.selector
            if one.selector == "random":
                settings["tuner.selector_seed"] = "{seed}"  # else seeds would not show its spread
            made.setdefault(one.recipe, []).append(Variant(one.variant(size), settings))
    return made


def _embed_as_probe(
    overrides: dict[str, str], lang: str, series: Sequence[Series]
) -> dict[str, str]:
    """Settings that make ``embed`` the probe itself: the curve of transfer ends there.

    ``train.lr=0.01`` on the command line is meant for the rows, not for the whole table.  What
    is given as ``embed:train.…`` stays.
    """

    def composed(recipe: str) -> RunConfig:
        plain = {k: v for k, v in overrides.items() if ":" not in k}
        own = {
            k.removeprefix(f"{recipe}:"): v
            for k, v in overrides.items()
            if k.startswith(f"{recipe}:")
        }
        fixed = [f"recipe={recipe}", f"lang={lang}"]
        return compose([*fixed, *(f"{k}={v}" for k, v in (plain | own).items())])

    asked = [*(one.recipe for one in series), *RECIPES]
    copying = next(recipe for recipe in asked if tuner_of(recipe).copies_chosen)
    probe = dataclasses.asdict(composed(copying).probe)
    embed = dataclasses.asdict(composed("embed").train)
    return {
        f"embed:train.{key}": shown(value)
        for key, value in probe.items()
        if key != "save_steps" and embed[key] != value and f"embed:train.{key}" not in overrides
    }


def _within_limits(sweep: Sweep, *, explicit: bool) -> Sweep:
    """The sweep with what is known of its limits, without the default sizes that exceed them.

    Raises:
        ConfigError: sizes that were asked for and cannot be.
    """
    bench = sweep.bench
    problems: list[str] = []
    for lang in bench.langs:
        config = bench.config(Cell("runs", "embed", lang, bench.seeds[0]))
        corpora = load_corpora(config.data, parse_pair(lang), ("train",))
        use = vocabulary_use(config, corpora)
        if use is None:
            continue
        sweep.used[lang] = len(use.seen)
        for series in sweep.series:
            cell = sweep.cell(series, sweep.sizes[0], lang, bench.seeds[0])
            limit = limits(bench.config(cell), use)
            if limit is not None:
                sweep.limits[lang, series] = limit
    smallest = min((limit.rows for limit in sweep.limits.values()), default=None)
    sizes = sweep.sizes
    if not explicit and smallest is not None and sizes[0] <= smallest:
        sizes = [size for size in sizes if size <= smallest]
    problems += [
        f"--sizes {size}: {series} for {lang} can have {plural(limit.rows, 'row')} at most "
        f"({limit.why})."
        for (lang, series), limit in sweep.limits.items()
        for size in sizes
        if size > limit.rows
    ]
    if problems:
        raise ConfigError(problems)
    variants = _variants(sweep.series, sizes)
    return dataclasses.replace(
        sweep, sizes=sizes, bench=dataclasses.replace(bench, variants=variants)
    )
