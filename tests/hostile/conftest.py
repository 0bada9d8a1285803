"""The tiny models, and one finished run of each kind, made once for all mutations."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from conftest_cli import models
from tiny_runs import Models, small

__all__ = ["models", "runs"]

#: What each run leaves differs by what its method keeps.
RECIPES = ("ks_lottery", "ks_transfer", "lora", "prefix", "eos_bias", "few_shot", "full")


@pytest.fixture(scope="session")
def runs(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A finished run of each recipe, float32; by recipe."""
    from mt_lottery.cli.train import command

    folder = tmp_path_factory.mktemp("runs")
    threads, cache = torch.get_num_threads(), os.environ.get("MT_LOTTERY_CACHE")
    torch.set_num_threads(1)
    os.environ["MT_LOTTERY_CACHE"] = str(folder / "cache")
    made = {}
    for recipe in RECIPES:
        made[recipe] = folder / recipe
        given = small(models.tied, recipe, f"out_dir={made[recipe]}", "model.dtype=float32")
        more = [] if recipe == "few_shot" else ["train.lr=0.05"]
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            assert command([*map(str, given), "baseline=false", *more]) == 0
    yield made
    torch.set_num_threads(threads)
    os.environ.pop("MT_LOTTERY_CACHE")
    if cache is not None:
        os.environ["MT_LOTTERY_CACHE"] = cache
