"""How every command ends: with its result, or with one clear message."""

from __future__ import annotations

import argparse
import re
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from mt_lottery.cli import streams
from mt_lottery.cli.mistakes import mistake
from mt_lottery.errors import MTLotteryError, nearest
from mt_lottery.registry.blame import as_plugin_error
from mt_lottery.system import parallel, values
from mt_lottery.system.diskfault import disk_error
from mt_lottery.system.interrupts import leave_sigterm, raise_on_sigterm
from mt_lottery.system.quiet import quieten
from mt_lottery.system.secrets import redacted

RESUME = "Interrupted. The same command with resume=true continues it."
KEPT = "What was finished is kept; the same command goes on (mt-train: with resume=true)."


def echo(text: str) -> None:
    """A line for the user that is no result: to stderr."""
    print(redacted(text), file=sys.stderr, flush=True)


def whole(text: str, least: int = 0, most: int = values.LARGEST) -> int:
    """A whole number from ``least`` to ``most``, for argparse."""
    try:
        return values.whole(text, least, most)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    return whole(text, 1)


def workers(text: str) -> int:
    """How many things are done at a time, for argparse; 0 is refused with other mistakes."""
    return whole(text, 0, 1024)


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        return values.number(text, 0.0, 1.0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def any_number(text: str) -> float:
    """A finite number, for argparse, where the command says itself what it may be."""
    try:
        return values.number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def device(text: str) -> str:
    """A device that is there, for argparse: refused before anything is loaded."""
    try:
        values.device_name(text)
        if text not in ("auto", "cpu"):  # to know what is there costs the import of torch
            from mt_lottery.runs.planning.plan import pick_device

            pick_device(text)
    except (ValueError, MTLotteryError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_device(part: argparse.ArgumentParser, text: str = "auto, cpu, cuda, cuda:N, mps") -> None:
    """The option ``--device``."""
    part.add_argument("--device", type=device, default="auto", help=f"{text} [auto]")


def add_permission(parser: argparse.ArgumentParser) -> None:
    """``--user-dir`` and ``--trust-remote-code``, for a command that opens runs."""
    parser.add_argument(
        "--user-dir",
        metavar="DIR",
        help="import this folder of plugins, in place of the one that a run asks for; without it "
        "none is imported",
    )
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run Python code that comes with a run's model",
    )


def guarded(command: Callable[[], int], interrupted: str = RESUME) -> int:
    """Run a command; exit status 0, 2 for a user's mistake, 1 for a crash, 130 for Ctrl-C.

    SIGTERM ends it as Ctrl-C does, with 143.

    Args:
        command: what to do.
        interrupted: what Ctrl-C says, if the KeyboardInterrupt has no message of its own.
    """
    streams.prepare()
    quieten()
    ours = raise_on_sigterm()
    try:
        code = command()
        parallel.stop()
        if error := streams.refused():
            raise error
        return code
    except MTLotteryError as error:
        return _end(f"error: {error}", 2)
    except KeyboardInterrupt as error:  # Ctrl-C, or SIGTERM
        return _end(f"\n{str(error) or interrupted}", getattr(error, "code", 130))
    except SystemExit as error:
        plugin = as_plugin_error(error)  # sys.exit() in the middle of a run
        if plugin is None:
            if refused := streams.refused():  # argparse's help
                return _unprinted(refused)
            raise
        return _end(f"error: {plugin}", 2)
    except Exception as error:
        if isinstance(error, OSError) and (refused := streams.refused()):
            return _unprinted(refused)
        if (full := disk_error(error, kept=KEPT)) is not None:  # in a library's writing
            return _end(f"error: {full}", 2)
        if (plugin := as_plugin_error(error)) is not None:
            return _end(f"error: {plugin}", 2)
        if text := mistake(error):
            return _end(f"error: {text}", 2)
        if parallel.lost(error):
            return _end("error: another process of this run was killed (out of memory?).", 1)
        return _end(
            f"{traceback.format_exc()}\n"
            "This is a bug in mt-lottery, not a mistake of yours: please "
            "report it with the lines above.",
            1,
        )
    except BaseException as error:  # a plugin's own kind, beside Exception
        if (plugin := as_plugin_error(error)) is None:
            raise
        return _end(f"error: {plugin}", 2)
    finally:
        if ours:
            leave_sigterm()


def _unprinted(refused: OSError) -> int:
    """End without what standard output does not take."""
    streams.silence()  # at the exit too
    if isinstance(refused, BrokenPipeError):  # the reader (`head`, say) has gone
        return 1
    return _end(f"error: standard output cannot be written: {refused.strerror or refused}.", 2)


def _end(text: str, code: int) -> int:
    parallel.report(redacted(text), code)
    return code


class Parser(argparse.ArgumentParser):
    """argparse, whose messages on a wrong choice or an unknown option name the nearest one."""

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
            hint = "".join(nearest(word, options) for word in wrong[:1])
        super().error(f"{message.rstrip('.')}.{hint}" if hint else message)
