"""``mt-bench``: all recipes over language pairs, and the leaderboard."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mt_lottery import __version__
from mt_lottery.benchmark.executors.slurm_options import OPTIONS
from mt_lottery.cli import bench_comet, bench_compare
from mt_lottery.cli.completing.shells import completed
from mt_lottery.cli.options import Parser, add_options, counts, whole
from mt_lottery.cli.outputs import check_results
from mt_lottery.cli.shared import guarded
from mt_lottery.errors import plural

DESCRIPTION = "All recipes over language pairs and seeds, and an honest leaderboard."
INTERRUPTED = "Interrupted. The same command goes on where it stopped."
EXAMPLES = """\
Settings of mt-train (key=value) apply to every cell, RECIPE:key=value to those of one recipe.
Cells that are finished are never run again; the same command goes on where it stopped.
With --executor slurm, jobs go on when mt-bench is stopped; the same command watches them again.
mt-bench list shows the groups and recipes; each command (mt-bench report --help) has a help.
exit status: 0 done, 1 a cell failed (or a crash), 2 a mistake in what was given, 130 interrupted

examples:
  mt-bench all --langs ro,es --preset smoke --out bench/smoke
  mt-bench ks_lottery lora --langs ro --seeds 0,1,2 ks_lottery:tuner.tickets=100 train.epochs=3
  mt-bench all --langs ro,es --executor slurm --jobs 8 \\
           --slurm partition=gpu --slurm gpus=1 --slurm mem=32G --slurm time=4:00:00
"""
EXAMPLES_OF_LIST = """\
examples:
  mt-bench list peft
  mt-bench list --model ./llama-7b --tickets 18,800
  mt-bench list --user-dir ./plugins --json
"""
EXAMPLES_OF_REPORT = """\
examples:
  mt-bench report bench/smoke
  mt-bench report bench/one bench/two --out bench/both
  mt-bench report bench/small --figure docs/scores --overwrite
