"""Which recipes and pairs of languages a command line asks for."""

from __future__ import annotations

from collections.abc import Sequence

from mt_lottery.benchmark.recipes import all_recipes, groups, tuner_of, unknown_recipe
from mt_lottery.errors import ConfigError, MTLotteryError, argument
from mt_lottery.languages import get_language, parse_pair


def choose_recipes(names: Sequence[str]) -> list[str]:
    """Recipes for groups and names, in the order of the groups; ``none`` is always in.

    Raises:
        ConfigError: a name that is no recipe, or a recipe that cannot be composed.
    """
    families = groups()
    known = list(dict.fromkeys(name for _, members in families.values() for name in members))
    possible = all_recipes()
    wanted = set()
    problems = []
    for name in names:
        if name in families:
            wanted |= set(families[name][1])
        elif name in possible:
            try:
                tuner_of(name)
                wanted.add(name)
            except MTLotteryError as error:
                problems.append(f"{name}: {error}")
        else:
            problems.append(unknown_recipe(name, {*possible, *families}))
    if problems:
        raise ConfigError(problems)
    wanted.add("none")
    return [m for m in known if m in wanted] + sorted(wanted - set(known))


def choose_langs(source: str, targets: Sequence[str]) -> list[str]:
    """Pairs of one source language.

    Raises:
        ConfigError: a language that is not known, or no target.
    """
    given = [target.strip() for target in targets]
    if not any(given):
        few = argument("langs", "ro,es,ca,no")
        raise ConfigError(f"{argument('langs')} is empty: give languages, for example {few}")
    problems, pairs = [], []
    if not all(given):
        problems.append(
            f"{argument('langs', ','.join(given))}: a comma without a language; for example "
            f"{argument('langs', 'ro,es')}"
        )
    for target in filter(None, given):
        try:
            # a variety has a dash itself: pt-BR is no pair of Portuguese and Breton
            whole = "-" in target and not _is_language(target)
            pairs.append(str(parse_pair(target if whole else f"{source}-{target}")))
        except MTLotteryError as error:
            problems.append(f"{argument('langs', target)}: {error}")
    if problems:
        raise ConfigError(problems)
    return list(dict.fromkeys(pairs))


def _is_language(text: str) -> bool:
    try:
        get_language(text)
    except MTLotteryError:
        return False
    return True
