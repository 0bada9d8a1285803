"""Seconds from nothing to a scored ticket: the demo's parts, on an idle and on a shared machine.

    python benchmarks/time_to_ticket.py             # four runs of the demo
    python benchmarks/time_to_ticket.py --quick     # few pairs and sentences, on an idle machine

Each run is ``mt-train recipe=ks_lottery lang=en-ro`` in a fresh process with an empty cache, as
after ``make demo`` has installed everything.  *shared*: meanwhile other programs keep as many cores
busy as there are.  *active* and *passive* are OpenMP's two ways to wait (``OMP_WAIT_POLICY``):
threads that spin, PyTorch's own default, and threads that sleep, which mt-lottery's commands ask
for.  A part is what its function takes in all; what no part names is the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import common

DEMO = ["recipe=ks_lottery", "lang=en-ro"]
FEW = ["data.train_pairs=16", "data.test_pairs=4", "translate.max_new_tokens=16"]
POLICY = "OMP_WAIT_POLICY"

#: Function of ``mt_lottery.runs`` (module, perhaps a class, name) → the part that it is.
PARTS = {
    "execution.load_for": "load the model",
    "stages.steps.make_context": "tokenise",
    "stages.steps.probe_of": "probe: tune the embedding",
    "stages.steps.declare": "KS test and choice of rows",
    "stages.steps.Steps._train": "tune the rows",
    "stages.steps.decode_test": "translate the test set",
    "stages.steps.score_outputs": "scores with intervals",
}
PLAN = "plan: convert the model from GGUF (once), read and hash text and model"
ORIGINAL = "original model: "


def owner_of(part: str) -> tuple[Any, str]:
    """The module or class that holds a function of :data:`PARTS`, and its name there."""
    place, _, name = part.rpartition(".")
    return pkgutil.resolve_name(f"mt_lottery.runs.{place}"), name


class Clock:
    """Seconds of each part; a part within a part counts once, for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.prefix = ""
        self._inside = False

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **settings: Any) -> Any:
            if self._inside:
                return function(*args, **settings)
            began, self._inside = time.perf_counter(), True
            try:
                return function(*args, **settings)
            finally:
                self._inside = False
                self.seconds[self.prefix + part] += time.perf_counter() - began

        return run

    def of_the_original(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **settings: Any) -> Any:
            self.prefix = ORIGINAL
            try:
                return function(*args, **settings)
            finally:
                self.prefix = ""

        return run


def run_demo(arguments: list[str]) -> dict[str, Any]:
    """In this process: what ``mt-train`` does, and how long its parts take."""
    began = time.perf_counter()
    import mt_lottery.cli.train as command
    import mt_lottery.training.trainer  # noqa: F401  # what a run loads sooner or later
    from mt_lottery.runs import execution, running

    clock = Clock()
    clock.seconds["imports"] = time.perf_counter() - began
    with contextlib.ExitStack() as patched:
        for key, part in PARTS.items():
            owner, name = owner_of(key)
            new = clock.timed(part, getattr(owner, name))
            patched.enter_context(mock.patch.object(owner, name, new))
        new = clock.timed(PLAN, running.make_plan)
        patched.enter_context(mock.patch.object(running, "make_plan", new))
        new = clock.of_the_original(execution._baseline)
        patched.enter_context(mock.patch.object(execution, "_baseline", new))
        patched.enter_context(mock.patch.object(sys, "argv", ["mt-train", *arguments]))
        patched.enter_context(contextlib.redirect_stdout(sys.stderr))
        code = command.main()
    if code:
        raise SystemExit(code)
    total = time.perf_counter() - began
    rest = total - sum(clock.seconds.values())
    parts = {part: round(s, 2) for part, s in {**clock.seconds, "rest": rest}.items()}
    return {"seconds": round(total, 2), "parts": parts}


@contextlib.contextmanager
def others(count: int) -> Iterator[None]:
    """So many other programs, each of which wants a core."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measured(policy: str, shared: bool, arguments: list[str]) -> dict[str, Any]:
    """One run in a fresh process, a fresh folder and with an empty cache."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, others(common.cores() if shared else 0):
        out = f"out_dir={folder}/run"
        given = {POLICY: policy, "MT_LOTTERY_CACHE": f"{folder}/cache"}
        with mock.patch.dict(os.environ, given):
            done = common.in_fresh_process(__file__, "--demo", *arguments, out)
        record = json.loads(Path(folder, "run", "record.json").read_text("utf-8"))
    done["load_average_before"] = round(load, 2)
    done["scores"] = {name: score["raw"]["score"] for name, score in record["scores"].items()}
    return done


def main() -> None:
    if sys.argv[1:2] == ["--demo"]:
        print(json.dumps(run_demo(sys.argv[2:])))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few pairs, on an idle machine alone")
    parser.add_argument(
        "--arms", default=None, help="of idle/passive, idle/active, shared/passive, shared/active"
    )
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    given, more = parser.parse_known_args()
    every = [
        f"{where}/{policy}" for where in ("idle", "shared") for policy in ("passive", "active")
    ]
    names = (given.arms or ",".join(every[:2] if given.quick else every)).split(",")
    if unknown := set(names) - set(every):
        parser.error(f"--arms: {', '.join(sorted(unknown))}; allowed: {', '.join(every)}")
    from mt_lottery.config.compose import compose

    arguments = [*DEMO, *(FEW if given.quick else []), *more]
    arms: dict[str, Any] = {}
    for name in names:
        where, _, policy = name.partition("/")
        arms[name] = measured(policy, where == "shared", arguments)
        print(f"{name}: {arms[name]['seconds']:.0f} s", flush=True)
        for part, seconds in arms[name]["parts"].items():
            print(f"  {seconds:7.1f} s  {part}")
    first = arms[names[0]]["seconds"]
    report = {
        "quick": given.quick,
        "arguments": arguments,
        "training": common.own_training(compose(arguments)),
        "machine": common.machine("torch", "transformers"),
        "arms": arms,
        "over_the_first": {name: round(arm["seconds"] / first, 3) for name, arm in arms.items()},
    }
    print(f"written: {common.write('time_to_ticket', report, given.output)}")


if __name__ == "__main__":
    main()
