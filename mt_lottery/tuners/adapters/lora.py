"""``lora`` and ``qlora``: low-rank updates beside frozen (or quantised) layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mt_lottery.config import TunerConfig, setting
from mt_lottery.errors import TuningError
from mt_lottery.model.folder.saving import cast
from mt_lottery.model.reach import is_text_only
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.adapters.base import (
    PeftTuner,
    check_targets,
    query_and_value_layers,
)
from mt_lottery.tuners.adapters.quantise import (
    dequantise,
    memory_bytes,
    plain_layer,
    quantise,
    quantised_layers,
    replace_layer,
)
from mt_lottery.tuners.base import TuningContext

MOST_RANK = 2**16  # the widest layers there are; see check_rank for a model's own

QUANTISED_NOTE = """
It was trained over a base in 4 bits (bitsandbytes NF4; the output head is not quantised).
Load the base the same way for the same translations:

    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    base_model = AutoModelForCausalLM.from_pretrained(
        "{base}",
        dtype={dtype},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant={double},
            bnb_4bit_compute_dtype={dtype},
        ),
    )
"""


@dataclass
class LoraConfig(TunerConfig):
    """Settings of LoRA (Hu et al. 2022); the defaults are the paper's (§3, Table 2)."""

    r: int = setting(8, "rank of the update", ge=1, le=MOST_RANK)
    lora_alpha: float = setting(16.0, "the update is scaled by lora_alpha / r", gt=0.0)
    lora_dropout: float = setting(0.0, "dropout before the update", ge=0.0, lt=1.0)
    target_modules: list[str] = setting(
        (), "names of the layers it is put on [the attention's query and value layers]"
    )


def check_rank(model: Any, layers: dict[str, nn.Module], targets: list[str], rank: int) -> None:
    """Refuse a rank beyond both dimensions of every target: it costs memory and adds nothing.

    Raises:
        TuningError: it says what the largest is.
    """
    widest = max(max(_in_out(layer)) for layer in layers.values())
    allowed = max(widest, 64)  # the recipes' ranks go with models of any width
    if rank > allowed:
        raise TuningError(
            f"tuner.r={rank}: the widest of {', '.join(targets)} in {type(model).__name__} is "
            f"{widest}; allowed: 1 to {allowed}."
        )


@register_tuner("lora", dataclass=LoraConfig)
class LoraTuner(PeftTuner):
    """Train A and B of W + (lora_alpha / r) · B·A on the attention's query and value layers."""

    @property
    def search_space(self) -> dict[str, list[Any]]:
        return {
            "train.lr": [3e-4, 1e-3, 3e-3],
            "train.epochs": [2, 4],
            "tuner.r": [8, 32],
        }

    def peft_config(self, model: Any) -> Any:
        import peft

        config = self.config
        targets = list(config.target_modules) or query_and_value_layers(model)
        layers = check_targets(model, targets)
        check_rank(model, layers, targets, config.r)
        if not is_text_only(model):  # towers that text never enters use the same names
            targets = list(layers)
        conv = any(type(m).__name__ == "Conv1D" for m in model.modules())
        return peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=config.r,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=targets,
            fan_in_fan_out=conv,  # GPT-2 keeps its weights transposed
        )


@dataclass
class QloraConfig(LoraConfig):
    """Settings of QLoRA (Dettmers et al. 2023); the rank is the paper's (Table 2)."""

    r: int = setting(32, "rank of the update", ge=1, le=MOST_RANK)
    double_quantisation: bool = setting(True, "quantise the blocks' scales too")


@register_tuner("qlora", dataclass=QloraConfig, needs=["bitsandbytes>=0.46"])
class QloraTuner(LoraTuner):
    """LoRA over a base whose linear layers, but for the output head, are in 4 bits (NF4)."""

    over_quantised = False
    quantises = True

    @property
    def undivided(self) -> str | None:
        return "its weights are in 4 bits, and FSDP2 divides plain ones"

    def note(self, model: Any, base: str) -> str:
        dtype = model.get_base_model().get_input_embeddings().weight.dtype
        double = self.config.double_quantisation
        return QUANTISED_NOTE.format(base=base, dtype=dtype, double=double)

    def prepare(self, model: Any) -> None:
        quantise(model, double=self.config.double_quantisation)

    def merge(self, model: Any, dtype: torch.dtype) -> Any:
        from peft.tuners.lora import LoraLayer

        base = model.get_base_model()
        for name, layer in list(base.named_modules()):
            if isinstance(layer, LoraLayer):
                delta = sum(layer.get_delta_weight(a).float() for a in layer.active_adapters)
                replace_layer(base, name, plain_layer(layer.base_layer, delta))
        dequantise(base)
        return cast(base, dtype)

    def details(self, context: TuningContext) -> dict[str, Any]:
        layers = quantised_layers(context.model)
        return {
            "quantization": {
                "method": "nf4",
                "double_quantization": self.config.double_quantisation,
                "layers": len(layers),
                "parameters": sum(math.prod(_in_out(layer)) for layer in layers.values()),
                "not_quantized": ["input embedding", "output head", "norms"],
                "base_bytes": memory_bytes(context.model, trained=False),
            }
        }


def _in_out(layer: Any) -> tuple[int, int]:
    if hasattr(layer, "in_features"):  # quantised weights are packed: their shape says less
        return int(layer.in_features), int(layer.out_features)
    rows, columns = layer.weight.shape
    return int(rows), int(columns)
