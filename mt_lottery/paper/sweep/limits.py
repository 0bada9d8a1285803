"""How many rows a recipe can have: known from the training text before anything is trained."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mt_lottery.config import RunConfig
from mt_lottery.data.corpora import Corpora
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.model.loading import tokenizer_of
from mt_lottery.registry import TUNERS
from mt_lottery.runs.context import followed, input_counts
from mt_lottery.runs.planning.prompting import with_template
from mt_lottery.tuners.rows.base import RowTuner


@dataclass(frozen=True)
class VocabularyUse:
    """Which tokens of a vocabulary a training text uses.

    Attributes:
        rows: V.
        seen: occurrences in the training inputs, template and special tokens included.
        moved: those of them whose rows training can move.
        counted: occurrences in sources and targets alone.
    """

    rows: int
    seen: Counter[int]
    moved: frozenset[int]
    counted: Counter[int]


@dataclass(frozen=True)
class Limit:
    """Most rows that a recipe can have, and why."""

    rows: int
    why: str


def vocabulary_use(config: RunConfig, corpora: Corpora) -> VocabularyUse | None:
    """Tokens that the training text uses, without loading the model.

    Returns:
        None where the tokenizer cannot be had without it; the runs find out then.

    Raises:
        ModelError: the model is not there, or damaged.
    """
    found = tokenizer_of(config.model)
    if found is None or corpora.train is None:
        return None
    tokenizer, rows = found
    text = PreparedText.of(with_template(config, lambda _: None))
    encoded = text.encode(corpora.train, tokenizer, config.data.max_length)
    counted = text.counts(corpora.train, tokenizer)
    return VocabularyUse(rows, input_counts(encoded), frozenset(followed(encoded)), counted)


def limits(config: RunConfig, use: VocabularyUse) -> Limit | None:
    """Most rows that a run can be asked for; None where that is not known ahead.

    Args:
        config: of one of a recipe's cells.
        use: what the training text uses.
    """
    tuner = TUNERS.get(config.tuner.name)(config.tuner)
    if not isinstance(tuner, RowTuner):
        return None
    found = tuner.most_rows(use.rows, len(use.moved), len(use.counted))
    return None if found is None else Limit(*found)
