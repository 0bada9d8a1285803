"""``mt-bench``: all methods over language pairs, and the leaderboard."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from mt_lottery import __version__
from mt_lottery.cli.shared import guarded

DESCRIPTION = "All methods over language pairs and seeds, and an honest leaderboard."
EXAMPLES = """\
examples:
  mt-bench list
  mt-bench list --model ./llama-7b --tickets 18,800
"""


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise argparse.ArgumentTypeError(f"whole numbers ≥ 1, separated by commas, not '{text}'")
    return [int(p) for p in parts]


def list_methods(given: argparse.Namespace) -> int:
    """``mt-bench list``."""
    from rich.console import Console
    from rich.table import Table

    from mt_lottery.bench.methods import methods, parameter_counts, rounded, summary

    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    if given.model is None:
        if given.json:
            print(json.dumps([{"method": m, "what": summary(m)} for m in methods()], indent=1))
            return 0
        table = Table(title="Methods of the leaderboard (mt-bench all)", title_justify="left")
        table.add_column("method", no_wrap=True)
        table.add_column("what it does")
        for method in methods():
            table.add_row(method, summary(method))
        console.print(table)
        print("Trainable parameters for a model: mt-bench list --model FOLDER")
        return 0
    from mt_lottery.model.shape import shape_of

    model = shape_of(given.model)
    whole = sum(p.numel() for p in model.parameters())
    counts = parameter_counts(lambda: shape_of(given.model), given.tickets or ())
    if given.json:
        print(json.dumps([vars(c) for c in counts], indent=1))
        return 0
    vocabulary, width = model.get_input_embeddings().weight.shape
    table = Table(
        title=f"{given.model}: {whole:,} parameters, vocabulary {vocabulary:,}, d = {width:,}",
        title_justify="left",
    )
    for name in ("method", "rows", "trainable parameters", "", "of the model"):
        table.add_column(name, no_wrap=True, justify="left" if name == "method" else "right")
    for count in counts:
        rows = "" if count.rows is None else f"{count.rows:,}"
        if count.trainable is None:
            table.add_row(count.method, rows, "—", "", "does not fit")
            continue
        share = 100 * count.trainable / whole
        table.add_row(
            count.method,
            rows,
            f"{count.trainable:,}",
            rounded(count.trainable),
            f"{share:.2g}%" if 0 < share < 10 else f"{share:.0f}%",
        )
    console.print(table)
    for count in counts:
        if count.problem:
            print(f"{count.method}: {count.problem}")
    return 0


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    made = argparse.ArgumentParser(
        "mt-bench",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"mt-lottery {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    part = commands.add_parser(
        "list",
        help="the methods, and how many parameters each trains",
        description=(
            "The methods of the leaderboard. With --model, the trainable parameters of each "
            "(Table 2's column), from config.json alone: no weights are read."
        ),
    )
    part.add_argument("--model", metavar="DIR", help="folder with config.json, or a hub id")
    part.add_argument(
        "--tickets", type=_numbers, metavar="K,…", help="numbers of rows [each recipe's]"
    )
    part.add_argument("--json", action="store_true", help="print JSON")
    part.set_defaults(run_command=list_methods)
    return made


def command(arguments: Sequence[str]) -> int:
    """Run a subcommand; raises what the user can mend."""
    given = parser().parse_args(arguments)
    code: int = given.run_command(given)
    return code


def main() -> int:
    """Entry point of ``mt-bench``."""
    return guarded(lambda: command(sys.argv[1:]), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
