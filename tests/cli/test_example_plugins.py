"""``examples/plugins``: a plugin of each kind, loaded with ``user_dir`` and used in a run."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import SMALL, Commands, Models, hypotheses, record, small

from mt_lottery.registry import REGISTRIES

TOP = Path(__file__).parents[2]
EXAMPLES = TOP / "examples" / "plugins"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("registered")]


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_there_is_one_of_each_kind_and_it_is_short() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == set(REGISTRIES)
    for file in EXAMPLES.glob("*.py"):
        text = file.read_text("utf-8")
        assert len(text.splitlines()) <= 45, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mt_lottery"):
                assert node.module == "mt_lottery.plugin", file


def test_all_but_the_selector_in_one_run(commands: Commands, models: Models, plugins: Path) -> None:
    words = [f"{first} {second}" for first in ("red", "old", "new") for second in "abcdefghijkl"]
    phrases = {"en": [f"The {w}." for w in words], "es": [f"El {w}." for w in words]}
    Path("phrases.json").write_text(json.dumps(phrases), "utf-8")
    given = [
        *("recipe=norms", "lang=en-es", f"user_dir={plugins}", "tuner.last_layers=1"),
        *("model=shortened", f"model.name_or_path={models.untied}", "model.layers=1"),
        *("data=phrase_book", "data.path=phrases.json", "data.template=arrow", *SMALL[1:5]),
        *("metrics=[exact,chrf]", "tracker=lowest_loss", "engine=plain_loop", "out_dir=run"),
        "train.epochs=2",
    ]
    refused = commands.train(*given, "train.accumulate=2")
    assert "engine=plain_loop: train.accumulate=2; allowed: 1." in refused.mistake()
    done = commands.train(*given, "baseline=false")
    assert done.code == 0, done.err
    made = record(Path("run"))
    assert made["model"]["name"] == "tiny-llama-1"
    assert made["method"] == "norms" and made["trainable_parameters"] == 2 * 32
    assert made["cost"]["train_steps"] == 24 * 2  # a pair a step, two epochs
    assert re.search(r"Lowest loss: \d+\.\d+, at step \d+", done.out + done.err)
    assert made["scores"]["exact"]["signature"] == "exact|version:1"
    first = hypotheses(Path("run"))[0]
    assert first["source"] in phrases["en"] and first["reference"] in phrases["es"]
    again = commands.process(
        "mt-translate", "--run", "run", "--user-dir", plugins, stdin=first["source"].encode()
    )
    assert again.code == 0, again.err
    assert again.out.removesuffix("\n") == first["hypothesis"].partition("\n")[0]


def test_a_benchmark_takes_a_model_of_a_plugin(
    commands: Commands, models: Models, plugins: Path
) -> None:
    done = commands.call(
        *("bench", "eos_bias", "--langs", "ro", "--preset", "smoke", "--out", "bench"),
        *("--model", "shortened", "--user-dir", plugins, f"model.name_or_path={models.untied}"),
        *("model.layers=1", "metrics=[chrf]"),
    )
    assert done.code == 0, done.err
    assert record(Path("bench/runs/eos_bias/en-ro/seed-0"))["model"]["name"] == "tiny-llama-1"


def test_selector_criterion_and_optimizer(
    commands: Commands, models: Models, plugins: Path
) -> None:
    chosen = ("tuner.selector=largest", "train.criterion=focal", "train.optimizer=adamax")
    given = small(models.untied, "ks_lottery", f"user_dir={plugins}", "tuner.tickets=4", *chosen)
    done = commands.train(*given, "baseline=false", "out_dir=run", "probe.epochs=1")
    assert done.code == 0, done.err
    assert record(Path("run"))["tickets"]["count"] == 4


def test_what_they_compute(commands: Commands, plugins: Path) -> None:
    assert commands.call("bench", "list", "--user-dir", plugins).code == 0
    logits = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.5, 0.1]], dtype=torch.float64)
    labels = torch.tensor([2, 0])
    p = torch.softmax(logits, 1)[[0, 1], labels]
    focal = REGISTRIES["criterion"].get("focal")(logits, labels, None)
    assert focal.item() == pytest.approx(float((-((1 - p) ** 2) * p.log()).sum()))
    before, after = torch.zeros(2, 3), torch.tensor([[0.0, -2.0, 1.0], [0.5, 0.0, 0.0]])
    assert REGISTRIES["selector"].get("largest")(before, after).tolist() == [2.0, 0.5]
    from mt_lottery.plugin import MetricContext

    exact = REGISTRIES["metric"].get("exact")(MetricContext(None, "x", "es", bootstrap=200))
    scored = exact.score(["a", "b", "c", "d"], ["a", "b", "x", "y"])
    assert scored.score == 50 and np.all(np.diff([0, *scored.ci95, 100]) >= 0)
