"""The chosen plugins are tried on a few numbers, before anything is loaded or trained.

Registration has looked at names and parameters (:mod:`mt_lottery.registry.conformity`);
here is what can be known only by calling: what a function returns.  A mistake that a larger
input might not have (an index out of range) is left to the run itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mt_lottery.config import RunConfig, TrainConfig
from mt_lottery.errors import ConfigError, MTLotteryError, TuningError
from mt_lottery.registry import CRITERIA, OPTIMIZERS, SELECTORS, TUNERS, Registry
from mt_lottery.ticket.level import RowScores
from mt_lottery.ticket.selection import score_rows, selector_context
from mt_lottery.tuners.base import Tuner
from mt_lottery.tuners.rows.base import DEFAULT_TICKETS

VALUES, LABELS, WIDTH = 4096, 8, 32  # of the tables that are made up here
STEPS = 100  # one that gathers gradients first may change nothing in most of its steps
SIZES = (IndexError, RuntimeError)  # raised where an input is smaller than what was counted on


def sentences(kind: Registry, name: str, what: str, value: object) -> list[str]:
    """The problems that a plugin names, as a list of sentences.

    Raises:
        PluginError: it returned something else.
    """
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        found = list(value)
        if all(isinstance(each, str) for each in found):
            return found
        value = found
    kind.expect(name, value, f"{what} must give", "sentences (a list of text)", good=False)
    return []


def try_plugins(config: RunConfig, tuner: Tuner, echo: Callable[[str], None]) -> None:
    """Call what a run will call, on made-up numbers.

    Args:
        config: the run's settings.
        tuner: the run's.
        echo: prints a line for the user.

    Raises:
        PluginError: something does not keep to its contract; with the plugin's file.
        MTLotteryError: what a plugin says of the settings.
    """
    check_tuner(config.tuner.name, tuner)
    used = []
    if tuner.trains or tuner.probe_section == "train":
        used.append(("train", config.train))
    if tuner.probe is not None and tuner.probe_section == "probe":
        used.append(("probe", config.probe))
    for key, section in used:
        try:
            try_optimizer(section)
        except ConfigError as error:
            raise ConfigError(f"{key}.optimizer={section.optimizer}: {error}") from error
        for line in try_criterion(section):
            echo(f"Warning: {key}.criterion={section.criterion}: {line}.")
    selector = getattr(config.tuner, "selector", None)
    if isinstance(selector, str) and selector in SELECTORS.names():
        alpha = getattr(config.tuner, "alpha", None)
        # a built-in one keeps to its contract; the first KS test of a process takes half a second
        tried = SELECTORS.is_plugin(selector) or alpha is not None
        scores = try_selector(selector) if tried else None
        if alpha is not None and scores is not None and scores.pvalue is None:
            raise ConfigError(
                f"`tuner.alpha` is {alpha:g}, and tuner.selector={selector} gives no p-values: "
                f"choose the rows by number, tuner.tickets={DEFAULT_TICKETS}."
            )


def check_tuner(name: str, tuner: Tuner) -> None:
    """Whether a tuner's properties are of the kinds that the run works with."""
    for attribute in ("config", "autocast", "chosen", "lead"):
        if not hasattr(tuner, attribute):
            raise TUNERS.fault(
                name, f"it has no '{attribute}': its __init__ must call super().__init__(config)"
            )
    allowed: dict[str, tuple[Any, ...]] = {
        "probe": (None, "embed"),
        "scope": (None, "input", "tied"),
        "probe_section": ("probe", "train"),
        "trains": (True, False),
        "reads_text": (True, False),
        "reads_prompt": (True, False),
        "chooses_rows": (True, False),
    }
    for attribute, values in allowed.items():
        value = getattr(tuner, attribute)
        good = any(value is each or (isinstance(each, str) and value == each) for each in values)
        wanted = f"one of {', '.join(map(repr, values))}"
        TUNERS.expect(name, value, f"{attribute} must be", wanted, good)
    count = tuner.virtual_tokens
    good = isinstance(count, int) and not isinstance(count, bool) and count >= 0
    TUNERS.expect(name, count, "virtual_tokens must be", "a whole number ≥ 0", good)
    pairs: Any = tuner.gradient_pairs
    good = pairs is None or (isinstance(pairs, int) and not isinstance(pairs, bool) and pairs > 0)
    TUNERS.expect(name, pairs, "gradient_pairs must be", "None or a whole number ≥ 1", good)
    space: object = tuner.search_space
    fits = isinstance(space, dict) and all(
        isinstance(key, str) and isinstance(values, (list, tuple)) and values and _plain([*values])
        for key, values in space.items()
    )
    wanted = "a dictionary from keys (train.lr, tuner.…) to lists of values that YAML can hold"
    TUNERS.expect(name, space, "search_space must be", wanted, fits)


