"""``mt-ticket sweep``: score against the number of rows."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mt_lottery.cli.options import Commands, add_options, subcommand
from mt_lottery.cli.outputs import check_results
from mt_lottery.cli.shared import echo

if TYPE_CHECKING:
    from mt_lottery.paper.sweep.sweep import Curves

EXAMPLES = """\
  mt-ticket sweep lang=en-es
  mt-ticket sweep lang=en-es --recipes ks_transfer --sizes 1,5,18,50,100,400 --dry-run
  mt-ticket sweep lang=en-ro --recipes ks_lottery --selectors ks,cos,kl,random --sizes 18 \\
            --seeds 0,1,2 data=ntrex data.path=NTREX-128
"""

INTERRUPTED = "Interrupted. The same command goes on where it stopped."


def sweep(given: argparse.Namespace) -> int:
    """``mt-ticket sweep``."""
    from mt_lottery.benchmark.board.presenting import tell
    from mt_lottery.paper.sweep.files import NAME, figure_stem
    from mt_lottery.paper.sweep.grid import SIZES, ask
    from mt_lottery.paper.sweep.sweep import describe, execute
    from mt_lottery.report.figures import check_matplotlib

    if given.plot and not given.dry_run:
        check_matplotlib()
    asked = ask(given)
    if given.sizes is None and len(asked.sizes) < len(SIZES):
        left = ", ".join(str(size) for size in SIZES if size not in asked.sizes)
        echo(f"Left out of the default sizes, as there are fewer rows: {left}.")
    if given.dry_run:
        print(describe(asked, given.jobs))
        return 0
    # a sweep's own folder goes on, and its tables are rendered again
    out, langs = asked.bench.out, asked.bench.langs
    check_results(given, out, [NAME], ("md", "csv", "json"), "bench.json")
    if given.plot:
        stems = [figure_stem(out, lang, langs).name for lang in langs]
        check_results(given, out, stems, ("png", "svg"), "bench.json")
    given.command_line = shlex.join(["mt-ticket", *given.arguments])
    try:
        curves, failed = execute(asked, given)
    except KeyboardInterrupt as error:
        raise type(error)(INTERRUPTED) from None  # SIGTERM keeps its exit status
    status = 0 if curves is None else _report(curves, given)
    tell(failed, asked.bench.out)
    return 1 if failed else status


def _report(curves: Curves, given: argparse.Namespace) -> int:
    from mt_lottery.benchmark.board.presenting import list_files, list_problems
    from mt_lottery.paper.sweep.figure import draw_all
    from mt_lottery.paper.sweep.files import write_reports

    written = write_reports(curves, given.command_line)
    if given.plot:
        draw_all(curves, written)
    column, notes = written.board["metric"]["column"], written.board["notes"]
    written.attempt("the tables on the terminal", lambda: _show(curves, column, notes))
    list_files(written)
    return list_problems(written)


def _show(curves: Curves, column: str, notes: list[str]) -> None:
    """The tables on the terminal."""
    from mt_lottery.paper.sweep.files import points_table, verdict_table
    from mt_lottery.report.printing import printer

    console = printer(140)
    for lang in curves.sweep.bench.langs:
        points = points_table(curves, lang, f"{lang}: {column} with 95% interval")
        console.print(points.grid(section=lambda line: id(line[2])))
        title = f"{lang}: which size, and how many rows are enough (• best on dev)"
        console.print(verdict_table(curves, lang, title).grid())
    for note in notes:
        console.print(note)


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    part = subcommand(
        commands,
        sweep,
        EXAMPLES,
        usage="mt-ticket sweep lang=SRC-TGT [options] [key=value …]",
        help="score against the number of rows, for recipes and selectors",
        description=(
            "Score against the number of tuned rows (the paper's Figures 1, 5 and 8, Table 1), for "
            "every recipe that chooses rows and every measure of change (Table 3), the original "
            "model and embedding tuning beside them. Each size is scored on the dev set too, on "
            "which the best one is chosen (Table 4). Every point is a run directory; finished "
            "ones are never run again, and the same command goes on where it stopped. More "
            "sizes, recipes and seeds may be added later."
        ),
        notes=(
            "Settings of mt-train (key=value) apply to every run, RECIPE:key=value to those of one "
            "recipe; train.… is meant for the rows: embedding tuning is trained as the probe is "
            "(probe.…). Writes OUT/sweep.csv, .json, .md, .png and .svg. Exit status: 0 done, 1 a "
            "run failed, 2 a mistake in what was given, 130 interrupted."
        ),
    )
    part.add_argument("settings", nargs="*", metavar="key=value", help="settings of mt-train")
    part.add_argument("--lang", metavar="SRC-TGT,…", help="language pairs; lang=… is the same")
    part.add_argument("--sizes", metavar="K,…", help="numbers of rows [1,5,18,50,100,400]")
    part.add_argument(
        *("--recipes", "--methods"),
        default="ks_lottery,ks_transfer,random_seen,frequency,ks_freeze",
        metavar="R,…",
        help="recipes with a number of rows; none and embed are always there "
        "[ks_lottery,ks_transfer,random_seen,frequency,ks_freeze]",
    )
    part.add_argument(
        "--selectors",
        default="ks",
        metavar="S,…",
        help="measures of change, for ks recipes: ks, cos, absolute, relative, ratio, kl, "
        "frequency, gradient, random [ks]",
    )
    part.add_argument(
        "--no-dev", dest="dev", action="store_false", help="do not score the dev set: no best size"
    )
    add_options(part, "--seeds", "--preset", "--model", "--data", "--jobs", "--no-plot")
    part.add_argument("--out", type=Path, metavar="DIR", help="folder [sweep/SRC-TGT]")
    add_options(part, "--overwrite", "--force", "--dry-run")
    part.set_defaults(executor="local", slurm=[])
