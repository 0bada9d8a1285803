"""How every command ends: with its result, or with one clear message."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable

from mt_lottery import parallel
from mt_lottery.blame import as_plugin_error
from mt_lottery.diskfault import disk_error
from mt_lottery.errors import MTLotteryError
from mt_lottery.quiet import quieten
from mt_lottery.secrets import redacted

RESUME = "Interrupted. The same command with resume=true continues it."
KEPT = "What was finished is kept; the same command goes on (mt-train: with resume=true)."


def say(text: str) -> None:
    """A line for the user that is no result: to stderr."""
    print(redacted(text), file=sys.stderr, flush=True)


def whole(text: str, least: int = 0) -> int:
    """A whole number of at least ``least``, for argparse."""
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number ≥ {least}, not '{text}'")
    return int(text)


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    return whole(text, 1)


def guarded(command: Callable[[], int], interrupted: str = RESUME) -> int:
    """Run a command; exit status 0, 2 for a user's mistake, 1 for a crash, 130 for Ctrl-C.

    Args:
        command: what to do.
        interrupted: what Ctrl-C says, if the KeyboardInterrupt has no message of its own.
    """
    quieten()
    try:
        code = command()
        parallel.stop()
        return code
    except MTLotteryError as error:
        return _end(f"error: {error}", 2)
    except KeyboardInterrupt as error:
        return _end(f"\n{str(error) or interrupted}", 130)
    except BrokenPipeError:
        # the reader (`head`, say) has gone; keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as error:
        plugin = as_plugin_error(error)  # sys.exit() in the middle of a run
        if plugin is None:
            raise
        return _end(f"error: {plugin}", 2)
    except Exception as error:
        if (refused := disk_error(error, kept=KEPT)) is not None:  # in a library's writing
            return _end(f"error: {refused}", 2)
        if parallel.lost(error):
            return _end("error: another process of this run was killed (out of memory?).", 1)
        if (plugin := as_plugin_error(error)) is not None:
            return _end(f"error: {plugin}", 2)
        return _end(
            f"{traceback.format_exc()}\n"
            "This is a bug in mt-lottery, not a mistake of yours: please "
            "report it with the lines above.",
            1,
        )


def _end(text: str, code: int) -> int:
    parallel.report(redacted(text), code)
    return code
