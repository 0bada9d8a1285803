"""What a run says it will do, how long it takes, and that saying so changes nothing."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import SMALL, Commands, Models

from mt_lottery.runs.stages import course
from mt_lottery.tracking.trackers import Tracker

pytestmark = pytest.mark.slow


def small(models: Models, *more: str) -> list[str]:
    model = ["model=hf", f"model.name_or_path={models.untied}"]
    return ["recipe=ks_lottery", "lang=en-ro", *model, *SMALL, *more]


def sha256(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def test_a_run_says_what_it_does(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "SHORT", 0.0)  # of a tiny model it would say nothing
    lines = commands.train(*small(models, "out_dir=watched")).err.splitlines()
    assert lines[0] == (
        "To do: 1. the original model translates 6 test sentences (once); 2. the embedding table "
        "is tuned on 24 pairs (kept for later runs); 3. ks_lottery is trained on 24 pairs; "
        "4. ks_lottery translates 6 test sentences and is scored."
    )
    assert "the same command with resume=true goes on" in lines[1]
    told = [line for line in lines if "left at this speed" in line]
    assert re.fullmatch(r"About \d+ s left at this speed: probe \d+ s, training \d+ s\.", told[0])
    assert re.fullmatch(r"About \d+ s left at this speed: training \d+ s\.", told[-1])
    shown = [line[:11].strip() for line in lines if line.startswith("  ")]
    meanwhile = ["source", "by now"] * course.SHOWN
    assert shown == ["source", "reference", "original"] * course.SHOWN + meanwhile * 2
    assert sum(line.startswith("After step 3 of 6:") for line in lines) == 2  # probe, training

    monkeypatch.setattr(course.Course, "watch", lambda *given: [])
    (Path(commands.cache) / "probes").rename(Path(commands.cache) / "first")
    commands.train(*small(models, "out_dir=alone", "resume=true"))
    for name in ("adapter/adapter_model.safetensors", "hypotheses.jsonl", "tickets.csv"):
        assert sha256(f"watched/{name}") == sha256(f"alone/{name}")


def test_what_is_shown_meanwhile_costs_the_training_nothing(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, translate, away = time.monotonic, course.decode, [0.0]

    def slow(*given: Any, **more: Any) -> Any:
        away[0] += 4000.0
        return translate(*given, **more)

    monkeypatch.setattr(course, "decode", slow)
    monkeypatch.setattr("time.monotonic", lambda: clock() + away[0])
    monkeypatch.setattr(course, "SHORT", 0.0)
    monkeypatch.setattr(course, "MEASURED", 2)
    done = commands.train(*small(models, "out_dir=shown", "seed=3"))
    assert away[0] == 8000.0  # of the probe and of the training
    record = json.loads(Path("shown/record.json").read_text())
    cost = record["cost"]
    assert max(cost["probe_seconds"], cost["train_seconds"]) < 1000
    log = [json.loads(line) for line in Path("shown/train_log.jsonl").read_text().splitlines()]
    steps = [line for line in log if "loss" in line]
    assert steps[-1]["seconds"] <= cost["train_seconds"]
    tokens = cost["train_tokens_per_second"] * cost["train_seconds"]
    assert min(line["tokens_per_second"] for line in steps) > tokens / 1000
    told = [line for line in done.err.splitlines() if "left at this speed" in line]
    assert told
    assert not any(" min" in line or " h" in line for line in told)


def test_a_training_goes_on_where_nothing_can_be_shown(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **more: object) -> None:
        raise RuntimeError("CUDA out of memory.\nTried to allocate …")

    monkeypatch.setattr(course, "decode", full)
    done = commands.train(*small(models, "out_dir=narrow"))
    assert done.code == 0
    said = "After step 3 of 6: no translations can be shown (CUDA out of memory.)."
    assert done.err.count(said) == done.err.count("no translations") == 1  # it is tried once


def test_an_estimate_is_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class Later:
        def after(self, stage: str, pace: float) -> float:
            return 50 * pace + 30

        def tell(self, stage: str, own: float, left: float) -> None:
            told.append((stage, round(own), round(left)))

    watch: Tracker = course.Watch(Later(), "probe", 100)  # type: ignore[arg-type]
    for step in range(1, 101):
        now[0] += 1.0 if step < 40 else 3.0
        watch.log(step, {"loss": 1.0})
        watch.log(step, {"dev_loss": 1.0})
    assert told[0] == ("probe", 96, 176)
    assert 2 <= len(told) <= 5
    assert told[-1][2] > told[-1][1]


def test_a_recipe_without_training(commands: Commands, models: Models) -> None:
    lines = commands.train(*small(models, "recipe=none", "resume=true")).err.splitlines()
    assert "To do: 1. none translates 6 test sentences and is scored." in lines
    assert not any("Ctrl-C" in line or "left at this speed" in line for line in lines)
