"""Rows, criteria and trainings on the device, against the CPU's."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from interrupting import At, Crash, crash
from torch.nn import functional as F
from training import ROWS, fit, log_of, rows_of

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.model.attention import allow_repeating, repeatable
from mt_lottery.runs.outcome import peak_memory, start_peak
from mt_lottery.training import cross_entropy as room
from mt_lottery.training.criteria import cross_entropy, label_smoothed_cross_entropy
from mt_lottery.training.label_loss import label_loss
from mt_lottery.tuners.declared import own_randomness
from mt_lottery.tuners.rows.module import attach

pytestmark = pytest.mark.slow

SMOOTHED = TrainConfig(label_smoothing=0.2)
LONG: dict[str, Any] = {"max_position_embeddings": 512, "hidden_size": 64, "head_dim": 64}


def with_rows(
    device: str, kind: str = "llama", dtype: torch.dtype = torch.float32, **shape: Any
) -> Any:
    """A tiny model on the device, with rows 4 to 23 to be trained; tied, if it is a Gemma."""
    tied = kind == "gemma3"
    model = tiny.model(kind, tied=tied, dtype=dtype, **shape).to(device)
    attach(model, ROWS, tied=tied)
    return model


def long_examples(count: int, longest: int) -> list[Example]:
    """Pairs of up to ``longest`` tokens, half of each the target."""
    made, choose = [], random.Random(0)
    for index in range(count):
        half = choose.randint(longest // 4, longest // 2 - 2)
        source, target = (choose.choices(range(4, 24), k=half) for _ in range(2))
        made.append(Example(index, [tiny.BOS, *source, 3], [*target, tiny.EOS]))
    return made


def loss_of(model: Any, device: str, criterion: Any = cross_entropy) -> torch.Tensor:
    inputs, labels = tiny.batch(tiny.examples(6))
    inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
    found: torch.Tensor = label_loss(
        model, inputs, labels.to(device), lambda logits, wanted: criterion(logits, wanted, SMOOTHED)
    )
    return found


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen2", "gpt2"])
@pytest.mark.parametrize("criterion", [cross_entropy, label_smoothed_cross_entropy])
def test_loss_and_gradient_of_the_rows(device: str, kind: str, criterion: Any) -> None:
    found = []
    for place in ("cpu", device):
        model = with_rows(place, kind)
        loss = loss_of(model, place, criterion)
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = model.get_input_embeddings().rows.grad
        assert gradient.device.type == place
        found.append((loss.detach().cpu(), gradient.cpu()))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=0)
    scale = float(found[0][1].abs().max())
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_criterion_in_blocks(
    device: str, dtype: torch.dtype, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("CACHE_VALUES", "DEVICE_VALUES"):
        monkeypatch.setattr(room, limit, 7 * 1000)
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(40, 1000, generator=generator)).to(dtype)
    labels = torch.randint(0, 1000, (40,), generator=generator)
    plain = logits.double().requires_grad_()
    wanted = F.cross_entropy(plain, labels, reduction="sum", label_smoothing=smoothing)
    wanted.backward()  # type: ignore[no-untyped-call]
    ours = logits.to(device).requires_grad_()
    found = room.summed_cross_entropy(ours, labels.to(device), smoothing)
    found.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found.detach().cpu().double(), wanted.detach(), rtol=1e-5, atol=0)
    assert ours.grad is not None and plain.grad is not None
    error = 1e-5 if dtype is torch.float32 else float(torch.finfo(dtype).eps)
    torch.testing.assert_close(ours.grad.cpu().double(), plain.grad, rtol=error, atol=1e-6)


@pytest.mark.gpu
def test_no_table_of_logits_is_built() -> None:
    vocabulary, tokens = 32_768, 6_144
    model = tiny.model(
        "llama", dtype=torch.bfloat16, vocab_size=vocabulary, hidden_size=128, head_dim=64,
        max_position_embeddings=tokens,
    ).to("cuda")  # fmt: skip
    attach(model, torch.arange(4, 24), tied=False)
    ids = torch.randint(3, vocabulary, (4, tokens // 4), device="cuda")
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    labels = ids.clone()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss = label_loss(
        model, inputs, labels, lambda x, y: cross_entropy(x, y, SMOOTHED), widen=False
    )
    loss.backward()  # type: ignore[no-untyped-call]
    beside = torch.cuda.max_memory_allocated() - before
    table = 2 * vocabulary * tokens  # 400 MB in bfloat16
    assert beside < 1.5 * table, beside / table  # logits, float32 copy and gradients take five


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_training_equals_the_cpus(device: str, kind: str, tmp_path: Path) -> None:
    found = []
    for place, folder in (("cpu", "one"), (device, "other")):
        model = with_rows(place, kind)
        fit(model, tmp_path / folder, optimizer="sgd", lr=0.05, dev=tiny.examples(4, seed=5))
        found.append((rows_of(model).cpu(), log_of(tmp_path / folder)))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(found[1][1], found[0][1], strict=True):
        for key in theirs.keys() & {"loss", "dev_loss"}:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "sparse_adam"])
@pytest.mark.parametrize(
    ("kind", "dtype", "longest"),
    [
        ("llama", torch.float32, 16),
        ("gpt2", torch.float32, 16),  # it has dropout
        ("gemma3", torch.bfloat16, 16),
        ("llama", torch.float32, 300),
        ("llama", torch.bfloat16, 300),
    ],
)
def test_a_resumed_training_is_the_same_to_the_bit(
    device: str, kind: str, dtype: torch.dtype, longest: int, optimizer: str, tmp_path: Path
) -> None:
    shape = LONG if longest > 100 else {}
    settings = {
        "epochs": 2, "save_steps": 2, "optimizer": optimizer,
        "examples": long_examples(16, longest),
    }  # fmt: skip
    whole = with_rows(device, kind, dtype, **shape)
    fit(whole, tmp_path / "whole", **settings)
    with pytest.raises(Crash):
        fit(
            with_rows(device, kind, dtype, **shape),
            tmp_path / "cut",
            tracker=At(5, crash),
            **settings,
        )
    again = with_rows(device, kind, dtype, **shape)
    torch.rand(3, device=device)
    fit(again, tmp_path / "cut", resume=True, **settings)
    assert torch.equal(rows_of(again), rows_of(whole))
    for ours, theirs in zip(log_of(tmp_path / "cut"), log_of(tmp_path / "whole"), strict=True):
        assert (ours["loss"], ours["lr"]) == (theirs["loss"], theirs["lr"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_deterministic_training_repeats_to_the_bit(
    device: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """Heads of 256, as Gemma 3's: several blocks of keys add to one query's gradient."""
    allow_repeating()
    shape = LONG | {"head_dim": 256}
    found = []
    for turn in range(3):
        model = with_rows(device, "gemma3", dtype, **shape)
        with repeatable(True):
            fit(model, tmp_path / str(turn), epochs=4, examples=long_examples(16, 300))
        found.append((rows_of(model), [line["loss"] for line in log_of(tmp_path / str(turn))]))
    for rows, losses in found[1:]:
        assert torch.equal(rows, found[0][0]) and losses == found[0][1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_bases_have_float32s_gradient(device: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """A mean over 4,000 labels has gradients that float16 does not hold."""
    found = []
    for kind in (dtype, torch.float32):
        model = tiny.model("llama", dtype=kind, **LONG, initializer_range=0.02).to(device)
        model.get_input_embeddings().weight.data *= 5000  # hidden states of size 100
        attach(model, ROWS, tied=False)
        before = rows_of(model)
        settings = {"optimizer": "sgd", "max_grad_norm": 0.0, "batch_size": 32, "epochs": 1}
        fit(model, tmp_path / str(kind), examples=long_examples(32, 300), lr=1e8, **settings)
        found.append((rows_of(model) - before).flatten().double())
    assert float(F.cosine_similarity(found[0], found[1], dim=0)) > 0.99
    assert float(found[0].norm() / found[1].norm()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_bases_learn(device: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = with_rows(device, dtype=dtype)
    before = rows_of(model)
    result = fit(model, tmp_path, epochs=6)
    first = log_of(tmp_path)[0]["loss"]
    assert result.loss < 0.8 * first
    assert rows_of(model).dtype is torch.float32 and not torch.equal(rows_of(model), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_full_tuning_of_half_bases(device: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny.model("llama", dtype=dtype).to(device).requires_grad_(True)
    for parameter in model.parameters():
        parameter.data = parameter.data.float()
    result = fit(model, tmp_path, epochs=3, lr=3e-3, autocast=dtype)
    assert result.loss < 0.8 * log_of(tmp_path)[0]["loss"]


def test_memory_is_the_devices(device: str, tmp_path: Path) -> None:
    """What a record says of peak memory, and a log of memory in use."""
    start_peak(device)
    model = with_rows(device)
    size = 64 << 20
    held = torch.ones(size, dtype=torch.uint8, device=device)
    fit(model, tmp_path, epochs=1)
    peak = peak_memory(device)
    in_use = log_of(tmp_path)[-1]["memory_bytes"]
    assert peak >= size and in_use >= size
    if device == "cuda":
        assert peak == torch.cuda.max_memory_allocated() and peak < 4 * size
        assert in_use < 4 * size  # a process with CUDA in it takes more than that
    del held


def test_random_numbers_of_a_method_depend_on_its_seed_alone(device: str) -> None:
    found = []
    for _ in range(2):
        before = torch.rand(1, device=device)
        with own_randomness(7):
            found.append(torch.rand(5, device=device))
        assert not torch.equal(before, torch.rand(1, device=device))
    assert torch.equal(found[0], found[1])
    torch.manual_seed(3)
    wanted = torch.rand(4, device=device)
    torch.manual_seed(3)
    with own_randomness(7):
        torch.rand(9, device=device)
    assert torch.equal(torch.rand(4, device=device), wanted)
