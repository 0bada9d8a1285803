"""The trained parameters of a model, and their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from mt_lottery.errors import TrainingError, TuningError
from mt_lottery.model.sharding import is_part, parted_as, whole
from mt_lottery.system import parallel
from mt_lottery.tuners.adapters.tensors import check_tensors, read_tensors


def trained_parameters(model: Any) -> dict[str, nn.Parameter]:
    """Name → parameter of all that is trained."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def save_trained(model: Any, path: Path) -> None:
    """Write the trained parameters to a safetensors file; every process must ask, one writes."""
    tensors = {}
    for name, parameter in trained_parameters(model).items():
        tensor = whole(parameter.detach())
        if parallel.is_main():  # the others have given their parts
            tensors[name] = (tensor.cpu() if is_part(parameter) else tensor).contiguous()

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path)

    parallel.on_main(write)


def load_trained(model: Any, path: Path) -> None:
    """Put what :func:`save_trained` wrote into a model in which the same is trained.

    Raises:
        TrainingError: the file is damaged, or holds other parameters.
    """
    saved = read_tensors(path, TrainingError)
    trained = trained_parameters(model)
    try:
        check_tensors(saved, trained, dtypes=True)
    except TuningError as error:
        raise TrainingError(f"{path}: holds other parameters than this run's: {error}.") from error
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(parted_as(saved[name], parameter))
