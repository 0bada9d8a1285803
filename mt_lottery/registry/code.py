"""The code of the plugins that a run uses: its author may change what it does, and not its name."""

from __future__ import annotations

from typing import Any

from mt_lottery.registry import CRITERIA, ENGINES, MODELS, OPTIMIZERS, TUNERS


def code_of(config: Any) -> dict[str, str]:
    """``"criterion NAME"`` … → sha256 of the file, of what plugins registered.

    What a notebook registered has no file, and is left out.

    Args:
        config: a ``RunConfig``.
    """
    used = [
        (TUNERS, config.tuner.name), (MODELS, config.model.name), (ENGINES, config.engine),
        *((CRITERIA, section.criterion) for section in (config.train, config.probe)),
        *((OPTIMIZERS, section.optimizer) for section in (config.train, config.probe)),
    ]  # fmt: skip
    found = {
        f"{kind.kind} '{name}'": kind.code(name) for kind, name in used if kind.is_plugin(str(name))
    }
    return {key: value for key, value in found.items() if value is not None}
