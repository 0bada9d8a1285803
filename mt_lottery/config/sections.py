"""The schema of ``data`` where dev or test come from another corpus with settings of its own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import get_type_hints


@functools.lru_cache(maxsize=256)
def with_settings_of(base: type, others: Sequence[type]) -> type:
    """A schema with the settings of other corpora behind those of its own.

    Of a name that both have, ``base`` has the setting; the other corpus then has its default.
    What is added counts for the ``config_hash`` once it is set, so that a run of before has the
    hash that it had.

    Args:
        base: the schema of ``data.name``.
        others: those of ``data.dev`` and ``data.test``.

    Returns:
        ``base`` itself, or a dataclass that extends it; each field that is added names in its
        metadata, under ``lent``, the schema that it is from.
    """
    taken = {f.name for f in dataclasses.fields(base)}
    added = []
    for schema in others:
        hints = get_type_hints(schema)
        for f in dataclasses.fields(schema):
            required = f.default is f.default_factory is dataclasses.MISSING
            if f.name in taken or required:
                continue
            taken.add(f.name)
            counts = f.metadata.get("counts", True) and "if set"
            metadata = {**f.metadata, "lent": schema, "counts": counts}
            if f.default_factory is dataclasses.MISSING:
                own = dataclasses.field(default=f.default, metadata=metadata)
            else:
                own = dataclasses.field(default_factory=f.default_factory, metadata=metadata)
            added.append((f.name, hints[f.name], own))
    if not added:
        return base
    namespace = {"__module__": base.__module__, "__doc__": base.__doc__}
    return dataclasses.make_dataclass(base.__name__, added, bases=(base,), namespace=namespace)
