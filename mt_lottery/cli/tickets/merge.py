"""``mt-ticket merge``: the tuned model as a plain transformers folder."""

from __future__ import annotations

import argparse

from mt_lottery.cli.options import REPLACE, Commands, add_options, subcommand
from mt_lottery.cli.shared import echo

EXAMPLES = """\
  mt-ticket merge runs/en-ro/ks_lottery/seed-0 gemma3-en-ro
  mt-ticket merge runs/en-ro/lora/seed-0 gemma3-en-ro-lora --dtype float32
  mt-ticket merge runs/en-ro/ks_lottery/seed-0 gemma3-en-ro --overwrite
"""


def merge(given: argparse.Namespace) -> int:
    """``mt-ticket merge``."""
    from mt_lottery.runs import Run

    run = Run(given.run, given.device, echo=echo)
    print(run.export(given.out, "merged", dtype=given.dtype, overwrite=given.overwrite))
    return 0


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    part = subcommand(
        commands,
        merge,
        EXAMPLES,
        help="write the tuned model as a plain transformers folder",
        description=(
            "Write the tuned model of a run as a plain transformers folder: token rows, LoRA and "
            "QLoRA are put into the weights, so that neither mt-lottery nor PEFT is needed. A "
            "tied model whose input table alone was changed gets its own output head."
        ),
    )
    part.add_argument("run", metavar="RUN", help="run directory of mt-train")
    part.add_argument("out", metavar="OUT", help="folder to write")
    part.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="of the weights [the model's]"
    )
    add_options(part, "--overwrite", help=REPLACE)
    add_options(part, "--device")
