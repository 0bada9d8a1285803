"""What a benchmark consists of: recipes × language pairs × seeds, and what they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt_lottery.benchmark.board.contamination import Overlap
from mt_lottery.benchmark.recipes import tuner_of
from mt_lottery.config import RunConfig, digest
from mt_lottery.config.compose import compose
from mt_lottery.config.overrides import literal, quoted
from mt_lottery.config.recipe_files import recipe_files
from mt_lottery.errors import ConfigError
from mt_lottery.reading import read_yaml
from mt_lottery.registry import TUNERS
from mt_lottery.tuners.base import Tuner

#: Overrides of ``--preset``; what is given on the command line beats them.
PRESETS: dict[str, dict[str, str]] = {
    "smoke": {
        "data.train_pairs": "32",
        "data.dev_pairs": "8",
        "data.test_pairs": "8",
        "train.epochs": "1",
        "probe.epochs": "1",
        "translate.max_new_tokens": "48",
    },
    "small": {
        "data.train_pairs": "320",
        "data.dev_pairs": "40",
        "data.test_pairs": "80",
        "translate.max_new_tokens": "128",
    },
    "paper": {
        "data.train_pairs": "10000",
        "translate.beam_size": "4",
        "translate.max_new_tokens": "256",
        "preset": "paper",
    },
}

#: Subfolder of a block's runs, and what the leaderboard calls it.
BLOCKS = {"runs": "recipe settings", "tuned": "equal tuning budget"}


@dataclass(frozen=True)
class Variant:
    """A recipe with its own settings, where a benchmark holds several of one recipe.

    Attributes:
        name: of its folders, ``ks-18``.
        settings: key → value; ``{seed}`` in a value stands for the cell's seed.
    """

    name: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Cell:
    """One run of the benchmark.

    Attributes:
        block: ``runs`` (settings as they are) or ``tuned`` (settings searched on dev).
        recipe: what is run, with its tuner and settings.
        lang: ``en-ro``; ``en-ro,en-es`` for a run of several directions.
        seed: of the run.
        variant: name of the recipe's variant; empty for the recipe as it is.
    """

    block: str
    recipe: str
    lang: str
    seed: int
    variant: str = ""

    @property
    def folder(self) -> str:
        """Run directory, relative to the benchmark's."""
        variant = f"/{self.variant}" if self.variant else ""
        lang = self.lang.replace(",", "+")
        return f"{self.block}/{self.recipe}/{lang}{variant}/seed-{self.seed}"

    @property
    def unsearched(self) -> Cell | None:
        """The cell with the recipe's own settings, for one whose settings are searched."""
        return dataclasses.replace(self, block="runs") if self.block == "tuned" else None

    @property
    def name(self) -> str:
        """Recipe, variant and block, as people read them: ``ks_lottery ks-18``."""
        tuned = " (tuned)" if self.block == "tuned" else ""
        return f"{self.recipe}{f' {self.variant}' if self.variant else ''}{tuned}"

    def __str__(self) -> str:
        return f"{self.name} {self.lang} seed {self.seed}"


