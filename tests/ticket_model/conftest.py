"""Makes the tiny models of this folder quick."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def quick(one_thread: None, frozen_garbage: None) -> None:
    """One thread is quickest for tiny models."""
