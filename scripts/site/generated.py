"""Parts of pages that are made from the code: settings, the record, the commands' help."""

from __future__ import annotations

from collections.abc import Callable

PARTS: dict[str, Callable[[], str]] = {}
