"""What training does: learning, repeatability, accumulation, optimizers, errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from interrupting import At
from torch import Tensor, nn
from torch.nn import functional as F
from training import fit, log_of, rows_of, steps_of, with_rows

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import BucketBatchSampler
from mt_lottery.errors import ModelError, RegistryError, TrainingError
from mt_lottery.registry import register_criterion, register_optimizer
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.full import FullTuner
from mt_lottery.tuners.rows.embed import probe_rows
from mt_lottery.tuners.rows.module import attach

pytestmark = pytest.mark.slow


def mean_loss(model: Any, examples: list[Any]) -> float:
    inputs, labels = tiny.batch(examples)
    with torch.no_grad():
        return float(tiny.plain_loss(model, inputs, labels) / (labels != -100).sum())


def test_loss_goes_down_and_is_what_the_log_says(tmp_path: Path) -> None:
    model, examples = with_rows("gemma3", scope="tied"), tiny.examples(8)
    before = mean_loss(model, examples)
    result = fit(model, tmp_path, examples=examples, epochs=40, batch_size=8, schedule="constant")
    after = mean_loss(model, examples)
    lines = log_of(tmp_path)
    assert after < 0.6 * before
    assert lines[0]["loss"] == pytest.approx(before, rel=1e-5)  # one batch is the whole set
    assert result.loss == lines[-1]["loss"] and result.steps == 40 == len(lines)
    assert {"step", "loss", "lr", "tokens_per_second"} <= lines[0].keys()
    assert not model.training and result.seconds > 0 and result.tokens_per_second > 0


def test_learning_rate_is_what_was_used(tmp_path: Path) -> None:
    fit(with_rows(), tmp_path, epochs=1, warmup_steps=2, lr=0.5)
    assert [line["lr"] for line in log_of(tmp_path)] == pytest.approx([0.0, 0.25, 0.5, 0.25])
    fit(with_rows(), tmp_path, epochs=1, schedule="constant", lr=0.5)
    assert [line["lr"] for line in log_of(tmp_path)] == [0.5] * 4


@pytest.mark.parametrize("kind", ["llama", "gpt2"])  # GPT-2 has dropout
def test_one_seed_gives_one_result(kind: str, tmp_path: Path) -> None:
    made = []
    for seed in (0, 0, 1):
        model = with_rows(kind)
        torch.rand(7)  # whatever happened before
        fit(model, tmp_path, seed=seed)
        made.append(rows_of(model))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_accumulation_equals_the_larger_batch(tmp_path: Path) -> None:
    examples, made = tiny.examples(8), []
    for size, accumulate in ((8, 1), (4, 2), (3, 3)):
        model = with_rows()
        result = fit(
            model, tmp_path, examples=examples, epochs=1, batch_size=size, accumulate=accumulate,
            optimizer="sgd", schedule="constant", lr=1.0, max_grad_norm=0.0,
        )  # fmt: skip
        assert result.steps == 1
        made.append(rows_of(model))
        assert log_of(tmp_path)[0]["loss"] == pytest.approx(mean_loss(with_rows(), examples), 1e-5)
    start = rows_of(with_rows())
    assert float((made[0] - start).abs().max()) > 1e-3
    for other in made[1:]:
        torch.testing.assert_close(other - start, made[0] - start, rtol=1e-5, atol=1e-6)
    # and both are the gradient of the mean over the labels
    model = with_rows()
    inputs, labels = tiny.batch(examples)
    (tiny.plain_loss(model, inputs, labels) / (labels != -100).sum()).backward()
    grad = model.get_input_embeddings().rows.grad
    torch.testing.assert_close(made[0] - start, -grad, rtol=1e-5, atol=1e-6)


def test_accumulation_over_the_end_of_an_epoch(tmp_path: Path) -> None:
    result = fit(with_rows(), tmp_path, epochs=3, batch_size=4, accumulate=5, dev=tiny.examples(3))
    lines = log_of(tmp_path)
    assert result.steps == 3 and steps_of(tmp_path) == [1, 2, 3]  # 12 batches, by fives
    assert [line["step"] for line in lines if "dev_loss" in line] == [1, 2, 3]


@pytest.mark.parametrize("clip", [1.0, 0.01])
def test_rows_that_occur_equal_dense_adam_on_the_whole_table(clip: float, tmp_path: Path) -> None:
    """Embedding tuning as the probe does it, against the same Trainer on [V, d]."""
    examples = tiny.examples(16)
    settings: dict[str, Any] = {"examples": examples, "max_grad_norm": clip, "epochs": 3}
    dense = tiny.model(tied=False).requires_grad_(False)
    table = dense.get_input_embeddings().weight.requires_grad_(True)
    start = table.detach().clone()
    fit(dense, tmp_path, **settings)
    model = tiny.model(tied=False)
    rows = probe_rows(TuningContext(model, None, 0, seen=tiny.seen(examples)), "input")
    attach(model, rows, tied=False)
    fit(model, tmp_path, **settings)
    torch.testing.assert_close(rows_of(model), table.detach()[rows], rtol=1e-6, atol=1e-6)
    untouched = torch.ones(tiny.VOCAB, dtype=torch.bool)
    untouched[rows] = False
    assert torch.equal(table.detach()[untouched], start[untouched])
    assert float((rows_of(model) - start[rows]).abs().max()) > 0.01


def test_tied_scope_equals_dense_adam_on_a_tied_table(tmp_path: Path) -> None:
    examples = tiny.examples(16)
    dense = tiny.model(tied=True).requires_grad_(False)
    table = dense.get_input_embeddings().weight.requires_grad_(True)
    fit(dense, tmp_path, examples=examples, optimizer="sgd", lr=0.3)
    model = tiny.model(tied=True)
    rows = probe_rows(TuningContext(model, None, 0, seen=tiny.seen(examples)), "tied")
    assert len(rows) == tiny.VOCAB  # the softmax moves every row
    attach(model, rows, tied=True)
    fit(model, tmp_path, examples=examples, optimizer="sgd", lr=0.3)
    torch.testing.assert_close(rows_of(model), table.detach(), rtol=1e-5, atol=1e-5)


def by_hand(examples: list[Any], clip: float) -> Tensor:
    """Adam's first two steps on one batch, written out (Kingma and Ba, Algorithm 1)."""
    model = with_rows()
    rows = model.get_input_embeddings().rows
    first = second = torch.zeros_like(rows)
    inputs, labels = tiny.batch(examples)
    for step in (1, 2):
        loss = tiny.plain_loss(model, inputs, labels) / (labels != -100).sum()
        (grad,) = torch.autograd.grad(loss, [rows])
        norm = float(grad.norm())
        grad = grad * min(1.0, clip / (norm + 1e-6))
        first = 0.9 * first + 0.1 * grad
        second = 0.999 * second + 0.001 * grad**2
        mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
        rows.data -= 0.02 * mean / (square.sqrt() + 1e-8)
    return rows.detach()


