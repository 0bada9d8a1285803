"""Adamax, of PyTorch: train.optimizer=adamax."""

from torch import nn, optim

from mt_lottery.plugin import TrainConfig, register_optimizer


@register_optimizer("adamax")
def adamax(parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
    """Adam with the infinity norm; the trainer sets the learning rate of each step."""
    return optim.Adamax(parameters, lr=config.lr, weight_decay=config.weight_decay)
