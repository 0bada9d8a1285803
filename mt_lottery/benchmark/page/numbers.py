"""The page's numbers: how one is read from a board, written for a reader, and what it means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mt_lottery.benchmark.recipes import rounded
from mt_lottery.errors import plural
from mt_lottery.report import numbers
from mt_lottery.report.numbers import size

Json = Mapping[str, Any]
NONE = numbers.GAP


def _at(of: Json | None, path: tuple[str, ...]) -> Any:
    value: Any = of
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def number(of: Json | None, *path: str) -> float | None:
    """The number at a path of keys; None where a key is missing or the value is not finite."""
    value = _at(of, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def interval(of: Json | None, *path: str) -> tuple[float, float] | None:
    """The confidence interval at a path of keys; None unless both ends are there."""
    value = _at(of, path)
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = (number({"end": end}, "end") for end in value)
    return None if low is None or high is None else (low, high)


def plain(value: float | None, places: int = 1) -> str:
    """A number with a real minus sign, and none before a zero."""
    return numbers.number(value, f",.{places}f").replace("-", "−")


def signed(value: float | None) -> str:
    """A difference; zero has no sign."""
    return numbers.signed(value).replace("-", "−")


def percent(share: float | None) -> str:
    """A share of sentences: only none and all of them are written as 0% and 100%."""
    if share is None:
        return NONE
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{100 * share:.0f}%"


def duration(seconds: float | None) -> str:
    """Seconds in the largest unit that keeps two digits."""
    if seconds is None:
        return NONE
    if seconds < 99.5:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h"


def parameters(count: float | None) -> str:
    """Trained parameters, as the paper writes them."""
    return NONE if count is None else rounded(int(count))


def exact(value: float | None, unit: str) -> str:
    """A whole number with its thousands apart, for a title; empty where there is none."""
    return "" if value is None else plural(round(value), unit)


#: What the seconds of a run consist of.
PARTS = (("probe", "probe_seconds"), ("training", "train_seconds"), ("decoding", "decode_seconds"))


def _seconds_split(of: Json) -> str:
    known = [(name, number(of, key)) for name, key in PARTS]
    return " + ".join(f"{name} {value:,.1f} s" for name, value in known if value is not None)


def _bytes(key: str) -> Callable[[Json], str]:
    return lambda of: exact(number(of, key), "byte")


@dataclass(frozen=True)
class Column:
    """One number of a recipe, over one language or the average of all.

    Attributes:
        group: the group of columns that is shown or hidden together.
        label: the column's header.
        path: keys that lead to it in a cell.
        write: makes the reader's text of it.
        meaning: what the number is, for the glossary.
        more: what the rounded text leaves out, for a title.
        best_first: whether a reader who sorts wants the largest first.
        scope: the language that it is of; empty where the reader chooses.
    """

    group: str
    label: str
    path: tuple[str, ...]
    write: Callable[[float | None], str]
    meaning: str
    more: Callable[[Json], str] = lambda _: ""
    best_first: bool = True
    scope: str = ""

    @property
    def kind(self) -> str:
        """``raw`` or ``first_line`` for a score, which has an interval; empty for others."""
        return self.path[0] if self.path[1:] == ("score",) else ""

    def value(self, of: Json | None) -> float | None:
        """The number, or None."""
        return number(of, *self.path)


def raw_of(language: str) -> Column:
    """The column of one language's raw scores."""
    meaning = f"Raw score for {language}"
    return Column("languages", language, ("raw", "score"), plain, meaning, scope=language)


COLUMNS = (
    Column(
        *("raw", "Raw", ("raw", "score"), plain),
        "Score of the whole output, up to end-of-sequence or the limit of new tokens. A model "
        "that does not stop is charged for everything it adds.",
    ),
    Column(
        *("honest", "First line", ("first_line", "score"), plain),
        "Score of the output's first line alone. It forgives a model that does not stop.",
    ),
    Column(
        *("honest", "Stopped", ("stopped",), percent),
        "Share of sentences in which the model ended its output by itself.",
    ),
    Column(
        *("honest", "Length ratio", ("length_ratio",), lambda value: plain(value, 2)),
        "Length of the raw outputs against that of the references; 1 is level.",
    ),
    Column(
        *("honest", "Gain: stop", ("gain", "stop"), signed),
        "The part of the raw gain over the original model that the first line does not show, "
        "booked as learning to stop.",
    ),
    Column(
        *("honest", "Gain: translate", ("gain", "translate"), signed),
        "Gain over the original model on the first line, booked as better translation.",
    ),
    Column(
        *("cost", "Time", ("seconds",), duration),
        "Probe, training and decoding. The probe is charged to every recipe that needs it.",
        *(_seconds_split, False),
    ),
    Column(
        *("cost", "Peak memory", ("peak_memory_bytes",), size),
        "Largest memory in use at once.",
        *(_bytes("peak_memory_bytes"), False),
    ),
    Column(
        *("cost", "Adapter", ("adapter_bytes",), size),
        "Size on disk of what has to be shipped beside the original model.",
        *(_bytes("adapter_bytes"), False),
    ),
    Column(
        *("outputs", "Empty", ("empty",), percent),
        "Share of outputs with nothing in them.",
        best_first=False,
    ),
    Column(
        *("outputs", "Truncated", ("truncated",), percent),
        "Share of outputs cut off at the limit of new tokens.",
        best_first=False,
    ),
    Column(
        *("outputs", "Off target", ("off_target",), percent),
        "Share of outputs in another language than the one asked for.",
        best_first=False,
    ),
)
GROUPS = {
    **{"languages": "Raw by language", "raw": "", "honest": "Headline scores"},
    **{"cost": "Cost", "outputs": "Outputs"},
}
