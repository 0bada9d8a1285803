"""Standard input, output and error: there, and unable to end a run whose work is done."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

from mt_lottery.system.atomic import DiskError


def prepare() -> None:
    """Make sure that any text can be printed.

    A stream that was closed (``>&-``) swallows what it is given: else the next file that is
    opened would take its number, and output of C libraries would go into that file.  A stream
    that is not UTF-8 (``PYTHONIOENCODING=latin-1``, a redirected Windows console) shows what it
    has no character for as ``\\u2581``.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream: Any = getattr(sys, name)
        if stream is None:
            opened = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 (as long as we run)
            setattr(sys, name, opened)
        elif mode == "w" and getattr(stream, "errors", "") in ("strict", "surrogateescape"):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")
    _watch(sys.stdout)


def _watch(stream: Any) -> None:
    """Note the error of a stream on it: what it lost is not in its buffer any more."""
    if "write" in getattr(stream, "__dict__", {"write"}):
        return

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            try:
                return original(*arguments)
            except OSError as error:
                stream.failure = error
                raise

        return call

    for name in ("write", "flush"):
        setattr(stream, name, noting(getattr(stream, name)))


def refused() -> OSError | None:
    """The error with which standard output refused, or refuses now, what is written to it."""
    failure: OSError | None = getattr(sys.stdout, "failure", None)
    try:
        sys.stdout.flush()
    except OSError as error:
        return failure or error
    except ValueError:  # closed
        return failure
    return failure


def silence() -> None:
    """Let what is still in the buffer of standard output go nowhere, at the exit too."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.stdout.flush()


def present(show: Callable[[], None], finished: str) -> None:
    """Print what a finished run has to show.

    A reader that went away (``| head``) takes nothing from the run.

    Args:
        show: prints it.
        finished: a sentence: what is done, and where it is.

    Raises:
        DiskError: standard output takes no more (it is a file on a full disk, say).
    """
    try:
        show()
        error = refused()
    except SystemExit:  # how rich says that the reader went away
        error = BrokenPipeError()
    except OSError as caught:
        if refused() is None and not isinstance(caught, BrokenPipeError):
            raise
        error = caught
    if error is None:
        return
    silence()
    if not isinstance(error, BrokenPipeError):
        raise DiskError(
            f"standard output cannot be written: {error.strerror or error}. {finished}"
        ) from error
