"""What a word may go on as: names, languages, paths, ``key=value``."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mt_lottery import registry
from mt_lottery.cli.completing.keys import PACKAGE, Key, group, known, recipe
from mt_lottery.config.recipe_files import GROUPS
from mt_lottery.config.settings import PATHS
from mt_lottery.errors import plural
from mt_lottery.languages import LANGUAGES

#: A whole word that may stand where the cursor is, and what it means.
Candidate = tuple[str, str]

MOST = 2000  # entries of a folder that are looked at
DEVICES = ("auto", "cpu", "cuda", "mps")
#: Settings that name something registered; those of ``LISTS`` may name several.
REGISTERED = {
    "train.optimizer": registry.OPTIMIZERS,
    "train.criterion": registry.CRITERIA,
    "probe.optimizer": registry.OPTIMIZERS,
    "probe.criterion": registry.CRITERIA,
    "engine": registry.ENGINES,
    "tracker": registry.TRACKERS,
    "metrics": registry.METRICS,
    "data.template": registry.TEMPLATES,
    "data.train_templates": registry.TEMPLATES,
    "data.dev": registry.CORPORA,
    "data.test": registry.CORPORA,
    "tuner.selector": registry.SELECTORS,
}
LISTS = ("metrics", "tracker", "data.train_templates")
CHOSEN: Mapping[str, str] = {
    **{"recipe": "what is run", "lang": "source-target, for example en-ro"},
    **{"model": "a model's name", "data": "a corpus", "preset": "variant of the recipe"},
    "config": "config.yaml of a run: the same run again",
}


def of_names(names: Iterable[str], text: str = "") -> list[Candidate]:
    """Names alone."""
    return [(name, text) for name in names]


def several(word: str, names: Iterable[Candidate]) -> Iterator[Candidate]:
    """As ``names``, behind what a list (``a,b`` or ``[a,b``) has already."""
    head = re.match(r"(?:.*[,\[])?", word, re.S)
    before = head[0] if head else ""
    have = set(re.split(r"[,\[]", before))
    yield from ((before + name, text) for name, text in names if name not in have)


def languages(corpus: str = "") -> list[Candidate]:
    """Codes and English names of the languages that a built-in corpus has; else of all."""
    found = list(LANGUAGES)
    if corpus == "mini":
        own = {file.name.split(".")[1] for file in (PACKAGE / "data/mini").glob("train.*.txt")}
        found = [each for each in found if each.code in own]
    elif corpus in ("ntrex", "flores101"):
        found = [each for each in found if getattr(each, corpus.removesuffix("101"))]
    return [(each.code, each.name) for each in found]


def directions(word: str, corpus: str = "") -> Iterator[Candidate]:
    """``en-`` first, then ``en-ro``; behind a comma too."""
    last = re.split(r"[,\[]", word)[-1]
    source, dash, _ = last.partition("-")
    there = languages(corpus)
    if not dash:
        yield from several(word, [(f"{code}-", name) for code, name in there])
    else:
        targets = [(f"{source}-{code}", name) for code, name in there if code != source]
        yield from several(word, targets)


def paths(word: str, folders_only: bool = False) -> Iterator[Candidate]:
    """Files and folders; a folder ends with ``/``."""
    head, name = os.path.split(word)
    shown = f"{head.rstrip('/')}/" if head else ""
    place = Path(head or ".")
    with (
        contextlib.suppress(OSError, RuntimeError, ValueError),
        os.scandir(place.expanduser()) as all_,
    ):
        for entry, _ in zip(all_, range(MOST), strict=False):
            if entry.name.startswith(".") and not name.startswith("."):
                continue
            if entry.is_dir():
                yield f"{shown}{entry.name}/", ""
            elif not folders_only:
                yield f"{shown}{entry.name}", ""


def _next_part(word: str, keys: Mapping[str, Key]) -> Iterator[Candidate]:
    """Keys, a section (``train.``) in the place of its keys until it is typed."""
    sections: dict[str, list[str]] = {}
    for key, found in keys.items():
        if not key.startswith(word):
            continue
        section, dot, _ = key[len(word) :].partition(".")
        if dot:
            sections.setdefault(f"{word}{section}.", []).append(key)
        else:
            yield f"{key}=", found.text
    for section, members in sections.items():
        yield section, plural(len(members), "setting")


def key_value(word: str, others: Iterable[str], recipes: bool = True) -> Iterator[Candidate]:
    """How a ``key=value`` word may go on.

    Args:
        word: what is typed of it.
        others: the other words of the line, which choose recipe, model, corpus and plugins.
        recipes: the groups (``recipe=``, ``model=``, ``data=``) may be given.
    """
    given = dict(text.partition("=")[::2] for text in others if "=" in text and text[0] != "-")
    chosen = {kind: given[kind] for kind in GROUPS if given.get(kind)}
    plugins = Path(given["user_dir"]).expanduser() if given.get("user_dir") else None
    keys = known(chosen, plugins)
    key, equals, value = word.partition("=")
    if not equals:
        if recipes:
            keys = {name: Key(text) for name, text in CHOSEN.items()} | keys
        yield from _next_part(word, {k: v for k, v in keys.items() if k not in given})
        return
    corpus = given.get("data", "mini")
    found: Iterable[Candidate]
    if recipes and key in GROUPS:
        found = group(key, plugins).items()
    elif key == "preset":
        found = of_names(recipe(chosen.get("recipe", ""), plugins).get("presets", {}))
    elif key in ("lang", "test_lang"):
        found = directions(value, corpus)
    elif key in REGISTERED:
        names = of_names(sorted(REGISTERED[key].builtins))
        found = several(value, names) if key in LISTS else names
    elif key == "device":
        found = of_names(DEVICES)
    elif key == "config" or key.rpartition(".")[2].rpartition("_")[2] in PATHS:
        found = paths(value, key.endswith("dir"))
    else:
        found = of_names(keys[key].values if key in keys else ())
    yield from ((f"{key}={candidate}", text) for candidate, text in found)
