"""The same checks on the CPU, where they must hold too, and on a GPU where there is one.

pytest tests/gpu -m gpu           # on a machine with a GPU, about a minute
ALL_ON_CPU=1 pytest tests/gpu     # every case on the CPU too, not one of each test
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).parents[1] / "decoding"))
sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from conftest_cli import commands, models

__all__ = ["commands", "models"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On the CPU a case of each test will do: so that they work where there is a GPU."""
    here, seen, left = Path(__file__).parent, set(), []
    for item in items:
        device = getattr(item, "callspec", None) and item.callspec.params.get("device")  # type: ignore[attr-defined]
        if item.path.parent == here and device == "cpu" and not os.environ.get("ALL_ON_CPU"):
            name = (item.path, item.originalname)  # type: ignore[attr-defined]
            if name in seen:
                left.append(item)
                continue
            seen.add(name)
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_runtest_setup(item: pytest.Item) -> None:
    import torch

    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU: this PyTorch sees no CUDA device")


@pytest.fixture(autouse=True)
def quick(one_thread: None, frozen_garbage: None) -> None:
    """One thread is quickest for tiny models."""
