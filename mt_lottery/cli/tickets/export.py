"""``mt-ticket export``: the tuned model for PEFT, vLLM, SGLang and others."""

from __future__ import annotations

import argparse

from mt_lottery.cli.options import REPLACE, Commands, add_options, subcommand
from mt_lottery.cli.shared import echo
from mt_lottery.runs.export.formats import DTYPES, ENGINES, FORMATS

EXAMPLES = """\
  mt-ticket export runs/en-ro/ks_lottery/seed-0 gemma3-en-ro --format lora
  mt-ticket export runs/en-ro/ks_lottery/seed-0 en-ro-vllm --format lora --engine vllm
  mt-ticket export runs/en-ro/ks_lottery/seed-0 en-ro-gguf --format gguf --base gemma3.gguf
"""


def export(given: argparse.Namespace) -> int:
    """``mt-ticket export``."""
    from mt_lottery.runs import Run

    run = Run(given.run, given.device, echo=echo)
    options = {name: getattr(given, name) for name in ("engine", "base", "dtype", "overwrite")}
    print(run.export(given.out, given.format, **options))
    return 0


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    what = "; ".join(f"{name}: {form.what}" for name, form in FORMATS.items())
    part = subcommand(
        commands,
        export,
        EXAMPLES,
        help="write the tuned model for PEFT, vLLM, SGLang or llama.cpp",
        description=(
            "Write the tuned model of a run into a folder that others serve, with a card that "
            "says how: prompt, stop rule, scores, and the lines of each engine that translate."
        ),
        notes=f"Formats: {what}.",
    )
    part.add_argument("run", metavar="RUN", help="run directory of mt-train")
    part.add_argument("out", metavar="OUT", help="folder to write")
    part.add_argument("--format", required=True, choices=tuple(FORMATS), help="what is written")
    part.add_argument("--engine", choices=tuple(ENGINES), help="what loads an adapter [peft]")
    part.add_argument("--base", metavar="GGUF", help="the original model as a GGUF file")
    part.add_argument("--dtype", choices=DTYPES, help="of the weights [the model's]")
    add_options(part, "--overwrite", help=REPLACE)
    add_options(part, "--device")
