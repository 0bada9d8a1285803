"""Focal loss (Lin et al. 2017): train.criterion=focal."""

import torch
from torch import Tensor

from mt_lottery.plugin import TrainConfig, register_criterion


@register_criterion("focal")
def focal(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
    """Σ −(1 − p)² log p over labels [N], from logits [N, V]: what is known already counts less."""
    log_p = torch.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return -((1 - log_p.exp()) ** 2 * log_p).sum()
