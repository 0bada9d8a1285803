"""The science: KS distances of embedding rows, tickets, certificates.  Pure functions.

Names load on first use, so that importing the package costs nothing.  The
function ``certify`` is imported from its module of the same name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mt_lottery.ticket.certify import Certification as Certification
    from mt_lottery.ticket.certify import tau_analytic as tau_analytic
    from mt_lottery.ticket.certify import tau_estimated as tau_estimated
    from mt_lottery.ticket.certify import top_two as top_two
    from mt_lottery.ticket.ks import KSResult as KSResult
    from mt_lottery.ticket.ks import ks_test as ks_test
    from mt_lottery.ticket.level import Level as Level
    from mt_lottery.ticket.level import RowScores as RowScores
    from mt_lottery.ticket.level import correct as correct
    from mt_lottery.ticket.selection import find_ticket as find_ticket
    from mt_lottery.ticket.selection import implied_alpha as implied_alpha
    from mt_lottery.ticket.selection import score_rows as score_rows
    from mt_lottery.ticket.selection import select as select
    from mt_lottery.ticket.selection import selector_context as selector_context
    from mt_lottery.ticket.selection import ticket_of as ticket_of
    from mt_lottery.ticket.ticket import Ticket as Ticket

_NAMES = {
    "certify": "Certification tau_analytic tau_estimated top_two",
    "ks": "KSResult ks_test",
    "level": "Level RowScores correct",
    "selection": "find_ticket implied_alpha score_rows select selector_context ticket_of",
    "ticket": "Ticket",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
