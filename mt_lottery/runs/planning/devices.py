"""Which device a run is on."""

from __future__ import annotations

import torch

from mt_lottery.errors import ConfigError, plural
from mt_lottery.system import parallel
from mt_lottery.system.values import device_name


def pick_device(wanted: str) -> str:
    """The device of ``device=auto|cpu|cuda|cuda:N|mps``, as every command and function takes it.

    Each of several processes takes the GPU of its number on its machine.

    Raises:
        ConfigError: no device is called so, or it is not there; with what is there.
    """
    try:
        device_name(wanted)
    except ValueError as error:
        raise ConfigError(f"`device` {error} Here: {', '.join(devices())}.") from None
    if parallel.started():
        return _pick_own(wanted)
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(wanted.partition(":")[2] or 0)
        if index >= count:
            raise ConfigError(
                f"`device` is {wanted}, but PyTorch sees {plural(count, 'CUDA device')}; allowed "
                f"here: {', '.join(devices())}."
            )
        torch.cuda.set_device(index)  # where libraries ask for no more than "cuda"
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            f"`device` is mps, but PyTorch has none; allowed here: {', '.join(devices())}."
        )
    return wanted


def devices() -> list[str]:
    """What ``device`` may be on this machine."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    numbered = ["cuda", *(f"cuda:{i}" for i in range(count))] if count else []
    return ["auto", "cpu", *numbered, *(["mps"] if torch.backends.mps.is_available() else [])]


def _pick_own(wanted: str) -> str:
    """As :func:`pick_device`, for one of the processes that torchrun started."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"`device` is {wanted}, but under torchrun each process takes a device of its own; "
            "allowed: auto, cpu, cuda."
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and count == 0):
        return "cpu"
    index, here = parallel.local()
    if here > count:
        raise ConfigError(
            f"`device` is {wanted}, but this machine has {plural(count, 'CUDA device')} for "
            f"{plural(here, 'process')}: --nproc-per-node may be {count}, or give device=cpu."
        )
    torch.cuda.set_device(index)
    return f"cuda:{index}"
