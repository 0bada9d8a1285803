"""How many rows a recipe can have: known from the training text before anything is trained."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mt_lottery.config import RunConfig
from mt_lottery.data.corpora import Corpora
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.model.loading import tokenizer_of
from mt_lottery.runs.context import input_counts
from mt_lottery.ticket.selection import looks_at_values


@dataclass(frozen=True)
class VocabularyUse:
    """Which tokens of a vocabulary a training text uses.

    Attributes:
        rows: V.
        seen: occurrences in the training inputs, template and special tokens included.
        counted: occurrences in sources and targets alone.
    """

    rows: int
    seen: Counter[int]
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
    text = PreparedText.of(config)
    encoded = text.encode(corpora.train, tokenizer, config.data.max_length)
    return VocabularyUse(rows, input_counts(encoded), text.counts(corpora.train, tokenizer))


def limits(recipe: str, selector: str, config: RunConfig, use: VocabularyUse) -> Limit | None:
    """Most rows that a recipe can be asked for; None where that is not known ahead.

    It may turn out to be fewer: a row that occurs need not have moved.

    Args:
        recipe: recipe.
        selector: measure of change, or empty.
        config: of one of its cells (``tuner.scope``).
        use: what the training text uses.
    """
    whole = Limit(use.rows, "rows of the vocabulary")
    seen = Limit(len(use.seen), "tokens in the training inputs: no other row can have moved")
    counted = Limit(len(use.counted), "different tokens in the training text")
    if getattr(config.tuner, "scope", "input") == "tied":
        seen = whole  # the softmax moves every row
    if recipe in ("random_seen", "frequency"):
        return None if getattr(config.tuner, "corpus", None) else counted
    if recipe == "random":
        return whole
    if selector == "frequency":
        chosen = counted
    else:
        chosen = seen if selector and looks_at_values(selector) else whole
    if recipe == "ks_freeze" and selector and looks_at_values(selector):
        return Limit(chosen.rows - 1, f"{chosen.why}; one must be left to tune")
    if recipe == "frequency_matched":
        return Limit(min(chosen.rows, len(use.seen) // 2), f"{seen.why}; half of them are matched")
    return chosen if recipe in ("ks_lottery", "ks_transfer", "ks_freeze") else None
