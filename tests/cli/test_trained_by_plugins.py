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
from torch.nn import functional as F

from mt_lottery.plugin import *


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
engine("e_idle", lambda model: None)
engine("e_odd", moves, 5, 1.0, float("inf"), 0.5, None)


class Lazy(torch.optim.SGD):
    def step(self, closure=None):
        pass


class Small(torch.optim.SGD):
    def step(self, closure=None):
        if sum(p.numel() for group in self.param_groups for p in group["params"]) < 100:
            super().step(closure)


class Gathers(torch.optim.SGD):
    steps = 0

    def step(self, closure=None):
        self.steps += 1
        if self.steps % 4 == 0:
            super().step(closure)




@register_metric("m_far")
class Far:
    key = column = "far"

    def __init__(self, context):
        pass

    def score(self, hypotheses, references):
        return Scored(50.0, (1.0, 2.0), "s")


register_criterion("c_mean")(lambda x, labels, config: F.cross_entropy(x, labels))
register_criterion("c_shifts")(
    lambda x, labels, config: F.cross_entropy(x[:-1], labels[1:], reduction="sum")
)
register_optimizer("o_lazy")(lambda parameters, config: Lazy(parameters, lr=config.lr))
register_optimizer("o_small")(lambda parameters, config: Small(parameters, lr=config.lr))
register_optimizer("o_gathers")(lambda parameters, config: Gathers(parameters, lr=config.lr))
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
        ("random", "e_idle", "none of the 1 trained tensor ("),
        ("ks_lottery", "e_idle", "none of the 1 trained tensor ("),
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


def test_an_optimizer_whose_steps_do_nothing(
    commands: Commands, models: Models, folder: Path
) -> None:
    given = (*small(models.untied, "random", "baseline=false"), f"user_dir={folder}", "out_dir=run")
    lazy = commands.train(*given, "train.optimizer=o_lazy")
    assert "'o_lazy': 100 calls of step() change none of the parameters." in lazy.mistake()
    assert "Loading" not in lazy.err
    none = commands.train(*given, "train.optimizer=o_small").mistake()
    assert "the optimizer 'o_small': after " in none and "none of the 1 trained tensor (" in none
    assert str(folder / "training_plugin.py") in none and not Path("run/record.json").exists()
    for recipe, optimizer in (("random", "o_gathers"), ("none", "o_small")):
        fine = (*small(models.untied, recipe, "baseline=false"), f"user_dir={folder}")
        ended = commands.train(*fine, f"train.optimizer={optimizer}", f"out_dir={recipe}")
        assert ended.code == 0, ended.err


def test_a_criterion_that_is_no_sum(commands: Commands, models: Models, folder: Path) -> None:
    given = (*small(models.untied, "random", "baseline=false"), f"user_dir={folder}", "out_dir=run")
    mistake = commands.train(*given, "train.criterion=c_mean").mistake()
    assert "the criterion 'c_mean': its loss of 8 labels" in mistake
    ended = commands.train(*given, "train.criterion=c_shifts")
    assert ended.code == 0
    assert "Warning: train.criterion=c_shifts: where each label is there twice" in ended.err


def test_a_metric_whose_interval_is_elsewhere(
    commands: Commands, models: Models, folder: Path
) -> None:
    given = small(models.untied, "none", f"user_dir={folder}", "metrics=[m_far]", "out_dir=run")
    ended = commands.train(*given)
    assert (
        ended.code == 0 and "Warning: metric far: its score (raw) is 50, far outside" in ended.err
    )
