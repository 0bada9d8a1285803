"""Whether these tests can run."""

from __future__ import annotations

import importlib.metadata


def _missing() -> str | None:
    try:
        found = importlib.metadata.version("fairseq2")
    except importlib.metadata.PackageNotFoundError:
        return "fairseq2 is not installed here; tox -e fairseq2 has an environment with it"
    return None if found == "0.8.1" else f"fairseq2 {found} is installed, not 0.8.1"


MISSING = _missing()
