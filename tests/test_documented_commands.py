"""Every command in the pages is understood: its options, its keys, its recipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documented import PAGES, PROGRAMS, TOP, Command, marked_blocks, shown_in

from mt_lottery.config.compose import compose

COMMANDS = [one for page in PAGES for one in shown_in(page)]


def check_settings(words: list[str]) -> None:
    """Compose a run of these ``key=value``; what needs a file of the reader's is left out."""
    if any(word.startswith(("user_dir=", "config=")) or word == "recipe=ia3_kv" for word in words):
        return
    compose(words)


def understood(command: Command) -> None:
    """Raises, or exits, where the program would refuse the line."""
    program, words = command.words[0], list(command.words[1:])
    if program == "mt-train":
        if "--help" in words:
            from mt_lottery.cli import train

            assert train.command(words) == 0
        else:
            check_settings(words)
    elif program == "mt-translate":
        from mt_lottery.cli.translate import parser as of_translate

        of_translate().parse_args(words)
    elif program == "mt-ticket":
        from mt_lottery.cli.ticket import parser as of_ticket

        _, rest = of_ticket().parse_known_args(words)
        assert not [word for word in rest if word.startswith("-")], rest
    else:
        from mt_lottery.cli import bench

        if words[0] in bench.subcommands():
            bench.subcommands()[words[0]]().parse_args(words[1:])
            return
        given = bench.parser().parse_intermixed_args(words)
        settings = [word.rpartition(":")[2] for word in given.recipes if "=" in word]
        named = [word for word in given.recipes if "=" not in word]
        if given.user_dir is None and "ia3_kv" not in named:
            from mt_lottery.benchmark.choosing import choose_recipes

            assert choose_recipes(named)
            for lang in given.langs.split(","):
                check_settings(["recipe=ks_lottery", f"lang={given.source}-{lang}", *settings])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.where)
def test_a_command_in_a_page_is_understood(command: Command) -> None:
    understood(command)


def test_the_pages_have_commands_of_every_program() -> None:
    assert {one.words[0] for one in COMMANDS} == {*PROGRAMS}
    assert len(COMMANDS) > 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_mark_has_its_block(page: Path) -> None:
    marks = re.findall(r"^ *<!-- (?:tested|prints)\b.*", page.read_text("utf-8"), re.MULTILINE)
    assert len(marks) == len(marked_blocks(page)), "a mark is the line before a block's ```"


@pytest.mark.parametrize(
    "line",
    [
        "mt-train recipe=ks_lotery lang=en-ro",
        "mt-train recipe=ks_lottery lang=en-ro tuner.ticket=18",
        "mt-train recipe=ks_lottery lang=en-ro train.epochs=0",
        "mt-bench ks_lottery loar --langs ro",
        "mt-bench ks_lottery --langs ro train.epoch=3",
        "mt-bench compare bench/smoke --versus embed",
        "mt-ticket show RUN --alphas 1",
        "mt-translate --runs runs/x",
    ],
)
def test_a_mistake_in_a_command_is_found(line: str) -> None:
    from documented import command

    from mt_lottery.errors import MTLotteryError

    with pytest.raises((MTLotteryError, SystemExit, AssertionError)):
        found = command(line, "here")
        assert found is not None, TOP
        understood(found)
