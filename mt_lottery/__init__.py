"""mt-lottery: find, certify and tune the few token embeddings that matter for translation.

    import mt_lottery as mtl
    ticket = mtl.find_ticket(base, tuned, rows=18)
    result = mtl.ks_test(before, after)          # statistic [V], pvalue [V]
    rows = mtl.select("ks", before, after, alpha=0.05)
    model, tokenizer = mtl.load_tuned("runs/en-ro/ks_lottery/seed-0")

Names are imported when they are first used: ``import mt_lottery`` is instant.
"""

from __future__ import annotations

import importlib
import random
import sys
from typing import TYPE_CHECKING, Any

from mt_lottery import moved

__version__ = "0.1.0"
"""The version of the package."""

_WHERE = {
    "ks_test": "ticket.ks",
    "KSResult": "ticket.ks",
    "select": "ticket.selection",
    "Ticket": "ticket.ticket",
    "Level": "ticket.level",
    "find_ticket": "paper.find.ticket",
    "certify": "api.certificates",
    "train": "api.training",
    "bench": "api.benchmarks",
    "Leaderboard": "api.benchmarks",
    "score": "api.scoring",
    "run": "runs",
    "Run": "runs",
    "load_tuned": "runs",
    "Record": "runs.folder.record",
    "read_record": "runs.folder.record",
    "TicketConfig": "ticket_model.model",
    "TicketModel": "ticket_model.model",
    "get_ticket_model": "ticket_model.model",
    "MTLotteryError": "errors",
} | {
    f"register_{kind}": "registry"
    for kind in (
        "model",
        "criterion",
        "optimizer",
        "tuner",
        "selector",
        "corpus",
        "template",
        "metric",
        "tracker",
        "engine",
    )
}

__all__ = sorted([*_WHERE, "__version__"])

if TYPE_CHECKING:
    from mt_lottery.api.benchmarks import Leaderboard as Leaderboard
    from mt_lottery.api.benchmarks import bench as bench
    from mt_lottery.api.certificates import certify as certify
    from mt_lottery.api.scoring import score as score
    from mt_lottery.api.training import train as train
    from mt_lottery.errors import MTLotteryError as MTLotteryError
    from mt_lottery.paper.find.ticket import find_ticket as find_ticket
    from mt_lottery.registry import register_corpus as register_corpus
    from mt_lottery.registry import register_criterion as register_criterion
    from mt_lottery.registry import register_engine as register_engine
    from mt_lottery.registry import register_metric as register_metric
    from mt_lottery.registry import register_model as register_model
    from mt_lottery.registry import register_optimizer as register_optimizer
    from mt_lottery.registry import register_selector as register_selector
    from mt_lottery.registry import register_template as register_template
    from mt_lottery.registry import register_tracker as register_tracker
    from mt_lottery.registry import register_tuner as register_tuner
    from mt_lottery.runs import Run as Run
    from mt_lottery.runs import load_tuned as load_tuned
    from mt_lottery.runs import run as run
    from mt_lottery.runs.folder.record import Record as Record
    from mt_lottery.runs.folder.record import read_record as read_record
    from mt_lottery.ticket.ks import KSResult as KSResult
    from mt_lottery.ticket.ks import ks_test as ks_test
    from mt_lottery.ticket.level import Level as Level
    from mt_lottery.ticket.selection import select as select
    from mt_lottery.ticket.ticket import Ticket as Ticket
    from mt_lottery.ticket_model.config import TicketConfig as TicketConfig
    from mt_lottery.ticket_model.model import TicketModel as TicketModel
    from mt_lottery.ticket_model.model import get_ticket_model as get_ticket_model

moved.install(sys.modules[__name__])


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        from mt_lottery.errors import nearest

        hint = nearest(name, __all__)
        raise AttributeError(f"module 'mt_lottery' has no attribute '{name}'.{hint}")
    where = f"mt_lottery.{_WHERE[name]}"
    if where in sys.modules:  # waits where another thread is still importing it
        return getattr(importlib.import_module(where), name)
    from mt_lottery.system.quiet import quietly

    drawn = random.getstate()  # which is the caller's: some libraries draw while they are imported
    try:
        with quietly():
            return getattr(importlib.import_module(where), name)
    finally:
        random.setstate(drawn)


def __dir__() -> list[str]:
    return __all__
