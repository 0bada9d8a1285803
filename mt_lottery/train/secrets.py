"""Keys and passwords out of what is logged."""

from __future__ import annotations

import os
import re
from typing import Any

HIDDEN = "***"
#: Environment variables whose value is nobody's business.
_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 8  # a shorter value ("true", "1") may stand in any text
_IN_URL = re.compile(r"(?<=://)[^/\s@]+:[^/\s@]+(?=@)")  # https://user:password@host


def _values() -> list[str]:
    found = {v for k, v in os.environ.items() if _NAMES.search(k) and len(v) >= _SHORTEST}
    return sorted(found, key=len, reverse=True)  # one may be the beginning of another


def without_secrets(content: Any) -> Any:
    """JSON-like content whose texts hold none of the environment's keys, nor a URL's password."""
    hidden = _values()

    def clean(node: Any) -> Any:
        if isinstance(node, str):
            for value in hidden:
                node = node.replace(value, HIDDEN)
            return _IN_URL.sub(HIDDEN, node)
        if isinstance(node, dict):
            return {clean(key): clean(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return [clean(value) for value in node]
        return node

    return clean(content)
