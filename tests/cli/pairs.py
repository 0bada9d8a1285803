"""A model folder and a second one that differs from it in known ways."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

MOVED = (
    3,
    7,
    40,
    41,
    99,
    250,
    300,
    301,
    302,
    303,
    400,
    401,
    402,
    420,
    500,
    501,
    502,
    550,
    598,
    599,
)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor in a folder's files, read by safetensors alone."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    return found


def changed(
    source: Path,
    out: Path,
    change: Callable[[Any], None],
    *,
    dtype: torch.dtype | None = None,
    shard: str = "1GB",
) -> Path:
    """A copy of a model folder after ``change(model)``."""
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype or "auto")
    with torch.no_grad():
        change(model)
    model.save_pretrained(out, max_shard_size=shard)
    for file in source.glob("token*"):
        shutil.copy(file, out)
    return out


def move_rows(model: Any) -> None:
    """Row MOVED[i] of the input table gets noise, the more the larger i is."""
    table = model.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(1)
    for place, row in enumerate(MOVED):
        noise = torch.randn(table.shape[1], generator=generator) * 0.03 * (place + 1)
        table[row] += noise.to(table.dtype)


def numbers(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """As float64: holds every smaller float exactly."""
    return tensor.double().numpy()
