"""What a plugin's optimizer or criterion does, tried on a few numbers before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import optim
from torch.nn import functional as F

from mt_lottery.config import TrainConfig
from mt_lottery.errors import PluginError
from mt_lottery.registry import CRITERIA, OPTIMIZERS, register_criterion, register_optimizer
from mt_lottery.runs.planning.trial_calls import try_criterion, try_optimizer

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
    lambda p, c: optim.SGD(p, lr=min(c.lr, LR / 10)),
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


@pytest.fixture
def doubts() -> Iterator[Callable[..., list[str]]]:
    def trial(loss: Callable[[Any, Any], object]) -> list[str]:
        CRITERIA._forget("mine")
        register_criterion("mine")(lambda logits, labels, config: loss(logits, labels))
        return try_criterion(TrainConfig(criterion="mine"))

    yield trial
    CRITERIA._forget("mine")


def cross_entropy(logits: Any, labels: Any) -> Any:
    return F.cross_entropy(logits, labels, reduction="none")


def focal(logits: Any, labels: Any) -> Any:
    loss = cross_entropy(logits, labels)
    return ((1 - (-loss).exp()) ** 2 * loss).sum()


def unlikelihood(logits: Any, labels: Any) -> Any:
    other = torch.log1p(-torch.softmax(logits, 1)[:, :50]).sum()
    return cross_entropy(logits, labels).sum() - other


def in_place(logits: Any, labels: Any) -> Any:
    return cross_entropy(logits.sub_(1.0), labels).sum()


def hardest_half(logits: Any, labels: Any) -> Any:
    return cross_entropy(logits, labels).topk(len(labels) // 2).values.sum()


def with_z_loss(logits: Any, labels: Any) -> Any:
    return cross_entropy(logits, labels).sum() + 1e-4 * (logits.logsumexp(1) ** 2).sum()


@pytest.mark.parametrize("loss", [focal, unlikelihood, in_place, with_z_loss])
def test_sums_of_losses(loss: Any, doubts: Callable[..., list[str]]) -> None:
    assert doubts(loss) == []


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: cross_entropy(x, y).mean(),
        lambda x, y: cross_entropy(x, y)[0],
        lambda x, y: cross_entropy(x, y).max(),
    ],
)
def test_what_is_no_sum(loss: Any, doubts: Callable[..., list[str]]) -> None:
    with pytest.raises(PluginError, match="the same where each is there twice: it must be the sum"):
        doubts(loss)


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        (hardest_half, ["4 of 8 random labels have no gradient"]),
        (lambda x, y: cross_entropy(x, y).sum() * 0, ["8 of 8 random labels have no gradient"]),
        (lambda x, y: cross_entropy(x, y).sum() + 50 * x[0, 0] ** 2, ["times as large, not twice"]),
        (
            lambda x, y: cross_entropy(x[:-1], y[1:]).sum(),  # shifted once more
            ["where each label is there twice its loss is 2.1", "1 of 8 random labels have no"],
        ),
    ],
)
def test_what_may_be_meant(loss: Any, wanted: Any, doubts: Callable[..., list[str]]) -> None:
    said = doubts(loss)
    assert len(said) == len(wanted)
    assert all(part in line for part, line in zip(wanted, said, strict=True))
