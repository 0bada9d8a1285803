"""What a plugin's engine or optimizer gives back and does, checked right after the training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from training import ROWS, fit

from mt_lottery.config import TrainConfig
from mt_lottery.errors import PluginError, TrainingError
from mt_lottery.registry import ENGINES, OPTIMIZERS, register_engine, register_optimizer
from mt_lottery.runs.stages.checked import train_checked
from mt_lottery.training.engine import TrainResult
from mt_lottery.tuners.rows.module import attach

GOOD = TrainResult(3, 1.0, 10.0, 0.5, None)
Act = Callable[[Any], object]


@pytest.fixture
def engine() -> Iterator[Callable[..., Any]]:
    """Registers an engine ``mine`` that does something to the model, and trains with it."""

    def train(act: Act, gives: Any = GOOD, model: Any = None, **settings: Any) -> TrainResult:
        class Mine:
            def __init__(self, config: Any) -> None: ...

            def problems(self) -> list[str]:
                return []

            def train(self, model: Any, config: Any, examples: Any, *, pad_id: int, seed: int,
                      folder: Any, log: Any, title: str, dev: Any = None, autocast: Any = None,
                      resume: bool = False, trackers: Any = ()) -> Any:  # fmt: skip
                act(model)
                return gives

        ENGINES._forget("mine")
        register_engine("mine")(Mine)
        given = {"pad_id": 0, "seed": 0, "folder": None, "log": None, "title": "test"}
        model = with_rows() if model is None else model
        return train_checked("mine", Mine(None), model, TrainConfig(**settings), [], **given)

    yield train
    ENGINES._forget("mine")


def with_rows(dtype: torch.dtype = torch.float32) -> Any:
    model = tiny.model(dtype=dtype).requires_grad_(False)
    attach(model, ROWS, tied=False)
    return model


def move(model: Any, only: bool = True) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad or not only:
                parameter.add_(0.5)


@pytest.mark.parametrize(
    ("gives", "problem"),
    [
        (None, r"must return a mt_lottery\.training\.engine\.TrainResult\(.*, not nothing"),
        (TrainResult("many", 1.0, 1.0, 0.5, None), "steps must be a whole number ≥ 0, not str"),  # type: ignore[arg-type]
        (TrainResult(True, 1.0, 1.0, 0.5, None), "steps must be .* not bool True"),
        (TrainResult(-1, 1.0, 1.0, 0.5, None), "steps must be .* not int -1"),
        (TrainResult(1, torch.tensor(1.0), 1.0, 0.5, None), r"seconds must be .* not a tensor \["),  # type: ignore[arg-type]
        (TrainResult(1, 1.0, float("inf"), 0.5, None), "tokens_per_second must be a finite .* inf"),
        (TrainResult(1, 1.0, -2.0, 0.5, None), "tokens_per_second must be .* not float -2.0"),
        (
            TrainResult(1, 1.0, 1.0, float("inf"), None),
            "loss must be .*, or NaN .* float inf",
        ),
        (TrainResult(1, 1.0, 1.0, 0.5, "low"), "dev_loss must be a finite number or None, not str"),  # type: ignore[arg-type]
        (TrainResult(1, 1.0, 1.0, 0.5, float("nan")), "dev_loss must be .* not float nan"),
    ],
)
def test_what_is_no_result(engine: Any, gives: Any, problem: str) -> None:
    with pytest.raises(PluginError, match=rf"test_checked.*the engine 'mine': .*{problem}"):
        engine(move, gives)


def test_numbers_of_numpy_become_pythons(engine: Any) -> None:
    gives = TrainResult(np.int64(3), np.float32(1), 10, float("nan"), np.float64(2))  # type: ignore[arg-type]
    found = engine(move, gives)
    assert [type(value) for value in vars(found).values()] == [int] + [float] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_trained_stays(engine: Any, dtype: torch.dtype) -> None:
    assert engine(move, model=with_rows(dtype)) == GOOD
    problem = r"train has changed .* and \d+ other tensors, not trained by the run's tuner"
    with pytest.raises(PluginError, match=problem):
        engine(lambda model: move(model, only=False), model=with_rows(dtype))


def test_a_single_value_that_is_not_trained(engine: Any) -> None:
    def one(model: Any) -> None:
        move(model)
        model.requires_grad_(True)  # an engine may forget what was trained
        model.model.norm.weight.data[3] += 1e-3

    with pytest.raises(PluginError, match=r"train has changed model\.norm\.weight, not trained by"):
        engine(one)


def test_an_engine_that_trains_nothing(engine: Any) -> None:
    problem = r"'mine': after 3 steps with lr=0\.001 none of the 1 trained tensor \(.*rows\)"
    with pytest.raises(PluginError, match=problem):
        engine(lambda model: None)
    one = TrainResult(1, 1.0, 10.0, 0.5, None)
    with pytest.raises(PluginError, match="after 1 step with lr"):
        engine(lambda model: None, one)
    assert engine(lambda model: None, one, warmup_steps=2) == one  # its rate was 0


def test_what_trains_nothing_by_design_passes(engine: Any) -> None:
    frozen = tiny.model().requires_grad_(False)
    with pytest.raises(PluginError, match="train has changed"):
        engine(lambda model: move(model, only=False), model=frozen)
    assert engine(lambda model: None, model=frozen) == GOOD


def test_what_requires_a_gradient_stays_so(engine: Any) -> None:
    def ends_frozen(model: Any) -> None:
        move(model)
        model.requires_grad_(False)

    model = with_rows()
    before = {name for name, p in model.named_parameters() if p.requires_grad}
    engine(ends_frozen, model=model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == before


def test_what_is_trained_must_be_there_after_it(engine: Any) -> None:
    def wraps(model: Any) -> None:
        move(model)
        model.model.embed_tokens = torch.nn.Sequential(model.model.embed_tokens)

    with pytest.raises(PluginError, match=r"has no parameter model\.embed_tokens.*rows, which was"):
        engine(wraps)


def test_trained_values_that_are_not_finite(engine: Any) -> None:
    def breaks(model: Any) -> None:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data[0] = float("nan")

    with pytest.raises(TrainingError, match="is not finite after the training with engine=mine"):
        engine(breaks)


def test_what_requires_no_gradient_any_more(tmp_path: Path) -> None:
    def freezes(parameters: Any, config: Any) -> Any:
        for parameter in parameters:
            parameter.requires_grad_(False)
        return torch.optim.SGD(parameters, lr=config.lr)

    register_optimizer("freezes")(freezes)
    try:
        with pytest.raises(TrainingError, match=r"No tensor .* at step 1, .*freezes"):
            fit(with_rows(), tmp_path, optimizer="freezes")
    finally:
        OPTIMIZERS._forget("freezes")
