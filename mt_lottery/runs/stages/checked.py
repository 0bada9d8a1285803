"""A training whose result and effect are checked as soon as it is over: it is known who trained."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.errors import TrainingError, plural
from mt_lottery.model.sharding import whole
from mt_lottery.registry import ENGINES, OPTIMIZERS
from mt_lottery.system import parallel
from mt_lottery.system.values import is_number
from mt_lottery.training.engine import Engine, TrainResult
from mt_lottery.training.trained import trained_parameters
from mt_lottery.tuners.adapters.tensors import first_broken


def train_checked(
    name: str,
    engine: Engine,
    model: Any,
    config: TrainConfig,
    examples: Sequence[Example],
    **given: Any,
) -> TrainResult:
    """Have an engine train; what a plugin's does is compared with what it was asked to do.

    Every process must call this.

    Args:
        name: of the engine, for messages.
        engine: what trains.
        model: as for :meth:`mt_lottery.training.engine.Engine.train`, with all that follows.

    Raises:
        PluginError: the engine does not keep to its contract.
        TrainingError: what a plugin's engine has trained is not finite.
    """
    trained = set(trained_parameters(model))
    own_engine, own_optimizer = ENGINES.is_plugin(name), OPTIMIZERS.is_plugin(config.optimizer)
    named = {each for each, _ in model.named_parameters()}
    watched = named if own_engine else trained if own_optimizer else set()
    before = _digests(model, watched)
    result = _checked(name, engine.train(model, config, examples, **given))
    if own_engine:
        _check_trained(name, model, trained, named)
    after = _digests(model, watched)
    changed = _changed(before, after)
    if own_engine:
        _check_frozen(name, {each for each in changed - trained if each in after})
    # the rate of the first step of a warm-up is 0
    warming_up = result.steps <= 1 and config.warmup_steps > 0
    if before.keys() & trained and not changed & trained and not warming_up:
        kind, own = (ENGINES, name) if own_engine else (OPTIMIZERS, config.optimizer)
        raise kind.fault(own, _nothing(trained, result.steps, config.lr))
    return result


def _check_trained(name: str, model: Any, trained: set[str], named: set[str]) -> None:
    """Make sure that what was trained is there and finite, and requires a gradient as before."""
    there = dict(model.named_parameters())
    if gone := sorted(trained - there.keys()):
        raise ENGINES.fault(
            name,
            f"after train the model has no parameter {gone[0]}, which was trained: it must leave "
            "the model as it was given, with no layer wrapped or replaced",
        )
    # an engine may switch all off at its end; the record counts them, and a trial keeps them
    for each in named & there.keys():
        if there[each].requires_grad != (each in trained):
            there[each].requires_grad_(each in trained)
    broken = first_broken(trained_parameters(model))
    if broken is not None:
        raise TrainingError(
            f"{broken} is not finite after the training with engine={name}: a lower train.lr "
            "(probe.lr) usually helps."
        )


def _nothing(trained: set[str], steps: int, lr: float) -> str:
    """That a training had no effect, as the end of a sentence."""
    names = ", ".join(sorted(trained)[:3]) + (", …" if len(trained) > 3 else "")
    return (
        f"after {plural(steps, 'step')} with lr={lr:g} none of the "
        f"{plural(len(trained), 'trained tensor')} ({names}) has changed: nothing was learnt, and "
        "the scores would be those of the model before the training"
    )


def _check_frozen(name: str, changed: set[str]) -> None:
    """Refuse what an engine changed beside what is trained: no run keeps that."""
    if not changed:
        return
    first, more = min(changed), len(changed) - 1
    others = f" and {plural(more, 'other tensor')}" if more else ""
    raise ENGINES.fault(
        name,
        f"train has changed {first}{others}, not "
        "trained by the run's tuner: what is saved would not be the model that is scored. It may "
        "change only parameters that require a gradient when it is called",
    )


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Names of what is not as it was, or no longer there, on any process."""
    own = {name for name, digest in before.items() if after.get(name) != digest}
    return set().union(*parallel.gather(own))


def _digests(model: Any, names: Iterable[str]) -> dict[str, str]:
    """Name → sha256 of the values, of parameters that are there; one at a time is on the host.

    A clone of all would take the memory of a second model.
    """
    wanted = set(names)
    return {n: _digest(whole(p.detach())) for n, p in model.named_parameters() if n in wanted}


def _digest(tensor: Tensor) -> str:
    found = hashlib.sha256()
    for part in _plain(tensor):
        if not part.is_meta:  # kept on disk, or elsewhere: it has no values here
            values: Any = part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            found.update(values)
    return found.hexdigest()


def _plain(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that a quantised one is made of; itself, if it is an ordinary one."""
    if hasattr(tensor, "__tensor_flatten__"):
        for name in tensor.__tensor_flatten__()[0]:
            yield from _plain(getattr(tensor, name))
    else:
        yield tensor


def _checked(name: str, result: Any) -> TrainResult:
    """What an engine gave back, in Python's own numbers, which a record can hold."""
    ENGINES.expect(name, result, "train must return", TrainResult)
    steps = result.steps
    good = is_number(steps) and isinstance(steps, Integral) and int(steps) >= 0
    ENGINES.expect(name, steps, "TrainResult.steps must be", "a whole number ≥ 0", good)
    for field in ("seconds", "tokens_per_second"):
        value = getattr(result, field)
        good = is_number(value) and math.isfinite(value) and value >= 0
        ENGINES.expect(name, value, f"TrainResult.{field} must be", "a finite number ≥ 0", good)
    loss, dev = result.loss, result.dev_loss
    wanted = "a finite number, or NaN where it is not known"
    good = is_number(loss) and not math.isinf(loss)
    ENGINES.expect(name, loss, "TrainResult.loss must be", wanted, good)
    good = dev is None or (is_number(dev) and math.isfinite(dev))
    ENGINES.expect(name, dev, "TrainResult.dev_loss must be", "a finite number or None", good)
    return TrainResult(
        int(steps),
        float(result.seconds),
        float(result.tokens_per_second),
        float(loss),
        None if dev is None else float(dev),
    )
