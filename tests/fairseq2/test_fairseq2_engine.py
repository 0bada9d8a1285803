"""fairseq2's trainer against transformers': the same steps, losses, values; resumed bit by bit."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from fits import CASES, RESUMED, fit, log_of, values_of, with_rows
from interrupting import At, Crash, crash
from launch import run
from safetensors.torch import load_file

from mt_lottery.errors import TrainingError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
TWENTY: dict[str, Any] = {"epochs": 5}  # of 4 batches


def assert_close(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], room: float) -> None:
    assert len(ours) == len(theirs) > 1
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=room, rel=0)


@pytest.mark.parametrize("name", CASES)
def test_the_losses_are_those_of_the_transformers_engine(name: str, tmp_path: Path) -> None:
    make, settings = CASES[name]
    settings = {**TWENTY, **settings}
    found = {}
    for engine in ("transformers", "fairseq2"):
        model = make()
        result = fit(model, tmp_path / engine, engine=engine, **settings)
        found[engine] = values_of(model), result
    logs = [log_of(tmp_path / engine) for engine in found]
    assert_close(*logs, room=1e-4)
    assert max(line["step"] for line in logs[0]) == found["fairseq2"][1].steps
    start = values_of(make())
    ours, theirs = (values for values, _ in found.values())
    assert ours.keys() == theirs.keys() == start.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-5)
    assert max(float((ours[k] - start[k]).abs().max()) for k in start) > 1e-3
    assert found["fairseq2"][1].dev_loss == found["transformers"][1].dev_loss


def test_the_first_case_has_twenty_steps(tmp_path: Path) -> None:
    assert fit(CASES["probe"][0](), tmp_path, **CASES["probe"][1]).steps == 20


def test_killed_and_resumed(tmp_path: Path) -> None:
    """SIGKILL in another process, after a checkpoint."""
    script = (
        "import sys; from pathlib import Path\n"
        "from fits import *; from interrupting import At, kill\n"
        "fit(with_rows(), Path(sys.argv[1]), tracker=At(8, kill), **RESUMED)"
    )
    paths = [str(HERE), *sys.path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cut")], env=environment, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    kept = {p.name for p in (tmp_path / "cut/checkpoints").glob("step_*")}
    assert kept & {"step_4", "step_6"} and "step_12" not in kept
    with (tmp_path / "cut/train_log.jsonl").open("a") as log:
        log.write('{"step": 9, "lo')
    whole, again = with_rows(), with_rows()
    fit(whole, tmp_path / "whole", **RESUMED)
    fit(again, tmp_path / "cut", resume=True, **RESUMED)
    assert torch.equal(values_of(again)["model.embed_tokens.rows"],
                       values_of(whole)["model.embed_tokens.rows"])  # fmt: skip
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")


@pytest.mark.parametrize("step", [1, 8])
def test_crash_with_dropout_and_dev_loss(step: int, tmp_path: Path) -> None:
    settings = {**RESUMED, "dev": tiny.examples(4, seed=5)}
    whole, again = with_rows("gpt2"), with_rows("gpt2")
    fit(whole, tmp_path / "whole", **settings)
    with pytest.raises(Crash):
        fit(with_rows("gpt2"), tmp_path / "cut", tracker=At(step, crash), **settings)
    torch.rand(3)
    result = fit(again, tmp_path / "cut", resume=True, **settings)
    for key, value in values_of(whole).items():
        assert torch.equal(values_of(again)[key], value)
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole") and result.steps == 12
    # and once more, when all is done
    last = with_rows("gpt2")
    assert fit(last, tmp_path / "cut", resume=True, **settings).dev_loss == result.dev_loss
    for key, value in values_of(whole).items():
        assert torch.equal(values_of(last)[key], value)


def test_a_checkpoint_holds_the_trained_parameters_alone(tmp_path: Path) -> None:
    model = with_rows()
    fit(model, tmp_path, **RESUMED)
    (file,) = (tmp_path / "checkpoints/step_12/model").rglob("*.pt")
    saved = torch.load(file, weights_only=True)
    assert list(saved) == ["model.model.embed_tokens.rows"]
    assert torch.equal(saved["model.model.embed_tokens.rows"], values_of(model).popitem()[1])
    other = tiny.model().requires_grad_(False)
    other.get_input_embeddings().weight.requires_grad_(True)
    with pytest.raises(TrainingError, match="holds other parameters than this run's"):
        fit(other, tmp_path, resume=True, **{**RESUMED, "optimizer": "sgd"})


def test_a_loss_that_is_not_finite_names_the_pairs(tmp_path: Path) -> None:
    model = with_rows()
    with torch.no_grad():
        model.get_input_embeddings().rows[5] = torch.nan  # of the token 9
    with pytest.raises(TrainingError, match=r"The loss is nan at step \d; training pairs .* \d+, "):
        fit(model, tmp_path)


def test_the_process_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_API_KEY", "MARKER-of-a-key")
    monkeypatch.setenv("PASSWORD", "MARKER-of-a-password")
    monkeypatch.setenv("SOME_PROXY", "http://me:MARKER-of-a-proxy@host")
    monkeypatch.setenv("HF_HUB_OFFLINE", "MARKER-of-no-known-kind")
    monkeypatch.setenv("TORCH_AUTH", "MARKER-of-a-known-kind")
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    seen = {}
    loggers = [logging.getLogger(name) for name in ("", "fairseq2")]

    def state() -> list[Any]:
        return [dict(os.environ), *((x.handlers, x.level, x.propagate) for x in loggers)]

    before = [dict(state()[0]), *((list(h), level, p) for h, level, p in state()[1:])]
    tracker = At(2, lambda: seen.update(os.environ))
    try:
        fit(with_rows(), tmp_path, tracker=tracker)
        assert state() == before
    finally:
        logging.getLogger().removeHandler(handler)
    assert seen["COMET_API_KEY"] == "MARKER-of-a-key"  # a tracker in the middle of it has its key
    log = tmp_path / "fairseq2/train/logs/rank_0.log"
    assert "Environment Variables - " in log.read_text() and "OMP_NUM_THREADS" in log.read_text()
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        assert b"MARKER" not in path.read_bytes(), path
    text = (log.parents[1] / "metrics/train.jsonl").read_text()
    lines = [json.loads(line) for line in text.split("\n") if line]
    assert [x["Step"] for x in lines] == list(range(1, 9))
    assert lines[0]["Loss"] == pytest.approx(log_of(tmp_path)[0]["loss"], abs=1e-5)


def test_two_processes(tmp_path: Path) -> None:
    """DDP and FSDP2 against one process; their resumes (bit by bit) are asserted in fits.py."""
    done = run(HERE / "fits.py", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name, (make, settings) in CASES.items():
        model = make()
        fit(model, tmp_path / "one" / name, **settings)
        for sharding in ("ddp", "fsdp"):
            where = tmp_path / sharding / name
            assert_close(log_of(where), log_of(tmp_path / "one" / name), room=1e-5)
            found = load_file(where / "trained.safetensors")
            for key, value in values_of(model).items():
                torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-4)
    sharded = tmp_path / "fsdp/whole/checkpoints/step_12/model"
    assert [p.name for p in sorted(sharded.rglob("*.pt"))] == ["sdp_00.pt", "sdp_01.pt"]
    parts = [torch.load(p, weights_only=True) for p in sorted(sharded.rglob("*.pt"))]
    assert sorted(len(v) for part in parts for v in part.values()) == [10, 11]
