"""What is run: arms, their cells, and the settings that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import common

from mt_lottery.benchmark import plan
from mt_lottery.config.compose import compose
from mt_lottery.languages import parse_pair

#: In this order: two pairs first, the others after them.  Bosnian is the one language of the text
#: at hand that is neither Romance nor Germanic.
LANGS = ("es", "ro", "ca", "no", "bs")
SEEDS = (0, 1, 2)
MARGIN = 1.0  # of "as good as", in points; named before the first of these cells was run


@dataclass(frozen=True)
class Arm:
    """One row of a table: a recipe with settings, or an analysis of another arm's run.

    Attributes:
        name: of its folder and in tables.
        recipe: of ``mt-train``; empty for an analysis.
        settings: key → value beside those of :class:`Setting`; None takes one away. ``{flores}``
            stands for the target's code in Flores.
        rows: rows of another arm's ticket that are tuned: ``token:2`` (the second of the template's
            tokens, without line break and bos), ``template:8`` (its most changed ones),
            ``outside:18`` (the most changed ones that are not in the template), ``turned:18`` (the
            most changed ones, the template's line break taken out where it is among them, and put
            in the last one's place where it is not).
        analysis: ``certify`` or ``explain``, with its options in ``options``.
        of: the arms whose runs it reads; the first one is asked for.
        options: of the analysis.
        late: by how many places it comes later than the arms that tell most.
        langs: in how many of :data:`LANGS` it is run, from the first; 0: in all.
    """

    name: str
    recipe: str = ""
    settings: Mapping[str, str | None] = field(default_factory=dict)
    rows: str = ""
    analysis: str = ""
    of: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    late: int = 0
    langs: int = 0

    def asked_in(self, lang: str) -> bool:
        """Whether it is run in a language; in one of a rehearsal's own always."""
        return not self.langs or lang in LANGS[: self.langs] or lang not in LANGS


@dataclass(frozen=True)
class Cell:
    """An arm in one language with one seed."""

    part: str
    arm: Arm
    lang: str
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What results are found by."""
        return self.arm.name, self.lang, self.seed

    def __str__(self) -> str:
        return f"{self.part} {self.arm.name} en-{self.lang} seed {self.seed}"


@dataclass(frozen=True)
class Setting:
    """What all cells share.

    Attributes:
        out: folder of the runs; the commands run in it, with ``data`` linked into it.
        langs, seeds: which cells.
        train_pairs, test_pairs: of NTREX-128 and of the Flores-101 devtest.
        device: of every run; None for mt-lottery's own choice.
        more: other settings of a rehearsal (``model=…``).
    """

    out: Path
    langs: tuple[str, ...] = LANGS
    seeds: tuple[int, ...] = SEEDS
    train_pairs: int = 400
    test_pairs: int = 1012
    device: str | None = None
    more: tuple[str, ...] = ()

    @property
    def rehearsal(self) -> bool:
        """Whether it is another experiment than the one whose results are published."""
        own = self.train_pairs, self.test_pairs, self.more
        known = {*self.langs} <= {*LANGS} and {*self.seeds} <= {*SEEDS}
        return own != (400, 1012, ()) or not known

    def few(self, sentences: int) -> int:
        """So many test sentences, or all of a rehearsal's fewer."""
        return min(sentences, self.test_pairs)

    def settings(self, cell: Cell) -> dict[str, str]:
        """``key`` → value of a cell's run, without its rows file."""
        common: dict[str, str | None] = {
            "data": "ntrex",
            "data.path": "data/NTREX-128",
            "data.train_pairs": str(self.train_pairs),
            "data.dev_pairs": str(max(4, self.train_pairs // 10)),
            "data.test": "flores101",
            "data.test_path": "data/flores101_dataset",
            "data.test_pairs": str(self.test_pairs),
            "translate.max_new_tokens": "128",
        }
        if self.device is not None:
            common["device"] = self.device
        common |= dict(pair.split("=", 1) for pair in self.more)
        flores = parse_pair(f"en-{cell.lang}").target.flores
        own = {k: v and v.replace("{flores}", flores) for k, v in cell.arm.settings.items()}
        return {key: value for key, value in (common | own).items() if value is not None}

    def folder(self, cell: Cell) -> Path:
        """Of a cell's run, or of its analysis."""
        kind = cell.arm.analysis or "runs"
        return self.out / kind / cell.arm.name / f"en-{cell.lang}" / f"seed-{cell.seed}"

    def beside(self, cell: Cell, kind: str) -> Path:
        """A file of a cell that is not the run's: ``log``, ``rows``, how it was ``made``."""
        return self.out / kind / f"{cell.arm.name}-en-{cell.lang}-{cell.seed}.txt"


@cache
def depends_on_seed(recipe: str) -> bool:
    """As :func:`mt_lottery.benchmark.plan.depends_on_seed`, composed once."""
    return plan.depends_on_seed(recipe)


@cache
def own_training(recipe: str) -> str:
    """A recipe's own lengths and learning rates, which a later version may change."""
    return common.own_training(compose([f"recipe={recipe}", "lang=en-es"])) if recipe else ""


def cells_of(part: str, arms: list[Arm], setting: Setting) -> list[Cell]:
    """The cells of a part; an arm that no seed changes has the first seed's alone."""
    return [
        Cell(part, arm, lang, seed)
        for arm in arms
        for lang in filter(arm.asked_in, setting.langs)
        for seed in setting.seeds
        if seed == SEEDS[0] or not arm.recipe or depends_on_seed(arm.recipe)
    ]


def in_order(cells: list[Cell], setting: Setting) -> list[Cell]:
    """The cheapest and most telling ones first.

    The first two pairs come before the others, the first seed before the others, and each of the
    three (arm, pair, seed) puts a cell back by its places.
    """

    def place(cell: Cell) -> tuple[int, ...]:
        lang = setting.langs.index(cell.lang)
        again = int(cell.seed != setting.seeds[0])
        wave = cell.arm.late + int(lang > 1) + again
        return wave, cell.arm.late, int(lang > 1), setting.seeds.index(cell.seed), lang

    return sorted(cells, key=place)  # stable: arms stay as their part lists them
