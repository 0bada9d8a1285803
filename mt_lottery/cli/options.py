"""What commands have in common: a type for each range, and each option that several have."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias, TypeVar

from mt_lottery.errors import MTLotteryError, nearest
from mt_lottery.system import values
from mt_lottery.ticket.level import Level

T = TypeVar("T")
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def typed(read: Callable[..., T], *bounds: float, each: str = "") -> Callable[[str], T]:
    """A type for argparse of a function that says in a ValueError what is allowed.

    Args:
        read: text, least and most → value.
        bounds: the least, and the most.
        each: what goes before the message where the text is a list.
    """

    def convert(text: str) -> T:
        try:
            return read(text, *bounds)
        except (ValueError, MTLotteryError) as error:
            raise argparse.ArgumentTypeError(f"{each}{error}") from None

    return convert


def _device(text: str) -> str:
    """A device that is there: refused before anything is loaded."""
    values.device_name(text)
    if text not in ("auto", "cpu"):  # to know what is there costs the import of torch
        from mt_lottery.runs.planning.devices import pick_device

        pick_device(text)
    return text


def _alpha(text: str) -> float:
    return Level(values.number(text)).alpha


def _alphas(text: str) -> list[float]:
    return [Level(value).alpha for value in values.numbers(text)]


def names(text: str) -> list[str]:
    """Names with commas between."""
    return [name for name in (part.strip() for part in text.split(",")) if name]


def some_of(*known: str) -> Callable[[str], list[str]]:
    """Names with commas between, each one of those known."""

    def read(text: str) -> list[str]:
        for name in names(text):
            if name not in known:
                raise ValueError(f"{name}: allowed: {', '.join(known)}")
        return names(text)

    return typed(read)


whole = typed(values.whole)  #: from 0
positive = typed(values.whole, 1)
workers = typed(values.whole, 0, 1024)  #: how many at a time; 0 is refused with other mistakes
alpha = typed(_alpha)
any_number = typed(values.number)  #: where the command says itself what it may be
counts = typed(values.wholes, 1, each="each ")
levels = typed(_alphas, each="each ")

#: Options that several commands have.
SHARED: dict[str, dict[str, Any]] = {
    "--device": {
        "type": typed(_device),
        "default": "auto",
        "help": "auto, cpu, cuda, cuda:N, mps [auto]",
    },
    "--user-dir": {
        "metavar": "DIR",
        "help": "import this folder of plugins, in place of the one that a run asks for; without "
        "it none is imported",
    },
    "--trust-remote-code": {
        "action": "store_true",
        "help": "run Python code that comes with a run's model",
    },
    "--overwrite": {
        "action": "store_true",
        "help": "write over files that are there; without it they are refused, but for a "
        "command's own results in its default folder, which are rendered again",
    },
    "--json": {"action": "store_true", "help": "print JSON"},
    "--no-plot": {"dest": "plot", "action": "store_false", "help": "draw no figure"},
    "--preset": {
        "choices": ("smoke", "small", "paper"),
        "help": "smoke: minutes; small: an hour or two on 2 cores; paper: 10,000 pairs, beam 4",
    },
    "--model": {"metavar": "M", "help": "a recipe of recipes/model, a folder or hub id"},
    "--data": {"metavar": "D", "help": "a corpus: mini, ntrex, flores101, files, …"},
    "--seeds": {"default": "0", "metavar": "N,…", "help": "seeds [0]"},
    "--jobs": {"type": workers, "default": 1, "metavar": "N", "help": "runs at a time [1]"},
    "--force": {"action": "store_true", "help": "go on with other settings in the folder"},
    "--dry-run": {"action": "store_true", "help": "print the plan and stop"},
}
#: Help of ``--overwrite`` where a model folder is written.
REPLACE = "replace OUT if it is empty, or as mt-ticket wrote it; never another folder"


def add_options(part: argparse.ArgumentParser, *wanted: str, **changes: Any) -> None:
    """Give a command some of :data:`SHARED`, with other words where its own need them."""
    for name in wanted:
        part.add_argument(name, **(SHARED[name] | changes))


def subcommand(
    commands: Commands,
    run: Callable[[argparse.Namespace], int],
    examples: str,
    *,
    help: str,
    description: str,
    usage: str | None = None,
    notes: str = "",
) -> Parser:
    """Add a subcommand under its function's name.

    Args:
        commands: of the program.
        run: does it.
        examples: of calls, a line each.
        help: its line in the program's help.
        description: what it does.
        usage: where argparse's own line does not say it.
        notes: what else is to be known, before the examples.
    """
    shown = f"{textwrap.fill(notes, 79)}\n\n" if notes else ""
    part: Parser = commands.add_parser(
        run.__name__,
        usage=usage,
        help=help,
        description=textwrap.fill(description, 79),
        epilog=f"{shown}examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    part.set_defaults(run_command=run, part=part)
    return part


class Parser(argparse.ArgumentParser):
    """argparse, whose messages on a wrong choice or an unknown option name the nearest one.

    Attributes:
        instead: option that there is not → a sentence that says what to do.
    """

    instead: Mapping[str, str] = {}

    def error(self, message: str) -> NoReturn:
        """End with 2 and the message."""
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        unrecognised = re.match(r"unrecognized arguments: (.*)", message)
        hint = ""
        if choice:
            known = [each.strip(" '\"") for each in choice[2].split(",")]
            hint = nearest(choice[1], known)
        elif unrecognised:
            options = [name for action in self._actions for name in action.option_strings]
            wrong = [w.partition("=")[0] for w in unrecognised[1].split() if w.startswith("-")]
            hints = [f" {self.instead[word]}" for word in wrong if word in self.instead]
            hint = next(iter([*hints, *(nearest(word, options) for word in wrong)]), "")
        super().error(f"{message.rstrip('.')}.{hint}" if hint else message)
