"""Peers of a training step: PEFT's models, and the losses that this year's libraries bring."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

#: Mean loss over the labels of a batch: a model, and ``input_ids``, ``attention_mask``, ``labels``.
Loss = Callable[[Any, dict[str, Tensor]], Tensor]


@contextmanager
def wrapped(model: Any, method: str, rows: Tensor) -> Iterator[Any]:
    """The model as PEFT's users make it, and as it was afterwards."""
    import peft

    settings: Any = {
        "rows": lambda: peft.TrainableTokensConfig(
            target_modules=["embed_tokens"], token_indices=rows.tolist()
        ),
        "lora": lambda: peft.LoraConfig(
            task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]
        ),
        "prefix": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=10),
    }[method]()
    made = peft.get_peft_model(model, settings)
    try:
        yield made
    finally:
        if method != "prefix":
            made.unload()
        model.requires_grad_(False)


def plain(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """The loss of transformers itself: logits of every position."""
    loss: Tensor = model(**batch, use_cache=False).loss
    return loss


def _hidden(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Hidden states before the head [B, T, d], and the head's weight [V, d]."""
    base = model.get_base_model()
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    return base.model(**inputs, use_cache=False).last_hidden_state, base.lm_head.weight


def cut_cross_entropy(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Apple's kernel, as its README calls it; on the CPU its path by torch.compile."""
    from cut_cross_entropy import linear_cross_entropy

    hidden, weight = _hidden(model, batch)
    how = "cce" if hidden.is_cuda else "torch_compile"
    loss: Tensor = linear_cross_entropy(hidden, weight, batch["labels"], shift=True, impl=how)
    return loss


def trl(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """What TRL's SFTTrainer makes of its default loss: log-probabilities in chunks."""
    # it brings packages that transformers would import, too, if it saw them
    more = [folder for folder in os.environ.get("PEERS_PATH", "").split(os.pathsep) if folder]
    sys.path += [folder for folder in more if folder not in sys.path]
    from trl.kernels import ChunkedLogProbFunction

    hidden, weight = _hidden(model, batch)
    labels = batch["labels"][:, 1:]
    mask = labels != -100
    # the width of a chunk and what else is computed are the trainer's
    found = ChunkedLogProbFunction.apply(
        hidden[:, :-1][mask], weight, None, labels[mask], 1.0, 32768, None, 1.0,
        ("entropy", "is_top1"),
    )  # fmt: skip
    loss: Tensor = -found[0].sum() / mask.sum()
    return loss


def liger(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """All of Liger's kernels for this model: norms, rotary positions, MLP, fused loss."""
    if not batch["input_ids"].is_cuda:
        raise NotImplementedError("its kernels need a GPU")
    base = model.get_base_model()
    if not getattr(base, "patched_by_liger", False):
        from liger_kernel.transformers import apply_liger_kernel_to_llama

        apply_liger_kernel_to_llama(model=base)
        base.patched_by_liger = True
    return plain(model, batch)
