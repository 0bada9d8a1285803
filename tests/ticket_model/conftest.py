"""Makes the tiny models of this folder quick."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True, scope="session")
def frozen_garbage() -> None:
    """Trainer collects garbage at each start: seconds, with all that pytest holds."""
    import mt_lottery.training.trainer  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def quick(one_thread: None) -> None:
    """One thread is quickest for tiny models."""
