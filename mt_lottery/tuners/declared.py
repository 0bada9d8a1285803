"""What a tuner declares to be trained, checked: that, and nothing else, is trained and kept."""

from __future__ import annotations

import contextlib
import inspect
import random
import weakref
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mt_lottery.errors import TuningError, plural
from mt_lottery.system.randomness import generators_kept
from mt_lottery.tuners.base import Tuner, TuningContext


class Original:
    """The tensors of a model before a tuner changed it, by identity.

    Args:
        model: the original one.
    """

    def __init__(self, model: nn.Module) -> None:
        # weak: a tuner may replace a weight by one in 4 bits, to save its memory
        held = chain(model.parameters(), model.buffers())
        self._held = {id(tensor): weakref.ref(tensor) for tensor in held}

    def has(self, tensor: Tensor) -> bool:
        """Whether it is one of them, whatever name it has now."""
        found = self._held.get(id(tensor))
        return found is not None and found() is tensor


def _of(tuner: Tuner) -> str:
    """A tuner's name, class and file, for messages."""
    kind = type(tuner)
    try:
        where = f"{kind.__name__} in {inspect.getfile(kind)}"
    except (TypeError, OSError):  # made in a notebook
        where = kind.__name__
    return f"{tuner.config.name} ({where})"


def overrides(tuner: Tuner, method: str) -> bool:
    """Whether a tuner has its own version of one of :class:`Tuner`'s."""
    return getattr(type(tuner), method) is not getattr(Tuner, method)


def check_pair(tuner: Tuner) -> None:
    """Make sure that what a tuner saves can be read back.

    Raises:
        TuningError: it overrides ``save`` or ``restore``, but not both.
    """
    save, restore = overrides(tuner, "save"), overrides(tuner, "restore")
    if save != restore:
        has, lacks = ("save", "restore") if save else ("restore", "save")
        raise TuningError(
            f"{_of(tuner)} overrides `{has}` but not `{lacks}`: what it learns could not be "
            "restored. Override both, or neither (then what `apply` returned is kept)."
        )


@contextlib.contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Random numbers that depend on the seed alone; the generators' state is put back."""
    with generators_kept() as gpus:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        yield


def declare(tuner: Tuner, context: TuningContext) -> list[nn.Parameter]:
    """Have a tuner change the model; what it returns, and nothing else, is then trained.

    Args:
        tuner: the run's.
        context: what it may look at; ``declared``, ``original`` and ``read`` are filled in.

    Returns:
        the parameters to be trained, each once; ``requires_grad`` is set for them alone.

    Raises:
        TuningError: what ``apply`` returned cannot be trained, or could not be restored.
    """
    check_pair(tuner)
    context.original = Original(context.model)
    context.read = set()
    try:
        # what a tuner switches off is on again for the training: it ends at the end of the block
        with own_randomness(context.seed), torch.enable_grad():
            returned = tuner.apply(context)
            # a generator's own code runs here
            returned = list(returned) if inspect.isgenerator(returned) else returned
    finally:
        read, context.read = context.read, None
    context.read_by_apply = frozenset(read)
    declared = _checked(tuner, context.model, returned)
    for parameter in context.model.parameters():
        if parameter.requires_grad:
            parameter.requires_grad_(False)
    for parameter in declared:
        parameter.requires_grad_(True)
    context.declared = declared
    return declared


def _checked(tuner: Tuner, model: Any, returned: Any) -> list[nn.Parameter]:
    """What ``apply`` returned, each parameter once."""
    of = f"`apply` of {_of(tuner)}"
    if not isinstance(model, nn.Module):
        raise TuningError(f"{of} put {type(model).__name__} into context.model: no torch module.")
    if isinstance(returned, (str, bytes, Tensor, nn.Module)) or not hasattr(returned, "__iter__"):
        shown = type(returned).__name__
        raise TuningError(
            f"{of} must return the list of the parameters to be trained, not {shown}."
        )
    found = list(returned)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for number, parameter in enumerate(found):
        if not isinstance(parameter, nn.Parameter):
            shown = type(parameter).__name__
            raise TuningError(f"{of}: element {number} of its list is no Parameter but {shown}.")
        shape = [*parameter.shape]
        if id(parameter) not in names:
            raise TuningError(
                f"{of}: element {number} of its list, of shape {shape}, is no parameter of the "
                "model: it could be neither trained with it nor restored. Assign it to one of "
                "the model's modules (or put a wrapper that holds it into context.model)."
            )
        if parameter.is_inference():
            raise TuningError(
                f"{of}: element {number} of its list, {names[id(parameter)]}, was made in "
                "torch.inference_mode() and cannot be trained; make it outside of it."
            )
        if not (parameter.is_floating_point() or parameter.is_complex()):
            name, dtype = names[id(parameter)], parameter.dtype
            raise TuningError(f"{of}: {name} is of {dtype}, which has no gradient.")
        if parameter.numel() == 0:
            raise TuningError(f"{of}: {names[id(parameter)]} of shape {shape} has no values.")
    distinct = list({id(parameter): parameter for parameter in found}.values())
    if tuner.trains and not distinct:
        raise TuningError(f"{of} returned no parameter: there is nothing to train.")
    if distinct and not tuner.trains:
        raise TuningError(
            f"{of} returned {plural(len(distinct), 'parameter')}, but the class says `trains = "
            "False`."
        )
    return distinct
