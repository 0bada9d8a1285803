"""What a benchmark consists of: methods × language pairs × seeds, and what they share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt_lottery import __version__
from mt_lottery.atomic import write_text
from mt_lottery.bench.contamination import Overlap
from mt_lottery.bench.methods import methods as leaderboard_methods
from mt_lottery.compose import compose
from mt_lottery.config import RunConfig, digest
from mt_lottery.errors import ConfigError, MTLotteryError, RecordError, unknown
from mt_lottery.languages import parse_pair
from mt_lottery.recipe_files import recipes_folder
from mt_lottery.registry import TUNERS
from mt_lottery.tuner.base import Tuner

SETTINGS = "bench.json"
SCHEMA = 1

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
    """A method with settings of its own, where a benchmark holds several of one method.

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
        method: recipe.
        lang: ``en-ro``.
        seed: of the run.
        variant: name of the method's variant; empty for the method as it is.
    """

    block: str
    method: str
    lang: str
    seed: int
    variant: str = ""

    @property
    def folder(self) -> str:
        """Run directory, relative to the benchmark's."""
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.block}/{self.method}/{self.lang}{variant}/seed-{self.seed}"

    @property
    def unsearched(self) -> Cell | None:
        """The cell with the recipe's own settings, for one whose settings are searched."""
        return dataclasses.replace(self, block="runs") if self.block == "tuned" else None

    @property
    def name(self) -> str:
        """Method, variant and block, as people read them: ``ks_lottery ks-18``."""
        tuned = " (tuned)" if self.block == "tuned" else ""
        return f"{self.method}{f' {self.variant}' if self.variant else ''}{tuned}"

    def __str__(self) -> str:
        return f"{self.name} {self.lang} seed {self.seed}"


