"""Models whose weights arrive quantised (bitsandbytes, GPTQ, AWQ, fp8 …).

Their configuration says so before anything is loaded. Adapters beside such weights can be
trained; the weights themselves cannot, nor can anything be merged into them.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass
from typing import Any

from mt_lottery.errors import ModelError, TuningError
from mt_lottery.system.quiet import transformers_errors

#: Methods that train beside quantised weights, for messages.
BESIDE = ("lora", "prefix", "prompt", "ks_lottery", "embed", "eos_bias", "none")


@dataclass(frozen=True)
class Quantisation:
    """How a model's weights are stored.

    Attributes:
        shown: for messages, ``bitsandbytes, 4 bits``.
        differentiable: transformers lets gradients through layers of this kind.
    """

    shown: str
    differentiable: bool


def quantisation(config: Any) -> Quantisation | None:
    """What a transformers configuration says of quantised weights; None for plain ones.

    Formats that transformers turns into plain weights while it loads them (mxfp4 and fp8 on a
    CPU) count as plain.
    """
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        stored = getattr(config.get_text_config(), "quantization_config", None)
    if stored is None:
        return None
    settings: dict[str, Any] = stored if isinstance(stored, dict) else stored.to_dict()
    if not _is_known(settings):  # transformers ignores it, with a warning
        return None
    quantizer = _quantizer(stored)
    if getattr(getattr(quantizer, "quantization_config", None), "dequantize", False):
        return None
    differentiable = True  # where that cannot be known, loading will report it
    with contextlib.suppress(Exception):
        differentiable = quantizer is None or bool(quantizer.is_trainable)
    return Quantisation(_shown(settings), differentiable)


def _is_known(settings: dict[str, Any]) -> bool:
    from transformers.quantizers.auto import AutoHfQuantizer

    with transformers_errors():  # it warns again when it loads
        try:
            return bool(AutoHfQuantizer.supports_quant_method(settings))
        except Exception:  # no method in it at all: loading will report it
            return False


def _shown(settings: dict[str, Any]) -> str:
    raw = settings.get("quant_method") or "an unknown method"
    method = str(getattr(raw, "value", raw))
    bits = settings.get("bits") or settings.get("w_bit")
    bits = 4 if settings.get("load_in_4bit") else 8 if settings.get("load_in_8bit") else bits
    return method if bits is None else f"{method}, {bits} bits"


def _quantizer(stored: Any) -> Any:
    """What transformers would load the weights with, as far as this machine can tell."""
    from transformers.quantizers.auto import AutoHfQuantizer

    made = None
    with (
        transformers_errors(),
        contextlib.suppress(Exception),
    ):  # loading will report what is missing
        made = AutoHfQuantizer.from_config(copy.deepcopy(stored), pre_quantized=True)
        made.validate_environment(device_map=None, weights_only=True)
    return made


def is_quantised(model: Any) -> bool:
    """Whether a loaded model's weights are quantised (wrapped by PEFT or not)."""
    return bool(getattr(model, "is_quantized", False)) or bool(
        getattr(model, "is_loaded_in_4bit", False)
    )


def keep_differentiable(model: Any) -> None:
    """Keep bitsandbytes from repacking weights of 4 bits, on CPUs with AVX512-BF16.

    It does so in the first forward pass without gradients (an evaluation, the original model's
    translations), and what was repacked has no backward pass: no adapter would get a gradient.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def check_trainable(method: str, over_quantised: bool, where: str, found: Quantisation) -> None:
    """Refuse a tuning method that cannot do its work on quantised weights.

    Args:
        method: its name.
        over_quantised: it trains beside the weights and leaves them as they are.
        where: the model, for the message.
        found: how its weights are stored.

    Raises:
        TuningError: with the methods that would work.
    """
    arrives = f"{where}: its weights arrive quantised ({found.shown})"
    if not over_quantised:
        why = (
            "and qlora quantises plain ones; recipe=lora trains over them as they are"
            if method == "qlora"
            else f"and recipe={method} would have to train those"
        )
        raise TuningError(
            f"{arrives}, {why}. Allowed: {', '.join(BESIDE)}; or the unquantised original of the "
            "model."
        )
    if not found.differentiable:
        raise TuningError(
            f"{arrives}, and transformers has no gradients for that format, so nothing can be "
            "trained beside them. Allowed: none, first_line_stop, forced_prefix, few_shot, "
            "few_shot_bm25; or the unquantised original."
        )


def refuse_merging(where: str, found: Quantisation | None) -> None:
    """Refuse to write into quantised weights.

    Raises:
        ModelError: ``found`` is a quantisation.
    """
    if found is not None:
        raise ModelError(
            f"{where}: its weights are quantised ({found.shown}), and nothing can be merged or "
            "copied into those. Use its unquantised original; or translate with the run as it is: "
            "mt-translate --run, mtl.load_tuned."
        )
