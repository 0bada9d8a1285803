"""Which recipes a leaderboard has, in which order, and how much each trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mt_lottery.config.compose import compose
from mt_lottery.config.recipe_files import headline, recipe_files, recipes_folder
from mt_lottery.errors import MTLotteryError, unknown
from mt_lottery.registry import TUNERS
from mt_lottery.tuners.recipes import all_recipes as all_recipes
from mt_lottery.tuners.recipes import settings_of as settings_of
from mt_lottery.tuners.recipes import tuner_of as tuner_of

if TYPE_CHECKING:
    from mt_lottery.tuners.base import Tuner

# The paper's Table 2 from top to bottom, each control beside what it controls for.
ORDER = (
    *("none", "first_line_stop", "forced_prefix", "few_shot", "few_shot_bm25", "eos_bias"),
    *("full", "qlora", "lora", "prefix", "prompt"),
    *("embed", "random", "random_seen", "frequency", "one_row", "prompt_rows"),
    *("grad_lottery", "ks_transfer", "ks_lottery"),
)

# What PEFT has beside the paper's baselines: around LoRA, then from many parameters to few.
PEFT_FAMILY = (
    *("none", "lora", "lora_all", "dora", "rslora", "oft", "miss", "shira"),
    *("fourierft", "ln_tuning", "vera", "ia3", "beft", "tinylora", "ks_lottery"),
)

# What tuning must beat: no trained parameter, one number, one row, those of the prompt.
CONTROLS = (
    *("none", "first_line_stop", "forced_prefix", "few_shot", "few_shot_bm25", "eos_bias"),
    *("one_row", "prompt_rows", "frequency", "ks_lottery"),
)

#: Where a table has each recipe of ours; others come after them.
PLACES = {name: place for place, name in enumerate(dict.fromkeys([*ORDER, *PEFT_FAMILY]))}

LABELS = {
    "none": "Original model",
    "first_line_stop": "Stop at a line break",
    "forced_prefix": "Forced first tokens",
    "few_shot": "Few-shot prompt",
    "few_shot_bm25": "Few-shot prompt, nearest pairs",
    "eos_bias": "EOS bias",
    "full": "Full tuning",
    "qlora": "QLoRA",
    "lora": "LoRA",
    "prefix": "Prefix tuning",
    "prompt": "Prompt tuning",
    "embed": "Embedding tuning",
    "random": "Random rows",
    "random_seen": "Random rows that occur",
    "frequency": "Most frequent rows",
    "grad_lottery": "Rows of largest gradient",
    "frequency_matched": "Rows as frequent as the ticket",
    "one_row": "One trained row",
    "prompt_rows": "Rows of the prompt",
    "ks_freeze": "All rows but the ticket",
    "ks_transfer": "KS-Lottery, partial transfer",
    "ks_lottery": "KS-Lottery, partial tuning",
    "lora_all": "LoRA on every linear layer",
    "dora": "DoRA",
    "rslora": "Rank-stabilised LoRA",
    "oft": "OFT",
    "miss": "MiSS",
    "shira": "SHiRA",
    "fourierft": "FourierFT",
    "ln_tuning": "Layer norms",
    "vera": "VeRA",
    "ia3": "IA3",
    "beft": "BEFT (value biases)",
    "tinylora": "TinyLoRA",
}


#: Behind a recipe's name: the run of it that has all directions in one (``mt-bench --joint``).
JOINT = "+joint"


def label(recipe: str) -> str:
    """What a leaderboard calls a recipe; a plugin's own name for those it does not know."""
    if recipe.endswith(JOINT):
        return f"{label(recipe.removesuffix(JOINT))} (joint)"
    return LABELS.get(recipe, recipe)


def unknown_recipe(recipe: str, known: Iterable[str]) -> str:
    """The sentence for an unknown recipe; what tables and pages call one leads to its name."""
    from mt_lottery.runs.summary import in_table  # not for mt-train --help, which is quick

    names = list(known)
    called = {shown(name): name for name in names for shown in (label, in_table)}
    return unknown("recipe", recipe, names, called)


