"""A model whose layers are divided among processes: FSDP2 (``fully_shard``, PyTorch's own).

Each process keeps a part of every weight of every layer.  A layer is gathered just before it
computes and let go after it, in the forward pass and again in the backward pass, so that a process
holds one or two layers at a time.  All else is whole on each: the embedding table, the output head,
and what a tuner adds (token rows, LoRA matrices), so that it is chosen, trained and saved as in one
process.

Gathering takes all processes: each must run the model as often as the others.  Where they do not by
themselves (each translates a share of the sentences), :func:`in_step` sees to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mt_lottery.errors import ModelError, MTLotteryError
from mt_lottery.system import parallel

T = TypeVar("T")


def _trunk(model: Any) -> tuple[nn.Module, nn.ModuleList]:
    """The module that runs the layers, and the layers.

    Raises:
        ModelError: there is no list of layers, or layers share weights.
    """
    decoder = getattr(model, "get_decoder", lambda: None)() or model
    lists = [
        (owner, child)
        for owner in decoder.modules()
        for child in owner.children()
        if isinstance(child, nn.ModuleList) and len(child) > 0
    ]
    if not lists:
        raise ModelError(
            f"train.sharding=fsdp divides a model's layers, and {type(model).__name__} has no list "
            "of them; allowed for it: none."
        )
    sizes = [sum(p.numel() for p in layers.parameters()) for _, layers in lists]
    owner, layers = lists[sizes.index(max(sizes))]
    held = [id(p) for layer in layers for p in layer.parameters()]
    if len(set(held)) < len(held):
        raise ModelError(
            f"train.sharding=fsdp: layers of {type(model).__name__} share weights, which FSDP2 "
            "cannot divide; allowed for it: none."
        )
    return owner, layers


def shard(model: Any, device: str) -> None:
    """Divide the layers of a model among all processes, in place; all else goes to the device.

    Args:
        model: a causal LM, the same on every process; one that is divided already is left alone.
        device: this process's own.

    Raises:
        ModelError: the model has no layers that could be divided.
    """
    if is_sharded(model):
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    trunk, layers = _trunk(model)
    inside = {id(p) for p in layers.parameters()}
    whole = {p for p in model.parameters() if id(p) not in inside}
    for parameter in whole:
        parameter.data = parameter.data.to(device)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.to(device)
    mesh = init_device_mesh(torch.device(device).type, (parallel.processes(),))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # the root has no weights of its own: it lets gathering overlap with computing
    fully_shard(trunk, mesh=mesh, ignored_params=whole)


def _root(model: nn.Module) -> nn.Module | None:
    """The module on which :func:`shard` began; None for a model that is whole."""
    if not parallel.started():
        return None
    from torch.distributed.fsdp import FSDPModule

    return next((module for module in model.modules() if isinstance(module, FSDPModule)), None)


def is_sharded(model: nn.Module) -> bool:
    """Whether the layers of a model are divided among the processes."""
    return _root(model) is not None


def is_part(tensor: Tensor) -> bool:
    """Whether a process holds but a part of a tensor."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor; all of it where it is whole."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; every process must ask."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def parted_as(tensor: Tensor, other: Any) -> Tensor:
    """A whole tensor, the same on every process, divided as another one of its shape is."""
    if not is_part(other):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, device = other.device_mesh, other.to_local().device
    # nothing is sent: each process has it all, and takes its part
    return distribute_tensor(tensor.to(device), mesh, other.placements, src_data_rank=None)


def in_step(model: Any, action: Callable[[], T]) -> T:
    """Do something that runs a model, on every process, however often each runs it.

    Of a divided model, each run waits until all processes are at one: those that are done run it
    on a single token, until all are.

    Args:
        model: divided or whole; of a whole one no process waits for another.
        action: without a gradient.

    Raises:
        MTLotteryError: what ``action`` raised, once no other process needs this one.
    """
    root = _root(model)
    if root is None:
        return action()
    ready = root.register_forward_pre_hook(lambda *_: parallel.barrier(), prepend=True)
    result: Any = None
    problem = None
    try:
        result = action()
    except MTLotteryError as error:
        problem = error
    finally:
        ready.remove()
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    device = next(base.get_input_embeddings().parameters()).device
    one = torch.zeros(1, 1, dtype=torch.int64, device=device)
    while parallel.add(1.0)[0] < parallel.processes():
        with torch.no_grad():
            base(input_ids=one, attention_mask=torch.ones_like(one), use_cache=False)
    if problem is not None:
        raise problem
    return result  # type: ignore[no-any-return]


def on_main(model: Any, action: Callable[[], T]) -> T:
    """As :func:`mt_lottery.system.parallel.on_main`, for something that may run the model."""
    found: list[T] = []
    problem: MTLotteryError | None = None
    try:
        in_step(model, lambda: found.append(action()) if parallel.is_main() else None)
    except MTLotteryError as error:
        problem = error

    def outcome() -> T:
        if problem is not None:
            raise problem
        return found[0]

    return parallel.on_main(outcome)
