"""These tests need fairseq2, which has an environment of its own: ``tox -e fairseq2``."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from conftest_cli import commands, models

__all__ = ["commands", "models"]


def _missing() -> str | None:
    try:
        found = importlib.metadata.version("fairseq2")
    except importlib.metadata.PackageNotFoundError:
        return "fairseq2 is not installed here; tox -e fairseq2 has an environment with it"
    return None if found == "0.8.1" else f"fairseq2 {found} is installed, not 0.8.1"


MISSING = _missing()


@pytest.fixture(autouse=True)
def needs_fairseq2(request: pytest.FixtureRequest) -> None:
    if MISSING is not None and request.node.get_closest_marker("without_fairseq2") is None:
        pytest.skip(MISSING)


@pytest.fixture(autouse=True)
def extension_must_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq2 only warns of an extension that fails."""
    monkeypatch.setenv("FAIRSEQ2_EXTENSION_TRACE", "1")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
