"""Models that several threads load at once: transformers changes its own classes meanwhile."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Barrier

import pytest
import torch

from mt_lottery.config import ModelConfig
from mt_lottery.model.folder.shape import shape_of
from mt_lottery.model.loading import load
from mt_lottery.system.quiet import no_warnings, quietly

THREADS = 4


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads that take turns often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_each_thread_gets_the_whole_model(model_folder: Callable[..., Path]) -> None:
    from transformers import PreTrainedModel

    folder = str(model_folder("llama", tied=True))
    own, config = PreTrainedModel.tie_weights, ModelConfig(name="hf", name_or_path=folder)
    together = Barrier(THREADS)

    def work(number: int) -> torch.Tensor:
        together.wait()
        if number % 2:
            return shape_of(folder).get_input_embeddings().weight
        model = load(config, "cpu").model
        assert model.lm_head.weight is model.get_input_embeddings().weight
        return model.lm_head.weight

    with ThreadPoolExecutor(THREADS) as pool:
        tables = [table for _ in range(4) for table in pool.map(work, range(THREADS))]
    first = tables[0]
    assert all(torch.equal(table, first) for table in tables if not table.is_meta)
    assert sum(table.is_meta for table in tables) == len(tables) // 2
    assert PreTrainedModel.tie_weights is own


def test_the_librarys_level_is_left_as_it_was(model_folder: Callable[..., Path]) -> None:
    log = logging.getLogger("transformers")
    before = log.level
    log.setLevel(logging.INFO)
    try:
        shape_of(str(model_folder("llama")))
        assert log.level == logging.INFO
    finally:
        log.setLevel(before)


@pytest.mark.parametrize("one", [quietly, no_warnings])
def test_calls_that_overlap_leave_the_filters_as_they_were(
    one: Callable[[], AbstractContextManager[None]],
) -> None:
    filters, level = list(warnings.filters), logging.getLogger("bitsandbytes").level
    first, second = one(), quietly()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logging.getLogger("bitsandbytes").level == logging.ERROR  # the second is at work
    second.__exit__(None, None, None)
    assert list(warnings.filters) == filters
    with one(), warnings.catch_warnings(record=True) as heard:
        warnings.warn("pin_memory, of something", FutureWarning, stacklevel=1)
    assert heard == [] and list(warnings.filters) == filters
    assert logging.getLogger("bitsandbytes").level == level
