"""Every key: ``mt-train --help all``, or of one recipe, ``mt-train recipe=NAME --help``."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence

from mt_lottery import registry
from mt_lottery.cli.help.overview import STATUS, USAGE, filled, overview
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
EXAMPLES = """\
examples:
  mt-train recipe=ks_lottery lang=en-ro
  mt-train recipe=ks_lottery lang=en-es tuner.tickets=100 seed=1
  mt-train recipe=ks_lottery lang=en-ca tuner.alpha=0.5 out_dir=runs/ca-alpha
  mt-train recipe=embed lang=en-no data=ntrex data.path=NTREX-128 data.train_pairs=400 \\
           data.test=flores101 data.test_path=flores101_dataset data.test_pairs=48
  mt-train recipe=ks_lottery lang=de-en model=hf model.name_or_path=./my-llama \\
           data=files data.train_source=train.de data.train_target=train.en \\
           data.test_source=test.de data.test_target=test.en
  mt-train recipe=ks_lottery lang=en-ca data=opus100 data.train_pairs=10000 data.min_chars=60
  mt-train recipe=ks_lottery preset=paper lang=en-ro model=llama_7b
  mt-train recipe=my_tuner user_dir=./plugins lang=en-ro
  mt-train config=runs/en-ro/ks_lottery/seed-0/config.yaml out_dir=runs/again
  torchrun --nproc-per-node 4 -m mt_lottery.cli.train recipe=full lang=en-ro
"""


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
    yield filled(f"recipe={config.recipe}" + (f": {what.rstrip('.')}." if what else ""), "")
    lines = [
        Line(key, "must be given" if key in lacking else value, text)
        for key, value, text in describe(RunConfig, values=config)
    ]
    yield "\nsettings (in brackets: the value with the arguments given):\n"
    yield from _sections(lines)
    must = "".join(f" {key}=…" for key in sorted(lacking - {"lang"}))
    command = f"  mt-train recipe={config.recipe}{must} lang="
    yield f"\n{STATUS}\nexamples:\n{command}en-ro\n{command}en-es seed=1 out_dir=runs/es-1\n"
    yield f"{command}de-en data=files \\\n"
    yield "           data.train_source=train.tsv data.test_source=test.tsv\n"


def of_all() -> Iterator[str]:
    """The settings of all tuners, and what their recipes change."""
    yield "\nthe first argument of a kind chooses a file of the recipes:\n"
    for group in GROUPS:
        head = f"  {group}=…  "
        yield filled(", ".join(names(group)), " " * len(head), head)
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
            yield filled(f"{line.text}{who}", "      ")
            if line.differs:
                parts = (f"{v} in {', '.join(r)}" for v, r in line.differs.items())
                yield filled(f"by recipe: {'; '.join(parts)}", "      ")


def usage(given: Sequence[str], every: bool) -> str:
    """What ``--help`` prints.

    Args:
        given: arguments of the command line that choose or change settings.
        every: all keys are asked for.

    Raises:
        MTLotteryError: an argument is wrong (an unknown recipe, a misspelt key).
    """
    keys = {a.partition("=")[0] for a in given}
    if {"recipe", "config"} & keys:
        return "".join([USAGE.partition("\n\n")[0], "\n\n", *of_recipe(given)])
    if given:  # plugins, whose recipes are listed; and mistakes are reported
        resolved(["recipe=none", *given])
    if not every:
        return overview(names("recipe") if given else names_in("recipe"))
    return "".join([USAGE, *of_all(), "\n", STATUS, "\n", EXAMPLES])
