"""Every row of `ks_test` against `scipy.stats.ks_2samp`, by each implementation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.ticket import buckets, kernels, ks
from mt_lottery.ticket.ks import distances_cpu, ks_test
from mt_lottery.ticket.ks_torch import distances_torch
from mt_lottery.ticket.pvalues import nominal_pvalues

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["buckets", "sorted", "torch"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every way to the distances, whatever the size of the table."""
    monkeypatch.setattr(ks, "_SMALL", 1 << 60 if request.param == "torch" else -1)
    monkeypatch.setattr(buckets, "MIN_DIMENSION", 1 if request.param == "buckets" else 1 << 60)
    return str(request.param)


def oracle(x: Tensor, y: Tensor, method: str = "auto") -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        result = ks_2samp(x.double().numpy(), y.double().numpy(), method=method)
    return float(result.statistic), float(result.pvalue)


def assert_as_scipy(before: Tensor, after: Tensor, method: str = "auto") -> None:
    result = ks_test(before, after, method=method)
    assert result.statistic.dtype == result.pvalue.dtype == torch.float64
    assert result.dimension == before.shape[1]
    for row in range(len(before)):
        statistic, pvalue = oracle(before[row], after[row], method)
        assert result.statistic[row].item() == pytest.approx(statistic, rel=0, abs=1e-12)
        assert result.pvalue[row].item() == pytest.approx(pvalue, rel=1e-9, abs=0)


def noisy(rows: int, d: int, seed: int = 0, scale: float = 0.3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    before = torch.randn(rows, d, generator=generator)
    size = torch.linspace(0, scale, rows).unsqueeze(1)
    shift = torch.randn(rows, d, generator=generator) + torch.randn(rows, 1, generator=generator)
    return before, before + size * shift


@relaxed
@given(
    d=st.integers(1, 60),
    rows=st.integers(1, 4),
    levels=st.integers(1, 40),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(DTYPES),
)
def test_ties(
    implementation: str, d: int, rows: int, levels: int, seed: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    before, after = torch.randint(levels, (2, rows, d), generator=generator).to(dtype) - levels // 2
    assert_as_scipy(before, after)


@relaxed
@given(data=st.data(), d=st.integers(2, 12))
def test_any_value(implementation: str, data: st.DataObject, d: int) -> None:
    """Zeros of both signs, denormals, infinities, the largest floats."""
    value = st.one_of(
        st.sampled_from([0.0, -0.0, float("inf"), float("-inf"), 1e-45, -1e-45, 3e38]),
        st.floats(width=32, allow_nan=False),
    )
    row = st.lists(value, min_size=d, max_size=d)
    before, after = torch.tensor([data.draw(row), data.draw(row)], dtype=torch.float32)
    assert_as_scipy(before[None], after[None])


@pytest.mark.parametrize(
    ("d", "dtype"),
    [(128, torch.float64), (640, torch.bfloat16), (4096, torch.float16),
     (10_000, torch.float32), (10_001, torch.float32), (12_000, torch.bfloat16)],
)  # fmt: skip
def test_dimensions(implementation: str, d: int, dtype: torch.dtype) -> None:
    """Those of real models, and where SciPy goes over to the asymptotic form."""
    before, after = noisy(3, d, seed=d)
    assert_as_scipy(before.to(dtype), after.to(dtype))


@pytest.mark.parametrize("method", ["exact", "asymp"])
def test_methods(method: str) -> None:
    assert_as_scipy(*noisy(6, 101), method=method)


def test_one_coordinate(implementation: str) -> None:
    assert_as_scipy(torch.tensor([[1.0], [1.0]]), torch.tensor([[1.0], [2.0]]))


def test_large_dimension(implementation: str) -> None:
    before, after = noisy(2, 100_000, scale=0.02)
    assert_as_scipy(before[1:], after[1:])


@pytest.mark.parametrize(
    "mixed",
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.bfloat16),
        (torch.float32, torch.float64),
    ],
)
def test_mixed_dtypes_are_upcast(
    implementation: str, mixed: tuple[torch.dtype, torch.dtype]
) -> None:
    before, after = noisy(5, 96)
    before = before.to(mixed[0])
    after = torch.cat((before[:2].to(mixed[1]), after[2:].to(mixed[1])))
    assert_as_scipy(before, after)
    assert_as_scipy(after, before)


