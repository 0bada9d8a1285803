"""Stands in for a cell's run in a job of Slurm: a second each, and it ends as the test wants.

The job finds this module by PYTHONPATH.  ``CELLS`` is a folder for what the jobs note;
``CELLS_ACTIONS`` says in JSON how a method's cell ends (otherwise well).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def act(order: Any, answer: str) -> None:
    """Takes the place of :func:`mt_lottery.benchmark.executors.slurm_jobs.work`."""
    began = time.time()
    method = next(a for a in order.arguments if a.startswith("recipe=")).partition("=")[2]
    action = json.loads(os.environ.get("CELLS_ACTIONS", "{}")).get(method, "done")
    notes = Path(os.environ["CELLS"])
    job = f"{os.environ['SLURM_JOB_ID']}"
    (notes / f"{method}-{job}.begun").touch()
    if action == "wait":
        while not (notes / "go").exists():
            time.sleep(0.1)
    time.sleep(300 if action == "sleep" else 1.0)
    if action == "silent":
        sys.exit(7)
    failed = action == "fail"
    state = {"state": "failed" if failed else "done", "reason": "as asked" if failed else None}
    note = notes / f"{method}-{job}.json"
    note.write_text(json.dumps({"method": method, "began": began, "ended": time.time()}))
    temporary = Path(f"{answer}.tmp")
    temporary.write_text(json.dumps(state | {"seconds": 1.0, "found": False}))
    temporary.rename(answer)
    sys.exit(failed)


def drive(out: str, jobs: int, *methods: str, **options: Any) -> list[Any]:
    """A benchmark whose cells are these stand-ins; returns how each cell stands at the end."""
    from mt_lottery.benchmark.choosing import choose_recipes
    from mt_lottery.benchmark.executors import slurm_jobs
    from mt_lottery.benchmark.executors.runner import statuses_of
    from mt_lottery.benchmark.executors.slurm import run_slurm
    from mt_lottery.benchmark.plan import Bench

    watch = options.pop("watch", lambda status: None)
    kept, slurm_jobs.work = slurm_jobs.work, act  # type: ignore[assignment]
    try:
        bench = Bench(Path(out), choose_recipes(methods), ["en-es"], [0], options.pop("keys", {}))
        statuses = statuses_of(bench, bench.cells())
        run_slurm(bench, statuses, jobs=jobs, force=False, watch=watch, options=options)
        return statuses
    finally:
        slurm_jobs.work = kept


def main() -> int:
    """``python -c "…main()" OUT JOBS METHOD…``: a process for tests to kill."""
    from mt_lottery.cli.shared import guarded

    def command() -> int:
        drive(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
        return 0

    return guarded(command)
