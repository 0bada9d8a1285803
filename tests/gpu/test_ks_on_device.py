"""The KS test with tables on the device, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from mt_lottery.errors import TuningError
from mt_lottery.registry import SELECTORS
from mt_lottery.ticket.ks import ks_test
from mt_lottery.ticket.selection import score_rows, select, selector_context

pytestmark = pytest.mark.slow


def tables(
    rows: int, d: int, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every fifth row unchanged, every seventh constant (ties), ±0 and infinities in some."""
    generator = torch.Generator().manual_seed(d)
    before = torch.randn(rows, d, generator=generator)
    after = before + 0.3 * torch.randn(rows, d, generator=generator)
    after[::5] = before[::5]
    before[::7] = 0.5
    before[1, 0], after[1, 0] = 0.0, -0.0
    before[2, 0], after[2, -1] = torch.inf, -torch.inf
    return before.to(dtype), after.to(dtype)


@pytest.mark.parametrize("d", [1, 5, 640, 4096, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_equals_scipy(device: str, d: int, dtype: torch.dtype) -> None:
    before, after = tables(30, d, dtype)
    found = ks_test(before.to(device), after.to(device))
    for row, (x, y) in enumerate(zip(before.double(), after.double(), strict=True)):
        wanted = ks_2samp(x.numpy(), y.numpy())
        assert float(found.statistic[row]) == pytest.approx(wanted.statistic, abs=1e-12)
        assert float(found.pvalue[row]) == pytest.approx(wanted.pvalue, rel=1e-9)


def test_equals_the_cpu_in_pieces(device: str) -> None:
    """More rows than are sorted at a time, and more than PyTorch sorts in one way."""
    before, after = tables(2000, 700)
    found = ks_test(before.to(device), after.to(device))
    wanted = ks_test(before, after)
    assert torch.equal(found.statistic, wanted.statistic)
    assert torch.equal(found.pvalue, wanted.pvalue)
    rows = select("ks", before.to(device), after.to(device), count=18)
    assert rows.tolist() == select("ks", before, after, count=18).tolist()


def test_a_row_with_nan_is_named(device: str) -> None:
    before, after = (table.to(device) for table in tables(40, 64))
    after[33, 7] = torch.nan
    with pytest.raises(TuningError, match="Row 33 of after holds a NaN"):
        ks_test(before, after)


@pytest.mark.parametrize("name", sorted(set(SELECTORS.names()) - {"ks", "frequency", "random"}))
def test_other_selectors(device: str, name: str) -> None:
    before, after = tables(60, 64)
    before[2, 0] = after[2, -1] = 1.0
    context, there = {}, {}
    if "gradients" in selector_context(name):
        context = {"gradients": (after - before).norm(dim=1)}
        there = {key: value.to(device) for key, value in context.items()}
    found = score_rows(name, before.to(device), after.to(device), **there).statistic
    wanted = score_rows(name, before, after, **context).statistic
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-9, atol=1e-12)
