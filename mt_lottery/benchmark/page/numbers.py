"""The page's numbers: how one is read from a board, written for a reader, and what it means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from mt_lottery.benchmark.recipes import rounded

Json = Mapping[str, Any]
NONE = "—"


def number(of: Json | None, *path: str) -> float | None:
    """The number at a path of keys; None where a key is missing or the value is not finite."""
    value: Any = of
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def interval(of: Json | None, *path: str) -> tuple[float, float] | None:
    """The confidence interval at a path of keys; None unless both ends are there."""
    value: Any = of
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = (number({"end": end}, "end") for end in value)
    return None if low is None or high is None else (low, high)


def plain(value: float | None, places: int = 1) -> str:
    """A number with a real minus sign."""
    if value is None:
        return NONE
    text = f"{value:,.{places}f}"
    return (
        f"−{text[1:]}"
        if text.startswith("-") and float(text.replace(",", ""))
        else text.lstrip("-")
    )


def signed(value: float | None) -> str:
    """A difference; zero has no sign."""
    text = plain(value)
    return f"+{text}" if value is not None and value > 0 and text != "0.0" else text


def percent(share: float | None) -> str:
    """A share of sentences: only none and all of them are written as 0% and 100%."""
    if share is None:
        return NONE
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{100 * share:.0f}%"


def duration(seconds: float | None) -> str:
    """Seconds in the largest unit that keeps two digits."""
    if seconds is None:
        return NONE
    if seconds < 99.5:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h"


def size(count: float | None) -> str:
    """Bytes in decimal units."""
    if count is None:
        return NONE
    for unit, letters in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return (
                f"{count / unit:.3g} {letters}"
                if count < 1e3 * unit
                else f"{count / unit:,.0f} {letters}"
            )
    return f"{count:.0f} B"


def parameters(count: float | None) -> str:
    """Trainable parameters, as the paper writes them."""
    return NONE if count is None else rounded(int(count))


def exact(value: float | None, unit: str) -> str:
    """A whole number with its thousands apart, for a title; empty where there is none."""
    return "" if value is None else f"{value:,.0f} {unit}"


def _seconds_split(of: Json) -> str:
    parts = (
        ("probe", "probe_seconds"),
        ("training", "train_seconds"),
        ("decoding", "decode_seconds"),
    )
    known = [(name, number(of, key)) for name, key in parts]
    return " + ".join(f"{name} {value:,.1f} s" for name, value in known if value is not None)


def _nothing_more(_: Json) -> str:
    return ""


@dataclass(frozen=True)
class Column:
    """One number of a recipe, over one language or the average of all.

    Attributes:
        key: names it in sorting and tests.
        group: the group of columns that is shown or hidden together.
        label: the column's header.
        meaning: what the number is, for the glossary.
        path: keys that lead to it in a cell.
        write: makes the reader's text of it.
        more: what the rounded text leaves out, for a title.
        best_first: whether a reader who sorts wants the largest first.
    """

    key: str
    group: str
    label: str
    meaning: str
    path: tuple[str, ...]
    write: Callable[[float | None], str]
    more: Callable[[Json], str] = _nothing_more
    best_first: bool = True

    def value(self, of: Json | None) -> float | None:
        """The number, or None."""
        return number(of, *self.path)


SCORES = ("raw", "first_line")
COLUMNS = (
    Column(
        "raw",
        "raw",
        "Raw",
        "Score of the whole output, up to end-of-sequence or the limit of new tokens. A model "
        "that does not stop is charged for everything it adds.",
        ("raw", "score"),
        plain,
    ),
    Column(
        "first_line",
        "honest",
        "First line",
        "Score of the output's first line alone. It forgives a model that does not stop.",
        ("first_line", "score"),
        plain,
    ),
    Column(
        "stopped",
        "honest",
        "Stopped",
        "Share of sentences in which the model ended its output by itself.",
        ("stopped",),
        percent,
    ),
    Column(
        "length_ratio",
        "honest",
        "Length ratio",
        "Length of the raw outputs against that of the references; 1 is level.",
        ("length_ratio",),
        lambda value: plain(value, 2),
    ),
    Column(
        "gain_stop",
        "honest",
        "Gain: stop",
        "The part of the raw gain over the original model that the first line does not show, "
        "booked as learning to stop.",
        ("gain", "stop"),
        signed,
    ),
    Column(
        "gain_translate",
        "honest",
        "Gain: translate",
        "Gain over the original model on the first line, booked as better translation.",
        ("gain", "translate"),
        signed,
    ),
    Column(
        "seconds",
        "cost",
        "Time",
        "Probe, training and decoding. The probe is charged to every recipe that needs it.",
        ("seconds",),
        duration,
        _seconds_split,
        best_first=False,
    ),
    Column(
        "memory",
        "cost",
        "Peak memory",
        "Largest memory in use at once.",
        ("peak_memory_bytes",),
        size,
        lambda of: exact(number(of, "peak_memory_bytes"), "bytes"),
        best_first=False,
    ),
    Column(
        "adapter",
        "cost",
        "Adapter",
        "Size on disk of what has to be shipped beside the original model.",
        ("adapter_bytes",),
        size,
        lambda of: exact(number(of, "adapter_bytes"), "bytes"),
        best_first=False,
    ),
    Column(
        "empty",
        "outputs",
        "Empty",
        "Share of outputs with nothing in them.",
        ("empty",),
        percent,
        best_first=False,
    ),
    Column(
        "truncated",
        "outputs",
        "Truncated",
        "Share of outputs cut off at the limit of new tokens.",
        ("truncated",),
        percent,
        best_first=False,
    ),
    Column(
        "off_target",
        "outputs",
        "Off target",
        "Share of outputs in another language than the one asked for.",
        ("off_target",),
        percent,
        best_first=False,
    ),
)
GROUPS = {"raw": "", "honest": "The honest half", "cost": "Cost", "outputs": "Outputs"}


def _score(
    of: Json | None, kind: str
) -> tuple[float | None, tuple[float, float] | None, float | None]:
    return number(of, kind, "score"), interval(of, kind, "ci95"), number(of, kind, "sd")


def score_title(of: Json, kind: str, seeds: list[Any]) -> str:
    """A score with what its cell leaves out: two decimals, interval, spread over seeds."""
    score, ends, spread = _score(of, kind)
    said = [plain(score, 2)]
    if ends:
        said.append(f"95% interval {plain(ends[0], 2)} to {plain(ends[1], 2)}")
    if spread is not None and len(seeds) != 1:
        said.append(f"standard deviation over seeds {plain(spread, 2)}")
    if seeds:
        said.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    return "; ".join(said)


def score_html(of: Json | None, kind: str, seeds: list[Any], mark: str = "") -> str:
    """A score, ± its standard deviation over seeds where there are several, and its interval.

    A ``mark`` (HTML) is put before the score.
    """
    score, ends, spread = _score(of, kind)
    text = f'{mark}<span class="score">{plain(score)}</span>'
    if spread is not None and len(seeds) != 1:
        text += f' <span class="small">±&nbsp;{plain(spread)}</span>'
    if ends:
        text += (
            '<span class="vh">, 95% interval</span> '
            f'<span class="interval">{plain(ends[0])}–{plain(ends[1])}</span>'
        )
    return text


def title(text: str) -> str:
    """A title attribute with a blank before it; nothing for an empty text."""
    return f' title="{escape(text)}"' if text else ""
