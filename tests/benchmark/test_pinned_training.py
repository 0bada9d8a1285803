"""A benchmark's result says how its runs were trained, and the script trains them so again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mt_lottery.config.compose import compose

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def own_training(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import common

    return common.own_training


def committed(name: str) -> Any:
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text("utf-8"))


def test_the_table_on_real_text(own_training: Any) -> None:
    import real_text

    found = {(r["method"], r["lang"], r["rows"], r["seed"]): r for r in committed("real_text")}
    data = real_text.text(Path("data"))
    for _, lang, arguments in real_text.RUNS:
        config = compose([f"lang=en-{lang}", *arguments, *data])
        rows = getattr(config.tuner, "tickets", None)
        kept = found.pop((config.recipe, config.lang, rows, config.seed))
        assert kept["training"] == own_training(config)
        steps = config.train.epochs * 50 if config.recipe != "ks_transfer" else 0
        assert kept["cost"]["train_steps"] in (0, steps)  # 0: no row occurs
    assert {key[0] for key in found} == {"none"}


def test_rankings_by_gradient(own_training: Any, tmp_path: Path) -> None:
    import gradient_rankings

    (tmp_path / "rows.txt").write_text("1\n")
    for name, kept in committed("gradient_en-es")["tuned"].items():
        arguments = gradient_rankings.arguments(name, tmp_path / "rows.txt")
        data = gradient_rankings.text(Path("data"), "es")
        assert kept["training"] == own_training(compose([*arguments, *data])), name
