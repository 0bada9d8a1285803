"""What a reader gets who runs the Python of a model card."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any


def translated(code: str, folder: Path, sentences: list[str]) -> list[str]:
    """Run a card's code in its folder, and call the ``translate`` that it defines."""
    names: dict[str, Any] = {}
    with contextlib.chdir(folder):
        exec(code, names)
    return [names["translate"](sentence) for sentence in sentences]
