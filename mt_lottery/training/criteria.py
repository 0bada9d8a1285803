"""Losses over next-token logits, registered by fairseq's names.

A criterion is a function of logits [N, V] (float32), labels [N] and the
``train`` section; it returns the *sum* over the N positions, which the trainer
divides by the number of labels of the whole optimizer step.  Nobody reads the
logits after it.  One that widens them itself says so (:func:`takes_any_dtype`)
and is spared a float32 copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from torch import Tensor

from mt_lottery.config import TrainConfig
from mt_lottery.registry import register_criterion
from mt_lottery.training.cross_entropy import summed_cross_entropy

F = TypeVar("F", bound=Callable[..., Any])


class Criterion(Protocol):
    """What is registered as a criterion."""

    def __call__(self, logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        """The loss summed over the labels, a scalar that is differentiable in the logits."""
        ...


def takes_any_dtype(criterion: F) -> F:
    """Mark a criterion that wants the logits as the output head gives them (bfloat16, say)."""
    criterion.any_dtype = True  # type: ignore[attr-defined]
    return criterion


@register_criterion("cross_entropy")
@takes_any_dtype
def cross_entropy(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
    """Σ −log p(label), natural logarithm."""
    return summed_cross_entropy(logits, labels, overwrite=True)


@register_criterion("label_smoothed_cross_entropy")
@takes_any_dtype
def label_smoothed_cross_entropy(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
    """Σ (1 − ε)·(−log p(label)) + ε·mean over V of (−log p), ε = ``train.label_smoothing``."""
    return summed_cross_entropy(logits, labels, config.label_smoothing, overwrite=True)
