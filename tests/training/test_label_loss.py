"""The loss at the label positions against the plain computation, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from mt_lottery.config import TrainConfig
from mt_lottery.errors import ModelError
from mt_lottery.training.criteria import cross_entropy, label_smoothed_cross_entropy
from mt_lottery.training.label_loss import adjust_logits, check_logits, label_loss
from mt_lottery.tuners.rows.module import attach

pytestmark = pytest.mark.slow

ROWS = torch.tensor([9, 4, 12, 60])
CONFIG = TrainConfig(label_smoothing=0.2)
EXAMPLES = tiny.examples(5)
LABELS = sum(len(e.target_ids) for e in EXAMPLES)


def ce(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits, labels, CONFIG)


def full(model: Any) -> Any:
    return model.requires_grad_(True)


def rows(scope: str) -> Callable[[Any], Any]:
    def change(model: Any) -> Any:
        embedding = attach(model, ROWS, tied=scope == "tied")
        embedding.rows.data = embedding.rows.data.double() + 0.1
        return model

    return change


def peft(**settings: Any) -> Callable[[Any], Any]:
    def change(model: Any) -> Any:
        import peft as library

        made = library.get_peft_model(
            model, getattr(library, settings.pop("kind"))(task_type="CAUSAL_LM", **settings)
        )
        for parameter in made.parameters():
            if parameter.requires_grad:  # LoRA's B starts at 0 and would hide A
                parameter.data = torch.randn_like(parameter, dtype=torch.float64) * 0.1
        return made.eval()

    return change


LORA = {"kind": "LoraConfig", "r": 2}
METHODS: dict[str, tuple[str, bool, Callable[[], Callable[[Any], Any]]]] = {
    "full": ("llama", False, lambda: full),
    "full, tied": ("gemma3", True, lambda: full),
    "full, gpt2": ("gpt2", True, lambda: full),
    "full, soft cap": ("gemma2", True, lambda: full),
    "full, granite": ("granite", True, lambda: full),
    "full, cohere": ("cohere", True, lambda: full),
    "rows, input": ("gemma3", True, lambda: rows("input")),
    "rows, tied": ("gemma3", True, lambda: rows("tied")),
    "rows, tied, soft cap": ("gemma2", True, lambda: rows("tied")),
    "lora": ("llama", False, lambda: peft(**LORA, target_modules=["q_proj", "v_proj"])),
    "lora of the head": ("llama", False, lambda: peft(**LORA, target_modules=["lm_head"])),
    "prefix": ("llama", False, lambda: peft(kind="PrefixTuningConfig", num_virtual_tokens=3)),
    "prompt": ("llama", False, lambda: peft(kind="PromptTuningConfig", num_virtual_tokens=3)),
}
EXTRA = {
    "gemma2": {"final_logit_softcapping": 3.0},
    "granite": {"logits_scaling": 4.0},
    "cohere": {"logit_scale": 0.25},
}


def build(method: str) -> Any:
    kind, tied, change = METHODS[method]
    extra = EXTRA.get(kind, {})
    return change()(tiny.model(kind, tied=tied, dtype=torch.float64, **extra))


def gradients(model: Any) -> dict[str, Tensor]:
    found = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert found and all(g is not None for g in found.values())
    model.zero_grad(set_to_none=True)
    return {n: g for n, g in found.items() if g is not None}


@pytest.mark.parametrize("method", METHODS)
def test_value_and_gradients_equal_the_plain_computation(method: str) -> None:
    model = build(method)
    inputs, labels = tiny.batch(EXAMPLES)
    wanted = tiny.plain_loss(model, inputs, labels)
    wanted.backward()
    grads = gradients(model)
    for positions in (1, 3, LABELS, 1000):
        loss = label_loss(model, inputs, labels, ce, chunk_logits=positions * tiny.VOCAB)
        # float64 throughout, but for RMS norms, where the library goes through float32
        torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=0)
        loss.backward()
        for name, grad in gradients(model).items():
            torch.testing.assert_close(grad, grads[name], rtol=1e-5, atol=1e-6, msg=name)
        with torch.no_grad():
            loss = label_loss(model, inputs, labels, ce, chunk_logits=positions * tiny.VOCAB)
        assert not loss.requires_grad
        torch.testing.assert_close(loss, wanted.detach(), rtol=1e-6, atol=0)


def test_float64_to_the_last_digits() -> None:
    model = build("full, gpt2")  # no float32 anywhere in it
    inputs, labels = tiny.batch(EXAMPLES)
    wanted = tiny.plain_loss(model, inputs, labels)
    wanted.backward()
    grads = gradients(model)
    loss = label_loss(model, inputs, labels, ce, chunk_logits=3 * tiny.VOCAB)
    loss.backward()
    assert loss.dtype is torch.float64
    torch.testing.assert_close(loss, wanted, rtol=1e-13, atol=0)
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, grads[name], rtol=1e-11, atol=1e-11, msg=name)


@pytest.mark.parametrize("scale", [0.25, -3.0])
def test_gradient_is_scaled_by_what_comes_after(scale: float) -> None:
    model = build("full, tied")
    inputs, labels = tiny.batch(EXAMPLES)
    (tiny.plain_loss(model, inputs, labels) * scale).backward()
    grads = gradients(model)
    (label_loss(model, inputs, labels, ce, chunk_logits=128) * scale).backward()
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, grads[name], rtol=1e-5, atol=1e-6, msg=name)


def test_label_smoothing_equals_torch() -> None:
    model = build("rows, tied")
    inputs, labels = tiny.batch(EXAMPLES)
    wanted = tiny.plain_loss(model, inputs, labels, smoothing=0.2)
    wanted.backward()
    grads = gradients(model)
    loss = label_loss(
        model,
        inputs,
        labels,
        lambda logits, wanted: label_smoothed_cross_entropy(logits, wanted, CONFIG),
        chunk_logits=200,
    )
    torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=0)
    loss.backward()
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, grads[name], rtol=1e-5, atol=1e-6)
    # ε = 0.2 spreads a fifth of the mass over all V
    logits = torch.randn(3, 7, dtype=torch.float64)
    target = torch.tensor([0, 6, 3])
    logp = logits.log_softmax(-1)
    by_hand = -(0.8 * logp[range(3), target] + 0.2 * logp.mean(-1)).sum()
    torch.testing.assert_close(label_smoothed_cross_entropy(logits, target, CONFIG), by_hand)


class HeadRows:
    """Counts the positions whose logits are computed."""

    def __init__(self, head: nn.Module) -> None:
        self.rows: list[int] = []
        head.register_forward_hook(
            lambda _, __, out: self.rows.append(out.numel() // out.shape[-1])
        )


@pytest.mark.parametrize("method", ["full, tied", "rows, tied", "lora", "prompt"])
def test_logits_are_computed_where_there_is_a_label_only(method: str) -> None:
    model = build(method)
    inputs, labels = tiny.batch(EXAMPLES)
    counted = HeadRows(model.get_output_embeddings())
    label_loss(model, inputs, labels, ce, chunk_logits=4 * tiny.VOCAB).backward()
    whole, rest = divmod(LABELS, 4)
    assert counted.rows == [0, *[4] * whole, *([rest] if rest else [])]
    assert labels.numel() > 3 * LABELS
    inputs, labels = tiny.batch(EXAMPLES[:1])
    model(**inputs)
    assert counted.rows[-1] >= labels.numel()  # the hook that cuts is gone again


def test_positions_without_a_label_contribute_nothing() -> None:
    model = build("full")
    inputs, labels = tiny.batch(EXAMPLES)
    inputs["attention_mask"] = torch.ones_like(inputs["attention_mask"])
    table = model.get_input_embeddings().weight
    table.data[63] = float("nan")  # an input that would spoil whatever reads it
    padded = inputs["input_ids"] == tiny.PAD
    assert bool(padded.any())
    clean = label_loss(model, inputs, labels, ce)
    clean.backward()
    grads = gradients(model)
    # what comes after the last label changes nothing
    for row in range(len(EXAMPLES)):
        inputs["input_ids"][row, padded[row]] = 7
    other = label_loss(model, inputs, labels, ce)
    other.backward()
    torch.testing.assert_close(other, clean, rtol=1e-12, atol=0)
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, grads[name], rtol=1e-9, atol=1e-9, msg=name)
    # one label less, one term less
    where = (labels != -100).nonzero()[0]
    logits = model(**inputs).logits[where[0], where[1] - 1].detach()
    term = ce(logits[None], labels[where[0], where[1]][None])
    labels[where[0], where[1]] = -100
    less = label_loss(model, inputs, labels, ce)
    torch.testing.assert_close(less, clean - term, rtol=1e-6, atol=0)


def test_no_label_at_all() -> None:
    model = build("rows, input")
    inputs, labels = tiny.batch(EXAMPLES)
    loss = label_loss(model, inputs, torch.full_like(labels, -100), ce)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not gradients(model)["model.embed_tokens.rows"].any()


@pytest.mark.parametrize("positions", [1, 3, 1000])
def test_bfloat16_computation_over_a_float32_master(positions: int) -> None:
    model = tiny.model("gemma3", tied=True).requires_grad_(True)
    inputs, labels = tiny.batch(EXAMPLES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = tiny.plain_loss(model, inputs, labels)
    wanted.backward()
    grads = gradients(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = label_loss(model, inputs, labels, ce, chunk_logits=positions * tiny.VOCAB)
    loss.backward()
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=0)
    for name, grad in gradients(model).items():
        room = 0.03 * float(grads[name].abs().max())
        torch.testing.assert_close(grad, grads[name], rtol=0.0, atol=room, msg=name)


@pytest.mark.parametrize(
    "kind", ["llama", "mistral", "gemma3", "qwen2", "gpt2", "gemma2", "granite", "cohere"]
)
def test_check_logits_accepts_what_is_known(kind: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = tiny.model(kind, tied=True, dtype=dtype, **EXTRA.get(kind, {}))
        check_logits(model, tiny.ids(1, 5))
        attach(model, ROWS, tied=True)
        check_logits(model, tiny.ids(1, 5))


def test_check_logits_refuses_what_is_not_known() -> None:
    from transformers import LlamaForCausalLM

    class Loud(LlamaForCausalLM):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            output.logits = output.logits * 2
            return output

    model = tiny.model()
    model.__class__ = Loud
    with pytest.raises(ModelError, match="Loud changes the logits after its output head"):
        check_logits(model, tiny.ids(1, 5))
    assert not model.lm_head._forward_hooks


def test_other_architectures_adjust_the_logits() -> None:
    from types import SimpleNamespace as Config

    logits = torch.randn(2, 5)
    for config, wanted in (
        (Config(lm_head_multiplier=0.5), logits * 0.5),
        (Config(model_type="hyperclovax", logits_scaling=2.0), logits * 2),
        (Config(model_type="granitemoe", logits_scaling=2.0), logits / 2),
        (Config(logits_soft_cap=3.0), torch.tanh(logits / 3) * 3),
        (Config(get_text_config=lambda: Config(final_logit_softcapping=2.0)),
         torch.tanh(logits / 2) * 2),
        (Config(logit_scale=None, final_logit_softcapping=None), logits),
    ):  # fmt: skip
        torch.testing.assert_close(adjust_logits(logits, config), wanted)


def test_a_model_without_an_output_head() -> None:
    from transformers import LlamaModel

    model = tiny.model()
    body = LlamaModel(model.config)
    inputs, labels = tiny.batch(EXAMPLES)
    with pytest.raises(ModelError, match="LlamaModel names no output head"):
        label_loss(body, inputs, labels, ce)
