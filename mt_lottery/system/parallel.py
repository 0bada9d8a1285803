"""One run on several processes: which one this is, and what they tell each other.

``torchrun --nproc-per-node N`` starts N processes that all do the run.  Rank 0,
the main one, alone writes files and speaks; each trains and translates a share.
Every process must come to the functions of this module in the same order.
Without torchrun there is one process, and torch.distributed is not even loaded.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from mt_lottery import errors
from mt_lottery.errors import MTLotteryError

S = TypeVar("S")
T = TypeVar("T")

# one process may work for hours (a probe, a conversion, scores) while the others wait for it
PATIENCE = timedelta(days=7)
FAILED, TOLD = "failed", "told"  # keys of the launcher's store
GRACE = 2.0  # seconds that the main process has to come to the same error by itself
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


@dataclass
class _World:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: which one this is, from 0.
        processes: how many there are.
        group: for what is no part of a model, on the CPU (gloo).
        store: where a process that fails says so; None if the group was made by the caller.
        over: set when nobody needs to watch the store any more.
    """

    rank: int
    processes: int
    group: Any
    store: Any = None
    over: threading.Event = field(default_factory=threading.Event)
    watcher: threading.Thread | None = None


_world: _World | None = None


def _distributed() -> Any:
    import torch.distributed

    return torch.distributed


def start() -> None:
    """Meet the other processes, if torchrun started any; again, or without it, do nothing."""
    global _world
    if _world is not None or any(key not in os.environ for key in NEEDED):
        return
    import torch

    distributed = _distributed()
    store = None
    if not distributed.is_initialized():
        root, rank, processes = next(distributed.rendezvous("env://"))
        root.set_timeout(PATIENCE)
        gpus = torch.cuda.is_available() and distributed.is_nccl_available()
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=distributed.PrefixStore("mt_lottery", root),
            rank=rank,
            world_size=processes,
            timeout=PATIENCE,
        )
        store = distributed.PrefixStore("mt_lottery_errors", root)
    group: Any = distributed.new_group(backend="gloo", timeout=PATIENCE)
    _world = _World(distributed.get_rank(), distributed.get_world_size(), group, store)
    if not is_main():  # one process speaks
        logging.getLogger("mt_lottery").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
    elif store is not None:
        _world.watcher = threading.Thread(target=_watch, args=(_world,), daemon=True)
        _world.watcher.start()
        atexit.register(_end_watch, _world)


def stop() -> None:
    """Part from the other processes, once all of them are done."""
    global _world
    if _world is None:
        return
    distributed = _distributed()
    barrier()
    _end_watch(_world)
    if _world.store is not None:
        distributed.destroy_process_group()
    _world = None


def started() -> bool:
    """Whether the run was started by torchrun (with one process, possibly)."""
    return _world is not None


def rank() -> int:
    """Which of the processes this is, from 0."""
    return 0 if _world is None else _world.rank


def processes() -> int:
    """How many processes do this run."""
    return 1 if _world is None else _world.processes


def is_main() -> bool:
    """Whether this process writes the files and speaks."""
    return rank() == 0


def local() -> tuple[int, int]:
    """Which of this machine's processes this is, from 0, and how many it has."""
    index, here = os.environ.get("LOCAL_RANK"), os.environ.get("LOCAL_WORLD_SIZE")
    return int(rank() if index is None else index), int(processes() if here is None else here)


def share(items: Sequence[T]) -> Sequence[T]:
    """This process's part of what all have before them: every N-th item."""
    return items if _world is None else items[rank() :: processes()]


def barrier() -> None:
    """Wait until every process is here."""
    add(0.0)


def add(*values: float) -> tuple[float, ...]:
    """The sums of numbers over all processes."""
    if _world is None:
        return values
    import torch

    distributed = _distributed()
    total = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(total, group=_world.group)
    return tuple(total.tolist())


def gather(value: T) -> list[T]:
    """Every process's value, in the order of the ranks."""
    if _world is None:
        return [value]
    distributed = _distributed()
    values: list[Any] = [None] * processes()
    distributed.all_gather_object(values, value, group=_world.group)
    return values


