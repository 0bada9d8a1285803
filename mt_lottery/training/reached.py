"""Whether a gradient reached what is trained: without one, training changes nothing in silence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from mt_lottery.errors import TrainingError
from mt_lottery.system import parallel


class GradientWatch:
    """Notes which trained parameters a gradient other than 0 has reached, as it is computed.

    Args:
        trained: name → parameter; watched until the first such gradient.
    """

    def __init__(self, trained: Mapping[str, nn.Parameter]) -> None:
        self._count = len(trained)
        self._unreached = {
            name: parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                partial(self._note, name)
            )
            for name, parameter in trained.items()
        }

    def _note(self, name: str, parameter: Tensor) -> None:
        gradient = parameter.grad
        if gradient is None or name not in self._unreached:
            return
        if bool((gradient._values() if gradient.is_sparse else gradient).any()):
            self._unreached.pop(name).remove()

    def check(self) -> None:
        """Refuse to call a training done in which no gradient moved anything.

        Every process must ask.

        Raises:
            TrainingError: no trained parameter had a gradient other than 0 in any step.
        """
        missed = list(self._unreached)
        for handle in self._unreached.values():
            handle.remove()
        reached = self._count - len(missed)
        if parallel.add(float(reached))[0] > 0 or not missed:
            return
        raise TrainingError(
            f"No gradient reached any of the {self._count} trained tensors ({missed[0]}"
            f"{', …' if len(missed) > 1 else ''}) in any step: nothing was learnt. The model's "
            "loss does not depend on what this method trains (no attention window reaches back "
            "to a prefix, for example), or one of its layers has no backward pass (weights in a "
            "quantised format)."
        )
