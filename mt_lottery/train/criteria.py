"""Losses over next-token logits, registered by fairseq's names.

A criterion is a function of logits [N, V] (float32), labels [N] and the
``train`` section; it returns the *sum* over the N positions, which the trainer
divides by the number of labels of the whole optimizer step.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mt_lottery.config import TrainConfig
from mt_lottery.registry import register_criterion


@register_criterion("cross_entropy")
def cross_entropy(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
    """Σ −log p(label), natural logarithm."""
    return F.cross_entropy(logits, labels, reduction="sum")


@register_criterion("label_smoothed_cross_entropy")
def label_smoothed_cross_entropy(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
    """Σ (1 − ε)·(−log p(label)) + ε·mean over V of (−log p), ε = ``train.label_smoothing``."""
    return F.cross_entropy(logits, labels, reduction="sum", label_smoothing=config.label_smoothing)
