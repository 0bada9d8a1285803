"""The largest change of any coordinate: recipe=ks_lottery tuner.selector=largest."""

from torch import Tensor

from mt_lottery.plugin import register_selector


@register_selector("largest")
def largest(before: Tensor, after: Tensor) -> Tensor:
    """max |after − before| of each row, [V], from two tables [V, d]."""
    return (after.double() - before.double()).abs().amax(dim=1)