def _plain(value: Any) -> bool:
    """Whether a value may be that of a setting, which a record and a configuration keep."""
    if isinstance(value, list):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(own) for key, own in value.items())
    return value is None or isinstance(value, (bool, int, float, str))


def try_optimizer(section: TrainConfig) -> None:
    """Make the optimizer for two small parameters, and let it do a step that changes them."""
    name = section.optimizer
    parameters = _parameters()
    try:
        made: Any = OPTIMIZERS.get(name)(parameters, section)
    except MTLotteryError:
        raise
    except Exception as error:
        if not OPTIMIZERS.is_plugin(name):
            raise
        raise OPTIMIZERS.fault(
            name,
            f"it cannot be called with (parameters, settings): {type(error).__name__}: {error}",
        ) from error
    wanted = "it must return a torch.optim.Optimizer"
    good = isinstance(made, torch.optim.Optimizer)
    OPTIMIZERS.expect(name, made, "it must return", "a torch.optim.Optimizer", good)
    held = [p for group in made.param_groups for p in group["params"]]
    if not all(any(p is parameter for p in held) for parameter in parameters):
        raise OPTIMIZERS.fault(name, f"{wanted} of all the parameters that it is given")
    rates = _rates(made)
    if None in rates:
        raise OPTIMIZERS.fault(name, f"{wanted} whose groups have a learning rate ('lr')")
    if not OPTIMIZERS.is_plugin(name):
        return
    _try_steps(name, made, parameters)
    if not all(parameter.requires_grad for parameter in parameters):
        raise OPTIMIZERS.fault(name, "it sets requires_grad=False for parameters that it is given")
    _try_rate(section, rates)


def _parameters() -> list[nn.Parameter]:
    """The smallest step shows in zeros; an update that is a multiple of the value, in ones."""
    return [nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.zeros(3))]


def _rates(made: torch.optim.Optimizer) -> list[float | None]:
    """The learning rate of each group; None where it has none."""
    found = [group.get("lr") for group in made.param_groups]
    return [float(rate) if isinstance(rate, (int, float, Tensor)) else None for rate in found]


def _try_rate(section: TrainConfig, rates: list[float | None]) -> None:
    """Make a plugin's optimizer with another learning rate, if it has not taken the setting.

    The trainer's schedule multiplies the rates with which an optimizer begins.  Some of them may
    be fixed, or multiples of the configuration's; not all may be fixed.
    """
    if any(rate is not None and math.isclose(rate, section.lr, rel_tol=1e-6) for rate in rates):
        return
    name, low = section.optimizer, dataclasses.replace(section, lr=section.lr / 1000)
    try:
        again = OPTIMIZERS.get(name)(_parameters(), low)
    except Exception:  # it may refuse this rate
        return
    if _rates(again) == rates:
        raise OPTIMIZERS.fault(
            name,
            f"its learning rate is {rates[0]:g}, whatever the setting is (lr={section.lr:g}): it "
            "must begin with config.lr, or with a multiple of it; for a rate of 1 give lr=1",
        )


