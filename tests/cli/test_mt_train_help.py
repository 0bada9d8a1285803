"""``mt-train --help`` shows what a run would get, for every recipe and for one's arguments."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands

from mt_lottery.config import TunerConfig, shown
from mt_lottery.config.compose import compose
from mt_lottery.config.recipe_files import recipes_folder
from mt_lottery.registry import TUNERS
from mt_lottery.registry import loading as plugins

RECIPES = sorted(p.stem for p in (recipes_folder() / "recipe").glob("*.yaml"))
HIDDEN = {"recipe", "tuner.name", "model.name", "data.name"}


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = shown(value)
    return found


def wanted(*arguments: str) -> dict[str, str]:
    values = flat(dataclasses.asdict(compose(arguments)))
    return {k: v for k, v in values.items() if k not in HIDDEN}


def settings(text: str) -> dict[str, str]:
    """Key → value of a help that shows one recipe."""
    return dict(re.findall(r"^  ([\w.]+) \[(.*)\]$", text, re.M))


@pytest.mark.parametrize("recipe", RECIPES)
def test_of_one_recipe(recipe: str, commands: Commands) -> None:
    ended = commands.train(f"recipe={recipe}", "lang=en-ca", "--help")
    assert ended.code == 0 and ended.err == ""
    assert settings(ended.out) == wanted(f"recipe={recipe}", "lang=en-ca")


@pytest.mark.slow
def test_what_recipes_change_in_the_help_of_all(commands: Commands) -> None:
    text = commands.train("--help", "all").out
    said: dict[str, list[tuple[str, str, set[str]]]] = {}  # key → value, methods, by recipe
    blocks = re.findall(r"^  ([\w.]+) \[(.*)\]\n((?:      .*\n)+)", text, re.M)
    for key, value, below in blocks:
        who = re.search(r" — (.*)$", below.splitlines()[0])
        said.setdefault(key, []).append((value, below, set(who[1].split(", ")) if who else set()))
    for recipe in RECIPES:
        for key, value in wanted(f"recipe={recipe}", "lang=en-ca").items():
            if key == "lang":
                continue
            lines = [each for each in said[key] if not each[2] or recipe in each[2]]
            assert len(lines) == 1, (recipe, key)
            found, below, _ = lines[0]
            changed = re.search(r"by recipe: (.*)", below)
            for part in changed[1].split("; ") if changed else ():
                other, _, owners = part.partition(" in ")
                if recipe in owners.split(", "):
                    found = other
            assert found == value, (recipe, key)
    assert re.search(r"train\.lr \[0\.001\]\n.*\n      by recipe: .*0\.01 in .*ks_lottery", text)
    for name in TUNERS.names():
        for field in dataclasses.fields(TUNERS.dataclass_of(name) or TunerConfig)[1:]:
            assert f"\n      {field.metadata['help']}" in text  # brackets in it, too


def test_arguments_are_taken_into_account(commands: Commands) -> None:
    given = ("recipe=ks_lottery", "preset=paper", "data=opus100", "data.min_chars=60", "seed=3")
    for place in range(len(given) + 1):
        ended = commands.train(*given[:place], "-h", *given[place:])
        values = settings(ended.out)
        assert ended.code == 0 and values["lang"] == "must be given"
        assert (values["train.epochs"], values["probe.lr"], values["seed"]) == ("5", "2e-05", "3")
        assert values["data.min_chars"] == "60"


def test_one_screen(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    text = commands.train("--help").out
    lines = text.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 100
    listed = re.findall(
        r"^  (?:tuning|controls|of PEFT|others) +((?:.*\n)+?)(?=  \w|\n)", text, re.M
    )
    assert sorted(re.findall(r"\w+", " ".join(listed))) == RECIPES
    known = wanted("recipe=lora", "lang=en-ca")
    known |= {"lang": "must be given", "model": "gemma3_270m", "data": "mini"}
    for key, value in re.findall(r"^  ([\w.]+) \[(.*?)\]  ", text, re.M):
        assert value == known[key]
    assert "mt-train --help all" in text and "mt-train recipe=NAME --help" in text


@pytest.mark.parametrize("option", [("--help=all",), ("help", "all"), ("all", "-h")])
def test_ways_to_ask_for_every_key(option: tuple[str, ...], commands: Commands) -> None:
    assert "\n  probe.warmup_steps [0]\n" in commands.train(*option).out


@pytest.mark.parametrize("arguments", [("--help",), ("recipe=lora", "-h"), ("recipe=peft", "-h")])
def test_three_examples_end_the_help(arguments: tuple[str, ...], commands: Commands) -> None:
    text = commands.train(*arguments).out
    shown = text.rpartition("\nexamples:\n")[2].replace(" \\\n", " ")
    examples = [shlex.split(line) for line in shown.splitlines()]
    assert len(examples) == 3
    for program, *given in examples:
        must = {"tuner.method=…": "tuner.method=ia3"}
        assert program == "mt-train" and compose([must.get(each, each) for each in given])


def test_fits_the_terminal(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """In lines of its width, each setting with the words that it has in a pipe."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "76")
    narrow = commands.train("recipe=lora", "--help").out
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    wide = commands.train("recipe=lora", "--help").out
    assert max(map(len, narrow.splitlines())) <= 76 < max(map(len, wide.splitlines()))
    assert narrow.split() == wide.split()


