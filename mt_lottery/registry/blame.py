"""Whose mistake an exception is: a plugin's, or ours."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType

from mt_lottery.errors import MTLotteryError, PluginError
from mt_lottery.registry import REGISTRIES
from mt_lottery.registry import loading as plugins

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
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return None
    if "out of memory" in str(error).lower():
        return None
    theirs: list[FrameType] = []
    found: tuple[FrameType, int] | None = None
    deeper: tuple[FrameType, int] | None = None
    for frame, line in _frames(error):
        file = frame.f_code.co_filename
        if plugins.is_plugin_file(file):
            theirs.append(frame)
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
        f"{_named(theirs)}{code.co_filename}, line {line}, in "
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


def _named(frames: Sequence[FrameType]) -> str:
    """``The tuner 'norms': ``, as far as the plugin's frames (outermost first) tell which it is."""
    every = [
        (registry, name, place)
        for registry in REGISTRIES.values()
        for name, place in registry.origins().items()
    ]
    for frame in reversed(frames):
        own = type(frame.f_locals.get("self"))
        for registry, name, _ in every:
            target = registry.get(name)
            if target is own or getattr(target, "__code__", None) is frame.f_code:
                return f"The {registry.kind} '{name}': "
    here = [(r.kind, n) for r, n, place in every if place.file == frames[-1].f_code.co_filename]
    return f"The {here[0][0]} '{here[0][1]}': " if len(here) == 1 else ""
