"""Which words may come next on a command line of ours."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mt_lottery import registry
from mt_lottery.cli.completing.keys import group
from mt_lottery.cli.completing.shells import SHELLS
from mt_lottery.cli.completing.values import (
    DEVICES,
    Candidate,
    directions,
    key_value,
    languages,
    of_names,
    paths,
    several,
)

#: Settings of mt-train that a benchmark refuses: it sets them itself, for each run.
SET_FOR_EACH_RUN = (
    *("recipe", "lang", "test_lang", "seed", "out_dir", "resume", "overwrite", "baseline", "tune"),
    *("preset", "config"),
)
TRAIN_OPTIONS = {
    "--help": "one screen; --help all: every key",
    "--version": "of mt-lottery",
    "--completion": "a script for bash, zsh or fish",
}


def _recipes(_: str = "") -> list[Candidate]:
    return [*group("recipe").items()]


def _models(word: str) -> Iterator[Candidate]:
    yield from group("model").items()
    yield from paths(word, True)


def _slurm(_: str) -> list[Candidate]:
    from mt_lottery.benchmark.executors.slurm_options import OPTIONS

    return [(f"{key}=", text) for key, text in OPTIONS.items()]


def _of(kind: registry.Registry) -> Callable[[str], Iterable[Candidate]]:
    return lambda word: of_names(sorted(kind.builtins))


def _folders(word: str) -> Iterable[Candidate]:
    return paths(word, True)


#: What an option or argument takes, by its name …
BY_NAME: dict[str, Callable[[str], Iterable[Candidate]]] = {
    "device": lambda word: of_names(DEVICES),
    "against": _recipes,
    "recipes": lambda word: several(word, _recipes()),
    "model": _models,
    "data": lambda word: group("data").items(),
    "metric": _of(registry.METRICS),
    "selector": _of(registry.SELECTORS),
    "selectors": lambda word: several(word, of_names(sorted(registry.SELECTORS.builtins))),
    "template": _of(registry.TEMPLATES),
    "arms": lambda word: several(
        word, of_names(("bos", "instruction", "source", "target", "random"))
    ),
    "slurm": _slurm,
}
#: … or by what its help calls the value.
BY_METAVAR: dict[str, Callable[[str], Iterable[Candidate]]] = {
    **dict.fromkeys(("DIR", "RUN", "OUT", "FOLDER"), _folders),
    **dict.fromkeys(("FILE", "GGUF", "PATH", "STEM", "P", "AFTER", "BEFORE", "BEFORE|RUN"), paths),
}


def _corpus(words: Sequence[str]) -> str:
    """Whose languages are offered; "" for all."""
    given = [b for a, b in itertools.pairwise(words) if a == "--data"]
    given += [word.removeprefix("data=") for word in words if word.startswith("data=")]
    return (given or ["" if "paper" in words else "mini"])[-1]


def values_of(action: argparse.Action, word: str, words: Sequence[str] = ()) -> Iterable[Candidate]:
    """What an option's value, or an argument, may be."""
    if action.choices is not None:
        return of_names(map(str, action.choices))
    if action.dest in ("langs", "source"):
        return several(word, languages(_corpus(words)))
    if action.dest == "lang":
        return directions(word, _corpus(words))
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    named = BY_NAME.get(action.dest) if action.option_strings else None
    complete = named or BY_METAVAR.get(metavar)
    return complete(word) if complete else ()


def _with_parser(
    parser: argparse.ArgumentParser, words: Sequence[str], word: str
) -> Iterator[Candidate]:
    options = {name: action for action in parser._actions for name in action.option_strings}
    places = [action for action in parser._actions if not action.option_strings]
    name, equals, value = word.partition("=")
    before = options.get(words[-1]) if words else None
    if before is not None and before.nargs != 0:
        yield from values_of(before, word, words)
        return
    if equals and name in options:
        yield from ((f"{name}={v}", text) for v, text in values_of(options[name], value, words))
        return
    if word.startswith("-"):
        for name, action in options.items():
            if name.startswith("--") and action.help is not argparse.SUPPRESS:
                yield name, action.help or ""
        return
    rest, taken = [], 0
    for one in words:
        if taken:
            taken -= 1
        elif one.startswith("-"):
            found = options.get(one)
            taken = 0 if found is None or found.nargs == 0 else 1
        else:
            rest.append(one)
    if not places:
        return
    place = places[min(len(rest), len(places) - 1)]
    if len(rest) >= len(places) and place.nargs not in ("+", "*"):
        return
    if place.metavar in ("RECIPE|key=value", "GROUP|RECIPE"):
        yield from of_names(("all", "controls", "peft"), "a group of recipes")
        yield from _recipes()
    if "key=value" in str(place.metavar):
        head, colon, setting = word.partition(":")
        if colon and re.fullmatch(r"[\w.-]+", head):
            found_ = key_value(setting, [f"recipe={head}", *rest], recipes=False)
            yield from ((f"{head}:{candidate}", text) for candidate, text in found_)
            return
        known = group("recipe")
        recipes = [f"recipe={one}" for one in rest if one in known][:1]
        sets_lang = place.metavar == "key=value"  # of mt-ticket sweep, it is the pair to sweep
        for candidate, text in key_value(word, [*recipes, *rest]):
            key = candidate.partition("=")[0]
            if key not in SET_FOR_EACH_RUN or (key == "lang" and sets_lang):
                yield candidate, text
        return
    yield from values_of(place, word, words)


def _bench(words: Sequence[str], word: str) -> Iterator[Candidate]:
    from mt_lottery.cli import bench

    made = bench.subcommands()
    if words and words[0] in made:
        yield from _with_parser(made[words[0]](), words[1:], word)
        return
    if not words:
        yield from ((name, "a command") for name in made)
    yield from _with_parser(bench.parser(), words, word)


def _ticket(words: Sequence[str], word: str) -> Iterator[Candidate]:
    from mt_lottery.cli import ticket

    made = ticket.parser()
    (commands,) = (a for a in made._actions if isinstance(a, argparse._SubParsersAction))
    if words and words[0] in commands.choices:
        yield from _with_parser(commands.choices[words[0]], words[1:], word)
    elif not words and not word.startswith("-"):
        yield from ((each.dest, each.help or "") for each in commands._choices_actions)
    elif not words:
        yield from _with_parser(made, words, word)


def _train(words: Sequence[str], word: str) -> Iterator[Candidate]:
    if words and words[-1] == "--help":
        yield "all", "every key"
    if words and words[-1] == "--completion":
        yield from of_names(SHELLS)
    elif word.startswith("-"):
        yield from TRAIN_OPTIONS.items()
    else:
        yield from key_value(word, words)


def _translate(words: Sequence[str], word: str) -> Iterator[Candidate]:
    from mt_lottery.cli import translate

    yield from _with_parser(translate.parser(), words, word)


PROGRAMS = {
    "mt-train": _train,
    "mt-bench": _bench,
    "mt-ticket": _ticket,
    "mt-translate": _translate,
}


def candidates(words: Sequence[str], word: str) -> list[Candidate]:
    """What the word at the cursor may become.

    Args:
        words: of the line before it; the first one is the command, with or without its folder.
        word: what is typed of it.
    """
    complete = PROGRAMS.get(Path(words[0]).name) if words else None
    found = complete(words[1:], word) if complete else ()
    shown = {each: " ".join(text.split()) for each, text in found if each.startswith(word)}
    return [*shown.items()]
