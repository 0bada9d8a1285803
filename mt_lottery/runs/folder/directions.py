"""The directions of a run that has several: what its record says of each, and one of them alone."""

from __future__ import annotations

import dataclasses
from typing import Any

from mt_lottery.errors import RecordError
from mt_lottery.runs.folder.record import DIRECTIONS, Record, converted
from mt_lottery.runs.folder.sections import DataRecord, GenerationRecord, SplitRecord


@dataclasses.dataclass
class DirectionRecord:
    """What the record of a run of several directions says of one.

    Attributes:
        trained: False for one that was tested only (``test_lang``).
        train: its training text; None where none was read.
        test: its test text.
        scores: as the record has them.
        generation: as the record has it.
    """

    trained: bool
    train: SplitRecord | None
    test: SplitRecord
    scores: dict[str, Any]
    generation: GenerationRecord


def directions_in(record: Record) -> dict[str, DirectionRecord]:
    """Direction → what is known of it, in the order of the test set; empty for a run of one.

    Raises:
        RecordError: damaged.
    """
    found = record.extra.get(DIRECTIONS, {})
    where = f"record.{DIRECTIONS}"
    made: dict[str, DirectionRecord] = converted(dict[str, DirectionRecord], found, where)
    if made and sum(each.test.pairs for each in made.values()) != record.data.test.pairs:
        raise RecordError(f"{where}: its test sentences are not as many as those of data.test.")
    return made


def alone(record: Record, lang: str) -> Record:
    """A run of several directions as the record of one of them.

    The costs are its share: seconds are divided by the number of directions that share them, so
    that they add up to what the run took.

    Raises:
        RecordError: it has no such direction.
    """
    known = directions_in(record)
    if lang not in known:
        raise RecordError(f"{lang} is none of the run's directions ({', '.join(known)}).")
    one = known[lang]
    trained = sum(each.trained for each in known.values())
    cost = dataclasses.replace(
        record.cost,
        probe_seconds=record.cost.probe_seconds / trained if one.trained else 0.0,
        train_seconds=record.cost.train_seconds / trained if one.trained else 0.0,
        decode_seconds=record.cost.decode_seconds * one.test.pairs / record.data.test.pairs,
    )
    return dataclasses.replace(
        record,
        lang=lang,
        data=DataRecord(one.train, one.test, record.data.template, record.data.overlap),
        scores=one.scores,
        generation=one.generation,
        cost=cost,
        extra=without(record.extra),
    )


def without(extra: dict[str, Any]) -> dict[str, Any]:
    """A record's further keys, but for what it says of each direction."""
    return {key: value for key, value in extra.items() if key != DIRECTIONS}
