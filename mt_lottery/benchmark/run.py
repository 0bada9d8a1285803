"""``mt-bench`` from what is asked for to the leaderboard."""

from __future__ import annotations

import sys
from typing import Any

from mt_lottery.benchmark.asking import Asked
from mt_lottery.benchmark.bench_file import check_settings, made_anew, other_settings
from mt_lottery.benchmark.board import contamination
from mt_lottery.benchmark.board.collect import collect
from mt_lottery.benchmark.board.presenting import present, tell
from mt_lottery.benchmark.board.report import write_reports
from mt_lottery.benchmark.board.terminal import Board, time_line
from mt_lottery.benchmark.board.tracked import log_leaderboard
from mt_lottery.benchmark.executors import slurm_plan
from mt_lottery.benchmark.executors.runner import (
    DONE,
    FAILED,
    WAITING,
    Status,
    held,
    run_local,
    statuses_of,
)
from mt_lottery.benchmark.executors.slurm import refuse_running, run_slurm
from mt_lottery.benchmark.executors.slurm_options import parse_options
from mt_lottery.benchmark.executors.slurm_queue import require
from mt_lottery.benchmark.executors.worker import echo
from mt_lottery.benchmark.plan import Bench, probe_group
from mt_lottery.errors import argument, plural
from mt_lottery.tracking import given_up


def describe(bench: Bench, jobs: int, executor: str = "local") -> str:
    """The plan as ``--dry-run`` prints it."""
    statuses = statuses_of(bench, bench.cells())
    todo = [s for s in statuses if s.state != DONE]
    lines = [f"{bench.out}: {plural(len(statuses), 'cell')}, {len(statuses) - len(todo)} done"]
    for lang in dict.fromkeys(status.cell.lang for status in statuses):
        for state in (DONE, WAITING, FAILED):
            own = [s.cell for s in statuses if s.cell.lang == lang and s.state == state]
            names = [f"{c.name}{f'/{c.seed}' if len(bench.seeds) > 1 else ''}" for c in own]
            if names:
                shown = {WAITING: "to do", DONE: "done", FAILED: "damaged"}[state]
                lines.append(f"  {lang} {shown}: {', '.join(names)}")
    groups: dict[str, list[str]] = {}
    for status in statuses:
        group = probe_group(bench, status.cell)
        if group is not None:
            groups.setdefault(group, []).append(status.cell.recipe)
    users = sorted({recipe for recipes in groups.values() for recipe in recipes})
    probes = (
        f"{plural(len(groups), 'embedding-tuned probe')} (used by {', '.join(users)}), "
        if users
        else ""
    )
    lines.append(
        f"  shared: {probes}{plural(len(bench.langs), 'translation')} of the original model"
    )
    if executor == "slurm":
        lines.append(slurm_plan.describe(bench, statuses, jobs))
    if changes := other_settings(bench):
        needs = argument("force", True)
        lines.append(f"  other settings than the folder's, refused without {needs}:")
        lines += [f"    {line}" for line in changes]
    return "\n".join([*lines, *time_line(todo, jobs, "cell")])


def execute(bench: Bench, given: Any, *, shown: bool = True) -> int:
    """As :func:`carry_out`, for a command.

    Returns:
        0, or 1 if a cell failed; as ``Written.status`` says if an output could not be made.
    """
    status, failed = carry_out(bench, given, shown=shown)
    return 1 if failed else status


def carry_out(bench: Bench, given: Any, *, shown: bool = True) -> tuple[int, list[Status]]:
    """Do the cells, write the leaderboard, show it.

    Args:
        bench: from :func:`mt_lottery.benchmark.asking.ask`.
        given: what it was asked with.
        shown: print the leaderboard.

    Returns:
        the status of what was written, and the cells that failed.

    Raises:
        MTLotteryError: the folder is held, or holds something else; Slurm is asked for and not
            there, or refuses the jobs.
    """
    asked: Asked = given
    if asked.executor == "slurm":
        require()
    status = 0

    def log(board: dict[str, Any]) -> None:
        log_leaderboard(bench, bench.config(bench.cells()[0]), board, echo)

    with held(bench.out), given_up.shared(bench.out):
        failed = do_cells(bench, asked)
        results = collect(bench.out)
        if results.records:
            written = write_reports(results, bench.out)
            status = present(written, log, shown=shown)
    tell(failed, bench.out)
    return status, failed


def do_cells(bench: Bench, asked: Asked) -> list[Status]:
    """Do every cell that is not done, in a folder that is held.

    Returns:
        those that failed.

    Raises:
        MTLotteryError: as :func:`execute`.
    """
    on_slurm = asked.executor == "slurm"
    if not on_slurm:
        refuse_running(bench.out)
    anew = check_settings(bench, force=asked.force, command=asked.command_line)
    contamination.write(bench.out, bench.overlaps)
    statuses = statuses_of(bench, bench.cells())
    force = asked.force or bool(anew)
    if asked.force:  # mt-train itself finds what is done and still the same
        for status in statuses:
            status.state, status.kept, status.reason = WAITING, False, None
    waiting = sum(s.state == WAITING for s in statuses)
    kept = sum(s.state == DONE for s in statuses)
    print(
        f"{bench.out}: {plural(len(statuses), 'cell')}, {kept} done, {waiting} to do",
        file=sys.stderr,
        flush=True,
    )
    with Board(bench, statuses, asked.jobs) as board:
        jobs = asked.jobs

        def watch(status: Status) -> None:
            if status.state == DONE and status.cell.folder in anew:
                # at once, so that after a crash the folder says which are of the new settings
                made_anew(bench.out, [status.cell.folder])
            board.watch(status)

        if on_slurm:
            options = parse_options(asked.slurm)
            run_slurm(bench, statuses, jobs=jobs, force=force, watch=watch, options=options)
        else:
            run_local(bench, statuses, jobs=jobs, force=force, watch=watch)
    return [s for s in statuses if s.state == FAILED]
