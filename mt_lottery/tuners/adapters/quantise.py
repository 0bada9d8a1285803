"""A model's linear layers in 4 bits (bitsandbytes NF4), in place."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from mt_lottery.errors import TuningError
from mt_lottery.model.folder.quantised import keep_differentiable
from mt_lottery.model.reach import text_modules


def quantise(model: Any, *, double: bool = True) -> None:
    """Put each linear layer but the output head into NF4, one after the other.

    The layers are those, and the numbers in them are, what transformers makes of
    ``BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")``.  Weights on the
    meta device stay as they are: there is nothing to quantise, and nothing but shapes counts.

    Args:
        model: a causal LM in float32, bfloat16 or float16; computes in that dtype.
        double: quantise the blocks' scales too.

    Raises:
        TuningError: there is no linear layer, bitsandbytes cannot quantise on this device,
            or a layer did not come out quantised.
    """
    from bitsandbytes.nn import Linear4bit, Params4bit

    head = model.get_output_embeddings()
    layers = {
        name: module
        for name, module in text_modules(model).items()
        if type(module) is nn.Linear and module is not head
    }
    if not layers:
        raise TuningError(
            f"{type(model).__name__} has no linear layer that bitsandbytes can quantise; "
            "use recipe=lora."
        )
    if any(layer.weight.is_meta for layer in layers.values()):
        return
    for name, layer in layers.items():
        weight = layer.weight.data
        made = Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=False,
            compute_dtype=weight.dtype,
            compress_statistics=double,
            quant_type="nf4",
            device="meta",
        )
        made.weight = Params4bit(
            weight.cpu().contiguous(),
            requires_grad=False,
            compress_statistics=double,
            quant_type="nf4",
            module=made,
        )
        made.bias = layer.bias
        try:
            made.to(weight.device)  # quantises
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            raise TuningError(
                f"bitsandbytes cannot quantise {name} on {weight.device}: {error}. "
                "Use recipe=lora, or another device."
            ) from error
        held: Any = made.weight
        if held.quant_state is None or held.dtype is not torch.uint8:
            raise TuningError(f"bitsandbytes left {name} as it was on {weight.device}.")
        replace_layer(model, name, made.train(layer.training))
    keep_differentiable(model)
    model.is_loaded_in_4bit = True  # what PEFT asks for


def quantised_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name → module of every layer in 4 bits."""
    from bitsandbytes.nn import Linear4bit  # PEFT has a wrapper of the same name

    return {n: m for n, m in model.named_modules() if type(m) is Linear4bit}


def dequantised(layer: Any) -> Tensor:
    """What a layer in 4 bits computes with, [out, in], in its compute dtype."""
    from bitsandbytes.functional import dequantize_4bit

    weight = layer.weight
    wide: Tensor = dequantize_4bit(weight.data, weight.quant_state)
    return wide.to(layer.compute_dtype or wide.dtype)


def plain_layer(layer: Any, added: Any = 0.0) -> nn.Linear:
    """A float32 linear layer that computes what one in 4 bits does.

    Args:
        layer: bitsandbytes' ``Linear4bit``.
        added: to its weight, [out, in].
    """
    made = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    made.weight = nn.Parameter(dequantised(layer).float() + added, requires_grad=False)
    made.bias = layer.bias
    return made


def replace_layer(model: nn.Module, name: str, made: nn.Module) -> None:
    """Put another module where ``name`` is."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, made)


def dequantise(model: Any) -> None:
    """Undo :func:`quantise`, in place, in float32; what rounding to 4 bits lost stays lost."""
    for name, layer in quantised_layers(model).items():
        replace_layer(model, name, plain_layer(layer))
    vars(model).pop("is_loaded_in_4bit", None)


def memory_bytes(model: nn.Module, *, trained: bool) -> int:
    """Bytes of a model's tensors, quantisation's scales included.

    Args:
        model: any module.
        trained: count parameters that require a gradient too.
    """
    tensors: dict[int, Tensor] = {}
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if not tensor.requires_grad or trained:
            tensors[tensor.untyped_storage().data_ptr()] = tensor
    layers: list[Any] = list(quantised_layers(model).values())
    for layer in layers:
        state = layer.weight.quant_state
        for part in (state, getattr(state, "state2", None)):
            for tensor in vars(part).values() if part is not None else ():
                if isinstance(tensor, Tensor):
                    tensors[tensor.untyped_storage().data_ptr()] = tensor
    return sum(t.untyped_storage().nbytes() for t in tensors.values())
