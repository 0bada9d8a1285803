"""The tuner of each recipe: a recipe is what is run, a tuner what it uses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mt_lottery.config.compose import compose
from mt_lottery.config.recipe_files import recipe_files
from mt_lottery.errors import MTLotteryError
from mt_lottery.registry import TUNERS

if TYPE_CHECKING:
    from mt_lottery.tuners.base import Tuner


def all_recipes() -> list[str]:
    """Every recipe: YAML files, and tuners that need none."""
    return sorted({*recipe_files(), *TUNERS.names()})


@lru_cache(maxsize=256)
def _settings(recipe: str, _file: str | None) -> Any:
    return compose([f"recipe={recipe}", "lang=en-ro"]).tuner


def settings_of(recipe: str) -> Any:
    """The settings of a recipe's tuner; ``name`` in them is the tuner's, often another.

    Raises:
        ConfigError: the recipe is not known, or cannot be composed.
    """
    # a file of that name in another folder is another recipe
    return _settings(recipe, str(recipe_files().get(recipe)))


def tuner_of(recipe: str) -> Tuner:
    """The tuner of a recipe with the recipe's settings."""
    settings = settings_of(recipe)
    made: Tuner = TUNERS.get(settings.name)(settings)
    return made


def recipes_that(can: Callable[[Tuner], object]) -> str:
    """The recipes whose tuner can do something, with commas between them, for a message.

        >>> recipes_that(lambda tuner: tuner.copies_chosen)
        'ks_transfer'

    Args:
        can: what is asked of each tuner.
    """
    found = []
    for recipe in all_recipes():
        # a plugin's YAML file may be of another kind, or need a setting that has no default
        with contextlib.suppress(MTLotteryError):
            if can(tuner_of(recipe)):
                found.append(recipe)
    return ", ".join(found)
