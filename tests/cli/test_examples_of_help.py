"""Every command's help ends with three examples that it understands."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import shlex
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from mt_lottery.cli import bench, ticket, translate


def parsers() -> Iterator[tuple[list[str], argparse.ArgumentParser]]:
    """The words of each command → what understands it."""
    yield ["mt-translate"], translate.parser()
    yield ["mt-bench"], bench.parser()
    for name, make in bench.subcommands().items():
        yield ["mt-bench", name], make()
    whole = ticket.parser()
    yield ["mt-ticket"], whole
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from ((["mt-ticket", name], part) for name, part in action.choices.items())


ALL = list(parsers())


@pytest.mark.parametrize(("words", "parser"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_three_examples(words: list[str], parser: argparse.ArgumentParser) -> None:
    text = parser.format_help()
    assert max(map(len, text.splitlines())) <= 110
    shown = text.rpartition("\nexamples:\n")[2].replace("\\\n", " ")
    examples = shown.splitlines()
    assert len(examples) == 3
    for line in examples:
        line = line.partition("    ")[0] if "setup-comet" in line else line  # what it is for
        if words == ["mt-translate"]:
            line = line.rpartition("| ")[2].partition(" <")[0]
        given = shlex.split(line)
        assert given[: len(words)] == words
        if words == ["mt-ticket"] or words[0] != "mt-ticket":
            parsed = parser.parse_intermixed_args if words == ["mt-bench"] else parser.parse_args
            assert parsed(given[len(words) :])
        else:
            known, rest = parser.parse_known_args(given[2:])
            assert known and all("=" in each for each in rest)


@pytest.mark.parametrize("name", ["train", "bench", "ticket", "translate"])
def test_version(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = importlib.import_module(f"mt_lottery.cli.{name}").command
    with contextlib.suppress(SystemExit):  # argparse's
        command(["--version"])
    assert capsys.readouterr().out == f"mt-lottery {version('mt-lottery')}\n"