@pytest.mark.parametrize(("d", "counts"), [(640, [1, 2, 5]), (4096, [3, 4, 7]), (7, [1, 2])])
def test_where_scipy_leaves_the_exact_form(implementation: str, d: int, counts: list[int]) -> None:
    ramp = torch.arange(d, dtype=torch.float32).repeat(len(counts), 1)
    after = ramp + torch.tensor(counts).unsqueeze(1)
    assert_as_scipy(ramp, after)
    result = ks_test(ramp, after)
    assert torch.equal(result.statistic, torch.tensor(counts).double() / d)


@pytest.mark.parametrize("method", ["exact", "asymp"])
def test_whole_table_of_pvalues(method: str) -> None:
    # SciPy's asymptotic form is not defined for d = 1
    for d in [1, 2, 3, 5, 9, 10, 33, 64, 101][method == "asymp" :]:
        table = nominal_pvalues(np.arange(d + 1), d, method)
        ramp = torch.arange(d, dtype=torch.float64)
        wanted = [oracle(ramp, ramp + k, method)[1] for k in range(d + 1)]
        np.testing.assert_allclose(table, wanted, rtol=1e-9, atol=0, err_msg=f"d = {d}")


def test_pvalues_do_not_depend_on_the_order_of_asking() -> None:
    from mt_lottery.ticket import pvalues

    pvalues._table.cache_clear()
    one_by_one = [nominal_pvalues(np.array([k]), 77)[0] for k in (50, 3, 20, 3)]
    pvalues._table.cache_clear()
    assert nominal_pvalues(np.array([50, 3, 20, 3]), 77).tolist() == one_by_one


def test_constant_rows(implementation: str) -> None:
    before = torch.tensor([[1.0] * 9, [1.0] * 9, [0.0] * 9])
    after = torch.tensor([[1.0] * 9, [2.0] * 9, [-0.0] * 9])
    assert_as_scipy(before, after)
    assert ks_test(before, after).statistic.tolist() == [0.0, 1.0, 0.0]


def test_identical_rows_are_never_sorted(
    implementation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("sorted")

    monkeypatch.setattr("mt_lottery.ticket.ks_torch._sorted_distances", refuse)
    monkeypatch.setattr(kernels, "merge_kernel", lambda bits: refuse)
    monkeypatch.setattr(kernels, "bucket_kernel", lambda bits: refuse)
    for dtype in DTYPES:
        before = noisy(30, 640)[0].to(dtype)
        result = ks_test(before, before.clone())
        assert result.statistic.eq(0).all(), dtype
        assert result.pvalue.eq(1).all(), dtype


@relaxed
@given(
    seed=st.integers(0, 2**31),
    d=st.integers(1, 700),
    rows=st.integers(1, 40),
    levels=st.sampled_from([2, 7, 300, 10**6]),
    tail=st.sampled_from([1.0, 3.0, 30.0]),
    noise=st.sampled_from([0.0, 1e-3, 0.1, 1.0]),
)
def test_implementations_agree(
    implementation: str, seed: int, d: int, rows: int, levels: int, tail: float, noise: float
) -> None:
    """Few and many ties, light and heavy tails, small and large shifts."""
    generator = torch.Generator().manual_seed(seed)
    before = torch.randint(levels, (rows, d), generator=generator) / levels - 0.5
    before = before.sign() * before.abs() ** tail
    after = before + noise * torch.randn(rows, d, generator=generator).pow(tail)
    after[::2] = before[::2]
    # So little memory that several chunks are needed.
    wanted = distances_torch(before, after, memory=1 << 16).tolist()
    assert distances_cpu(before, after).tolist() == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_buckets_decide_ordinary_rows_and_leave_the_rest(dtype: torch.dtype) -> None:
    def distances(x: Tensor, y: Tensor) -> list[int]:
        a, b = x.to(dtype).numpy(), y.to(dtype).numpy()
        count = np.empty(len(a), np.int64)
        work = buckets.work_arrays(a.shape[1], a.dtype)
        kernels.bucket_kernel(a.dtype.itemsize * 8)(a, b, *work, count)
        return count.tolist()

    before, after = noisy(40, 1000)
    wanted = distances_torch(before.to(dtype), after.to(dtype)).tolist()
    got = distances(before, after)
    assert got == wanted
    before[0] = 1.0
    after[0] = 1.0
    before[1, :40] = float("inf")
    before[2, 3] = float("nan")
    after[3, 5] = float("nan")
    after[4, 7] = 1e30
    assert distances(before, after) == [
        buckets.UNDECIDED,
        buckets.UNDECIDED,
        buckets.NAN,
        buckets.NAN,
        *wanted[4:],
    ]


def test_many_chunks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ks, "_SORT_BYTES", 1 << 14)
    monkeypatch.setattr(ks, "_SCAN_BYTES", 1 << 14)
    monkeypatch.setattr(ks, "_cores", lambda: 3)
    before, after = noisy(500, 200)
    after[100:400] = before[100:400]
    assert distances_cpu(before, after).tolist() == distances_torch(before, after).tolist()