"""


def list_recipes(given: argparse.Namespace) -> int:
    """``mt-bench list``."""
    from mt_lottery import registry
    from mt_lottery.benchmark.choosing import choose_recipes
    from mt_lottery.benchmark.recipes import (
        groups,
        others,
        parameter_counts,
        rounded,
        summary,
    )
    from mt_lottery.report.printing import Grid, printer

    console = printer()
    if given.user_dir is not None:
        registry.load_user_dir(given.user_dir)
    families = groups()
    chosen = choose_recipes(given.recipes) if given.recipes else None
    if given.model is None:
        parts = [
            (f"{what} (mt-bench {group})", members)
            for group, (what, members) in families.items()
            if chosen is None or group in given.recipes
        ]
        named = [name for name in given.recipes if name not in families]
        parts.append(("Recipes (mt-bench NAME)", named))
        parts.append(("Your recipes (mt-bench NAME)", others() if chosen is None else []))
        if given.json:
            listed: list[dict[str, Any]] = [
                {
                    "method": name,
                    "what": summary(name),
                    "in_all": name in families["all"][1],
                    "groups": [group for group in families if name in families[group][1]],
                }
                for name in dict.fromkeys(name for _, members in parts for name in members)
            ]
            print(json.dumps(listed, indent=1))
            return 0
        for title, members in filter(lambda part: part[1], parts):
            table = Grid(title, ["recipe", "what it does"], left=2)
            for recipe in members:
                table.add(recipe, summary(recipe))
            console.print(table)
        print("Trained parameters for a model: mt-bench list --model FOLDER")
        return 0
    from mt_lottery.model.folder.shape import shape_of
    from mt_lottery.model.gemma3.gemma3_270m import folder_named

    where = str(folder_named(given.model))
    model = shape_of(where)
    whole = sum(p.numel() for p in model.parameters())
    counts = parameter_counts(lambda: shape_of(where), given.tickets or (), chosen)
    if given.json:
        keys = {"recipe": "method"}  # what scripts read
        listed = [{keys.get(k, k): v for k, v in vars(count).items()} for count in counts]
        print(json.dumps(listed, indent=1))
        return 0
    vocabulary, width = model.get_input_embeddings().weight.shape
    title = f"{given.model}: {plural(whole, 'parameter')}, vocabulary {vocabulary:,}, d = {width:,}"
    table = Grid(title, ["recipe", "rows", "trained parameters", "", "of the model"])
    for count in counts:
        rows = "" if count.rows is None else f"{count.rows:,}"
        if count.trainable is None:
            table.add(count.recipe, rows, "—", "", "see below")
            continue
        share = 100 * count.trainable / whole
        table.add(
            count.recipe,
            rows,
            f"{count.trainable:,}",
            rounded(count.trainable),
            f"{share:.2g}%" if 0 < share < 10 else f"{share:.0f}%",
        )
    console.print(table)
    for count in counts:
        if count.problem:
            print(f"{count.recipe}: {count.problem}")
    return 0


def run_bench(given: argparse.Namespace) -> int:
    """``mt-bench RECIPES… --langs …``."""
    from mt_lottery.benchmark.asking import ask
    from mt_lottery.benchmark.run import describe, execute

    bench = ask(given)
    if given.dry_run:
        print(describe(bench, given.jobs, given.executor))
        return 0
    return execute(bench, given)


def report(given: argparse.Namespace) -> int:
    """``mt-bench report DIR…``."""
    from mt_lottery.benchmark.board.presenting import present, tell_failures
    from mt_lottery.benchmark.board.report import (
        FORMATS,
        is_published,
        load,
        write_published,
        write_reports,
    )
    from mt_lottery.benchmark.page.figure import figure_files, write_figure
    from mt_lottery.errors import ConfigError
    from mt_lottery.registry import load_user_dir

    if given.user_dir is not None:
        load_user_dir(given.user_dir)
    if len(given.folders) > 1 and given.out is None:
        raise ConfigError("Several benchmarks are joined: say where to, with --out.")
    results, out = None, given.out or given.folders[0]
    if given.out is not None and given.out.resolve() not in [x.resolve() for x in given.folders]:
        check_results(given, out, ["leaderboard"], FORMATS)
    if given.figure is not None:
        stem = given.figure.expanduser()
        names = [path.stem for path in figure_files(stem).values()]
        check_results(given, stem.parent, names, ("svg",))
    if len(given.folders) == 1 and is_published(given.folders[0]):
        written = write_published(given.folders[0], out)
    else:
        results = load(given.folders)
        written = write_reports(results, out)
    if given.figure is not None:
        written.files += write_figure(written.board, stem)
    status = present(written)
    if results is not None:
        tell_failures(results)
    return status


def _list_parser() -> argparse.ArgumentParser:
    made = Parser(
        "mt-bench list",
        description=textwrap.fill(
            "The groups of recipes (`all` is the leaderboard's), and with --user-dir your own "
            "recipes, which run when they are named. With --model, the trained parameters of "
            "each (Table 2's column), from config.json alone: no weights are read.",
            79,
        ),
        epilog=EXAMPLES_OF_LIST,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "recipes", nargs="*", metavar="GROUP|RECIPE", help="these alone [every group]"
    )
    made.add_argument("--model", metavar="DIR",
                      help="folder with config.json, a hub id, or gemma3_270m")  # fmt: skip
    made.add_argument(
        "--tickets", type=counts, metavar="K,…", help="numbers of rows [each recipe's]"
    )
    add_options(made, "--user-dir", help="folder of plugins and recipes to import")
    add_options(made, "--json")
    made.set_defaults(run_command=list_recipes)
    return made


def _report_parser() -> argparse.ArgumentParser:
    made = Parser(
        "mt-bench report",
        description=textwrap.fill(
            "Write leaderboard.md, .csv, .tex, .json and .html again, from the records alone; "
            "several benchmarks become one if they can be compared. A folder that holds a "
            "leaderboard.json and no runs (benchmarks/results of the repository) is rendered from "
            "that: the numbers are those computed then.",
            79,
        ),
        epilog=EXAMPLES_OF_REPORT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of a benchmark")
    made.add_argument("--out", type=Path, metavar="DIR", help="where to [the first DIR]")
    made.add_argument(
        "--figure",
        type=Path,
        metavar="STEM",
        help="also write the plot, STEM-light.svg and STEM-dark.svg, for a README",
    )
    add_options(made, "--user-dir", help="folder of plugins, where one has a metric")
    add_options(made, "--overwrite")
    made.set_defaults(run_command=report)
    return made


def parser() -> argparse.ArgumentParser:
    """What the command line understands, but for the words that :func:`command` knows."""
    made = Parser(
        "mt-bench",
        usage=(
            "mt-bench RECIPE… --langs L,… [options] [key=value …]\n"
            "       mt-bench report DIR…\n       mt-bench compare DIR… --against RECIPE\n"
            "       mt-bench list [GROUP] [--model DIR]\n       mt-bench setup-comet"
        ),
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"mt-lottery {__version__}")
    made.add_argument(
        "recipes",
        nargs="+",
        metavar="RECIPE|key=value",
        help="recipes, or groups (all: the leaderboard's, peft, controls; mt-bench list)",
    )
    made.add_argument("--langs", required=True, metavar="L,…", help="target languages: ro,es,ca,no")
    made.add_argument("--source", default="en", metavar="L", help="source language [en]")
    made.add_argument(
        "--joint",
        action="store_true",
        help="run each recipe once more, with all languages in one run, beside those of each",
    )
    add_options(made, "--seeds", "--preset", "--model", "--data", "--jobs")
    made.add_argument(
        "--tune", type=whole, default=0, metavar="N", help="trials a recipe on dev [0]"
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="folder [bench/PRESET]")
    made.add_argument(
        "--executor",
        choices=("local", "slurm"),
        default="local",
        help="slurm: each cell is a job of the cluster (pip install 'mt-lottery[slurm]') [local]",
    )
    made.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"what each job asks for, may be repeated; keys: {', '.join(OPTIONS)}",
    )
    add_options(made, "--user-dir", help="folder of plugins to import first")
    add_options(made, "--force", "--dry-run")
    made.set_defaults(run_command=run_bench)
    return made


def subcommands() -> dict[str, Callable[[], argparse.ArgumentParser]]:
    """The words that are commands, in the place of recipes."""
    return {
        **{"list": _list_parser, "report": _report_parser},
        **{"compare": bench_compare.parser, "setup-comet": bench_comet.parser},
    }


def command(arguments: Sequence[str]) -> int:
    """Run; raises what the user can fix."""
    if (code := completed(arguments)) is not None:
        return code
    others = subcommands()
    if arguments and arguments[0] in others:
        given = others[arguments[0]]().parse_args(arguments[1:])
    else:
        given = parser().parse_intermixed_args(arguments)
        given.command_line = shlex.join(["mt-bench", *arguments])
    status: int = given.run_command(given)
    return status


def main() -> int:
    """Entry point of ``mt-bench``."""
    return guarded(lambda: command(sys.argv[1:]), INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
