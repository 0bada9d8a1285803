"""These tests need fairseq2, which has an environment of its own: ``tox -e fairseq2``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from conftest_cli import commands, models
from fairseq2_there import MISSING

__all__ = ["commands", "models"]


@pytest.hookimpl(tryfirst=True)  # before a fixture of a whole module asks for fairseq2
def pytest_runtest_setup(item: pytest.Item) -> None:
    if MISSING is not None and item.get_closest_marker("without_fairseq2") is None:
        pytest.skip(MISSING)


@pytest.fixture(autouse=True)
def extension_must_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq2 only warns of an extension that fails."""
    monkeypatch.setenv("FAIRSEQ2_EXTENSION_TRACE", "1")


@pytest.fixture(autouse=True)
def quick(one_thread: None) -> None:
    """One thread is quickest for tiny models."""
