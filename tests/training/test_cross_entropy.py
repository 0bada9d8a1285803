"""The blockwise cross entropy against PyTorch's, in value, gradient and memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mt_lottery.config import TrainConfig
from mt_lottery.registry import CRITERIA
from mt_lottery.training import cross_entropy as module
from mt_lottery.training.cross_entropy import summed_cross_entropy


def table(rows: int, vocabulary: int, seed: int, spread: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, vocabulary, (rows,), generator=generator)


def both(logits: Tensor, labels: Tensor, smoothing: float, **how: Any) -> list[Tensor]:
    """Value and gradient: ours, then PyTorch's in float64."""
    ours = logits.clone().requires_grad_(True)
    loss = summed_cross_entropy(ours, labels, smoothing, **how)
    (gradient,) = torch.autograd.grad(loss * 0.25, ours)
    theirs = logits.double().clone().requires_grad_(True)
    wanted = F.cross_entropy(theirs, labels, reduction="sum", label_smoothing=smoothing)
    (wanted_gradient,) = torch.autograd.grad(wanted * 0.25, theirs)
    return [loss, wanted, gradient, wanted_gradient]


@given(
    st.integers(0, 7),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.1, 0.9]),
    st.sampled_from([1, 25, 10**6]),
    st.floats(0.0, 500.0),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_equals_torch_in_float64(
    rows: int, vocabulary: int, smoothing: float, block: int, spread: float, seed: int
) -> None:
    logits, labels = table(rows, vocabulary, seed, spread)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CACHE_VALUES", block)  # one row at a time, a few, all
        loss, wanted, gradient, wanted_gradient = both(logits, labels, smoothing)
    torch.testing.assert_close(loss, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("dtype", "room"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3), (torch.float16, 5e-4)]
)
def test_narrow_logits_are_computed_in_float32(
    dtype: torch.dtype, room: float, overwrite: bool
) -> None:
    logits, labels = table(9, 1000, 1)
    loss, wanted, gradient, wanted_gradient = both(
        logits.to(dtype), labels, 0.1, overwrite=overwrite
    )
    assert loss.dtype is torch.float32 and gradient.dtype is dtype
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-6, atol=0)
    # rounded once to the logits' dtype, never computed in it
    torch.testing.assert_close(gradient.double(), wanted_gradient, rtol=room, atol=1e-7)


def test_finite_differences() -> None:
    logits, labels = table(3, 5, 2)
    logits.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: summed_cross_entropy(x, labels, 0.2), (logits,))


def test_infinite_and_nan_logits_show_in_the_loss() -> None:
    logits, labels = table(2, 5, 3)
    logits[0, 1] = -torch.inf  # a token that is ruled out
    labels[0] = 2
    loss, wanted, gradient, wanted_gradient = both(logits, labels, 0.0)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradient, wanted_gradient)
    logits[1, 0] = torch.nan
    assert not torch.isfinite(summed_cross_entropy(logits, labels))


def test_only_overwrite_changes_the_logits() -> None:
    logits, labels = table(4, 6, 4)
    kept = logits.clone()
    summed_cross_entropy(logits, labels, overwrite=True)  # no gradient asked for
    ours = logits.requires_grad_(True)
    summed_cross_entropy(ours, labels).backward()
    assert torch.equal(logits, kept)


class Largest(TorchDispatchMode):
    """The most values that a newly made tensor of a dtype has."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[torch.dtype, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.values[out.dtype] = max(self.values.get(out.dtype, 0), out.numel())
        return out


@pytest.mark.parametrize("name", ["cross_entropy", "label_smoothed_cross_entropy"])
def test_no_float32_table_of_the_logits_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_VALUES", 2000)
    logits, labels = table(64, 1000, 5)
    narrow = logits.bfloat16().requires_grad_(True)
    with Largest() as largest:
        CRITERIA.get(name)(narrow.clone(), labels, TrainConfig()).backward()
    assert largest.values[torch.float32] <= 2000
    assert narrow.grad is not None
    with Largest() as largest:  # PyTorch's own has one, and the test sees it
        F.cross_entropy(narrow.float(), labels).backward()
    assert largest.values[torch.float32] == 64 * 1000
