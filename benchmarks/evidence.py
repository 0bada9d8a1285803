"""The evidence: seven questions, each answered on real text by ``mt-train`` and ``mt-ticket``.

    python benchmarks/evidence.py --list                          # what there is, and what is done
    python benchmarks/evidence.py p1 p2 --data DIR --out DIR      # run what is not done
    python benchmarks/evidence.py all --data DIR --out DIR --minutes 90
    python benchmarks/evidence.py p1 p2 --data DIR --out DIR --device cuda --jobs 15
    python benchmarks/evidence.py --report                        # tables of what is done
    python benchmarks/evidence.py --overview                      # the main recipes in two tables
    python benchmarks/evidence.py --pages                         # write these into README and docs
    python benchmarks/evidence.py --merge DIR…                    # results of other machines
    python benchmarks/evidence.py p1 --data DIR --out /tmp/try --test-pairs 8 --train-pairs 16

DIR holds NTREX-128/ and flores101_dataset/.  Gemma 3 270M, 400 pairs of NTREX-128, the whole
Flores-101 devtest (1,012 sentences), English into Spanish, Romanian, Catalan, Norwegian and
Bosnian, seeds 0, 1 and 2.  Cells run one by one, or --jobs at a time, the cheapest and most telling
ones first; each leaves its numbers in benchmarks/results/evidence/PART.json and is never run
again.  With other numbers of sentences or pairs, other languages, seeds or settings it is a
rehearsal: its results are written to OUT/results and say so.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import common
from evidence_parts.cells import LANGS, SEEDS, Cell, Setting, in_order
from evidence_parts.questions import plan, questions
from evidence_parts.queue import Queue, work
from evidence_parts.results import Results
from evidence_parts.running import Failed, command, prepare, run_cell, stop
from evidence_parts.shown.overview import board, overview
from evidence_parts.shown.pages import refresh
from evidence_parts.shown.report import report, write_figures
from evidence_parts.shown.scores import Scores
from filelock import FileLock

from mt_lottery.benchmark.page.figure import write_figure
from mt_lottery.errors import MTLotteryError, plural

PARTS = ("p1", "p2", "p3", "p4", "p5", "p6", "p7")
PUBLISHED = common.RESULTS / "evidence"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("parts", nargs="*", metavar="PART", help="p1 … p7, or all; key=value")
    made.add_argument("--data", type=Path, metavar="DIR", help="NTREX-128/ and flores101_dataset/")
    made.add_argument("--out", type=Path, default=Path("evidence"), metavar="DIR",
                      help="the runs go here [evidence]")  # fmt: skip
    made.add_argument("--results", type=Path, metavar="DIR",
                      help="the numbers go here [benchmarks/results/evidence]")  # fmt: skip
    made.add_argument("--list", action="store_true", help="parts, cells, what is done; run nothing")
    made.add_argument("--report", action="store_true", help="tables (Markdown); run nothing")
    made.add_argument(
        "--overview",
        action="store_true",
        help="the main recipes, over all languages and by language; run nothing",
    )
    made.add_argument("--pages", action="store_true",
                      help="make the tables of README.md and docs/ anew; run nothing")  # fmt: skip
    made.add_argument("--merge", type=Path, nargs="+", metavar="DIR",
                      help="take over what is done in these folders; run nothing")  # fmt: skip
    made.add_argument(
        "--figures", type=Path, metavar="DIR", help="with --report or --overview: draw them there"
    )
    made.add_argument("--minutes", type=float, help="start no cell that would end later")
    made.add_argument("--arms", metavar="A,…", help="only these arms")
    made.add_argument("--langs", default=",".join(LANGS), metavar="L,…", help="target languages")
    made.add_argument("--seeds", default=",".join(map(str, SEEDS)), metavar="N,…", help="seeds")
    made.add_argument("--test-pairs", type=int, default=1012, help="of a rehearsal")
    made.add_argument("--train-pairs", type=int, default=400, help="of a rehearsal")
    made.add_argument("--device", help="cuda, cpu, … [mt-lottery's choice]")
    made.add_argument("--jobs", type=int, default=1, metavar="N",
                      help="cells at a time, each in a process of its own [1]")  # fmt: skip
    made.add_argument("--lock", type=Path, help="hold this file's lock while a cell runs")
    made.add_argument("--dry-run", action="store_true", help="print the commands; run nothing")
    return made


def asked() -> tuple[argparse.Namespace, Setting, list[Cell]]:
    made = parser()
    given = made.parse_intermixed_args()
    names = [p for p in given.parts if "=" not in p]
    parts = [*PARTS] if names == ["all"] or not names else names
    if unknown := [p for p in parts if p not in PARTS]:
        made.error(f"{', '.join(unknown)}: allowed: {', '.join(PARTS)}, all")
    shows = given.list or given.report or given.overview or given.pages or given.merge
    shows = shows or given.dry_run
    if not names and not shows:
        made.error(f"which part? {', '.join(PARTS)}, or all")
    try:
        seeds = tuple(int(seed) for seed in given.seeds.split(","))
    except ValueError:
        made.error(f"--seeds {given.seeds}: whole numbers with commas between")
    if given.jobs < 1:
        made.error(f"--jobs {given.jobs}: at least 1")
    if given.jobs > 1 and given.lock:
        made.error("--jobs and --lock: a lock lets one cell run at a time")
    setting = Setting(
        out=given.out.resolve(),
        langs=tuple(given.langs.split(",")),
        seeds=seeds,
        train_pairs=given.train_pairs,
        test_pairs=given.test_pairs,
        device=given.device,
        more=tuple(p for p in given.parts if "=" in p),
    )
    cells = in_order(plan(parts, setting), setting)
    if given.arms:
        arms = given.arms.split(",")
        if unknown := set(arms) - {cell.arm.name for cell in cells}:
            made.error(f"--arms: unknown: {', '.join(sorted(unknown))}")
        cells = [cell for cell in cells if cell.arm.name in arms]
    if given.pages and (setting.rehearsal or (setting.langs, seeds) != (LANGS, SEEDS)):
        made.error("--pages: of all languages, seeds, pairs and settings; leave the others out")
    given.parts = parts
    return given, setting, cells


def shown_time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"


def listed(parts: list[str], cells: list[Cell], results: Results, setting: Setting) -> str:
    """Parts, cells, what is done, and how long the rest takes by the cells that were measured."""
    lines = []
    for part in parts:
        lines.append(f"{part}  {questions(setting)[part].asks}")
        own = [cell for cell in cells if cell.part == part]
        todo = [cell for cell in own if results.get(cell) is None]
        known = [results.estimate(cell) for cell in todo]
        time_left = "unknown: no cell was measured yet"
        if None not in known:
            time_left = shown_time(sum(filter(None, known)))
        lines.append(
            f"    {plural(len(own), 'cell')}, {len(own) - len(todo)} done; the rest: {time_left}"
        )
        for arm in dict.fromkeys(cell.arm.name for cell in own):
            marks: dict[str, list[str]] = {}
            for cell in own:
                if cell.arm.name == arm:
                    done = results.get(cell) is not None
                    marks.setdefault(cell.lang, []).append(str(cell.seed) if done else "·")
            state = "  ".join(f"{lang} {''.join(seeds)}" for lang, seeds in marks.items())
            lines.append(f"    {arm:28} {state}")
    lines.append("Seeds that are done; a dot for each that is not. A cell that several parts need "
                 "is listed by the first of them.")  # fmt: skip
    return "\n".join(lines)


def run(given: argparse.Namespace, setting: Setting, cells: list[Cell], results: Results) -> int:
    prepare(setting, given.data)
    began, failed = time.monotonic(), []
    todo = [cell for cell in cells if results.get(cell) is None]
    print(
        f"{plural(len(cells), 'cell')}, {len(cells) - len(todo)} done, {len(todo)} to do",
        flush=True,
    )

    def run_one(cell: Cell) -> None:
        if results.get(cell) is not None:  # another one needed it
            return
        with FileLock(given.lock) if given.lock else contextlib.nullcontext():
            spent = time.monotonic() - began
            if given.minutes and spent + (results.estimate(cell) or 0) > 60 * given.minutes:
                print(f"{spent / 60:.0f} min: no time for {cell}", flush=True)
                return
            start = time.monotonic()
            try:
                row = run_cell(cell, setting, results)
            except (Failed, MTLotteryError) as error:
                failed.append(cell)
                print(f"FAILED {cell}: {error}", flush=True)
                return
        took = f"{time.monotonic() - start:.0f} s"
        said = "the prompt has no such token" if row is None else _headline(row)
        print(f"{cell}: {took}; {said}", flush=True)

    work(Queue(todo), run_one, given.jobs, stop)
    return 1 if failed else 0


def _headline(row: dict[str, Any]) -> str:
    if "scores" not in row:
        return "done"
    key = next(iter(row["scores"]))
    both = " / ".join(
        f"{row['scores'][key][which]['score']:.1f}" for which in ("raw", "first_line")
    )
    return f"{key} {both}, stopped {row['generation']['stopped']:.0%}"


def main() -> int:
    given, setting, cells = asked()
    folder = setting.out / "results" if setting.rehearsal else PUBLISHED
    results = Results((given.results or folder).resolve(), setting)
    for other in given.merge or ():
        if not other.is_dir():
            parser().error(f"--merge {other}: there is no such folder")
        for cell in results.merge(other, cells):
            print(f"taken from {other}: {cell}")
    if given.list:
        print(listed(given.parts, cells, results, setting))
    elif given.report:
        print(report(given.parts, results, setting))
        if given.figures:
            given.figures.mkdir(parents=True, exist_ok=True)
            for path in write_figures(given.parts, results, setting, given.figures):
                print(f"written: {path}", file=sys.stderr)
    elif given.overview:
        scores = Scores(results, setting)
        print(overview(scores))
        if given.figures:
            given.figures.mkdir(parents=True, exist_ok=True)
            for path in write_figure(board(scores), given.figures / "readme"):
                print(f"written: {path}", file=sys.stderr)
    elif given.pages:
        for page in refresh(Scores(results, setting)):
            print(f"written: {page}", file=sys.stderr)
    elif given.dry_run:
        for cell in cells:
            print(" ".join(["python -m", *command(cell, setting)]))
    elif given.merge:
        pass
    elif given.data is None:
        parser().error("--data is needed to run: the folder of NTREX-128/ and flores101_dataset/")
    elif missing := [
        n for n in ("NTREX-128", "flores101_dataset") if not (given.data / n).is_dir()
    ]:
        parser().error(f"--data {given.data}: there is no {' and no '.join(missing)} in it")
    else:
        return run(given, setting, cells, results)
    return 0


def _interrupted(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on where it stopped.", file=sys.stderr)
        sys.exit(130)
