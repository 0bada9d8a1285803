"""How every command ends: with its result, or with one clear message."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from mt_lottery.cli import streams
from mt_lottery.cli.mistakes import mistake
from mt_lottery.errors import MTLotteryError, on_command_line
from mt_lottery.registry.blame import as_plugin_error
from mt_lottery.system import parallel
from mt_lottery.system.diskfault import disk_error
from mt_lottery.system.interrupts import leave_sigterm, raise_on_sigterm
from mt_lottery.system.quiet import quieten
from mt_lottery.system.secrets import redacted

RESUME = "Interrupted. The same command with resume=true continues it."
KEPT = "What was finished is kept; the same command goes on (mt-train: with resume=true)."


def echo(text: str) -> None:
    """A line for the user that is no result: to stderr."""
    print(redacted(text), file=sys.stderr, flush=True)


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
        with on_command_line():
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
