"""What fairseq2 would change, or tell, of the process that calls it: kept as it was, and secret.

At its start fairseq2 logs every environment variable, keys of trackers and hubs among them,
takes over the root logger, and makes and destroys the default process group.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed

TOLD = re.compile(
    r"RANK|WORLD_SIZE|MASTER_(ADDR|PORT)|PATH|HOME|LANG|TERM|TMPDIR|VIRTUAL_ENV|LD_LIBRARY_PATH"
    r"|(LOCAL|GROUP|ROLE|TORCH|TORCHELASTIC|OMP|MKL|NCCL|GLOO|CUDA|SLURM|LC|PYTHON|FAIRSEQ2"
    r"|PYTORCH|XDG|MT_LOTTERY)(_[A-Z0-9_]+|[A-Z]*)"
)
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CRED|AUTH|JWT")
PASSWORD = re.compile(r"://[^/\s]*@")  # https://me:password@host


def may_be_told(name: str, value: str) -> bool:
    """Whether an environment variable may stand in a log: of a known kind, and no secret."""
    return bool(TOLD.fullmatch(name)) and not (SECRET.search(name) or PASSWORD.search(value))


@contextlib.contextmanager
def only_harmless_variables() -> Iterator[Callable[[], None]]:
    """An environment of the variables that may be logged.

    Yields:
        a function that brings the others back, once fairseq2 has logged its environment.
        On leaving, everything is as it was.
    """
    before = dict(os.environ)
    hidden = {k: v for k, v in before.items() if not may_be_told(k, v)}
    for name in hidden:
        del os.environ[name]
    # else fairseq2 takes over the log of PyTorch's C++ parts, which can be done once
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("NCCL_DEBUG", "WARN")
    try:
        yield lambda: os.environ.update(hidden)
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def own_logging() -> Iterator[None]:
    """fairseq2 takes over the root logger, and adds a file to its own; all undone on leaving."""
    loggers = [logging.getLogger(), logging.getLogger("fairseq2")]
    kept = [(list(log.handlers), log.level, log.propagate) for log in loggers]
    for each in loggers:
        each.handlers = []  # it would close the one's; the other's are a recipe's around this one
    loggers[1].setLevel(logging.WARNING)  # until its terminal is quiet
    show = warnings.showwarning

    def filtered(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, DeprecationWarning):  # fairseq2 shows those of its own parts
            show(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.showwarning = filtered
        try:
            yield
        finally:
            for log, (handlers, level, propagate) in zip(loggers, kept, strict=True):
                for handler in set(log.handlers) - set(handlers):
                    handler.close()
                log.handlers, log.propagate = handlers, propagate
                log.setLevel(level)


@contextlib.contextmanager
def shared_group() -> Iterator[None]:
    """Let fairseq2's root gang be the existing process group, which outlives it."""
    from fairseq2.gang import ProcessGroupGang

    if not torch.distributed.is_initialized():
        yield
        return
    gang: Any = ProcessGroupGang
    kept = {name: gang.__dict__[name] for name in ("create_default_process_group", "close")}

    def stand_in(cls: Any, /, device: torch.device, **settings: Any) -> Any:
        return cls(torch.distributed.group.WORLD, device)

    gang.create_default_process_group = classmethod(stand_in)
    gang.close = lambda self: None
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(gang, name, value)
