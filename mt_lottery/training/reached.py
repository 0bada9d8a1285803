"""Whether a gradient reached what is trained: without one, training changes nothing in silence."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mt_lottery.errors import TrainingError
from mt_lottery.model.sharding import local
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
            f"No gradient reached any of the {count} trained tensors ({self._names[0]}"
            f"{', …' if count > 1 else ''}) in any step: nothing was learnt. The model's "
            "loss does not depend on what this method trains (no attention window reaches back "
            "to a prefix, for example), or one of its layers has no backward pass (weights in a "
            "quantised format)."
        )
