"""These tests need vLLM, which has an environment of its own: ``tox -e vllm``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from vllm_there import MISSING

sys.path.insert(0, str(Path(__file__).parents[2] / "cli"))


@pytest.hookimpl(tryfirst=True)  # before a fixture of a whole module makes models and runs
def pytest_runtest_setup(item: pytest.Item) -> None:
    if MISSING is not None:
        pytest.skip(MISSING)


@pytest.fixture(autouse=True)
def quick(one_thread: None) -> None:
    """One thread is quickest for tiny models."""