def test_what_every_recipe_has_is_the_default(commands: Commands) -> None:
    text = commands.train("--help", "all").out
    assert "  probe.optimizer [sparse_adam]\n" in text
    assert not re.search(r"by recipe: \S+ in .*embed.*lora.*random_seen", text)


def test_without_arguments(commands: Commands) -> None:
    ended = commands.train()
    assert ended.code == 2 and "mt-train --help" in ended.out
    assert "mt-train recipe=ks_lottery lang=en-ro" in ended.out and "tuner.scope" not in ended.out


def test_mistakes_are_told(commands: Commands) -> None:
    assert "Did you mean 'ks_lottery'?" in commands.train("recipe=kslottery", "--help").mistake()
    wrong = commands.train("--help", "recipe=lora", "tuner.rr=3").mistake()
    assert "tuner.rr" in wrong and "'tuner.r'" in wrong
    assert "nowhere" in commands.train("user_dir=nowhere", "--help").mistake()


PLUGIN = """
from dataclasses import dataclass
from omegaconf import MISSING
from mt_lottery.config import TunerConfig, setting
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.none import NoTuner

@dataclass
class C(TunerConfig):
    tau: float = MISSING
    near: str = setting("a [b] c", "brackets [as here] in a text")

@register_tuner("helped", dataclass=C)
class T(NoTuner): ...
"""


@pytest.mark.slow
def test_a_plugins_recipe(commands: Commands, tmp_path: Path) -> None:
    before = len(plugins._registered)
    (tmp_path / "helped_plugin.py").write_text(PLUGIN)
    (tmp_path / "gentle.yaml").write_text("# Gentle.\ntuner: {name: helped}\ntrain: {lr: 0.125}\n")
    (tmp_path / "cluster.yaml").write_text("nodes: 3\n")
    try:
        ended = commands.train("recipe=gentle", "-h", f"user_dir={tmp_path}")
        values = settings(ended.out)
        assert "recipe=gentle: Gentle." in ended.out and values["train.lr"] == "0.125"
        assert values["tuner.tau"] == "must be given" and values["tuner.near"] == "a [b] c"
        assert "      brackets [as here] in a text\n" in ended.out
        every = commands.train("-h", "all", f"user_dir={tmp_path}").out
        assert "0.125 in gentle" in every and "gentle, helped" in every
        assert "cluster" not in every
        screen = commands.train("-h", f"user_dir={tmp_path}").out
        assert "gentle, helped" in screen and "cluster" not in screen
    finally:
        for _, forget in plugins._registered[before:]:
            forget()
        plugins._plugin_folders.pop(str(tmp_path.resolve()), None)
