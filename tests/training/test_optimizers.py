"""sparse_adam against torch's SparseAdam on a sparse embedding."""

from __future__ import annotations

import pytest
import torch
from torch import nn, optim

from mt_lottery.config import TrainConfig
from mt_lottery.errors import ConfigError
from mt_lottery.registry import OPTIMIZERS


def test_sparse_adam_equals_torchs_on_a_sparse_embedding() -> None:
    torch.manual_seed(0)
    table = torch.randn(20, 6)
    dense = nn.Embedding(20, 6, _weight=table.clone())
    sparse = nn.Embedding(20, 6, sparse=True, _weight=table.clone())
    ours = OPTIMIZERS.get("sparse_adam")([dense.weight], TrainConfig(lr=0.1))
    theirs = optim.SparseAdam(sparse.parameters(), lr=0.1)
    target = torch.randn(6)
    for batch in ([3, 3, 5], [5, 0], [7], [3, 19], [7, 7, 7]):
        for layer, optimizer in ((dense, ours), (sparse, theirs)):
            optimizer.zero_grad()
            (layer(torch.tensor(batch)) - target).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(dense.weight, sparse.weight, rtol=0, atol=1e-7)
    untouched = [i for i in range(20) if i not in (0, 3, 5, 7, 19)]
    assert torch.equal(dense.weight[untouched], table[untouched])
    assert not torch.equal(dense.weight, table)


def test_sparse_adam_moves_a_rare_row_once_where_dense_adam_goes_on() -> None:
    moved = {}
    for name in ("adamw", "sparse_adam"):
        rows = nn.Parameter(torch.zeros(2, 3))
        optimizer = OPTIMIZERS.get(name)([rows], TrainConfig(lr=0.01))
        for step in range(10):
            rows.grad = torch.tensor([[1.0] * 3, [1.0 if step == 0 else 0.0] * 3])
            optimizer.step()
        moved[name] = float(rows.detach()[1].abs().mean())
    assert moved["sparse_adam"] == pytest.approx(0.01, rel=1e-3)
    assert moved["adamw"] > 3 * moved["sparse_adam"]


@pytest.mark.parametrize("shape", [(5,), (5, 1), (2, 3, 4)])
def test_sparse_adam_takes_parameters_of_any_number_of_dimensions(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)  # `full` trains norms and biases, which are vectors
    sparse, dense = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))
    for name, parameter in (("sparse_adam", sparse), ("adamw", dense)):
        optimizer = OPTIMIZERS.get(name)([parameter], TrainConfig(lr=0.01))
        for step in range(3):
            parameter.grad = torch.full(shape, 1.0 + step)
            optimizer.step()
    torch.testing.assert_close(sparse, dense)
    with pytest.raises(ConfigError, match="single number"):
        number = nn.Parameter(torch.tensor(0.0))
        number.grad = torch.tensor(1.0)
        OPTIMIZERS.get("sparse_adam")([number], TrainConfig()).step()


def test_sparse_adam_refuses_weight_decay() -> None:
    with pytest.raises(ConfigError, match=r"weight_decay=0\.1"):
        OPTIMIZERS.get("sparse_adam")(
            [nn.Parameter(torch.zeros(1, 1))], TrainConfig(weight_decay=0.1)
        )


def test_adamw_8bit_follows_adamw() -> None:
    torch.manual_seed(0)
    start = torch.randn(80, 64)
    target = torch.randn(80, 64)  # more than 4,096 values: the moments are kept in 8 bits
    ended = {}
    for name in ("adamw", "adamw_8bit"):
        parameter = nn.Parameter(start.clone())
        optimizer = OPTIMIZERS.get(name)([parameter], TrainConfig(lr=0.05))
        for _ in range(40):
            optimizer.zero_grad()
            ((parameter - target) ** 2).sum().backward()
            optimizer.step()
        ended[name] = parameter.detach()
        state = optimizer.state[parameter]
        kinds = {t.dtype for t in state.values() if isinstance(t, torch.Tensor) and t.numel() > 99}
        assert (torch.uint8 in kinds) == (name == "adamw_8bit")
    distance = (ended["adamw"] - ended["adamw_8bit"]).norm() / (ended["adamw"] - start).norm()
    assert distance < 0.05
