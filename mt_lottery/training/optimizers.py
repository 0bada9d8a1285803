"""Optimizers by name: functions of the trained parameters and the ``train`` section."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn, optim

from mt_lottery.config import TrainConfig
from mt_lottery.errors import ConfigError
from mt_lottery.registry import register_optimizer


class MakeOptimizer(Protocol):
    """What is registered as an optimizer."""

    def __call__(self, parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
        """An optimizer of these parameters.

        Its groups begin with the learning rate (``lr``) ``config.lr``, or a multiple of it; the
        trainer's schedule multiplies that.
        """
        ...


@register_optimizer("adamw")
def adamw(parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
    """Adam with decoupled weight decay (PyTorch's; β = 0.9, 0.999, ε = 1e-8)."""
    return optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)


@register_optimizer("adamw_8bit", needs=["bitsandbytes>=0.46"])
def adamw_8bit(parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
    """AdamW whose moments are kept in 8 bits (bitsandbytes; Dettmers et al. 2022).

    Two bytes of state a value instead of eight.  Parameters of fewer than 4,096 values
    keep theirs in float32, so that an 18-row ticket at d < 228 is plain AdamW.
    """
    from bitsandbytes.optim import AdamW8bit

    made: optim.Optimizer = AdamW8bit(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return made


@register_optimizer("sgd")
def sgd(parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
    """Plain stochastic gradient descent, without momentum."""
    return optim.SGD(parameters, lr=config.lr, weight_decay=config.weight_decay)


class RowSparseAdam(optim.SparseAdam):
    """PyTorch's SparseAdam for dense gradients [k, d] of which few rows are not zero.

    A row is updated, and its moments decay, only in steps in which its gradient
    is not zero.  Dense Adam goes on moving a row by its momentum after the one
    batch that held its token: some seven learning rates in all, so that rare tokens
    end up among the most changed rows.
    """

    def step(self, closure: Any = None) -> Any:
        """One update; dense gradients become sparse ones first."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None and not gradient.is_sparse:
                    if not gradient.dim():  # a number has no rows, and is dense or nothing
                        raise ConfigError(
                            "optimizer=sparse_adam: a trained parameter is a single number, "
                            "without rows; take adamw or sgd."
                        )
                    # a vector (a norm's weights, a bias): each value is a row
                    rows = (gradient != 0).reshape(len(gradient), -1).any(1).nonzero().flatten()
                    parameter.grad = torch.sparse_coo_tensor(
                        rows.unsqueeze(0),
                        gradient[rows],
                        gradient.shape,
                        is_coalesced=True,
                        check_invariants=False,
                    )
        return super().step(closure)  # type: ignore[no-untyped-call]


@register_optimizer("sparse_adam")
def sparse_adam(parameters: list[nn.Parameter], config: TrainConfig) -> optim.Optimizer:
    """Adam that leaves rows without a gradient alone (β = 0.9, 0.999, ε = 1e-8).

    Raises:
        ConfigError: weight decay, which SparseAdam does not have.
    """
    if config.weight_decay > 0:
        raise ConfigError(
            f"weight_decay={config.weight_decay:g}: sparse_adam has none; allowed: 0."
        )
    return RowSparseAdam(parameters, lr=config.lr)
