"""Cells as jobs of a real Slurm; the jobs themselves are stand-ins (``tests/slurm_cells.py``)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slurm_cells import act, drive
from slurm_cluster import Cluster, until

from mt_lottery.benchmark.executors.runner import DONE, FAILED, RUNNING, Status
from mt_lottery.benchmark.executors.slurm import refuse_running
from mt_lottery.benchmark.executors.slurm_jobs import JobStore, _sbatch
from mt_lottery.benchmark.executors.slurm_queue import SlurmError, queue
from mt_lottery.benchmark.executors.worker import Order, read_state
from mt_lottery.benchmark.plan import Bench
from mt_lottery.errors import RecordError

pytestmark = pytest.mark.slow


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the jobs note that they began, and when they worked."""
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv("CELLS", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    return folder


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def worked(notes: Path) -> dict[str, dict[str, Any]]:
    """What each method's job noted; a cell that was done twice fails the test."""
    found = [json.loads(path.read_text()) for path in notes.glob("*.json")]
    assert max(Counter(note["method"] for note in found).values(), default=1) == 1
    return {note["method"]: note for note in found}


def begun(notes: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in notes.glob("*.begun"))


def most_at_once(times: list[dict[str, Any]]) -> int:
    return max(sum(o["began"] <= t["began"] < o["ended"] for o in times) for t in times)


def ends(statuses: list[Status]) -> dict[str, str]:
    return {s.cell.recipe: s.state for s in statuses}


def test_no_more_jobs_than_asked_and_none_waits_for_a_probe(
    slurm: Cluster, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, str]] = []
    statuses = drive(
        *(str(tmp_path / "out"), 2, "lora", "random", "embed", "ks_lottery", "ks_transfer"),
        watch=lambda s: seen.append((s.cell.recipe, s.state)),
    )
    assert set(ends(statuses).values()) == {DONE} and len(statuses) == 6
    assert all(seen.count((s.cell.recipe, DONE)) == 1 for s in statuses)
    times = worked(notes)
    assert len(times) == 6 and most_at_once(list(times.values())) <= 2
    first = max(times[m]["ended"] for m in ("none", "lora", "random", "embed"))
    assert min(times[m]["began"] for m in ("ks_lottery", "ks_transfer")) > first
    told = capsys.readouterr().err
    assert "submitted 4 jobs: " in told and ", at most 2 at a time\n" in told
    left = [p.name for p in (tmp_path / "out" / "slurm").iterdir()]
    assert left == ["jobs.json"] and not JobStore.read(tmp_path / "out").arrays


