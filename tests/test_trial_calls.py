"""What a plugin's optimizer or criterion does, tried on a few numbers before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import optim

from mt_lottery.config import TrainConfig
from mt_lottery.errors import PluginError
from mt_lottery.registry import OPTIMIZERS, register_optimizer
from mt_lottery.runs.planning.trial_calls import try_optimizer

LR = 1e-6
Make = Callable[[list[Any], TrainConfig], object]


@pytest.fixture
def tried() -> Iterator[Callable[..., None]]:
    def trial(make: Make, **settings: Any) -> None:
        OPTIMIZERS._forget("mine")
        register_optimizer("mine")(lambda parameters, config: make(parameters, config))
        try_optimizer(TrainConfig(**{"optimizer": "mine", "lr": LR, **settings}))

    yield trial
    OPTIMIZERS._forget("mine")


def layer_wise(parameters: list[Any], config: TrainConfig) -> optim.Optimizer:
    groups = [{"params": [p], "lr": config.lr * 0.5**n} for n, p in enumerate(parameters, 1)]
    return optim.SGD(groups)


def with_a_fixed_group(parameters: list[Any], config: TrainConfig) -> optim.Optimizer:
    groups = [{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:], "lr": config.lr}]
    return optim.SGD(groups)


def small_rates_only(parameters: list[Any], config: TrainConfig) -> optim.Optimizer:
    if config.lr < LR:
        raise ValueError("too small")
    return optim.SGD(parameters, lr=0.1)


def freezing(parameters: list[Any], config: TrainConfig) -> optim.Optimizer:
    parameters[0].requires_grad_(False)
    return optim.SGD(parameters, lr=config.lr)


GOOD: list[Make] = [
    lambda p, c: optim.Adamax(p, lr=c.lr),
    lambda p, c: optim.SGD(p, lr=torch.tensor(c.lr)),
    lambda p, c: optim.SGD(p, lr=1e-30 * c.lr),  # no value of ones would change
    lambda p, c: optim.SGD(p, lr=LR),
    layer_wise,
    with_a_fixed_group,
    small_rates_only,
]


@pytest.mark.parametrize("make", GOOD)
def test_optimizers_that_take_the_rate(make: Make, tried: Callable[..., None]) -> None:
    tried(make)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda p, c: optim.Adamax(p), r"its learning rate is 0\.002, whatever .*\(lr=1e-06\)"),
        (lambda p, c: optim.SGD([{"params": [x], "lr": 0.1} for x in p]), "is 0.1, whatever"),
        (freezing, "it sets requires_grad=False for parameters that it is given"),
    ],
)
def test_optimizers_that_do_not(make: Make, problem: str, tried: Callable[..., None]) -> None:
    with pytest.raises(PluginError, match=problem):
        tried(make)
