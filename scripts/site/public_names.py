"""Whether every public name has a docstring, and a place in docs/reference/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import griffe

TOP = Path(__file__).resolve().parents[2]
REFERENCE = TOP / "docs" / "reference"
#: What each ``register_…`` is.
REGISTER = "mt_lottery.registry.Registry.register"


def _target(package: griffe.Module, name: str) -> griffe.Object:
    found = package[name.removeprefix("mt_lottery.")]
    found = found.final_target if found.is_alias else found
    if found.is_attribute and str(found.value).endswith(".register"):
        return _target(package, REGISTER)
    return found


def undocumented() -> Iterator[str]:
    """What is missing, a sentence each."""
    import mt_lottery
    from mt_lottery import plugin

    package = griffe.load("mt_lottery", search_paths=[TOP], resolve_aliases=True)
    pages = "".join(page.read_text("utf-8") for page in sorted(REFERENCE.glob("*.md")))
    shown = {
        _target(package, name).path for name in re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    }
    public = [f"mt_lottery.{name}" for name in mt_lottery.__all__]
    for name in (*public, *(f"mt_lottery.plugin.{name}" for name in plugin.__all__)):
        found = _target(package, name)
        if found.docstring is None:
            yield f"{name} ({found.path}) has no docstring"
        if found.path not in shown:
            yield f"{name} is on no page of docs/reference: add a line '::: {name}' to one"
