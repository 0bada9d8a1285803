"""Gradients of what is trained: whether there are any, and those of a divided model.

FSDP2 averages the gradients of what it divides (:mod:`mt_lottery.model.sharding`).  Those of
parameters that every process has whole are averaged here, once an optimizer step; the norm for
clipping is that of both together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mt_lottery.errors import TrainingError, plural
from mt_lottery.model.sharding import is_part, local
from mt_lottery.system import parallel


class GradientWatch:
    """Notes whether a gradient other than 0 has reached any trained parameter.

    Args:
        trained: name → parameter; watched until the first such gradient.
    """

    def __init__(self, trained: Mapping[str, nn.Parameter]) -> None:
        self._names = list(trained)
        self._reached = False
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._note)  # type: ignore[no-untyped-call]
            for parameter in trained.values()
        ]

    def _note(self, parameter: Tensor) -> None:
        if self._reached or parameter.grad is None:
            return
        gradient = local(parameter.grad)
        self._reached = bool((gradient._values() if gradient.is_sparse else gradient).any())
        if self._reached:
            self._stop()

    def _stop(self) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    def check(self) -> None:
        """Refuse to call a training done in which no gradient moved anything.

        Every process must ask.

        Raises:
            TrainingError: no trained parameter had a gradient other than 0 in any step.
        """
        self._stop()
        if parallel.add(float(self._reached))[0] > 0 or not self._names:
            return
        count = len(self._names)
        raise TrainingError(
            f"No gradient reached any of the {plural(count, 'trained tensor')} "
            f"({self._names[0]}{', …' if count > 1 else ''}) in any step: nothing was learnt. The "
            "model's loss does not depend on what this method trains (no attention window reaches "
            "back to a prefix, for example), or one of its layers has no backward pass (weights "
            "in a quantised format)."
        )


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give every process the mean of the gradients of what all have whole.

    Args:
        parameters: the same on every process; one that has no gradient on any is left alone.
    """
    own = [p for p in parameters if not is_part(p)]
    reached = parallel.add(*(float(p.grad is not None) for p in own)) if own else ()
    for parameter, count in zip(own, reached, strict=True):
        if count:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= parallel.processes()


def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> Tensor:
    """Scale gradients down to a norm of ``most``, in place; returns the norm that they had.

    Args:
        parameters: with their averaged gradients, parts among them.
        most: as for :func:`torch.nn.utils.clip_grad_norm_`; infinity for none.
    """
    found = [p.grad for p in parameters if p.grad is not None]
    device = local(parameters[0]).device
    squares = torch.zeros(2, dtype=torch.float32, device=device)
    for gradient in found:
        squares[int(is_part(gradient))] += local(gradient).float().square().sum()
    torch.distributed.all_reduce(squares[1:])  # each process has its parts alone
    norm = squares.sum().sqrt()
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    for gradient in found:
        local(gradient).mul_(scale)
    return norm
