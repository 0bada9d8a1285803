"""Fused kernels for a model's norms, rotary positions and MLPs, for the time of a training."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mt_lottery.errors import ConfigError

NEEDS = "liger-kernel"
#: Liger would replace these too; mt-lottery's own loss makes no logits of a whole batch either.
LEFT_ALONE = {"cross_entropy": False, "fused_linear_cross_entropy": False}


def problems_with_kernels(section: str, kernels: str, device: str) -> list[str]:
    """What keeps the kernels of a section (``train``, ``probe``) from running here."""
    if kernels == "torch":
        return []
    said = f"`{section}.kernels` is {kernels}"
    if not device.startswith("cuda"):
        return [f"{said}, whose kernels need an NVIDIA or AMD GPU; allowed on {device}: torch."]
    try:
        importlib.metadata.version(NEEDS)
    except importlib.metadata.PackageNotFoundError:
        return [f"{said}, which needs {NEEDS}, not installed here: pip install {NEEDS}"]
    return []


def check_kernels(model: Any, *kernels: str) -> None:
    """Make sure that Liger knows the model's architecture.

    Raises:
        ConfigError: it does not; with the architectures that it knows.
    """
    if "liger" not in kernels:
        return
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN as known

    kind = model.config.model_type
    if kind not in known:
        raise ConfigError(
            f"`train.kernels` is liger, which has none for {kind}; it has them for "
            f"{', '.join(sorted(known))}. Allowed for {kind}: torch."
        )


@contextmanager
def fused(model: Any, kernels: str) -> Iterator[None]:
    """Liger's kernels in a model while it is trained; after it the model is as it was.

    They stand for the modules' own code, forward and backward: RMSNorm, rotary positions, SwiGLU
    or GeGLU, each in one kernel that keeps less for backward (Hsu et al. 2024, arXiv 2410.10989).
    Rotary positions are a function of the architecture's module: meanwhile, any other model of
    that architecture in this process has Liger's too.

    Args:
        model: a transformers causal LM, or PEFT's wrapper of one, on a GPU.
        kernels: ``torch``, which changes nothing, or ``liger``.
    """
    if kernels == "torch":
        yield
        return
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = vars(sys.modules[type(base).__module__])
    # Liger puts its methods and settings beside a module's own, and its functions over the names
    before = [(vars(part), dict(vars(part))) for part in base.modules()]
    before.append((names, dict(names)))
    try:
        _apply_liger_kernel_to_instance(base, **LEFT_ALONE)
        yield
    finally:
        for now, then in before:
            for name in now.keys() - then.keys():
                del now[name]
            now.update(then)