def _try_steps(name: str, made: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """Let a plugin's optimizer do steps until one has changed a parameter."""
    before = [parameter.detach().clone() for parameter in parameters]
    random = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=random)
        try:
            made.step()
        except TypeError as error:  # LBFGS wants a closure
            raise OPTIMIZERS.fault(
                name, f"step() cannot be called without arguments: {error}"
            ) from error
        except RuntimeError:
            return
        if not all(map(torch.equal, before, parameters)):
            return
    raise OPTIMIZERS.fault(name, f"{STEPS} calls of step() change none of the parameters")


def try_criterion(section: TrainConfig) -> list[str]:
    """Compute the loss of a plugin's criterion on random logits, and its gradient.

    Returns:
        what may be a mistake, a sentence each without its full stop.
    """
    name = section.criterion
    criterion = CRITERIA.get(name)
    if not CRITERIA.is_plugin(name):
        return []
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(LABELS, VALUES, generator=random).requires_grad_(True)
    labels = torch.randint(VALUES, (LABELS,), generator=random)
    wanted = "the loss summed over the labels, a tensor of one number"
    try:
        # a criterion may write into the logits, which a leaf does not allow
        loss: Any = criterion(logits * 1.0, labels, section)
    except SIZES:
        return []
    good = isinstance(loss, Tensor) and loss.is_floating_point() and loss.ndim == 0
    CRITERIA.expect(name, loss, "it must return", wanted, good)
    if not bool(torch.isfinite(loss)):
        raise CRITERIA.fault(name, f"the loss of random logits is {float(loss)}, not {wanted}")
    if not loss.requires_grad:
        raise CRITERIA.fault(
            name, "its loss has no gradient: it is computed outside of autograd (detach, item, …)"
        )
    (gradient,) = torch.autograd.grad(loss, [logits], allow_unused=True)
    if gradient is None:
        raise CRITERIA.fault(
            name, "its loss does not depend on the logits: no gradient reaches them"
        )
    if not bool(torch.isfinite(gradient).all()):
        raise CRITERIA.fault(name, "the gradient of its loss is not finite for random logits")
    try:
        twice = criterion(logits.detach().repeat(2, 1), labels.repeat(2), section)
    except SIZES:
        return []
    return [*_doubts_of_sum(name, loss.item(), twice.item()), *_doubts_of_reach(gradient)]


def _doubts_of_sum(name: str, once: float, twice: float) -> Iterator[str]:
    """Whether labels that are there twice count twice; a loss may have a part that is no sum."""
    if once and math.isclose(once, twice, rel_tol=1e-4):
        raise CRITERIA.fault(
            name,
            f"its loss of {LABELS} labels, {once:.4g}, is the same where each is there twice: it "
            "must be the sum over all labels, not a mean (which the trainer takes) or the loss of "
            "some of them",
        )
    if once and not math.isclose(2 * once, twice, rel_tol=1e-2):
        yield (
            f"where each label is there twice its loss is {twice / once:.3g} times as large, not "
            "twice; the trainer divides it by the number of labels, as a sum over all of them"
        )


def _doubts_of_reach(gradient: Tensor) -> Iterator[str]:
    """Whether each label has a gradient; some may be left out on purpose."""
    without = LABELS - int((gradient != 0).any(1).sum())
    if without:
        yield f"{without} of {LABELS} random labels have no gradient: nothing is learnt from them"


def try_selector(name: str) -> RowScores | None:
    """Score made-up tables with a selector.

    Returns:
        the scores; None where a plugin's does not take such tables.
    """
    random = torch.Generator().manual_seed(0)
    before = torch.randn(VALUES, WIDTH, generator=random)
    after = before + torch.randn(VALUES, WIDTH, generator=random)
    offered = {
        "counts": torch.randint(9, (VALUES,), generator=random),
        "gradients": torch.rand(VALUES, generator=random, dtype=torch.float64),
        "seed": 0,
        "reduction": "abs",
        "progress": False,
    }
    context = {key: value for key, value in offered.items() if key in selector_context(name)}
    try:
        return score_rows(name, before, after, **context)
    except MTLotteryError as error:
        if isinstance(error, TuningError):
            raise SELECTORS.fault(name, str(error).rstrip(".")) from error
        raise
    except SIZES:
        return None