def place(recipe: str) -> tuple[int, str]:
    """Where a table has a recipe: a key to sort by; a joint run follows its recipe."""
    return PLACES.get(recipe.removesuffix(JOINT), len(PLACES)), recipe


def leaderboard_recipes() -> list[str]:
    """What ``all`` means: the built-in recipes in the paper's order, then plugins' tuners.

    A registered tuner with ``leaderboard = False`` (an arm of one figure) is left out, and so is
    a recipe under another name than its tuner's (``lora_r64`` of ``lora``): it is a variant, and
    a benchmark runs it when it is named.
    """
    named = [name for name in TUNERS.names() if TUNERS.get(name).leaderboard]
    return sorted(named, key=place)


def groups() -> dict[str, tuple[str, list[str]]]:
    """Name → what it is, and its recipes, of all that ``mt-bench`` takes for several at once.

    A group goes before a recipe of the same name: ``mt-bench peft`` is the family.
    """
    return {
        "all": ("Recipes of the leaderboard", leaderboard_recipes()),
        "controls": ("What tuning must beat, and the ticket", [*CONTROLS]),
        "peft": ("Methods of PEFT, and what to compare them with", [*PEFT_FAMILY]),
    }


def summary(recipe: str) -> str:
    """What a recipe is, in a line: its file's headline, or its tuner's docstring."""
    if recipe.endswith(JOINT):
        return f"{summary(recipe.removesuffix(JOINT))}; one run for all directions"
    said = headline(recipe)
    if said or recipe not in TUNERS.names():
        return said or ""
    text = (TUNERS.get(recipe).__doc__ or "").strip().split("\n\n")[0]
    return " ".join(text.split())


def others() -> list[str]:
    """A user's or plugins' recipes that are not in ``all``; each runs when it is named."""
    listed = []
    builtin = recipes_folder() / "recipe"
    for name, file in sorted(recipe_files().items()):
        if file.parent == builtin or name in leaderboard_recipes():
            continue
        try:
            tuner_of(name)
        except MTLotteryError:  # a YAML file of another kind beside a plugin
            continue
        listed.append(name)
    return listed


@dataclass(frozen=True)
class ParameterCount:
    """Trainable parameters of one recipe for one model.

    Attributes:
        recipe: registered name.
        rows: vocabulary rows, for recipes whose number of rows is a setting.
        trainable: their number, or None where the model alone does not tell.
        problem: why it does not: it does not fit, or the prompt decides.
    """

    recipe: str
    rows: int | None
    trainable: int | None
    problem: str | None = None


def parameter_counts(
    shape: Callable[[], Any], tickets: Sequence[int] = (), names: Sequence[str] | None = None
) -> list[ParameterCount]:
    """Table 2's parameter column.

    Args:
        shape: makes the model, without weights (:func:`mt_lottery.model.folder.shape.shape_of`);
            called for each recipe, which may wrap or change what it gets.
        tickets: numbers of rows; each recipe that has that setting is counted for each.
            The recipe's own where there is none.
        names: the recipes; all of the leaderboard if None.
    """
    counts = []
    for recipe in leaderboard_recipes() if names is None else names:
        plain = settings_of(recipe)
        choices: Sequence[int | None] = [None]
        if hasattr(plain, "tickets") and TUNERS.get(plain.name).trains:
            choices = list(tickets) or [plain.tickets]
        for rows in choices:
            more = [] if rows is None else [f"tuner.tickets={rows}"]
            settings = compose([f"recipe={recipe}", "lang=en-ro", *more]).tuner
            tuner: Tuner = TUNERS.get(settings.name)(settings)
            try:
                counts.append(ParameterCount(recipe, rows, tuner.count(shape())))
            except MTLotteryError as error:
                counts.append(ParameterCount(recipe, rows, None, str(error)))
    return counts


def rounded(number: int) -> str:
    """A count as the paper writes it: 6.74B, 4.19M, 41.0K, 18."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size:
            scaled = number / size
            return f"{scaled:.1f}{letter}" if scaled >= 100 else f"{scaled:.3g}{letter}"
    return str(number)
