"""A run from configuration to record: found, made, or made beside the one that is there."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mt_lottery.config import RunConfig
from mt_lottery.errors import RecordError, assigned
from mt_lottery.runs.execution import do
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.claims import check_place
from mt_lottery.runs.folder.preparing import FINDINGS, default_folder, finished, locked
from mt_lottery.runs.folder.record import Record, read_record
from mt_lottery.runs.folder.takeover import (
    discard_unbegun,
    done_beside,
    done_in,
    goes_on,
    place,
    settle,
    swap,
)
from mt_lottery.runs.planning.plan import Echo, make_plan
from mt_lottery.runs.planning.requirements import check_metrics
from mt_lottery.runs.stages.course import announce
from mt_lottery.system import parallel
from mt_lottery.system.parallel import on_main
from mt_lottery.system.randomness import generators_kept
from mt_lottery.tracking.trackers import names_of
from mt_lottery.training.engine import Engine


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
        run_dir: its folder.
        record: its record.
        baseline_dir: the original model's run, if there is one.
        found: it had been done before.
    """

    run_dir: Path
    record: Record
    baseline_dir: Path | None
    found: bool

    @property
    def opened(self) -> Run:
        """The run with this record; its other parts are read when they are asked for."""
        return Run.of_record(self.run_dir, self.record)


#: Generators, switches and kernels are the process's: of several threads' runs one is made after
#: the other, so that each is what it would be alone.
_one_at_a_time = threading.RLock()


def run(
    config: RunConfig,
    echo: Echo = print,
    engine: Engine | None = None,
    unsearched: Path | None = None,
) -> Outcome:
    """Do one run, or find it done.

        >>> import mt_lottery as mtl
        >>> from mt_lottery.config.compose import compose
        >>> config = compose(["recipe=none", "lang=en-ro", "model=hf", "data.test_pairs=4",
        ...                   f"model.name_or_path={base}", "out_dir=original"])
        >>> mtl.run(config, echo=lambda line: None).record.method
        'none'

    Args:
        config: from :func:`mt_lottery.config.compose.compose`.
        echo: prints a line for the user.
        engine: what trains, in place of the registered ``config.engine``.
        unsearched: where a run of the same settings without ``tune`` may lie: if it is finished,
            it serves as the search's first trial, and as its result where no other did better.

    Started by torchrun, all processes must call it; they do the run together.  Threads of one
    process make their runs one after another; random generators are left as they were.

    Raises:
        MTLotteryError: anything that the user can fix; no record is left then.
    """
    with _one_at_a_time, generators_kept():
        return _run(config, echo, engine, unsearched)


def _run(config: RunConfig, echo: Echo, engine: Engine | None, unsearched: Path | None) -> Outcome:
    parallel.start()
    if not parallel.is_main():
        echo = _silent
    plan = make_plan(config, echo, engine)
    config = plan.config
    given = config.out_dir is not None
    run_dir = Path(config.out_dir).expanduser() if config.out_dir else default_folder(config)
    on_main(lambda: check_place(run_dir, config))
    with locked(run_dir):
        settled = on_main(lambda: done_in(run_dir, plan.config_hash) if settle(run_dir) else None)
        if settled is not None:  # the kill came after the run itself
            echo(f"{run_dir} holds the new run, which had been done; {_old_one(run_dir)}")
            return Outcome(run_dir, settled, _baseline_of(settled.baseline), False)
        anew = on_main(lambda: config.overwrite or goes_on(run_dir, config, plan.config_hash))
        found = on_main(lambda: finished(run_dir, plan.config_hash, anew, config))
        if found is not None:
            on_main(lambda: _check_whole(run_dir))
            asked = ", ".join(names_of(config.tracker))
            echo(
                f"{run_dir} holds this very run, finished; it is left alone"
                f"{f', and nothing is sent to {asked}' if asked else ''} "
                f"({assigned({'overwrite': True})} redoes it)."
            )
            return Outcome(run_dir, found, _baseline_of(found.baseline), True)
        record = on_main(lambda: done_beside(run_dir, plan.config_hash) if anew else None)
        if record is not None:  # all that a kill has left to do
            on_main(lambda: swap(run_dir))
            echo(f"{run_dir} holds the new run, which had been done; {_old_one(run_dir)}")
            return Outcome(run_dir, record, _baseline_of(record.baseline), False)
        announce(plan, echo)
        on_main(partial(check_metrics, config))
        work, resume = on_main(lambda: place(run_dir, config, plan.config_hash, echo))
        try:
            done = do(plan, work, run_dir if given else None, resume, echo, unsearched)
        except BaseException:
            if parallel.is_main():
                discard_unbegun(work)
            raise
        if work != run_dir:
            on_main(lambda: swap(run_dir))
            echo(f"{run_dir} holds the new run; {_old_one(run_dir)}")
    return Outcome(run_dir, *done, False)


def _old_one(run_dir: Path) -> str:
    """That the old run is gone, and what mt-ticket had found of it and is still there."""
    left = [name for name in FINDINGS if (run_dir / name).exists()]
    more = f", but for what mt-ticket wrote of it: {', '.join(left)}" if left else ""
    return f"the old one is gone{more}."


def _check_whole(run_dir: Path) -> None:
    """Check that a finished run is still what was scored, before it is needed.

    Raises:
        RecordError: a file is missing, damaged or changed; and that it can be made again.
    """
    try:
        run = Run(run_dir)
        run.check_files()
        _ = run.hypotheses
    except RecordError as error:
        raise RecordError(
            f"{error} {assigned({'overwrite': True})} makes the run again."
        ) from error


def _silent(text: str) -> None:
    """The `echo` of all processes but the main one."""


def _baseline_of(text: str | None) -> Path | None:
    """The baseline's folder, if it is still there: the cache may have been emptied since."""
    if text is not None:
        with contextlib.suppress(RecordError):
            read_record(text)
            return Path(text)
    return None
