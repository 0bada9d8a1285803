"""Rotary positions whose frequencies depend on how long a text is."""

from __future__ import annotations

from typing import Any

#: Kinds of rotary positions whose frequencies the host chooses by the longest text so far.
CHOSEN_BY_LENGTH = frozenset({"dynamic", "longrope"})


def rope_types(module: Any) -> set[str]:
    """Kinds of rotary positions in a module and in those within it.

    Some have one for each kind of layer, by its name.
    """
    found: set[str] = set()
    for kind in (getattr(each, "rope_type", None) for each in module.modules()):
        found |= {*kind.values()} if isinstance(kind, dict) else {str(kind)}
    return found
