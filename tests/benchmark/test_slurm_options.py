"""What goes to Slurm and what comes back, without a cluster."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from mt_lottery.benchmark.executors import slurm_queue
from mt_lottery.benchmark.executors.runner import DONE, RUNNING, Status
from mt_lottery.benchmark.executors.slurm import run_slurm
from mt_lottery.benchmark.executors.slurm_jobs import JobStore
from mt_lottery.benchmark.executors.slurm_options import OPTIONS, parse_options, seconds
from mt_lottery.benchmark.executors.slurm_plan import split
from mt_lottery.benchmark.executors.worker import Order
from mt_lottery.benchmark.plan import Bench, Cell
from mt_lottery.cli.shared import guarded
from mt_lottery.errors import ConfigError, RecordError, on_command_line
from mt_lottery.system.interrupts import Terminated


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("partition=gpu", {"partition": "gpu"}),
        ("gpus=1", {"gpus_per_node": "1"}),
        ("gpus=a100:2", {"gpus_per_node": "a100:2"}),
        ("cpus-per-task=4", {"cpus_per_task": 4}),
        ("mem=32G", {"mem": "32G"}),
        ("time=90", {"time": 90}),
        ("time=2:00:00", {"time": 120}),
        ("time=1-12", {"time": 36 * 60}),
        ("time=1:30", {"time": 2}),
        ("exclusive=true", {"exclusive": True}),
        ("setup=module load cuda=12", {"setup": ["module load cuda=12"]}),
    ],
)
def test_options(given: str, found: dict[str, object]) -> None:
    assert parse_options([given]) == found


def test_setup_lines_add_up() -> None:
    assert parse_options(["setup=a", "mem=1G", "setup=b"]) == {"setup": ["a", "b"], "mem": "1G"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("partitoin=gpu", r"Unknown key 'partitoin'\. Did you mean 'partition'\? Known: account, "),
        ("dependency=after:1", r"Unknown key 'dependency'.*Known: account"),
        ("partition", r"slurm partition: give key=value"),
        ("partition=", r"partition must be one line of text"),
        ("comment=a\nrm -rf /", r"comment must be one line of text"),
        ("time=soon", r"time must be minutes"),
        ("time=0", r"time must be minutes"),
        ("mem=32", r"mem must be a number with its unit"),
        ("cpus_per_task=0", r"cpus_per_task must be a whole number ≥ 1"),
    ],
)
def test_mistakes_in_options(given: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_options([given])


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(["mem=x", "gpu=1", "qos=a", "qos=b"])
    assert len(caught.value.problems) == 3
    assert "Did you mean 'gpus'?" in caught.value.problems[1]
    assert "qos is given twice" in caught.value.problems[2]


def test_every_option_is_one_of_submitits() -> None:
    submitit = pytest.importorskip("submitit")
    known = submitit.SlurmExecutor._valid_parameters()
    values = {"time": "5", "cpus_per_task": "1", "cpus_per_gpu": "1"}
    given = [f"{key}={values.get(key, '1G')}" for key in OPTIONS]
    assert set(parse_options(given)) <= known


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0:07", 7),
        ("1:02:03", 3723),
        ("2-01:00:00", 176400),
        ("1-06", 108000),
        ("INVALID", None),
        ("12", None),
    ],
)
def test_durations(text: str, found: int | None) -> None:
    assert seconds(text) == found


def test_one_cell_of_a_probe_group_goes_first() -> None:
    names = ("none", "embed", "ks_lottery", "other", "ks_transfer", "lora")
    groups = [None, "a", "a", "b", "a", None]
    cells = [Status(Cell("runs", name, "en-ro", 0)) for name in names]

    def names_of(taken: tuple[Status, ...] = ()) -> list[list[str]]:
        parts = split(cells, groups, {id(status) for status in taken})
        return [[status.cell.recipe for status in part] for part in parts]

    assert names_of() == [["none", "embed", "other", "lora"], ["ks_lottery", "ks_transfer"]]
    # its probe is trained, or an earlier call's job is at it (new jobs come after that one)
    assert names_of((cells[1],)) == [["none", "ks_lottery", "other", "ks_transfer", "lora"]]
    cells[1].state = DONE
    assert names_of() == [["none", "ks_lottery", "other", "ks_transfer", "lora"]]
    for status in cells:
        status.state = RUNNING
    assert names_of() == []


@pytest.mark.parametrize(
    ("state", "code", "told"),
    [
        ("TIMEOUT", "0:15", "its time limit was reached"),
        ("OUT_OF_MEMORY", "0:125", "out of memory (--slurm mem=…)"),
        ("NODE_FAIL", "0:0", "its node failed"),
        ("CANCELLED", "0:15", "cancelled (scancel)"),
        ("PREEMPTED", "0:0", "preempted"),
        ("FAILED", "137:0", "killed by signal 9 (out of memory?)"),
        ("FAILED", "0:9", "killed by signal 9 (out of memory?)"),
        ("FAILED", "0:53", "do the nodes see the folder of --out?"),
        ("FAILED", "0:11", "killed by signal 11"),
        ("FAILED", "3:0", "ended with code 3 (Slurm: FAILED)"),
        ("COMPLETED", "0:0", "ended with code 0 (Slurm: COMPLETED)"),
        ("", "", "Slurm knows it no more, and it left no answer"),
    ],
)
def test_why_a_job_left_no_answer(state: str, code: str, told: str) -> None:
    with on_command_line():
        assert told in slurm_queue.why(state, code)
    assert "--" not in slurm_queue.why(state, code)


def stand_in(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_queue_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "12|3|RUNNING|1:05|mt-bench-a|None\n13|N/A|PENDING|0:00|mt-bench-b|QOS|Max\n"
    stand_in(tmp_path, "squeue", f"cat <<'END'\n{lines}END")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = slurm_queue.queue(["mt-bench-a", "mt-bench-b"])
    assert list(found) == ["12_3", "13"]
    assert found["12_3"].at_work and found["12_3"].seconds == 65
    assert not found["13"].at_work and not found["13"].ended and found["13"].reason == "QOS|Max"
    assert slurm_queue.queue([]) == {}


def test_filters_of_the_users_own_listings_hide_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_CONF", "kept")
    filters = ("SQUEUE_PARTITION", "SQUEUE_STATES", "SACCT_LOCAL", "SCANCEL_STATE")
    for name in filters:
        monkeypatch.setenv(name, "x")
    for name in ("squeue", "scontrol", "sacct", "scancel"):
        fails = "; exit 1" if name == "scontrol" else ""
        stand_in(tmp_path, name, f"env > {tmp_path}/{name}.env{fails}")
    with contextlib.suppress(ValueError):  # what it printed is no list of jobs
        slurm_queue.queue(["mt-bench-a"])
    slurm_queue.ending("12")
    slurm_queue.cancel("12")
    for name in ("squeue", "sacct", "scancel"):
        given = (tmp_path / f"{name}.env").read_text()
        assert "SLURM_CONF=kept\n" in given and not any(f in given for f in filters), name


def test_what_is_given_beats_the_variables_of_sbatch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    stand_in(tmp_path, "srun", "")
    stand_in(tmp_path, "scancel", "")
    stand_in(tmp_path, "sbatch", f"env > {tmp_path}/env; echo Submitted batch job 7")
    ours = ("ARRAY_INX", "ERROR", "JOB_NAME", "OUTPUT", "REQUEUE", "SIGNAL", "WAIT")
    given = ("TIMELIMIT", "PARTITION", "MEM_PER_NODE", "MEM_PER_CPU", "CPUS_PER_GPU", "GPUS")
    others = ("ACCOUNT", "QOS", "WCKEY", "GRES", "EXCLUSIVE")
    for name in (*ours, *given, *others):
        monkeypatch.setenv(f"SBATCH_{name}", "7")
    pairs = ["time=30", "partition=a", "mem=1G", "cpus_per_task=1", "gpus=1"]

    def seen(options: dict[str, object]) -> set[str]:
        store = JobStore(tmp_path)
        orders = [Order(["a"], str(tmp_path / "a")), Order(["b"], str(tmp_path / "b"))]
        store.submit(orders, after=[], jobs=2, options=options)
        lines = (tmp_path / "env").read_text().splitlines()
        return {line.partition("=")[0][7:] for line in lines if line.startswith("SBATCH_")}

    assert seen(parse_options(pairs)) == {*others}
    assert all(os.environ[f"SBATCH_{name}"] == "7" for name in (*ours, *given))  # put back
    assert seen({}) == {*given, *others}


def test_accounting_is_asked_for_what_the_controller_forgot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    stand_in(tmp_path, "scontrol", "exit 1")
    stand_in(tmp_path, "sacct", "echo 'CANCELLED by 1000|0:15'")
    assert slurm_queue.ending("12_3") == ("CANCELLED", "0:15")
    stand_in(tmp_path, "sacct", "echo 'no accounting' >&2; exit 1")
    assert slurm_queue.ending("12_3") == ("", "")
    stand_in(tmp_path, "scontrol", "echo JobId=1 JobState=TIMEOUT Reason=TimeLimit ExitCode=0:15")
    assert slurm_queue.ending("12_3") == ("TIMEOUT", "0:15")


def test_a_slurm_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "squeue", "echo 'slurm_load_jobs error: down' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(slurm_queue.SlurmError, match=r"squeue: slurm_load_jobs error: down"):
        slurm_queue.queue(["mt-bench-a"])


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 1, "waves": [{}]}'])
def test_a_damaged_list_of_jobs(tmp_path: Path, text: str) -> None:
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "jobs.json").write_text(text)
    with pytest.raises(RecordError, match=r"slurm/jobs.json: damaged: .*squeue --me"):
        JobStore.read(tmp_path)


@pytest.mark.parametrize(("kind", "code"), [(Terminated, 143), (KeyboardInterrupt, 130)])
def test_a_signal_while_jobs_are_watched_keeps_its_exit_status(
    kind: type[KeyboardInterrupt], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*_: object) -> None:
        raise kind

    monkeypatch.setattr("mt_lottery.benchmark.executors.slurm._follow", signalled)
    bench = Bench(tmp_path, [], ["en-ro"], [0])

    def command() -> int:
        run_slurm(bench, [], jobs=1, force=False, watch=lambda _: None, options={})
        return 0

    assert guarded(command) == code
