"""``mt-bench setup-comet``: the environment of the COMET metric."""

from __future__ import annotations

import argparse
from pathlib import Path

from mt_lottery.cli.options import Parser
from mt_lottery.cli.shared import echo

EXAMPLES = """\
unbabel-comet needs numpy < 2 and transformers < 5, so it needs a separate environment.
The one made here is found by itself; with --dir, give metric.comet.command=DIR/bin/comet-score.

examples:
  mt-bench setup-comet
  mt-bench setup-comet --with torch==2.13.0      this PyTorch, not the newest
  mt-bench setup-comet --python python3.11 --dir ./comet
"""


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    made = Parser(
        "mt-bench setup-comet",
        description="Make the environment of the COMET metric (unbabel-comet 2.2.7), once.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--dir", type=Path, metavar="DIR", help="where [the cache]")
    made.add_argument("--python", metavar="P", help="Python 3.9 to 3.12 [this one, if it is]")
    made.add_argument(
        "--with",
        dest="more",
        action="append",
        default=[],
        metavar="REQ",
        help="a further requirement for pip, may be repeated",
    )
    made.set_defaults(run_command=set_up)
    return made


def set_up(given: argparse.Namespace) -> int:
    """Do it, and say where the program is."""
    from mt_lottery.scoring.comet import setup as comet_setup

    program = comet_setup.set_up(given.dir, given.python, given.more)
    if given.dir is not None:
        echo(f"Give it to a run as metric.comet.command={program}")
    print(program)
    return 0
