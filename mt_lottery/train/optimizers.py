"""Optimizers by name: functions of the trained parameters and the ``train`` section."""

from __future__ import annotations

from torch import nn, optim

from mt_lottery.config import TrainConfig
from mt_lottery.registry import register_optimizer


@register_optimizer("adamw")
def adamw(parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
    """Adam with decoupled weight decay (PyTorch's; β = 0.9, 0.999, ε = 1e-8)."""
    return optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)


@register_optimizer("sgd")
def sgd(parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
    """Plain stochastic gradient descent, without momentum."""
    return optim.SGD(parameters, lr=config.lr, weight_decay=config.weight_decay)
