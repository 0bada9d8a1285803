"""``mt-ticket``: work on the run directories of mt-train."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mt_lottery import __version__
from mt_lottery.cli.shared import guarded

DESCRIPTION = "Work on the run directories of mt-train."
EXAMPLES = """\
examples:
  mt-ticket merge runs/en-ro/ks_lottery/seed-0 gemma3-en-ro
  mt-ticket merge runs/en-ro/lora/seed-0 gemma3-en-ro-lora --dtype float32
"""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def merge(given: argparse.Namespace) -> int:
    """``mt-ticket merge``."""
    from mt_lottery.pipeline.merge import merge_run

    merged = merge_run(
        given.run,
        given.out,
        dtype=given.dtype,
        overwrite=given.overwrite,
        device=given.device,
        say=_say,
    )
    print(
        f"{merged.folder}: a plain transformers model. {merged.same} of {merged.sentences} test "
        "sentences are translated word for word as in the run."
    )
    if merged.same < merged.sentences:
        print(
            "The others differ by rounding: the updates were added to weights of this dtype. "
            "--dtype float32 keeps more of them."
        )
    return 0


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    made = argparse.ArgumentParser(
        "mt-ticket",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"mt-lottery {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    part = commands.add_parser(
        "merge",
        help="write the tuned model as a plain transformers folder",
        description=(
            "Write the tuned model of a run as a plain transformers folder: token rows, LoRA and "
            "QLoRA are put into the weights, so that neither mt-lottery nor PEFT is needed. A "
            "tied model whose input table alone was changed gets an output head of its own."
        ),
    )
    part.add_argument("run", metavar="RUN", help="run directory of mt-train")
    part.add_argument("out", metavar="OUT", help="folder to write")
    part.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="of the weights [the model's]"
    )
    part.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    part.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps [auto]")
    part.set_defaults(run_command=merge)
    return made


def command(arguments: Sequence[str]) -> int:
    """Run a subcommand; raises what the user can mend."""
    given = parser().parse_args(arguments)
    code: int = given.run_command(given)
    return code


def main() -> int:
    """Entry point of ``mt-ticket``."""
    return guarded(lambda: command(sys.argv[1:]), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
