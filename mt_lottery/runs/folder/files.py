"""The lines of a run directory, written and read back: each field checked, with path and line."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mt_lottery.decoding.translation import Hypothesis
from mt_lottery.errors import MTLotteryError, RecordError, plural
from mt_lottery.reading import read_json, read_json_lines, shown
from mt_lottery.runs.folder.record import Record, converted
from mt_lottery.scoring.metric import WHICH, Floats, MetricContext, can_be_resampled, make_metric
from mt_lottery.system.atomic import write_data, write_text

_FIELDS: dict[str, type] = {
    **dict.fromkeys(("source", "reference", "hypothesis", "first_line"), str),
    "stopped": bool,
    "tokens": int,
}
_NAMES = {str: "text", bool: "true or false", int: "a whole number ≥ 0"}


def write_hypotheses(
    path: Path,
    sources: Sequence[str],
    references: Sequence[str],
    outputs: Sequence[Hypothesis],
    langs: Sequence[str] | None = None,
) -> None:
    """One JSON object a test sentence, in the order of the test set.

    Args:
        path: the file.
        sources, references, outputs: one each a sentence.
        langs: the direction of each, of a run that has several.
    """
    of_each: Sequence[dict[str, str]] = [{}] * len(outputs)
    if langs is not None:
        of_each = [{"lang": lang} for lang in langs]
    lines = [
        json.dumps(
            {
                "source": source,
                "reference": reference,
                "hypothesis": output.text,
                "first_line": output.first_line,
                "stopped": output.stopped,
                "tokens": output.tokens,
                **more,
            },
            ensure_ascii=False,
        )
        for source, reference, output, more in zip(
            sources, references, outputs, of_each, strict=True
        )
    ]
    write_data(path, "".join(line + "\n" for line in lines))


def read_hypotheses(path: Path, sentences: int | None = None) -> list[dict[str, Any]]:
    """The lines of a ``hypotheses.jsonl``.

    Args:
        path: the file.
        sentences: how many the record says there are; None if nothing says so.

    Raises:
        RecordError: missing or damaged, or of another number of sentences.
    """
    lines = read_json_lines(path, RecordError)
    for number, line in lines:
        for key, kind in _FIELDS.items():
            value = line.get(key)
            good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            if not good or (kind is int and value < 0):
                what = f"not {value!r:.60}" if key in line else "but is missing"
                raise RecordError(
                    f"{path}: line {number}: damaged: `{key}` must be {_NAMES[kind]}, {what}."
                )
    if sentences is not None and len(lines) != sentences:
        raise RecordError(
            f"{path}: damaged: {plural(len(lines), 'sentence')}, but the run's record says "
            f"{sentences}."
        )
    return [line for _, line in lines]


def write_sentence_scores(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """One JSON object a test sentence: what it adds to each score, raw and first line."""
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def damaged(path: Path, what: str) -> RecordError:
    """What is raised where a file of a run is damaged."""
    return RecordError(f"{shown(path)}: damaged: {what}.")


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_sentence_scores(path: Path, record: Record) -> dict[str, dict[str, Floats]]:
    """What each test sentence adds to the score of every metric that says so.

    Args:
        path: the file.
        record: of its run.

    Returns:
        metric → ``raw`` or ``first_line`` → sentence statistics [N, S] float64.

    Raises:
        RecordError: damaged, or its metric makes no score of it.
    """
    lines = read_json_lines(path, RecordError)
    if len(lines) != record.data.test.pairs:
        raise damaged(
            path,
            f"{plural(len(lines), 'line')} for {plural(record.data.test.pairs, 'test sentence')}",
        )
    found: dict[str, dict[str, Floats]] = {}
    for metric in record.scores:
        if not any(metric in line for _, line in lines):
            continue  # a metric without sentence statistics
        found[metric] = {which: _column(path, lines, metric, which) for which in WHICH}
        _try_score(path, metric, found[metric], record)
    return found


def _column(path: Path, lines: list[tuple[int, Any]], metric: str, which: str) -> Floats:
    rows: list[list[float]] = []
    for number, line in lines:
        both = line.get(metric)
        row = both.get(which) if isinstance(both, dict) else None
        if not isinstance(row, list) or not row or not all(map(is_number, row)):
            raise damaged(path, f"line {number}: {metric}.{which} is no list of numbers")
        if rows and len(row) != len(rows[0]):
            raise damaged(
                path,
                f"line {number}: {metric}.{which} has {plural(len(row), 'number')}, not "
                f"{len(rows[0])}",
            )
        rows.append(row)
    return np.array(rows, dtype=np.float64)


def _try_score(path: Path, metric: str, both: dict[str, Floats], record: Record) -> None:
    """Make sure that the metric makes a score of the statistics."""
    target = record.lang.partition(",")[0].partition("-")[2]  # any that the run has
    try:
        scorer = make_metric(metric, MetricContext(object(), "any", target))
    except MTLotteryError:  # a plugin's metric, and the plugin is not here
        return
    if not can_be_resampled(scorer):
        return
    for which, statistics in both.items():
        try:
            with np.errstate(over="ignore"):
                score = float(scorer.corpus_score(statistics.sum(axis=0)))
        except Exception as error:  # of another metric, or a plugin's that changed
            raise damaged(path, f"{metric}.{which} makes no score: {error}") from error
        if not math.isfinite(score):
            raise damaged(path, f"{metric}.{which} makes the score {score}")


def read_state(path: Path) -> str:
    """The ``config_hash`` in a run's ``.run.json``.

    Raises:
        RecordError: damaged.
    """
    found = read_json(path, RecordError).get("config_hash")
    if not isinstance(found, str):
        raise RecordError(f"{path}: damaged: `config_hash` must be text, not {found!r:.60}.")
    return found


def read_code(path: Path) -> dict[str, str]:
    """What a plugin registered → sha256 of its file, in a run's ``.run.json``; empty for none.

    Raises:
        RecordError: damaged.
    """
    found = read_json(path, RecordError).get("code", {})
    code: dict[str, str] = converted(dict[str, str], found, f"{path}: damaged: code")
    return code
