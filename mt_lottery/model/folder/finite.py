"""Weights that are not finite: found when a model is loaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mt_lottery.errors import ModelError

_KINDS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_finite(model: Any, where: str) -> None:
    """Refuse a model with NaN or infinity among its weights.

    One pass over the memory that was just read, without a copy of it.

    Args:
        model: just loaded.
        where: for the message.

    Raises:
        ModelError: it names the tensor and the first such entry.
    """
    for name, parameter in model.named_parameters():
        for tensor, part in _parts(parameter):
            if not _is_finite(tensor):
                at = _first(tensor)
                raise ModelError(
                    f"{where}: the weights are damaged: {name}{part} has {float(tensor[at])} at "
                    f"{[*at]}. Copy or download the model again."
                )


def _parts(parameter: Any) -> list[tuple[Tensor, str]]:
    """What of a parameter can be checked: of one in 4 bits, the scales of its blocks."""
    data = parameter.data
    if data.dtype in _KINDS:
        return [(data, "")]
    scales = getattr(getattr(parameter, "quant_state", None), "absmax", None)
    if isinstance(scales, Tensor) and scales.dtype in _KINDS:
        return [(scales, " (scales of its blocks)")]
    return []


def _is_finite(tensor: Tensor) -> bool:
    if tensor.numel() == 0 or tensor.is_meta:
        return True
    low, high = torch.aminmax(tensor)  # NaN if there is one
    return bool(torch.isfinite(low)) and bool(torch.isfinite(high))


def _first(tensor: Tensor) -> tuple[int, ...]:
    found = (~torch.isfinite(tensor)).nonzero()[0]
    return tuple(int(i) for i in found)