def on_main(action: Callable[[], T]) -> T:
    """Do something on the main process; the others wait for what it gives.

    Args:
        action: gives something that can be pickled.

    Raises:
        MTLotteryError: what ``action`` raised, on every process.
    """
    if _world is None:
        return action()
    distributed = _distributed()
    value: T | None = None
    raised: MTLotteryError | None = None
    if is_main():
        try:
            value = action()
        except MTLotteryError as error:
            raised = error
    sent: list[Any] = [(value, None if raised is None else _portable(raised))]
    distributed.broadcast_object_list(sent, src=0, group=_world.group)
    if raised is not None:
        raise raised
    if not is_main():
        value, problem = sent[0]
        _raise(problem)
    return value  # type: ignore[return-value]


def spread(items: Sequence[S], action: Callable[[Sequence[S]], Sequence[T]]) -> list[T]:
    """Results for many items, each process doing its share of them.

    Args:
        items: the same on every process.
        action: of some of the items, possibly none; gives as many results.

    Returns:
        one result an item, in the order of the items, on every process.

    Raises:
        MTLotteryError: what ``action`` raised on any process, on every process.
    """
    if _world is None:
        return list(action(items))
    part: Sequence[T] = ()
    problem = None
    try:
        part = action(share(items))
    except MTLotteryError as error:
        problem = _portable(error)
    parts = gather((list(part), problem))
    for _, theirs in parts:
        _raise(theirs)
    results: list[Any] = [None] * len(items)
    for number, (done, _) in enumerate(parts):
        results[number :: processes()] = done
    return results


def _portable(error: MTLotteryError) -> tuple[str, str]:
    """Name of an error's class (a plugin's own: of the nearest of ours) and its message."""
    kinds = (k.__name__ for k in type(error).__mro__ if k.__module__ == errors.__name__)
    return next(kinds), str(error)


def _raise(problem: tuple[str, str] | None) -> None:
    if problem is not None:
        kind: type[MTLotteryError] = getattr(errors, problem[0])
        raise kind(problem[1])


# -- failures: one message, whichever process failed, and no process waits for ever


def report(text: str, code: int) -> None:
    """Say why this process ends; where several do, the main one says it, once.

    Args:
        text: for standard error.
        code: exit status that will follow.
    """
    world = _world
    if world is None or world.store is None:
        if is_main():
            print(text, file=sys.stderr, flush=True)
        return
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # torchrun repeats the terminal's Ctrl-C
    with contextlib.suppress(Exception):  # the launcher, and its store, may be gone
        if world.rank == 0:
            _end_watch(world)
            if not world.store.check([TOLD]):
                print(text, file=sys.stderr, flush=True)
                world.store.set(TOLD, "")
            return
        world.store.set(FAILED, json.dumps([text, code]))
        deadline = time.monotonic() + 15 * GRACE
        while time.monotonic() < deadline:
            if world.store.check([TOLD]):
                return
            time.sleep(0.05)
    print(text, file=sys.stderr, flush=True)


def lost(error: BaseException) -> bool:
    """Whether this is what a process sees when another one was killed."""
    signs = ("Connection closed by peer", "Connection reset by peer", "NCCL communicator")
    return _world is not None and any(sign in str(error) for sign in signs)


def _watch(world: _World) -> None:
    """On the main process: end it when another one fails, even while it waits for that one.

    A process in a collective operation hears nothing, and NCCL's would wait for ever.
    """
    code = 1
    while not world.over.wait(0.25):
        try:
            if not world.store.check([FAILED]):
                continue
            text, code = json.loads(world.store.get(FAILED))
            if world.over.wait(GRACE):  # the same mistake, found here too
                return
            print(text, file=sys.stderr, flush=True)
            world.store.set(TOLD, "")
        except Exception:  # nobody is left who would end the processes
            if world.over.is_set():
                return
            print("error: torchrun is gone; the run ends.", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(code)


def _end_watch(world: _World) -> None:
    world.over.set()
    if world.watcher is not None:
        world.watcher.join(timeout=5)
