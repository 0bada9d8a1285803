"""Adamax, of PyTorch: train.optimizer=adamax."""

from torch import nn, optim

from mt_lottery.plugin import TrainConfig, register_optimizer


@register_optimizer("adamax")
def adamax(parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
    """Adam with the infinity norm; the trainer's schedule multiplies the rate given here."""
    return optim.Adamax(parameters, lr=config.lr, weight_decay=config.weight_decay)