def test_two_steps_equal_adam_by_hand(tmp_path: Path) -> None:
    examples, model = tiny.examples(4), with_rows()
    fit(model, tmp_path, examples=examples, schedule="constant", max_grad_norm=0.05)
    torch.testing.assert_close(rows_of(model), by_hand(examples, 0.05), rtol=1e-4, atol=1e-5)


def test_sgd_and_label_smoothing(tmp_path: Path) -> None:
    examples, model = tiny.examples(4), with_rows()
    fit(
        model, tmp_path, examples=examples, epochs=1, optimizer="sgd", lr=0.5,
        criterion="label_smoothed_cross_entropy", label_smoothing=0.3, max_grad_norm=0.0,
    )  # fmt: skip
    other = with_rows()
    rows = other.get_input_embeddings().rows
    inputs, labels = tiny.batch(examples)
    loss = tiny.plain_loss(other, inputs, labels, smoothing=0.3) / (labels != -100).sum()
    (grad,) = torch.autograd.grad(loss, [rows])
    torch.testing.assert_close(rows_of(model), (rows - 0.5 * grad).detach(), rtol=1e-5, atol=1e-6)


def test_plugins_are_used(tmp_path: Path, registered: None) -> None:
    seen: list[str] = []

    @register_optimizer("backwards")
    def backwards(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
        seen.append(f"{len(parameters)} at {config.lr}")
        return torch.optim.SGD(parameters, lr=config.lr, maximize=True)

    @register_criterion("squared")
    def squared(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        assert logits.dtype is torch.float32 and logits.shape == (len(labels), tiny.VOCAB)
        return 2 * F.cross_entropy(logits, labels, reduction="sum")

    examples = tiny.examples(8)
    model = with_rows()
    start = mean_loss(model, examples)
    fit(model, tmp_path, examples=examples, optimizer="backwards", criterion="squared", lr=1.0)
    assert seen == ["1 at 1.0"]
    assert mean_loss(model, examples) > start
    assert log_of(tmp_path)[0]["loss"] > 1.5 * start
    with pytest.raises(RegistryError, match=r"Unknown optimizer 'adam'\. Did you mean 'adamw'"):
        fit(model, tmp_path, optimizer="adam")


def test_batches_under_a_token_budget(tmp_path: Path) -> None:
    examples, model = tiny.examples(30), with_rows()
    shapes: list[tuple[int, int]] = []
    model.register_forward_pre_hook(
        lambda _, __, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    result = fit(model, tmp_path, examples=examples, epochs=1, batch_size=100, max_tokens=40)
    shapes = shapes[1:]  # the first is the look at the logits
    assert len(shapes) == result.steps > 5
    assert sum(b for b, _ in shapes) == 30
    assert all(b * t <= 40 for b, t in shapes)
    lengths = [len(e) for e in examples]
    planned = BucketBatchSampler(lengths, 100, 40, seed=0).planned(0)
    assert [len(batch) for batch in planned] == [b for b, _ in shapes]


def test_dev_loss_after_each_epoch(tmp_path: Path) -> None:
    model, dev = with_rows("gpt2"), tiny.examples(5, seed=9)
    start = mean_loss(model, dev)
    result = fit(model, tmp_path, dev=dev, epochs=3)
    lines = log_of(tmp_path)
    notes = [(line["step"], line["dev_loss"]) for line in lines if "dev_loss" in line]
    assert [step for step, _ in notes] == [4, 8, 12]
    assert notes[-1][1] == result.dev_loss == pytest.approx(mean_loss(model, dev), rel=1e-5)
    assert result.dev_loss != pytest.approx(start)
    # measuring changes nothing: dropout goes on with the same numbers
    other = with_rows("gpt2")
    assert fit(other, tmp_path, epochs=3).dev_loss is None
    assert torch.equal(rows_of(other), rows_of(model))


def test_a_loss_that_is_not_finite(tmp_path: Path, registered: None) -> None:
    @register_criterion("breaks")
    def breaks(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return loss * math.nan if 23 in labels.tolist() else loss

    examples = [e for e in tiny.examples(60) if 23 not in e.target_ids][:11]
    bad = tiny.Example(41, [tiny.BOS, 5, 3], [23, tiny.EOS])
    model = with_rows()
    with pytest.raises(TrainingError) as caught:
        fit(model, tmp_path, examples=[*examples, bad], criterion="breaks", epochs=1)
    message = str(caught.value)
    step = len(log_of(tmp_path)) + 1
    assert message.startswith(f"The loss is nan at step {step}; training pairs of the batch")
    named = message.partition("corpus): ")[2].partition(".")[0].split(", ")
    assert "41" in named and len(named) == 4
    assert set(named) - {"41"} <= {str(e.index) for e in examples}
    assert torch.isfinite(rows_of(model)).all()


def test_a_last_update_that_is_not_finite(tmp_path: Path, registered: None) -> None:
    @register_optimizer("explodes")
    def explodes(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=math.inf)

    with pytest.raises(TrainingError, match=r"rows is not finite after step 1;"):
        fit(with_rows(), tmp_path, epochs=1, batch_size=16, optimizer="explodes")


def test_no_example(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"No training example is left; see data.max_length"):
        fit(with_rows(), tmp_path, examples=[])


def test_a_model_whose_logits_are_its_own_is_refused_at_once(tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    class Loud(LlamaForCausalLM):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            output.logits = output.logits * 2
            return output

    model = with_rows()
    model.__class__ = Loud
    with pytest.raises(ModelError, match="Loud changes the logits"):
        fit(model, tmp_path)


def test_gradient_checkpointing_gives_the_same_rows(tmp_path: Path) -> None:
    made = []
    for checkpointing in (False, True):
        model = with_rows("gemma3", scope="tied")
        fit(model, tmp_path, epochs=1, gradient_checkpointing=checkpointing)
        made.append(rows_of(model))
    torch.testing.assert_close(made[0], made[1], rtol=1e-5, atol=1e-6)
    assert not model.is_gradient_checkpointing


@pytest.mark.parametrize(("kind", "tied"), [("llama", False), ("gemma3", True)])
def test_full_tuning_in_bfloat16_keeps_a_float32_master(
    kind: str, tied: bool, tmp_path: Path
) -> None:
    model = tiny.model(kind, tied=tied, dtype=torch.bfloat16)
    # as from_pretrained leaves them: RoPE's frequencies stay in float32
    frequencies = {n: b for n, b in model.named_buffers() if n.endswith("inv_freq")}
    for name in frequencies:
        owner = model.get_submodule(name.rpartition(".")[0])
        setattr(owner, name.rpartition(".")[2], frequencies[name].float() * 1.0001)
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    tuner = FullTuner(None)
    context = TuningContext(model, tiny.tokenizer(), 0)
    parameters = tuner.apply(context)
    assert {p.dtype for p in parameters} == {torch.float32} and tuner.autocast is torch.bfloat16
    half: list[float] = []

    def keep() -> None:
        moved = [(p.detach() - before[n].float()).abs() for n, p in model.named_parameters()]
        half.append(max(float(m.max()) for m in moved))

    settings: dict[str, Any] = {"lr": 2e-5, "schedule": "constant", "epochs": 10}
    result = fit(model, tmp_path, autocast=tuner.autocast, tracker=At(1, keep), **settings)
    # a step of 2e-5 is far below bfloat16's spacing at 0.2 (1e-3), and forty of them are not
    assert result.steps == 40 and 1e-5 < half[0] < 3e-5
    tuner.finish(model)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    changed = sum(int((p != before[n]).sum()) for n, p in model.named_parameters())
    assert changed > 100
    for name, buffer in model.named_buffers():
        assert buffer.dtype is buffers[name].dtype and torch.equal(buffer, buffers[name]), name
    # and it comes back as it was saved
    assert tuner.save(context, tmp_path) == tmp_path / "model"
    fresh = tiny.model(kind, tied=tied, dtype=torch.bfloat16)
    for name, _ in list(fresh.named_buffers()):
        owner = fresh.get_submodule(name.rpartition(".")[0])
        setattr(owner, name.rpartition(".")[2], buffers[name])
    FullTuner(None).restore(fresh, tmp_path)
    assert torch.equal(fresh(tiny.ids()).logits, model(tiny.ids()).logits)


def test_full_tuning_of_a_float32_model_equals_plain_torch(tmp_path: Path) -> None:
    examples = tiny.examples(4)
    model, other = tiny.model(tied=True), tiny.model(tied=True).requires_grad_(True)
    tuner = FullTuner(None)
    tuner.apply(TuningContext(model, None, 0))
    assert tuner.autocast is None
    settings = {"optimizer": "sgd", "lr": 0.5, "max_grad_norm": 0.0, "epochs": 1}
    fit(model, tmp_path, examples=examples, **settings)
    tuner.finish(model)
    inputs, labels = tiny.batch(examples)
    (tiny.plain_loss(other, inputs, labels) / (labels != -100).sum()).backward()
    for (name, ours), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        wanted = (theirs - 0.5 * theirs.grad).detach()
        torch.testing.assert_close(ours.detach(), wanted, rtol=1e-5, atol=1e-6, msg=name)


def test_the_log_without_a_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(with_rows(), tmp_path)
    lines = capfd.readouterr().err.splitlines()
    assert any(line.startswith("test: step 8 of 8, loss ") for line in lines)
    assert steps_of(tmp_path) == list(range(1, 9))