def test_strided_views_and_parameters(implementation: str) -> None:
    for dtype in DTYPES:
        before, after = (table.to(dtype) for table in noisy(64, 64))
        straight = ks_test(before, after).statistic
        assert straight.max() > 0
        flipped = ks_test(before.t().contiguous().t(), torch.nn.Parameter(after))
        assert torch.equal(flipped.statistic, straight)
        wide = torch.stack((before, after), dim=2)
        assert torch.equal(ks_test(wide[:, :, 0], wide[:, :, 1]).statistic, straight)
        imaginary = torch._neg_view(-before)  # what `.conj().imag` is: negated when it is read
        assert torch.equal(ks_test(imaginary, after).statistic, straight)
        assert torch.equal(before, noisy(64, 64)[0].to(dtype)), "the inputs are left alone"


@relaxed
@given(
    dtype=st.sampled_from(DTYPES),
    where=st.sampled_from(["before", "after", "both"]),
    at=st.integers(0, 599),
    d=st.sampled_from([1, 64, 600]),  # sorted and merged, and by buckets
    row=st.integers(0, 7),
)
def test_nan_is_refused(
    implementation: str, dtype: torch.dtype, where: str, at: int, d: int, row: int
) -> None:
    before, after = (table.to(dtype) for table in noisy(8, d))
    after[row] = before[row]
    if where != "after":
        before[row, at % d] = float("nan")
    if where != "before":
        after[row, at % d] = float("nan")
    with pytest.raises(TuningError, match=f"Row {row} of {where.replace('both', 'before')}.*NaN"):
        ks_test(before, after)


def test_empty_vocabulary() -> None:
    assert ks_test(torch.empty(0, 4), torch.empty(0, 4)).statistic.shape == (0,)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (torch.ones(3, 4), torch.ones(3, 5), "same shape"),
        (torch.ones(4), torch.ones(4), r"shape \[V, d\]"),
        (torch.ones(3, 0), torch.ones(3, 0), "d ≥ 1"),
        (torch.ones(3, 4).long(), torch.ones(3, 4), "float32, float16, bfloat16"),
        (torch.ones(3, 4), torch.ones(3, 4, device="meta"), "dense"),
        (torch.ones(3, 4).to_sparse(), torch.ones(3, 4), "dense"),
        ([[1.0]], torch.ones(1, 1), "torch.Tensor"),
    ],
)
def test_unfit_tables(before: Tensor, after: Tensor, message: str) -> None:
    with pytest.raises(TuningError, match=message):
        ks_test(before, after)


def test_unknown_method() -> None:
    with pytest.raises(TuningError, match="Did you mean 'exact'"):
        ks_test(torch.ones(1, 2), torch.ones(1, 2), method="exakt")
    with pytest.raises(TuningError, match="at least 2"):
        ks_test(torch.ones(1, 1), torch.ones(1, 1), method="asymp")


def test_progress(implementation: str, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = noisy(10, 50)
    ks_test(before, after)
    assert not capsys.readouterr().err
    ks_test(before, after, progress=True)
    assert "10.0/10.0" in capsys.readouterr().err


def test_works_where_numba_can_keep_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An install in a read-only folder: the kernel is compiled, not kept."""
    import numba

    plain = numba.njit

    def njit(*args: object, cache: bool = False, **options: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return plain(*args, **options)

    monkeypatch.setattr(numba, "njit", njit)
    count = np.zeros(1, np.int64)
    kernels.merge_kernel.__wrapped__(32)(
        np.array([[0, 1, 2]], np.float32), np.array([[1, 2, 3]], np.float32), count
    )
    assert count.tolist() == [1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_gpu(dtype: torch.dtype) -> None:
    before, after = (table.to(dtype) for table in noisy(300, 640))
    wanted, got = ks_test(before, after), ks_test(before.cuda(), after.cuda())
    assert torch.equal(got.statistic, wanted.statistic)
    assert torch.equal(got.pvalue, wanted.pvalue)
    with pytest.raises(TuningError, match="is on cpu"):
        ks_test(before, after.cuda())
