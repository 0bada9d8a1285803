"""A notebook or a server: one process that calls many times, from several threads."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mt_lottery as mtl
from mt_lottery.errors import RecordError

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from tiny_runs import MINI, Models, make_models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def texts(role: str, count: int) -> list[tuple[str, str]]:
    sides = [(MINI / f"{role}.{code}.txt").read_text("utf-8").splitlines() for code in ("en", "es")]
    return list(zip(*sides, strict=True))[:count]


def lora(models: Models, seed: int, out: str, **more: Any) -> Any:
    given: dict[str, Any] = {
        "settings": {"train.epochs": 1, "translate.max_new_tokens": 4}, "metrics": ["chrf"],
        "baseline": False, "tuner": {"lora_dropout": 0.3}, **more,
    }  # fmt: skip
    return mtl.train(
        "lora", "en-es", name_or_path=models.untied, train=texts("train", 16),
        dev=texts("dev", 4), test=texts("test", 4), seed=seed, out_dir=out, **given,
    )  # fmt: skip


def test_random_generators_are_the_callers(models: Models) -> None:
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    wanted = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    run = lora(models, 0, "run")
    assert mtl.Run("run").translate(["The cat sleeps."]) == run.translate(["The cat sleeps."])
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == wanted


def test_runs_of_two_threads_are_what_they_are_alone(models: Models) -> None:
    adapter = "adapter/adapter_model.safetensors"
    alone = [Path(lora(models, seed, f"alone-{seed}").folder, adapter) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda seed: lora(models, seed, f"together-{seed}"), (0, 1))
        together = [Path(run.folder, adapter) for run in made]
    assert [p.read_bytes() for p in together] == [p.read_bytes() for p in alone]
    assert alone[0].read_bytes() != alone[1].read_bytes()


def test_a_run_that_another_one_replaced(models: Models) -> None:
    first = lora(models, 0, "run")
    assert len(first.hypotheses) == 4 == len(mtl.Run("run").hypotheses)
    opened = mtl.Run("run")
    scores = opened.scores
    second = lora(models, 1, "run", overwrite=True)
    with pytest.raises(RecordError, match="another run has taken this one's place since"):
        _ = opened.hypotheses
    with pytest.raises(RecordError, match="open the folder again"):
        _ = opened.sentence_scores
    assert opened.scores is scores  # what was read stays
    assert second.hypotheses == mtl.Run("run").hypotheses


def test_pairs_in_the_cache_are_looked_at(models: Models, cache: Path) -> None:
    lora(models, 0, "one")
    files = sorted((cache / "pairs").iterdir(), key=lambda file: file.stat().st_size)
    whole = files[-1].read_bytes()
    files[-1].write_bytes(whole[: whole.index(b"\n") + 1])
    run = lora(models, 0, "two")
    assert files[-1].read_bytes() == whole and run.record.data.train.pairs == 16


@pytest.mark.parametrize("name", ["train", "find_ticket"])
def test_first_use_of_a_name_draws_nothing(name: str) -> None:
    program = (
        "import random; import mt_lottery; random.seed(7); drawn = random.getstate(); "
        f"mt_lottery.{name}; raise SystemExit(random.getstate() != drawn)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_numpys_numbers_are_settings_of_a_benchmark(models: Models) -> None:
    board = mtl.bench(
        ["random"], ["es"], model=models.untied, out="bench", data="mini",
        settings={"train.lr": np.float64(1e-3), "data.train_pairs": np.int64(8),
                  "data.test_pairs": 2, "data.dev_pairs": 2, "train.epochs": 1,
                  "translate.max_new_tokens": 4},
    )  # fmt: skip
    assert board is not None
    kept = json.loads(Path("bench", "bench.json").read_text())["settings"]["overrides"]
    assert (kept["train.lr"], kept["data.train_pairs"]) == ("0.001", "8")


def test_switches_of_overlapping_calls_are_put_back() -> None:
    import logging

    from torch.backends import cuda

    from mt_lottery.model.attention import of_any_shape
    from mt_lottery.system.quiet import transformers_errors
    from mt_lottery.tuners.adapters.options import quiet

    log = logging.getLogger("transformers")

    def state() -> tuple[object, ...]:
        return cuda.cudnn_sdp_enabled(), log.level, list(warnings.filters)

    before = state()
    for context in (of_any_shape, quiet, transformers_errors):
        first, second = context(), context()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert state() == before
    with of_any_shape():
        assert not cuda.cudnn_sdp_enabled()
