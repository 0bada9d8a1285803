"""``mt-bench --executor slurm``: its mistakes, its plan, and one benchmark on a real Slurm."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from slurm_cluster import Cluster, until
from tiny_runs import SMALL, Commands, Models, record

pytestmark = pytest.mark.slow

SLURM = ("--executor", "slurm")


def bench(folder: Path, *methods: str) -> list[object]:
    return [*methods, "--langs", "es", "--model", str(folder), "--out", "out", *SMALL]


def test_mistakes_come_before_anything_is_submitted(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = bench(models.untied, "random")
    told = commands.call("bench", *given, *SLURM, "--slurm", "gpu=1", "--jobs", "0").mistake()
    assert "--jobs must be at least 1" in told
    assert "Unknown key 'gpu'. Did you mean 'gpus'? Known: account, " in told
    told = commands.call("bench", *given, "--slurm", "mem=1G").mistake()
    assert told == "--slurm mem=1G: it goes with --executor slurm."
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    told = commands.call("bench", *given, *SLURM).mistake()
    assert "sbatch, squeue, scontrol, scancel, srun not found" in told and "login node" in told
    monkeypatch.setitem(sys.modules, "submitit", None)
    told = commands.call("bench", *given, *SLURM).mistake()
    assert "needs the package submitit: pip install 'mt-lottery[slurm]'" in told
    assert not (tmp_path / "out").exists()


def test_the_plan_needs_no_slurm(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    given = bench(models.untied, "random", "embed", "ks_lottery", "ks_transfer")
    shown = commands.call("bench", *given, *SLURM, "--jobs", "3", "--dry-run")
    assert shown.code == 0
    assert "slurm: 5 jobs would be submitted, at most 3 at a time (3, then 2 that find" in shown.out
    assert "slurm" not in commands.call("bench", *given, "--dry-run").out


def test_a_benchmark(slurm: Cluster, commands: Commands, models: Models) -> None:
    """A cell fails, the others go on; mt-bench is killed and the same command takes over."""
    # decay and embedding tuning do not go together, which is found when the probe is trained
    given = [*bench(models.untied, "embed", "ks_lottery"), "embed:train.weight_decay=0.1"]
    given += [*SLURM, "--jobs", "2", "--slurm", "cpus_per_task=1", "--slurm", "time=10"]
    earlier = set(slurm.jobs())
    first = commands.start("mt-bench", *given)
    until(lambda: len(slurm.running()) == 2)
    first.kill()
    first.communicate()
    assert len(slurm.running()) == 2
    done = commands.call("bench", *given)
    assert done.code == 1
    assert "3 jobs of an earlier call go on: " in done.err and "submitted" not in done.err
    assert len(set(slurm.jobs()) - earlier) == 3
    runs = commands.folder / "out" / "runs"
    for method in ("none", "ks_lottery"):
        folder = runs / method / "en-es" / "seed-0"
        assert record(folder)["status"] == "done"
        assert "Loading" in (folder / "log.txt").read_text()
    assert "FAILED embed en-es seed 0: train.optimizer=sparse_adam: weight_decay=0.1" in done.err
    failed = runs / "embed" / "en-es" / "seed-0"
    assert "weight_decay=0.1" in (failed / "log.txt").read_text()
    assert json.loads((failed / "cell.json").read_text())["state"] == "failed"
    assert (commands.folder / "out" / "leaderboard.md").is_file()
