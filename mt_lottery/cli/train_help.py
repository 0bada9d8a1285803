"""What ``mt-train --help`` prints: of all recipes, or of the recipe on the command line."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence

from mt_lottery import registry
from mt_lottery.config import RunConfig, describe
from mt_lottery.config.compose import compose
from mt_lottery.config.recipe_files import GROUPS, headline, loose_recipes, names_in
from mt_lottery.errors import LackingError, MTLotteryError

CHOSEN = ("recipe", "tuner.name", "model.name", "data.name")  # by recipe=, model=, data=
LANG = "lang=en-ro"  # for a command line that has none yet
SECTIONS = {
    "": "the run",
    "tuner": "the tuner",
    "train": "training",
    "probe": "the probe: the embedding tuning from which ks recipes choose their rows",
    "data": "data",
    "model": "model",
    "translate": "translation",
    "metric": "metrics",
    "tracking": "trackers",
}
END = "exit status: 0 done, 1 crash, 2 a mistake in what was given, 130 interrupted\n"


@dataclasses.dataclass
class Line:
    """One setting in the help.

    Attributes:
        key: dotted.
        value: the default, or what the recipe gives.
        text: its meaning.
        who: tuners or corpora that have it, where not all do.
        differs: other defaults → recipes that have them.
    """

    key: str
    value: str
    text: str
    who: list[str] = dataclasses.field(default_factory=list)
    differs: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def names(group: str) -> list[str]:
    """What may be chosen as ``recipe=``, ``model=`` or ``data=``."""
    found = {*names_in(group)}
    if group == "recipe":
        found |= {name for name in loose_recipes() if _composes(name)}
    return sorted(found)


def _composes(recipe: str) -> bool:
    """Whether a YAML beside a plugin is a recipe: any other may be there too."""
    try:
        resolved([f"recipe={recipe}"])
    except MTLotteryError:
        return False
    return True


def resolved(arguments: Sequence[str]) -> tuple[RunConfig, set[str]]:
    """The settings of a command line that need not be complete, and the keys that it lacks.

    Raises:
        MTLotteryError: as :func:`mt_lottery.config.compose.compose`.
    """
    lacking = set() if any(a.startswith("lang=") for a in arguments) else {"lang"}
    given = [*arguments, *([LANG] if lacking else [])]
    try:
        return compose(given), lacking
    except LackingError as error:
        for value in ("1", "true", "x"):  # of whichever type it is
            try:
                return compose([*given, *(f"{key}={value}" for key in error.keys)]), {
                    *lacking,
                    *error.keys,
                }
            except MTLotteryError:
                continue
        raise


def of_recipe(arguments: Sequence[str]) -> Iterator[str]:
    """The settings of a command line with a recipe, by section."""
    config, lacking = resolved(arguments)
    what = headline(config.recipe)
    yield _filled(f"recipe={config.recipe}" + (f": {what.rstrip('.')}." if what else ""), "")
    lines = [
        Line(key, "must be given" if key in lacking else value, text)
        for key, value, text in describe(RunConfig, values=config)
    ]
    yield "\nsettings (in brackets: the value with the arguments given):\n"
    yield from _sections(lines)


def of_all() -> Iterator[str]:
    """The settings of all tuners, and what their recipes change."""
    for group in GROUPS:
        head = f"  {group}=…  "
        yield _filled(", ".join(names(group)), " " * len(head), head)
    yield "  config=FILE  a run's config.yaml: the same run again\n"
    yield "\nsettings (default in brackets; mt-train recipe=NAME --help shows those of a recipe):\n"
    lines = {key: Line(key, value, text) for key, value, text in describe(RunConfig)}
    lines["lang"].value = "must be given"
    own: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    values: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for recipe in names("recipe"):
        config, lacking = resolved([f"recipe={recipe}"])
        for key, value, text in describe(RunConfig, values=config):
            if key in lacking or key in CHOSEN:
                value = "must be given"
            if key not in lines:
                own[key, value, text].append(recipe)
            elif key not in CHOSEN:
                values[key].setdefault(value, []).append(recipe)
    for key, found in values.items():
        if len(found) == 1:  # what every recipe has is the default, whatever the schema's
            lines[key].value = next(iter(found))
        else:
            lines[key].differs = {v: r for v, r in found.items() if v != lines[key].value}
    for kind, section in ((registry.CORPORA, "data."), (registry.MODELS, "model.")):
        for name in kind.names():
            schema = kind.dataclass_of(name)
            for key, value, text in describe(schema, section) if schema is not None else ():
                if key not in lines:
                    own[key, value, text].append(name)
    extra = [Line(key, value, text, who) for (key, value, text), who in own.items()]
    yield from _sections([*lines.values(), *extra])


def _sections(lines: Sequence[Line]) -> Iterator[str]:
    grouped: dict[str, list[Line]] = {section: [] for section in SECTIONS}
    for line in lines:
        if line.key not in CHOSEN:
            section = line.key.partition(".")[0] if "." in line.key else ""
            grouped.setdefault(section, []).append(line)
    for section, members in grouped.items():
        if members:
            yield f"\n{SECTIONS.get(section, section)}:\n"
        for line in members:
            who = f" — {', '.join(line.who)}" if line.who else ""
            yield f"  {line.key} [{line.value}]\n"
            yield _filled(f"{line.text}{who}", "      ")
            if line.differs:
                parts = (f"{v} in {', '.join(r)}" for v, r in line.differs.items())
                yield _filled(f"by recipe: {'; '.join(parts)}", "      ")


def _filled(text: str, indent: str, first: str | None = None) -> str:
    """Text in lines of a terminal's width; in one line where it goes to a file, or to grep."""
    first = indent if first is None else first
    if not sys.stdout.isatty():
        return f"{first}{text}\n"
    lines = textwrap.wrap(
        text,
        width=max(shutil.get_terminal_size().columns - 2, 40),  # argparse leaves two, too
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines) + "\n"


def usage(given: Sequence[str], introduction: str) -> str:
    """The whole of ``--help``.

    Args:
        given: arguments of the command line that choose or change settings.
        introduction: what comes before the settings.

    Raises:
        MTLotteryError: an argument is wrong (an unknown recipe, a misspelt key).
    """
    keys = {a.partition("=")[0] for a in given}
    if {"recipe", "config"} & keys:
        body = [introduction.partition("\n\n")[0], "\n\n", *of_recipe(given)]
    else:
        if given:  # plugins, whose recipes are listed; and mistakes are reported
            resolved(["recipe=none", *given])
        body = [introduction, *of_all()]
    return "".join([*body, "\n", END])
