"""Training examples of somebody's own loop, and the gradients of a model in memory at its rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import IGNORE, Example
from mt_lottery.errors import ArgumentError, plural
from mt_lottery.model.tables import is_tied
from mt_lottery.paper.find.given import table_of
from mt_lottery.paper.find.pair import Pair
from mt_lottery.training.row_gradients import gradient_norms, sample, token_ids
from mt_lottery.tuners.base import RowGradients
from mt_lottery.tuners.rows.ks_lottery import DEFAULT_PAIRS


def _example(index: int, given: Any, size: int) -> Example:
    where = f"examples[{index}]"
    if not isinstance(given, Mapping) or not {"input_ids", "labels"} <= given.keys():
        raise ArgumentError(
            f"{where}: {type(given).__name__}; allowed: objects with `input_ids` and `labels`, as "
            "transformers' Trainer takes them."
        )
    try:
        ids, labels = (torch.as_tensor(given[k]).tolist() for k in ("input_ids", "labels"))
        shape_fits = len(ids) == len(labels) and all(isinstance(i, int) for i in ids + labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{where}: no list of token ids: {error}") from error
    if not shape_fits:
        raise ArgumentError(f"{where}: `input_ids` and `labels` must be as many token ids each.")
    kept = [i for i, label in enumerate(labels) if label != IGNORE]
    # position 0 is predicted from nothing; what follows the last label changes no loss
    if not kept or kept[-1] == 0:
        raise ArgumentError(f"{where}: no label but {IGNORE} after its first token.")
    first, end = max(kept[0], 1), kept[-1] + 1
    if labels[first:end] != ids[first:end]:
        raise ArgumentError(
            f"{where}: `labels` must be {IGNORE} for the prompt, and then the target's token ids "
            "without a gap."
        )
    if not 0 <= min(ids[:end]) <= max(ids[:end]) < size:
        raise ArgumentError(
            f"{where}: a token id is outside the vocabulary of {plural(size, 'row')}."
        )
    return Example(index, ids[:first], ids[first:end])


def open_examples(model: Any, given: Iterable[Any], tokenizer: Any, seed: int) -> Pair:
    """A model in memory, whose rows are ranked by the gradients of one's own examples.

    Args:
        model: a causal LM of transformers; afterwards it is as it was.
        given: objects with ``input_ids`` and ``labels``.
        tokenizer: names the rows.
        seed: of the draw.

    Raises:
        ArgumentError: the model is not in memory; an example that cannot be used.
    """
    if not isinstance(model, nn.Module) or not hasattr(model, "get_input_embeddings"):
        raise ArgumentError(
            f"examples= needs a model in memory, not {type(model).__name__}: "
            "AutoModelForCausalLM.from_pretrained(…). Of a run directory its own text is read."
        )
    table = table_of(model, "the model")
    size = table.shape[0]
    examples = [_example(i, each, size) for i, each in enumerate(given)]
    if not examples:
        raise ArgumentError("examples is empty: give at least one.")

    def gradients(pairs: int | None) -> RowGradients:
        drawn = sample(examples, pairs or DEFAULT_PAIRS, seed)
        rows, began = token_ids(drawn), time.monotonic()
        # one example a pass: nothing is padded
        norms = gradient_norms(model, TrainConfig(), drawn, rows, pad_id=0, seed=seed, tied=False)
        return RowGradients(rows, norms, len(drawn), time.monotonic() - began)

    names = ("the model", "the model")
    return Pair(table, table, size, names, tokenizer, None, "", is_tied(model), gradients)
