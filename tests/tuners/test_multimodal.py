"""Models with towers for pictures or sound: only what text passes through is tuned and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import tiny
import torch
import transformers

from mt_lottery.config import TrainConfig, TunerConfig
from mt_lottery.errors import TuningError
from mt_lottery.model.folder.checkpoint import auto_class
from mt_lottery.model.reach import is_text_only, text_modules, text_parameters
from mt_lottery.registry import TUNERS
from mt_lottery.training.trainer import train
from mt_lottery.tuners.adapters.quantise import quantised_layers
from mt_lottery.tuners.base import TuningContext

pytestmark = pytest.mark.slow

DIM = 64  # bitsandbytes works in blocks of 64 values
TOWERS = ("vision", "projector", "visual")
ROWS = 96  # another number than DIM: PEFT guesses the word embeddings by their length


def gemma3() -> Any:
    shape = {
        "hidden_size": DIM, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }  # fmt: skip
    text = {
        **shape, "vocab_size": ROWS, "num_key_value_heads": 1, "head_dim": 32,
        "initializer_range": 0.2, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    config = transformers.Gemma3Config(
        text_config=text,
        vision_config={**shape, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4, image_token_index=95, boi_token_index=94, eoi_token_index=93,
    )  # fmt: skip
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def got_ocr() -> Any:
    torch.manual_seed(0)
    config = transformers.GotOcr2Config(
        text_config={
            "model_type": "qwen2", "hidden_size": DIM, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
            "vocab_size": ROWS, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
            "tie_word_embeddings": True,
        },
        vision_config={
            "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "mlp_dim": 16,
            "global_attn_indexes": [0], "window_size": 2,
        },
        image_token_index=95,
    )  # fmt: skip
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def wrapped(config: Any) -> Any:
    torch.manual_seed(0)
    return auto_class(config).from_config(config).eval()


TEXT: dict[str, Any] = {
    "hidden_size": DIM, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": ROWS, "initializer_range": 0.2, "pad_token_id": 0,
    "eos_token_id": 1, "bos_token_id": 2,
}  # fmt: skip


def llava() -> Any:
    vision = {
        "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    text = {**TEXT, "model_type": "llama", "head_dim": 32}
    return wrapped(
        transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=95)
    )


def qwen2_vl() -> Any:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]}
    vision = {
        "depth": 1, "embed_dim": 16, "hidden_size": DIM, "num_heads": 2, "mlp_ratio": 2,
        "patch_size": 14,
    }  # fmt: skip
    config = transformers.Qwen2VLConfig(
        text_config={**TEXT, "model_type": "qwen2_vl_text", "rope_parameters": rope},
        vision_config=vision, image_token_id=95, video_token_id=94, vision_start_token_id=93,
        vision_end_token_id=92,
    )  # fmt: skip
    return wrapped(config)


KINDS = {"gemma3": gemma3, "got_ocr2": got_ocr, "llava": llava, "qwen2_vl": qwen2_vl}


def apply(name: str, model: Any, **settings: Any) -> tuple[Any, TuningContext, list[Any]]:
    schema = TUNERS.dataclass_of(name) or TunerConfig
    tuner = TUNERS.get(name)(schema(name, **settings))
    context = TuningContext(model, tiny.tokenizer(), 0, examples=[("w5 w6 w7", " w8")])
    return tuner, context, tuner.apply(context)


def outside(model: Any) -> set[str]:
    return dict(model.named_parameters()).keys() - text_parameters(model).keys()


@pytest.mark.parametrize("kind", KINDS)
def test_the_towers_are_out_of_reach(kind: str) -> None:
    model = KINDS[kind]()
    assert not is_text_only(model)
    reached = text_parameters(model)
    # the outside oracle: gradients of a text's logits
    model.requires_grad_(True)
    model(input_ids=tiny.ids()).logits.pow(2).sum().backward()
    assert set(reached) == {n for n, p in model.named_parameters() if p.grad is not None}
    assert 0 < len(reached) < len(list(model.parameters()))
    weighty = [n for n, m in text_modules(model).items() if list(m.parameters())]
    assert not [n for n in weighty if any(part in n for part in TOWERS)]
    with torch.device("meta"):
        meta = auto_class(model.config).from_config(model.config)
    assert set(text_parameters(meta)) == set(reached)
    assert not any(p.requires_grad is False for p in meta.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["lora", "qlora", "full", "prefix", "prompt"])
def test_only_what_text_reaches_is_tuned(kind: str, method: str, tmp_path: Path) -> None:
    model = KINDS[kind]()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    far = outside(model)
    tuner, context, trained = apply(method, model)
    names = [n for n, p in context.model.named_parameters() if p.requires_grad]
    assert trained and not [n for n in names if any(part in n for part in TOWERS)]
    with torch.device("meta"):
        shape = wrapped(KINDS[kind]().config)
    assert tuner.count(shape) == tuner.trainable_parameters(context)
    if method == "qlora":
        assert not [n for n in quantised_layers(context.model) if "vision" in n]
    start = [p.detach().clone() for p in trained]
    train(
        context.model, TrainConfig(epochs=1, lr=1e-2), tiny.examples(), pad_id=0,
        seed=0, folder=tmp_path / "checkpoints", log=tmp_path / "log.jsonl", title=method,
    )  # fmt: skip
    assert any(not torch.equal(a, b) for a, b in zip(start, trained, strict=True))
    base = context.model.get_base_model() if method != "full" else context.model
    after = dict(base.named_parameters())
    changed = [n for n in far if not torch.equal(before[n], after[n])]
    assert changed == []
    with torch.no_grad():
        scored = context.model(input_ids=tiny.ids()).logits
    tuner.save(context, tmp_path)
    if method != "qlora":
        plain = KINDS[kind]()
        restored = tuner.restore(plain, tmp_path)
        assert torch.equal(restored(input_ids=tiny.ids()).logits, scored)
    if method == "lora":
        own = peft.PeftModel.from_pretrained(KINDS[kind](), str(tmp_path / "adapter"))
        assert torch.equal(own(input_ids=tiny.ids()).logits, scored)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["oft", "ia3", "ln_tuning", "lora"])
def test_methods_of_peft_leave_the_towers_alone(kind: str, method: str, tmp_path: Path) -> None:
    settings = {"target_modules": ["all-linear"]} if method == "lora" else {}
    if kind == "qwen2_vl" and method in ("ia3", "ln_tuning"):
        with pytest.raises(TuningError, match="PEFT lists no layers of qwen2_vl"):
            apply("peft", KINDS[kind](), method=method)
        return
    tuner, context, trained = apply("peft", KINDS[kind](), method=method, **settings)
    names = [n for n, p in context.model.named_parameters() if p.requires_grad]
    assert trained and not [n for n in names if any(part in n for part in TOWERS)]
    for parameter in trained:
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        scored = context.model(input_ids=tiny.ids()).logits
    tuner.save(context, tmp_path)
    restored = tuner.restore(KINDS[kind](), tmp_path)
    assert torch.equal(restored(input_ids=tiny.ids()).logits, scored)
    if method == "ia3":
        listed = context.model.peft_config["default"].feedforward_modules
        assert len(listed) == 2 and all(name.endswith("down_proj") for name in listed)


def test_a_layer_of_a_tower_is_refused() -> None:
    with pytest.raises(TuningError, match=r"no text passes through model.vision_tower"):
        apply("layer", gemma3(), module="vision_tower")


@pytest.mark.parametrize("module", ["", " ", ".", "layers.", ".layers.0", "layers..0", "0 "])
def test_a_module_without_a_name_is_refused(module: str) -> None:
    with pytest.raises(TuningError, match=r"tuner\.module="):
        apply("layer", tiny.model("llama"), module=module)
