"""Whose mistake an exception is: a plugin's, or ours."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from types import FrameType

from mt_lottery import plugins
from mt_lottery.errors import MTLotteryError, PluginError
from mt_lottery.registry import REGISTRIES

TRACEBACK = "MT_LOTTERY_TRACEBACK"


def as_plugin_error(error: BaseException) -> PluginError | None:
    """An exception that a plugin's code raised, or a library or we on its behalf, as one message.

    The innermost frame in a plugin's file is where it went wrong: what that line called was
    called by the plugin.

    Args:
        error: any exception that is caught at the end of a command or of a benchmark's cell.

    Returns:
        None where no plugin took part, or where the cause is elsewhere (a full disk, no memory,
        Ctrl-C, a mistake of the user that the plugin itself explains).
    """
    if isinstance(error, (MTLotteryError, KeyboardInterrupt, GeneratorExit, MemoryError)):
        return None
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EPIPE):
        return None
    if "out of memory" in str(error).lower():
        return None
    found: tuple[FrameType, int] | None = None
    deeper: tuple[FrameType, int] | None = None
    for frame, line in _frames(error):
        file = frame.f_code.co_filename
        if plugins.is_plugin_file(file):
            found, deeper = (frame, line), None
        elif found is not None and plugins.is_ours(file):
            deeper = (frame, line)
    if found is None:
        return None
    frame, line = found
    code = frame.f_code
    what = " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split("\n"))
    via = "" if deeper is None else f" (raised in {deeper[0].f_code.co_filename}, line {deeper[1]})"
    text = (
        f"{_named(code.co_filename, code.co_qualname)}{code.co_filename}, line {line}, in "
        f"{code.co_qualname}: {what}{via}. The plugin's code failed, not mt-lottery's"
    )
    if os.environ.get(TRACEBACK, "0") not in ("", "0"):
        trace = "".join(traceback.format_exception(error)).rstrip()
        return PluginError(f"{text}.\n{trace}")
    return PluginError(f"{text}; {TRACEBACK}=1 shows the whole traceback.")


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _named(file: str, function: str) -> str:
    """``The tuner 'norms': ``, if what was registered in the file tells which is meant."""
    here = [
        (kind, name, place)
        for kind, registry in REGISTRIES.items()
        for name, place in registry.origins().items()
        if place.file == file
    ]
    meant = [each for each in here if function.partition(".")[0] == each[2].target.split(".")[0]]
    names = " or ".join(f"{kind} '{name}'" for kind, name, _ in (meant or here)[:3])
    return f"The {names}: " if names else ""
