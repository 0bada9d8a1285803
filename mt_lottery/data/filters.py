"""Which pairs of a collected corpus are left out, and the count of each reason.

Text from the web holds pairs that teach nothing or the wrong thing: sides that
are empty, copied instead of translated, endless, misaligned (one side many
times as long as the other), or there a hundred times.  A pair that fails
several tests is counted under the first, in the order of :data:`REASONS`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

from mt_lottery.config import DataConfig, setting
from mt_lottery.data.text import Pair, is_empty
from mt_lottery.errors import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

REASONS = ("empty", "identical", "too_short", "too_long", "ratio", "duplicate")

CODE = 40  # characters that the name of a language has at most

C = TypeVar("C", bound="DataConfig")


@dataclass
class FilterConfig(DataConfig):
    """The ``data`` settings of a corpus whose training text is filtered."""

    min_chars: int = setting(1, "shorter sides (characters) are left out", ge=1)
    max_chars: int | None = setting(
        1000, "longer sides (characters) are left out; null for any length", ge=1
    )
    max_words: int | None = setting(
        200, "longer sides (words between blanks) are left out; null for any length", ge=1
    )
    max_ratio: float | None = setting(
        5.0, "longer over shorter side (characters); above it, left out; null for any", ge=1.0
    )
    drop_identical: bool = setting(
        True, "leave out pairs whose sides are equal (case and whitespace aside)"
    )
    duplicates: str = setting(
        "pair",
        "of pairs that repeat (pair), or whose source repeats (source), the first stays; "
        "keep: all stay",
        choices=("pair", "source", "keep"),
    )

    def problems(self) -> Iterator[str]:
        """What no single range can say."""
        if self.max_chars is not None and self.min_chars > self.max_chars:
            yield (
                f"`data.min_chars` ({self.min_chars}) must be at most `data.max_chars` "
                f"({self.max_chars})."
            )


def settings_for(config: DataConfig, schema: type[C]) -> C:
    """The settings of a corpus, also where another corpus gave the schema of ``data``.

    A run has one ``data`` section, of the schema of ``data.name``.  For a corpus that is named by
    ``data.dev`` or ``data.test``, what all corpora and all filters share is taken over, and those
    settings of its own that ``data.name`` does not have (:mod:`mt_lottery.config.sections`); the
    others have their defaults.

    Raises:
        ConfigError: settings that do not go together.
    """
    if isinstance(config, schema):
        return config
    known = {f.name for f in dataclasses.fields(schema)}
    shared = {f.name for f in dataclasses.fields(FilterConfig)}
    shared |= {f.name for f in dataclasses.fields(config) if f.metadata.get("lent") is schema}
    return schema(**{n: getattr(config, n) for n in sorted(shared & known) if hasattr(config, n)})


@dataclass(frozen=True)
class Report:
    """What a corpus had for a pair of languages, and what was left out of it.

    Attributes:
        where: the file or files, for the user.
        wanted: the direction, ``en-ca``.
        records: all records of the files, whatever their direction.
        available: those of the wanted direction, before any filter.
        filters: reason → pairs left out; a filter that is off is not in it.
        notes: sentences on the files themselves: which are missing, which are not read.
    """

    where: str
    wanted: str
    records: int
    available: int
    filters: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """Pairs after the filters."""
        return self.available - sum(self.filters.values())

    def counts(self) -> str:
        """``935 of 10,000 records are en-ca; left out: 3 too_long, 1 duplicate``."""
        if self.available == self.records:
            text = f"{plural(self.records, 'pair')} of {self.wanted}"
        else:
            text = f"{self.available:,} of {plural(self.records, 'record')} are {self.wanted}"
        dropped = [f"{number:,} {reason}" for reason, number in self.filters.items() if number]
        return text + (f"; left out: {', '.join(dropped)}" if dropped else "")

    def __str__(self) -> str:
        return f"{self.where}: {self.counts()}; {plural(self.left, 'pair')} left."


def count_label(counts: Counter[str], label: str) -> None:
    """Count what a record says of its languages; of a thousand labels the rest are one."""
    counts[label if label in counts or len(counts) < 1000 else "others"] += 1


def normalised(text: str) -> str:
    """The text for comparisons in which case and whitespace do not count."""
    return " ".join(text.casefold().split())


class PairFilter:
    """Takes pairs one by one and counts those it leaves out.

    Args:
        config: the filters; None leaves out empty sides only, as for a
            published test set, which must stay what it is.
    """

    def __init__(self, config: FilterConfig | None) -> None:
        self._config = config
        self._seen: set[bytes] = set()
        on = {"empty": True}
        if config is not None:
            on |= {
                "identical": config.drop_identical,
                "too_short": config.min_chars > 1,
                "too_long": config.max_chars is not None or config.max_words is not None,
                "ratio": config.max_ratio is not None,
                "duplicate": config.duplicates != "keep",
            }
        self.counts = {reason: 0 for reason in REASONS if on.get(reason)}

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        """The pairs that stay, in order; whitespace at their ends is removed."""
        kept = []
        for pair in pairs:
            clean = Pair(pair.source.rstrip(), pair.target.rstrip())
            reason = self._reason(clean)
            if reason is None:
                kept.append(clean)
            else:
                self.counts[reason] += 1
        return kept

    def _reason(self, pair: Pair) -> str | None:
        config = self._config
        if is_empty(pair.source) or is_empty(pair.target):
            return "empty"
        if config is None:
            return None
        plain = normalised(pair.source), normalised(pair.target)
        if config.drop_identical and plain[0] == plain[1]:
            return "identical"
        short, long = sorted((len(pair.source.strip()), len(pair.target.strip())))
        if short < config.min_chars:
            return "too_short"
        if config.max_chars is not None and long > config.max_chars:
            return "too_long"
        if config.max_words is not None and (
            max(side.count(" ") + 1 for side in plain) > config.max_words
        ):
            return "too_long"
        if config.max_ratio is not None and long > config.max_ratio * short:
            return "ratio"
        if config.duplicates != "keep":
            text = plain[0] if config.duplicates == "source" else "\n".join(plain)
            # 16 bytes instead of the text: a corpus may have millions of pairs
            key = blake2b(text.encode(), digest_size=16).digest()
            if key in self._seen:
                return "duplicate"
            self._seen.add(key)
        return None