def test_where_all_may_run_at_once_only_the_probe_is_waited_for(
    slurm: Cluster,
    notes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CELLS_ACTIONS", json.dumps({"none": "wait"}))
    calls: list[object] = []

    def at_first_down(names: set[str]) -> object:
        calls.append(names)
        if len(calls) == 1:
            raise SlurmError("squeue: the controller is down")
        return queue(names)

    monkeypatch.setattr("mt_lottery.benchmark.executors.slurm.queue", at_first_down)

    def watch(status: Status) -> None:
        if status.cell.recipe == "ks_lottery" and status.state == DONE:
            (notes / "go").touch()

    statuses = drive(str(tmp_path / "out"), 3, "embed", "ks_lottery", watch=watch)
    assert set(ends(statuses).values()) == {DONE}
    times = worked(notes)
    assert times["embed"]["ended"] < times["ks_lottery"]["began"]
    assert times["ks_lottery"]["ended"] < times["none"]["ended"]
    assert "slurm: squeue: the controller is down; asked again\n" in capsys.readouterr().err


def test_a_whole_array_is_cancelled(
    slurm: Cluster, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLS_ACTIONS", json.dumps({"none": "sleep"}))

    def watch(status: Status) -> None:
        if status.state == RUNNING:
            slurm.call("scancel", str(JobStore.read(tmp_path / "out").arrays[0].job))

    statuses = drive(str(tmp_path / "out"), 1, "random", "frequency", "lora", watch=watch)
    assert set(ends(statuses).values()) == {FAILED}
    assert all((s.reason or "").startswith("cancelled (scancel) (job ") for s in statuses)


def test_failures_come_with_their_reason_and_stop_nothing(
    slurm: Cluster, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mt_lottery.benchmark.executors.slurm.PATIENCE", 2.0)
    actions = {"random": "fail", "lora": "sleep", "prefix": "sleep", "prompt": "silent"}
    monkeypatch.setenv("CELLS_ACTIONS", json.dumps(actions))
    out = tmp_path / "out"

    def number(method: str) -> str:
        (array,) = JobStore.read(out).arrays
        return array.job_id(next(i for i, c in enumerate(array.cells) if f"/{method}/" in c))

    def watch(status: Status) -> None:
        if status.state == RUNNING and status.cell.recipe == "lora":
            slurm.call("scontrol", "update", f"jobid={number('lora')}", "EndTime=now")
        if status.state == RUNNING and status.cell.recipe == "prefix":
            slurm.call("scancel", number("prefix"))

    methods = ("random", "lora", "prefix", "prompt", "frequency")
    statuses = drive(str(out), 3, *methods, watch=watch)
    reasons = {s.cell.recipe: s.reason or "" for s in statuses if s.state == FAILED}
    assert set(reasons) == {"random", "lora", "prefix", "prompt"}
    assert reasons["random"] == "as asked"
    assert "killed by Slurm: its time limit was reached" in reasons["lora"]
    assert "cancelled (scancel)" in reasons["prefix"]
    assert "its process ended with code 7" in reasons["prompt"]
    assert "It printed: " in reasons["prompt"]
    assert Path(reasons["prompt"].partition("It printed: ")[2]).is_file()
    ended = read_state(out / "runs" / "lora" / "en-es" / "seed-0")
    assert ended and ended.state == "crashed" and "time limit" in (ended.reason or "")
    assert not JobStore.read(out).arrays


def test_a_node_that_fails(
    slurm: Cluster, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLS_ACTIONS", json.dumps({"none": "sleep"}))

    def watch(status: Status) -> None:
        if status.state == RUNNING:
            slurm.node("down")

    try:
        (status,) = drive(str(tmp_path / "out"), 1, "none", watch=watch)
    finally:
        slurm.node("idle")
    assert status.state == FAILED
    assert (status.reason or "").startswith("its node failed (Slurm: NODE_FAIL) (job ")


def test_a_killed_or_interrupted_call_is_taken_up_again(
    slurm: Cluster,
    notes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    processes: list[subprocess.Popen[str]],
) -> None:
    monkeypatch.setenv("CELLS_ACTIONS", json.dumps({"none": "wait", "embed": "wait"}))
    methods = ("random", "embed", "ks_lottery")
    out = str(tmp_path / "out")

    def parent() -> subprocess.Popen[str]:
        code = "import slurm_cells, sys; sys.exit(slurm_cells.main())"
        command = [sys.executable, "-c", code, out, "2", *methods]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # a shell's background job ignores Ctrl-C, and so would what it starts
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        processes.append(process)
        return process

    earlier = set(slurm.jobs())
    first = parent()
    until(lambda: begun(notes) == ["embed", "none"])
    first.kill()
    first.communicate()
    jobs = slurm.jobs("pending,running")
    assert len(jobs) == 4 and len(slurm.running()) == 2

    with pytest.raises(RecordError, match=r"jobs of Slurm are at work here .*scancel"):
        refuse_running(Path(out))
    with pytest.raises(RecordError, match=r"in Slurm's queue with other settings .*scancel"):
        drive(out, 2, *methods, keys={"train.epochs": "3"})

    second = parent()
    assert second.stderr is not None
    assert "4 jobs of an earlier call go on: " in second.stderr.readline()
    second.send_signal(signal.SIGINT)
    _, told = second.communicate(timeout=60)
    assert second.returncode == 130
    assert "Interrupted. 4 jobs go on in Slurm: " in told and "scancel " in told
    assert all(number in told for number in jobs)

    (notes / "go").touch()
    statuses = drive(out, 2, *methods)
    assert set(ends(statuses).values()) == {DONE}
    assert set(slurm.jobs()) - earlier == set(jobs), "a cell was submitted twice"
    assert len(worked(notes)) == 4 and len(begun(notes)) == 4
    assert "submitted" not in capsys.readouterr().err


def bench_of(out: Path, *methods: str) -> tuple[Bench, list[Order]]:
    bench = Bench(out, list(methods), ["en-es"], [0])
    orders = [Order(bench.arguments(c), str(out / c.folder)) for c in bench.cells()]
    return bench, orders


def test_jobs_whose_number_was_never_written_down(
    slurm: Cluster, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 between sbatch and the note of its answer: they are found by their name."""
    monkeypatch.setenv("CELLS_ACTIONS", json.dumps({"none": "sleep", "random": "sleep"}))
    monkeypatch.setattr("mt_lottery.benchmark.executors.slurm_jobs.work", act)
    _, orders = bench_of(tmp_path, "none", "random")
    store = JobStore(tmp_path)
    array = store.submit(orders, after=[], jobs=2, options={})
    number, array.job = array.job, None
    store.write()
    again = JobStore.read(tmp_path)
    assert again.recover() == {f"{number}_0", f"{number}_1"}
    assert again.arrays[0].job == number and JobStore.read(tmp_path).arrays[0].job == number
    # and earlier still: before submitit had put the tasks where the jobs look for them
    store.write()
    for task in array.folder(tmp_path).glob("*_submitted.pkl"):
        task.rename(task.with_name(f"{task.stem}.elsewhere"))
    again = JobStore.read(tmp_path)
    assert again.recover() == set() and not JobStore.read(tmp_path).arrays
    until(lambda: not slurm.jobs("pending,running,completing"))
    assert slurm.jobs()[f"{number}_0"] == "CANCELLED"


def test_a_wave_that_sbatch_never_saw_is_forgotten(slurm: Cluster, tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    array = {"name": "mt-bench-00000000", "cells": ["a"], "arguments": ["b"], "job": None}
    content = {"schema": 1, "waves": [array]}
    (tmp_path / "slurm" / "jobs.json").write_text(json.dumps(content))
    assert JobStore.read(tmp_path).recover() == set() and not JobStore.read(tmp_path).arrays


def test_variables_of_the_shell_change_and_hide_nothing(
    slurm: Cluster, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLS_ACTIONS", json.dumps({"none": "sleep"}))
    monkeypatch.setattr("mt_lottery.benchmark.executors.slurm_jobs.work", act)
    for name, value in {"TIMELIMIT": "7", "REQUEUE": "1", "OPEN_MODE": "truncate"}.items():
        monkeypatch.setenv(f"SBATCH_{name}", value)
    _, orders = bench_of(tmp_path, "none")
    array = JobStore(tmp_path).submit(orders, after=[], jobs=1, options={"time": 30})
    told = slurm.call("scontrol", "-o", "show", "job", str(array.job))
    assert "TimeLimit=00:30:00" in told and " Requeue=0 " in told
    with monkeypatch.context() as shell:
        shell.setenv("SQUEUE_PARTITION", "none")
        assert JobStore.read(tmp_path).recover() == {array.job}
    slurm.empty()


def test_what_slurm_refuses_leaves_nothing(slurm: Cluster, notes: Path, tmp_path: Path) -> None:
    with pytest.raises(SlurmError, match=r"sbatch refuses the jobs: .*partition"):
        drive(str(tmp_path / "out"), 2, "embed", "ks_lottery", partition="nowhere")
    assert not slurm.jobs("pending,running")
    assert not JobStore.read(tmp_path / "out").arrays


def test_a_second_array_that_is_refused_takes_the_first_with_it(
    slurm: Cluster, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLS_ACTIONS", json.dumps({"none": "sleep", "embed": "sleep"}))
    calls: list[str] = []

    def once(*given: Any) -> str:
        if calls:
            raise SlurmError("sbatch refuses the jobs: too many")
        calls.append(_sbatch(*given))
        return calls[0]

    monkeypatch.setattr("mt_lottery.benchmark.executors.slurm_jobs._sbatch", once)
    with pytest.raises(SlurmError, match="too many"):
        drive(str(tmp_path / "out"), 2, "embed", "ks_lottery")
    until(lambda: not slurm.jobs("pending,running,completing"))
    assert slurm.jobs()[f"{calls[0]}_0"] == "CANCELLED"
    assert not JobStore.read(tmp_path / "out").arrays
