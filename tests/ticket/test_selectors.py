"""Appendix C's measures of change on rows made by hand, and what holds for any rows."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.registry import SELECTORS
from mt_lottery.ticket.selection import looks_at_values, score_rows, select, selector_context

BEFORE = torch.tensor([[1.0, 2.0], [1.0, -1.0], [0.0, 4.0], [0.0, 0.0]])
AFTER = torch.tensor([[1.0, 2.0], [-1.0, 1.0], [0.5, 5.0], [0.0, 0.0]])


def score(name: str, **context: object) -> list[float]:
    return [float(x) for x in score_rows(name, BEFORE, AFTER, **context).statistic]


def test_all_of_appendix_c_is_there() -> None:
    assert set(SELECTORS.names()) == {
        *("ks", "cos", "absolute", "relative", "ratio", "kl", "frequency", "gradient", "random")
    }
    assert selector_context("relative") == ("reduction",)
    assert selector_context("gradient") == ("gradients",)
    without = [n for n in SELECTORS.names() if not looks_at_values(n)]
    assert without == ["frequency", "gradient", "random"]


def test_gradient_never_chooses_a_row_that_none_reaches() -> None:
    gradients = torch.tensor([0.5, 0.0, 2.0, 0.0])
    assert score("gradient", gradients=gradients) == [0.5, -math.inf, 2.0, -math.inf]
    assert select("gradient", BEFORE, AFTER, rows=2, gradients=gradients).tolist() == [2, 0]
    with pytest.raises(TuningError, match="only 2 of 4 rows can be chosen"):
        select("gradient", BEFORE, AFTER, rows=3, gradients=gradients)
    with pytest.raises(TuningError, match=r"missing a required argument: 'gradients'.*gradients"):
        score("gradient")
    with pytest.raises(TuningError, match="no p-values"):
        select("gradient", BEFORE, AFTER, alpha=0.5, gradients=gradients)


def test_cos() -> None:
    # the same; turned round; (0, 4) to (0.5, 5); a row of zeros has no direction
    third = 1 - 20 / (4 * math.sqrt(25.25))
    assert score("cos") == pytest.approx([0, 2, third, 0], abs=1e-12)


def test_absolute() -> None:
    assert score("absolute") == [0, 2, 0.75, 0]
    assert score("absolute", reduction="signed") == [0, 0, 0.75, 0]


def test_relative_and_ratio() -> None:
    # row 2: from 0 to 0.5 counts 1, from 4 to 5 a quarter
    assert score("relative") == [0, 2, 0.625, 0]
    assert score("relative", reduction="signed") == [0, -2, 0.625, 0]
    assert score("ratio") == [1, 1, 1.625, 1]
    assert score("ratio", reduction="signed") == [1, -1, 1.625, 1]


def test_kl_equals_scipys() -> None:
    wanted = [
        float(rel_entr(softmax(x), softmax(y)).sum())
        for x, y in zip(BEFORE.double().numpy(), AFTER.double().numpy(), strict=True)
    ]
    assert score("kl") == pytest.approx(wanted, abs=1e-12)
    assert wanted[1] > 0.1


def test_frequency_and_random_do_not_look_at_the_rows() -> None:
    assert score("frequency", counts=torch.tensor([3, 0, 5, 1])) == [3, -math.inf, 5, 1]
    chosen = select("frequency", BEFORE, AFTER, rows=3, counts=torch.tensor([3, 0, 5, 1]))
    assert chosen.tolist() == [2, 0, 3]
    one, same, other = (score("random", seed=s) for s in (1, 1, 2))
    assert one == same != other and len(set(one)) == 4 and all(0 <= x < 1 for x in one)


def test_reduction_is_checked() -> None:
    for name in ("absolute", "relative", "ratio"):
        with pytest.raises(TuningError, match="reduction must be one of abs, signed, not 'sum'"):
            score_rows(name, BEFORE, AFTER, reduction="sum")


rows = st.lists(
    st.lists(st.floats(-4, 4, width=16), min_size=3, max_size=3), min_size=1, max_size=5
)


@given(rows, rows)
@settings(deadline=None, max_examples=60)
def test_rows_are_scored_one_by_one_and_unmoved_ones_least(one: list, other: list) -> None:  # type: ignore[type-arg]
    size = min(len(one), len(other))
    before, after = torch.tensor(one[:size]), torch.tensor(other[:size])
    for name in ("cos", "absolute", "relative", "ratio", "kl"):
        together = score_rows(name, before, after).statistic
        alone = [
            score_rows(name, before[i : i + 1], after[i : i + 1]).statistic for i in range(size)
        ]
        torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0)
        still: Tensor = score_rows(name, before, before).statistic
        least = 1.0 if name == "ratio" else 0.0
        torch.testing.assert_close(still, torch.full_like(still, least), rtol=0, atol=1e-9)
        if name != "ratio":
            assert bool((together >= 0).all())
        narrow = score_rows(name, before.bfloat16(), after.bfloat16()).statistic
        wide = score_rows(name, before.bfloat16().float(), after.bfloat16().float()).statistic
        torch.testing.assert_close(narrow, wide, rtol=0, atol=0)
