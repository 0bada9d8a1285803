"""Values that a person writes: numbers, devices and paths, each read in one way everywhere."""

from __future__ import annotations

import contextlib
import math
import os
import re
from pathlib import Path
from typing import Any

from mt_lottery.errors import MTLotteryError, nearest, plural, shorten
from mt_lottery.reading.files import shown
from mt_lottery.system.diskfault import DiskError

#: More than can be meant by any count; it fits into 64 bits.
LARGEST = 2**53
LONGEST_NAME = 255  # bytes of a file name, on every usual file system
DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,4})?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:20]}… ({plural(len(text), 'character')})"


def whole(text: str, least: int = 0, most: int = LARGEST) -> int:
    """The whole number that ASCII digits write.

    Raises:
        ValueError: it is none, or outside of ``least`` … ``most``; the message is the end of
            a sentence: "must be …".
    """
    digits = text.removeprefix("-") if least < 0 else text
    good = digits.isascii() and digits.isdecimal() and len(digits) < 20
    if not good or not least <= int(text) <= most:
        bound = "" if most == LARGEST and digits.isdecimal() and len(digits) < 16 else f"{most:,}"
        allowed = f"≥ {least}" if not bound else f"from {least} to {bound}"
        raise ValueError(f"must be a whole number {allowed}, not '{_short(text)}'")
    return int(text)


def number(text: str, least: float = -math.inf, most: float = math.inf) -> float:
    """The finite number that ASCII digits write, ``1e-3`` included; never -0.

    Raises:
        ValueError: as :func:`whole`.
    """
    value = float(text) if _NUMBER.fullmatch(text) and len(text) < 400 else math.nan
    if not math.isfinite(value) or not least <= value <= most:
        allowed = "" if least == -math.inf else f" ≥ {least:g}"
        allowed = allowed if most == math.inf else f" from {least:g} to {most:g}"
        raise ValueError(f"must be a number{allowed}, not '{_short(text)}'")
    return value + 0.0


def truth(text: str) -> bool:
    """What ``true`` or ``false`` says; ``True`` of pandas and ``TRUE`` of R too.

    Raises:
        ValueError: as :func:`whole`.
    """
    word = text.strip().lower()
    if word not in ("true", "false"):
        raise ValueError(f"must be true or false, not '{_short(text)}'")
    return word == "true"


def wholes(text: str, least: int = 0, most: int = LARGEST) -> list[int]:
    """As :func:`whole`, of several with commas between; the first that is none is named."""
    return [whole(part, least, most) for part in text.split(",")]


def numbers(text: str, least: float = -math.inf, most: float = math.inf) -> list[float]:
    """As :func:`number`, of several with commas between."""
    return [number(part, least, most) for part in text.split(",")]


def is_number(value: Any) -> bool:
    """Whether a value is a whole or floating-point number of Python or NumPy, and no boolean."""
    import numpy as np

    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool)


def plain_number(value: Any) -> Any:
    """A number of NumPy, or a tensor that holds one, as Python's; anything else as it is."""
    one = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    return value.item() if one else value


def device_name(text: str) -> str:
    """A device as it may be written; whether it is there is another question.

    Raises:
        ValueError: as :func:`whole`.
    """
    if not DEVICE.fullmatch(text):
        hint = nearest(text, ("auto", "cpu", "cuda", "cuda:0", "mps"))
        raise ValueError(f"must be auto, cpu, cuda, cuda:N or mps, not '{_short(text)}'.{hint}")
    return text


def text_problem(text: str) -> str | None:
    """Why a text cannot be stored or handed to the system, or None."""
    if "\0" in text:
        return "it holds a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "it holds bytes or characters that are not UTF-8"
    return None


def path_problem(text: str) -> str | None:
    """Why a text can be no path, or None; whether something is there is another question."""
    if problem := text_problem(text):
        return problem
    if text.startswith("~"):
        try:
            Path(text).expanduser()
        except RuntimeError:
            return (
                "the home directory of '~' is not known (HOME is not set)"
                if text == "~" or text.startswith("~/")
                else f"there is no user '{text[1:].partition('/')[0]}' whose home it could mean"
            )
    long = max((len(part.encode("utf-8")) for part in text.split("/")), default=0)
    if long > LONGEST_NAME:
        return f"a name in it has {plural(long, 'byte')}; file systems take {LONGEST_NAME} at most"
    if len(text.encode("utf-8")) > 4000:
        return "it is longer than 4,000 bytes"
    return None


def user_path(given: str | os.PathLike[str], error: type[MTLotteryError], what: str = "") -> Path:
    """A path as somebody wrote it, with ``~`` replaced.

    Args:
        given: the path.
        error: the class to raise.
        what: what goes before the path in a message: ``--run ``.

    Raises:
        error: it is no text, or no path on any system: empty, NUL, an unknown home, too
            long a name.
    """
    text: object = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(text, str):
        raise error(f"{what}{shorten(text)}: a path must be a text, not {type(text).__name__}.")
    if not text:  # pathlib would read it as the current folder
        raise error(f"{what}{text!r}: an empty text is no path.")
    if problem := path_problem(text):
        raise error(f"{what}{shown(text)}: {problem}.")
    return Path(text).expanduser()


def cache_folder() -> Path:
    """``MT_LOTTERY_CACHE``, or ``~/.cache/mt_lottery``; read at each call, not created.

    Raises:
        DiskError: no folder can be there: it is a file, or no home directory is known.
    """
    given = os.environ.get("MT_LOTTERY_CACHE")
    if not given and path_problem("~"):
        raise DiskError(
            "No home directory is known for the cache (HOME is not set): set "
            "MT_LOTTERY_CACHE to a folder."
        )
    if not given:
        return Path("~/.cache/mt_lottery").expanduser()
    path = user_path(given, DiskError, "MT_LOTTERY_CACHE=")
    if os.path.lexists(path) and not os.path.isdir(path):
        raise DiskError(f"MT_LOTTERY_CACHE={path}: a file; it must be a folder.")
    return path


def about_cache(path: str | os.PathLike[str]) -> str:
    """What to do where a file of the cache cannot be written; empty for a file elsewhere."""
    with contextlib.suppress(DiskError):
        if Path(path).is_relative_to(cache := cache_folder()):
            default = "" if os.environ.get("MT_LOTTERY_CACHE") else " (the default)"
            return (
                f"MT_LOTTERY_CACHE={cache}{default} must be a folder with space that you may write."
            )
    return ""
