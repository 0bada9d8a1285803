"""A training whose result is checked as soon as it is over, while it is known who trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.registry import ENGINES
from mt_lottery.training.engine import Engine, TrainResult


def train_checked(
    name: str,
    engine: Engine,
    model: Any,
    config: TrainConfig,
    examples: Sequence[Example],
    **given: Any,
) -> TrainResult:
    """Have an engine train.

    Args:
        name: of the engine, for messages.
        engine: what trains.
        model: as for :meth:`mt_lottery.training.engine.Engine.train`, with all that follows.

    Raises:
        PluginError: the engine does not keep to its contract.
    """
    return _checked(name, engine.train(model, config, examples, **given))


def _checked(name: str, result: Any) -> TrainResult:
    """What an engine gave back, in Python's own numbers, which a record can hold."""
    ENGINES.expect(name, result, "train must return", TrainResult)
    steps = result.steps
    whole = isinstance(steps, (int, np.integer)) and not isinstance(steps, bool) and steps >= 0
    ENGINES.expect(name, steps, "TrainResult.steps must be", "a whole number ≥ 0", whole)
    for field in ("seconds", "tokens_per_second"):
        value = getattr(result, field)
        good = _is_number(value) and math.isfinite(value) and value >= 0
        ENGINES.expect(name, value, f"TrainResult.{field} must be", "a finite number ≥ 0", good)
    loss, dev = result.loss, result.dev_loss
    wanted = "a finite number, or NaN where it is not known"
    good = _is_number(loss) and not math.isinf(loss)
    ENGINES.expect(name, loss, "TrainResult.loss must be", wanted, good)
    good = dev is None or (_is_number(dev) and math.isfinite(dev))
    ENGINES.expect(name, dev, "TrainResult.dev_loss must be", "a finite number or None", good)
    return TrainResult(
        int(steps),
        float(result.seconds),
        float(result.tokens_per_second),
        float(loss),
        None if dev is None else float(dev),
    )


def _is_number(value: Any) -> bool:
    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool)
