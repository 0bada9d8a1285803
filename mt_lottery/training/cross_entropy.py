"""Cross entropy over a large vocabulary: value and gradient in one pass, a few rows at a time.

``torch.nn.functional.cross_entropy`` holds four [N, V] tables in float32 (logits,
log-probabilities and two gradients), each written to main memory and read back.
Here a block of rows is widened, turned into probabilities and into its gradient
while it lies in the processor's cache, and only the gradient, in the logits' own
dtype, is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CACHE_VALUES = 2**20  # values of a block on the CPU: 4 MiB in float32
DEVICE_VALUES = 2**25  # elsewhere, where small blocks would cost more launches than they save


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype is torch.float64 else torch.float32


def _blockwise(logits: Tensor, labels: Tensor, smoothing: float, gradient: Tensor | None) -> Tensor:
    """Summed loss; writes its gradient with respect to the logits where one is asked for."""
    rows, vocabulary = logits.shape
    values = CACHE_VALUES if logits.device.type == "cpu" else DEVICE_VALUES
    size = max(1, min(rows, values // max(vocabulary, 1)))
    scratch = torch.empty(size, vocabulary, dtype=_wide(logits.dtype), device=logits.device)
    total = torch.zeros((), dtype=scratch.dtype, device=logits.device)
    for start in range(0, rows, size):
        block = logits[start : start + size]
        label = labels[start : start + size, None]
        p = scratch[: len(block)].copy_(block)
        p -= p.amax(dim=1, keepdim=True)
        loss = -(1 - smoothing) * p.gather(1, label).squeeze(1)
        if smoothing:
            loss -= smoothing * p.mean(dim=1)
        p.exp_()
        mass = p.sum(dim=1)
        total += (loss + mass.log()).sum()
        if gradient is None:
            continue
        p *= mass.reciprocal_()[:, None]
        p.scatter_add_(1, label, torch.full_like(p[:, :1], smoothing - 1))
        if smoothing:
            p -= smoothing / vocabulary
        gradient[start : start + size] = p
    return total


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, smoothing: float, overwrite: bool
    ) -> Tensor:
        gradient = None
        if ctx.needs_input_grad[0]:
            gradient = logits.detach() if overwrite else torch.empty_like(logits)
        total = _blockwise(logits, labels, smoothing, gradient)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        (scale,) = grad_outputs
        # elsewhere than on the CPU, looking at the scale would wait for the device
        if scale.device.type != "cpu" or float(scale) != 1:
            gradient = gradient * scale.to(gradient.dtype)
        return gradient, None, None, None


def summed_cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, *, overwrite: bool = False
) -> Tensor:
    """Σ over the rows of (1 − ε)·(−log p(label)) + ε·mean over V of (−log p), in nats.

    Equal to ``F.cross_entropy(logits.float(), labels, reduction="sum",
    label_smoothing=ε)`` in value and gradient; computed in float32 whatever the
    logits' dtype (float64 for float64), the gradient rounded once to it.

    Args:
        logits: [N, V].
        labels: int64 [N], each in [0, V).
        smoothing: ε in [0, 1).
        overwrite: keep the gradient in the logits' own memory, which saves a table of
            their size; the logits are lost.

    Returns:
        a scalar, float32 or float64, once differentiable.
    """
    total: Tensor = _SummedCrossEntropy.apply(logits, labels, smoothing, overwrite)  # type: ignore[no-untyped-call]
    return total