@dataclass(frozen=True)
class Bench:
    """A benchmark as it was asked for.

    Attributes:
        out: its folder.
        recipes: in the order of the leaderboard.
        langs: pairs, ``en-ro``.
        seeds: one run of each recipe and pair a seed.
        overrides: ``key`` → value for every cell, ``RECIPE:key`` for those of one recipe.
        tune: trials on dev for each recipe; 0 leaves the second block out.
        overlaps: test text in the training text, filled in when the text is checked.
        variants: recipe → its variants, a cell each; other recipes have one cell.
        joint: each recipe that learns is run once more, with all pairs in one run.
    """

    out: Path
    recipes: list[str]
    langs: list[str]
    seeds: list[int]
    overrides: dict[str, str] = field(default_factory=dict)
    tune: int = 0
    overlaps: list[Overlap] = field(default_factory=list)
    variants: Mapping[str, Sequence[Variant]] = field(default_factory=dict)
    joint: bool = False
    _composed: dict[tuple[str, ...], RunConfig] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def group(self) -> str:
        """What the cells' experiments have in common: the folder's name."""
        return self.out.resolve().name

    def cells(self) -> list[Cell]:
        """Every cell, the original model first: all others are compared with it."""
        blocks = ["runs", *(["tuned"] if self.tune else [])]
        cells = []
        for lang in [*self.langs, *([",".join(self.langs)] if self.joint else [])]:
            for block in blocks:
                for recipe in self.recipes:
                    if block == "tuned" and not searchable(recipe):
                        continue
                    if "," in lang and not can_join(recipe):
                        continue
                    seeds = self.seeds if depends_on_seed(recipe) else self.seeds[:1]
                    names = [variant.name for variant in self.variants.get(recipe, ())]
                    cells += [
                        Cell(block, recipe, lang, seed, name)
                        for name in names or [""]
                        for seed in seeds
                    ]
        return sorted(cells, key=lambda cell: (cell.recipe != "none",))

    def arguments(self, cell: Cell) -> list[str]:
        """The cell as arguments of ``mt-train``."""
        keys = {k: v for k, v in self.overrides.items() if ":" not in k}
        own = f"{cell.recipe}:"
        keys |= {k.removeprefix(own): v for k, v in self.overrides.items() if k.startswith(own)}
        if keys.get("preset") and keys["preset"] not in presets_of(cell.recipe):
            keys.pop("preset")  # the paper has no schedule for this recipe
        for variant in self.variants.get(cell.recipe, ()):
            if variant.name == cell.variant:
                values = {
                    k: v.replace("{seed}", str(cell.seed)) for k, v in variant.settings.items()
                }
                keys |= values
        if cell.block == "tuned":
            keys["tune"] = str(self.tune)
        if "tracker" in keys:
            keys.setdefault("tracking.group", quoted(self.group))
        fixed = [
            f"recipe={cell.recipe}",
            f"lang={cell.lang}",
            f"seed={cell.seed}",
            f"out_dir={quoted(literal('out', (self.out / cell.folder).resolve()))}",
            "baseline=false",  # the cells of `none` are that
        ]
        return [*fixed, *(f"{k}={v}" for k, v in keys.items())]

    def config(self, cell: Cell) -> RunConfig:
        """The cell's configuration.

        Raises:
            ConfigError: with every mistake in it.
        """
        arguments = self.arguments(cell)
        key = tuple(arguments)
        if key not in self._composed:  # Hydra takes a tenth of a second, and a plan has hundreds
            self._composed[key] = compose(arguments)
        return self._composed[key]

    def settings(self) -> dict[str, Any]:
        """What every cell depends on; recipes, pairs and seeds may be added later."""
        kept = {k: v for k, v in self.overrides.items() if not _only_told(k)}
        return {"overrides": dict(sorted(kept.items())), "tune": self.tune}


def _only_told(key: str) -> bool:
    """Whether a key says where results are shown, or plugins are, and nothing about the results."""
    name = key.partition(":")[2] or key
    return name in ("tracker", "user_dir") or name.startswith("tracking.")


def depends_on_seed(recipe: str) -> bool:
    """Whether a recipe's result depends on the run's seed (the original model's does not)."""
    return tuner_of(recipe).seeded


def can_join(recipe: str) -> bool:
    """Whether a recipe learns from several directions at once: what it trains, or its probe."""
    tuner = tuner_of(recipe)
    return tuner.trains or tuner.probe is not None


def searchable(recipe: str) -> bool:
    """Whether there is anything that ``--tune`` could try for a recipe."""
    return bool(tuner_of(recipe).search_space)


def presets_of(recipe: str) -> set[str]:
    """Presets that a recipe has, or one that it is made from."""
    known = recipe_files()
    names: set[str] = set()
    todo, seen = [recipe], set()
    while todo:
        name = todo.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        content = read_yaml(known[name], ConfigError)
        names |= set(content.get("presets") or {})
        parents = content.get("defaults") or []
        todo += [p for p in parents if isinstance(p, str) and p != "_self_"]
    return names


def probe_group(bench: Bench, cell: Cell) -> str | None:
    """Name of the embedding-tuned probe that a cell needs; cells with one name share it.

    Each tuning trial trains its own probe, so those cells share none that is known ahead.
    """
    config = bench.config(cell)
    tuner: Tuner = TUNERS.get(config.tuner.name)(config.tuner)
    if tuner.probe is None or cell.block == "tuned":
        return None
    section = dataclasses.asdict(getattr(config, tuner.probe_section))
    section.pop("save_steps")
    return f"{cell.lang} {cell.seed} {digest([section, tuner.scope])[:12]}"
