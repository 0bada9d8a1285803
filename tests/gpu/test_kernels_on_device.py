"""Liger's kernels in a training: they give PyTorch's numbers, and leave no trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from interrupting import At, Crash, crash
from peft import LoraConfig, get_peft_model
from training import ROWS, fit, log_of, rows_of

from mt_lottery.model.kernels import fused
from mt_lottery.tuners.rows.module import attach

pytestmark = [pytest.mark.slow, pytest.mark.gpu]
KINDS = ["llama", "qwen2", "gemma3"]


@pytest.fixture(autouse=True)
def liger() -> None:
    pytest.importorskip("liger_kernel", reason="liger-kernel is not installed")


def with_rows(kind: str, dtype: torch.dtype = torch.float32) -> Any:
    tied = kind == "gemma3"
    model = tiny.model(kind, tied=tied, dtype=dtype).to("cuda")
    attach(model, ROWS, tied=tied)
    return model


def state_of(model: Any) -> list[Any]:
    names = vars(sys.modules[type(model).__module__])
    return [dict(names)] + [dict(vars(part)) for part in model.modules()]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_numbers(kind: str, tmp_path: Path) -> None:
    plain, quick = with_rows(kind), with_rows(kind)
    fit(plain, tmp_path / "plain", epochs=1)
    fit(quick, tmp_path / "quick", epochs=1, kernels="liger")
    for a, b in zip(log_of(tmp_path / "plain"), log_of(tmp_path / "quick"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    assert torch.allclose(rows_of(plain), rows_of(quick), atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["rows", "lora", "full"])
def test_gradients(kind: str, method: str) -> None:
    model: Any = with_rows(kind) if method == "rows" else tiny.model(kind).to("cuda")
    if method == "lora":
        config = LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        model = get_peft_model(model, config)
    if method == "full":
        model.requires_grad_(True)
    ids = torch.randint(4, 24, (3, 17), device="cuda")

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    wanted = gradients()
    with fused(model, "liger"):
        assert any("forward" in vars(part) for part in model.modules())
        found = gradients()
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()) + 1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_as_it_was(kind: str) -> None:
    model = tiny.model(kind).to("cuda")
    before = state_of(model)
    with pytest.raises(ZeroDivisionError), fused(model, "liger"):
        assert state_of(model) != before
        raise ZeroDivisionError
    for now, then in zip(state_of(model), before, strict=True):
        assert now.keys() == then.keys()
        assert all(now[name] is then[name] for name in now)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_resumed_to_the_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 2, "save_steps": 2, "kernels": "liger"}
    whole = with_rows("llama", dtype)
    fit(whole, tmp_path / "whole", **settings)
    with pytest.raises(Crash):
        fit(with_rows("llama", dtype), tmp_path / "cut", tracker=At(5, crash), **settings)
    again = with_rows("llama", dtype)
    fit(again, tmp_path / "cut", resume=True, **settings)
    assert torch.equal(rows_of(again), rows_of(whole))
