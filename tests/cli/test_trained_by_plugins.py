"""Runs that a plugin's engine, optimizer, criterion or metric decides, and what is checked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_runs import Commands, Models, small

from mt_lottery.registry import loading as plugins

pytestmark = pytest.mark.slow

PLUGIN = """
import torch

from mt_lottery.plugin import TrainResult, register_engine


def engine(name, act, *result):
    class Own:
        def __init__(self, config):
            pass

        def problems(self):
            return []

        def train(self, model, config, examples, *, pad_id, seed, folder, log, title,
                  dev=None, autocast=None, resume=False, trackers=()):
            with torch.no_grad():
                act(model)
            return TrainResult(*(result or (5, 1.0, 10.0, 0.5, None)))

    register_engine(name)(Own)


def moves(model):
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter += 0.3


def moves_all(model):
    for parameter in model.parameters():
        parameter += 0.3


engine("e_all", moves_all)
engine("e_odd", moves, 5, 1.0, float("inf"), 0.5, None)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before, path = len(plugins._registered), list(sys.path)
    made = tmp_path_factory.mktemp("plugins")
    (made / "training_plugin.py").write_text(PLUGIN)
    yield made
    for place, forget in plugins._registered[before:]:
        if place.file == str(made / "training_plugin.py"):
            forget()
    sys.path[:] = path
    sys.modules.pop("training_plugin", None)
    plugins._plugin_folders.pop(str(made), None)


@pytest.mark.parametrize(
    ("recipe", "engine", "message"),
    [
        ("random", "e_all", "other tensors, not trained by the run's tuner"),
        ("embed", "e_all", "other tensors, not trained by the run's tuner"),
        ("random", "e_odd", "TrainResult.tokens_per_second must be a finite number ≥ 0, not float"),
        ("embed", "e_odd", "TrainResult.tokens_per_second must be a finite number ≥ 0, not float"),
    ],
)
def test_an_engine_that_does_something_else(
    recipe: str, engine: str, message: str, commands: Commands, models: Models, folder: Path
) -> None:
    given = ("baseline=false", f"user_dir={folder}", f"engine={engine}", "out_dir=run")
    mistake = commands.train(*small(models.untied, recipe, *given)).mistake()
    assert message in mistake and f"the engine '{engine}'" in mistake
    assert str(folder / "training_plugin.py") in mistake
    assert not Path("run/record.json").exists()
