"""``mt-ticket``: find, look at, check and use winning tickets.

Each command is a module ``tickets.NAME``: ``add`` describes its
arguments, ``EXAMPLES`` shows it at work.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from mt_lottery import __version__
from mt_lottery.cli.completing.shells import completed
from mt_lottery.cli.options import Parser, add_options
from mt_lottery.cli.shared import guarded

DESCRIPTION = "Find, look at, check and use winning tickets."
EXAMPLES = """\
mt-ticket COMMAND --help says what a command takes, and has its examples.

examples:
  mt-ticket show runs/en-ro/ks_lottery/seed-0
  mt-ticket find runs/en-ro/embed/seed-0 --top 100 --out tickets.csv
  mt-ticket export runs/en-ro/ks_lottery/seed-0 gemma3-en-ro --format lora
"""

#: In the order in which ``--help`` lists them.
COMMANDS = (
    *("find", "show", "certify", "transfer", "compare"),
    *("sweep", "layers", "explain", "merge", "export"),
)


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    modules = [importlib.import_module(f"mt_lottery.cli.tickets.{name}") for name in COMMANDS]
    made = Parser(
        "mt-ticket",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"mt-lottery {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in modules:
        module.add(commands)
    for part in commands.choices.values():
        add_options(part, "--user-dir", "--trust-remote-code")  # each opens runs, which are data
    return made


def command(arguments: Sequence[str]) -> int:
    """Run a subcommand; raises what the user can fix."""
    if (done := completed(arguments)) is not None:
        return done
    made = parser()
    given, rest = made.parse_known_args(arguments)
    # argparse takes positional arguments from one place; key=value may come between the options
    if any(text.startswith("-") for text in rest) or (rest and not hasattr(given, "settings")):
        given.part.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        given.settings = [*given.settings, *rest]
    given.arguments = list(arguments)
    from mt_lottery.config.stored import allowing

    with allowing(given.user_dir, given.trust_remote_code):
        code: int = given.run_command(given)
    return code


def main() -> int:
    """Entry point of ``mt-ticket``."""
    return guarded(lambda: command(sys.argv[1:]), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
