"""Embedding tables of a causal LM: the input table, the output head, whether they are one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mt_lottery.errors import ModelError


def _bare(module: Any) -> Any:
    """The module beneath PEFT's wrappers."""
    while True:
        inner = getattr(module, "base_layer", None) or getattr(module, "original_module", None)
        if inner is None:
            return module
        module = inner


def _with_weight(module: Any, model: Any, which: str) -> nn.Module:
    module = _bare(module)
    if not isinstance(module, nn.Module) or not isinstance(getattr(module, "weight", None), Tensor):
        raise ModelError(
            f"{type(model).__name__} has no {which}; a causal language model with one is needed."
        )
    return module


def input_embedding(model: Any) -> nn.Module:
    """The module that looks rows up (and, in Gemma, multiplies them by √d).

    Raises:
        ModelError: the model has none.
    """
    return _with_weight(model.get_input_embeddings(), model, "input embedding table")


def output_head(model: Any) -> nn.Module:
    """The module that maps hidden states to logits.

    Raises:
        ModelError: the model has none.
    """
    return _with_weight(model.get_output_embeddings(), model, "output head")


def input_table(model: Any) -> nn.Parameter:
    """The input table, the parameter itself [V, d], unscaled.

    Raises:
        ModelError: the model has none.
    """
    table: nn.Parameter = input_embedding(model).weight  # type: ignore[assignment]
    return table


def output_table(model: Any) -> nn.Parameter:
    """The output head's weight [V, d]; the input table itself where the two are tied."""
    table: nn.Parameter = output_head(model).weight  # type: ignore[assignment]
    return table


def is_tied(model: Any) -> bool:
    """Whether the output head reads the same memory as the input table.

    The memory decides, not ``config.tie_word_embeddings``: some checkpoints say one
    and hold the other.  The setting is asked only for weights without memory ("meta").
    """
    head = model.get_output_embeddings()
    if head is None:
        return False
    one, other = input_table(model), output_table(model)
    if one is other:
        return True
    if one.is_meta or other.is_meta:
        return bool(getattr(model.config, "tie_word_embeddings", False))
    same_place = one.device == other.device and one.data_ptr() == other.data_ptr()
    return same_place and one.shape == other.shape and one.numel() > 0


def eos_ids(model: Any, tokenizer: Any) -> list[int]:
    """Token ids that end a translation; the tokenizer's own EOS (the training target) is first.

    A model may name several in its generation settings (``<eos>``, ``<end_of_turn>``).
    Those count only if they are special tokens of this tokenizer: a configuration that
    never set them holds the defaults of its class, and those may be ordinary words here.
    """
    found = [int(tokenizer.eos_token_id)]
    settings = getattr(model, "generation_config", None) or model.config
    more = getattr(settings, "eos_token_id", None)
    more = [] if more is None else [more] if isinstance(more, int) else list(more)
    special = set(tokenizer.all_special_ids) | {
        index for index, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    rows = input_table(model).shape[0]
    found += [int(index) for index in more if index in special and 0 <= index < rows]
    return list(dict.fromkeys(found))
