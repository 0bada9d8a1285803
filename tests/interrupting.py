"""Ways to cut a training short."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Iterator

from torch import Tensor

from mt_lottery.config import TrainConfig
from mt_lottery.registry import CRITERIA
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.cross_entropy import summed_cross_entropy


class At(Tracker):
    """Calls ``action`` right after a step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        super().__init__({}, "")
        self.step, self.action = step, action

    def log(self, step: int, values: dict[str, float]) -> None:
        if step == self.step and "loss" in values:
            self.action()


class Crash(Exception):
    """The power went."""


def crash() -> None:
    raise Crash


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def breaking_after(calls: int) -> Iterator[str]:
    """The name of a criterion that crashes after some calls; the crash ends here.

    On every process at once: each is called once a step.
    """
    count = itertools.count(1)

    def breaks_down(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        if next(count) > calls:
            raise Crash
        return summed_cross_entropy(logits, labels)

    CRITERIA.register("breaks_down")(breaks_down)
    try:
        with contextlib.suppress(Crash):
            yield "breaks_down"
        assert next(count) > calls + 1, "it did not come to the crash"
    finally:
        CRITERIA._forget("breaks_down")