@dataclass(frozen=True)
class Bench:
    """A benchmark as it was asked for.

    Attributes:
        out: its folder.
        methods: recipes, in the order of the leaderboard.
        langs: pairs, ``en-ro``.
        seeds: one run of each method and pair a seed.
        overrides: ``key`` → value for every cell, ``METHOD:key`` for those of one method.
        tune: trials on dev for each method; 0 leaves the second block out.
        overlaps: test text in the training text, filled in when the text is checked.
        variants: method → its variants, a cell each; other methods have one cell.
    """

    out: Path
    methods: list[str]
    langs: list[str]
    seeds: list[int]
    overrides: dict[str, str] = field(default_factory=dict)
    tune: int = 0
    overlaps: list[Overlap] = field(default_factory=list)
    variants: Mapping[str, Sequence[Variant]] = field(default_factory=dict)
    _composed: dict[tuple[str, ...], RunConfig] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def group(self) -> str:
        """What the cells' experiments have in common: the folder's name."""
        return self.out.resolve().name.replace('"', "").replace("\\", "")

    def cells(self) -> list[Cell]:
        """Every cell, the original model first: all others are compared with it."""
        blocks = ["runs", *(["tuned"] if self.tune else [])]
        found = []
        for lang in self.langs:
            for block in blocks:
                for method in self.methods:
                    if block == "tuned" and not searchable(method):
                        continue
                    seeds = self.seeds if depends_on_seed(method) else self.seeds[:1]
                    names = [variant.name for variant in self.variants.get(method, ())]
                    found += [
                        Cell(block, method, lang, seed, name)
                        for name in names or [""]
                        for seed in seeds
                    ]
        return sorted(found, key=lambda cell: (cell.method != "none",))

    def arguments(self, cell: Cell) -> list[str]:
        """The cell as arguments of ``mt-train``."""
        keys = {k: v for k, v in self.overrides.items() if ":" not in k}
        own = f"{cell.method}:"
        keys |= {k.removeprefix(own): v for k, v in self.overrides.items() if k.startswith(own)}
        if keys.get("preset") and keys["preset"] not in presets_of(cell.method):
            keys.pop("preset")  # the paper has no schedule of its own for this method
        for variant in self.variants.get(cell.method, ()):
            if variant.name == cell.variant:
                values = {
                    k: v.replace("{seed}", str(cell.seed)) for k, v in variant.settings.items()
                }
                keys |= values
        if cell.block == "tuned":
            keys["tune"] = str(self.tune)
        if "tracker" in keys:
            keys.setdefault("tracking.group", f'"{self.group}"')
        fixed = [
            f"recipe={cell.method}",
            f"lang={cell.lang}",
            f"seed={cell.seed}",
            f'out_dir="{(self.out / cell.folder).resolve()}"',
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
        """What every cell depends on; methods, pairs and seeds may be added later."""
        kept = {k: v for k, v in self.overrides.items() if not _only_told(k)}
        return {"overrides": dict(sorted(kept.items())), "tune": self.tune}


def _only_told(key: str) -> bool:
    """Whether a key says where results are shown, and nothing about the results."""
    name = key.partition(":")[2] or key
    return name == "tracker" or name.startswith("tracking.")


def depends_on_seed(method: str) -> bool:
    """Whether a method's result depends on the run's seed (the original model's does not)."""
    kind: type[Tuner] = TUNERS.get(method)
    return bool(kind.trains or kind.reads_text or kind.probe is not Tuner.probe)


def searchable(method: str) -> bool:
    """Whether there is anything that ``--tune`` could try for a method."""
    settings = compose([f"recipe={method}", "lang=en-ro"]).tuner
    tuner: Tuner = TUNERS.get(settings.name)(settings)
    return bool(tuner.search_space)


def presets_of(method: str) -> set[str]:
    """Presets that a recipe has; a plugin's own recipe is not looked into."""
    from omegaconf import OmegaConf

    file = recipes_folder() / "recipe" / f"{method}.yaml"
    names: set[str] = set()
    while file.is_file():
        content = OmegaConf.to_container(OmegaConf.load(file))
        assert isinstance(content, dict)
        names |= set(content.get("presets") or {})
        parents = [p for p in content.get("defaults", []) if isinstance(p, str) and p != "_self_"]
        if not parents:
            break
        file = recipes_folder() / "recipe" / f"{parents[0]}.yaml"
    return names


def choose_methods(names: Sequence[str]) -> list[str]:
    """Recipes for ``all`` or a list of names, in the leaderboard's order; ``none`` is always in.

    Raises:
        ConfigError: a name that is not registered.
    """
    known = leaderboard_methods()
    wanted = set()
    problems = []
    for name in names:
        if name == "all":
            wanted |= set(known)
        elif name in TUNERS.names():
            wanted.add(name)
        else:
            problems.append(unknown("method", name, [*TUNERS.names(), "all"]))
    if problems:
        raise ConfigError(problems)
    wanted.add("none")
    return [m for m in known if m in wanted] + sorted(wanted - set(known))


def choose_langs(source: str, targets: Sequence[str]) -> list[str]:
    """Pairs of one source language.

    Raises:
        ConfigError: a language that is not known, or no target.
    """
    problems, pairs = [], []
    for target in targets:
        try:
            pairs.append(str(parse_pair(target if "-" in target else f"{source}-{target}")))
        except MTLotteryError as error:
            problems.append(f"--langs {target}: {error}")
    if problems or not pairs:
        raise ConfigError(problems or "--langs is missing: for example --langs ro,es,ca,no")
    return list(dict.fromkeys(pairs))


def probe_group(bench: Bench, cell: Cell) -> str | None:
    """Name of the embedding-tuned probe that a cell needs; cells with one name share it.

    Tuning trials each train probes of their own, so those cells share none that is known ahead.
    """
    config = bench.config(cell)
    tuner: Tuner = TUNERS.get(config.tuner.name)(config.tuner)
    if tuner.probe is None or cell.block == "tuned":
        return None
    section = dataclasses.asdict(getattr(config, tuner.probe_section))
    section.pop("save_steps")
    return f"{cell.lang} {cell.seed} {digest([section, tuner.scope])[:12]}"


def check_settings(bench: Bench, *, force: bool, command: str) -> None:
    """Compare with what stands in the folder, and write it there.

    Raises:
        RecordError: the folder holds a benchmark with other settings (the difference is listed),
            or something else; and ``force`` is off.
    """
    path = bench.out / SETTINGS
    new = bench.settings()
    asked: dict[str, list[Any]] = {}
    if path.is_file():
        old = read_settings(bench.out)
        asked = old.get("asked", {})
        changes = difference(old["settings"], new)
        if changes and not force:
            listed = "\n".join(f"  {line}" for line in changes)
            raise RecordError(
                f"{bench.out} holds a benchmark with other settings:\n{listed}\n"
                "Give another --out, or --force to go on with the new ones (cells that they "
                "change are run again)."
            )
    for key in ("methods", "langs", "seeds"):
        known = asked.setdefault(key, [])
        known += [value for value in getattr(bench, key) if value not in known]
    new["command"] = command  # the last one; no difference by itself
    content = {"schema": SCHEMA, "mt_lottery": __version__, "settings": new, "asked": asked}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_settings(out: Path) -> dict[str, Any]:
    """What ``bench.json`` holds.

    Raises:
        RecordError: missing, damaged, or of another schema.
    """
    path = out / SETTINGS
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["schema"] != SCHEMA or not isinstance(content["settings"]["overrides"], dict):
            raise ValueError(f"schema {content['schema']!r}, not {SCHEMA}")
    except FileNotFoundError as error:
        raise RecordError(f"{path}: no such file; {out} is no benchmark of mt-bench.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: damaged: {error}") from error
    assert isinstance(content, dict)
    return content


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines such as ``train.epochs: 2, now 3``."""
    flat = [{"tune": s.get("tune", 0), **s["overrides"]} for s in (old, new)]
    lines = []
    for key in sorted({*flat[0], *flat[1]}):
        before, after = (f.get(key) for f in flat)
        if before != after:
            shown = ["not given" if v is None else v for v in (before, after)]
            lines.append(f"{key}: {shown[0]}, now {shown[1]}")
    return lines
