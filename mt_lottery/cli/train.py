"""``mt-train``: one run from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mt_lottery import __version__
from mt_lottery.cli.shared import echo, guarded
from mt_lottery.cli.streams import present
from mt_lottery.system import parallel

USAGE = """\
usage: mt-train recipe=NAME lang=SRC-TGT [key=value …]

Tune a language model for one translation direction with one recipe, translate
the test set, score it, and write a run directory.

examples:
  mt-train recipe=ks_lottery lang=en-ro
  mt-train recipe=ks_lottery --help      this recipe's settings and values
  mt-train recipe=ks_lottery lang=en-es tuner.tickets=100 seed=1
  mt-train recipe=ks_lottery lang=en-ca tuner.alpha=0.5 out_dir=runs/ca-alpha
  mt-train recipe=embed lang=en-no data=ntrex data.path=NTREX-128 data.train_pairs=400 \\
           data.test=flores101 data.test_path=flores101_dataset data.test_pairs=48
  mt-train recipe=ks_lottery lang=de-en model=hf model.name_or_path=./my-llama \\
           data=files data.train_source=train.de data.train_target=train.en \\
           data.test_source=test.de data.test_target=test.en
  mt-train recipe=ks_lottery lang=en-ca data=opus100 data.train_pairs=10000 data.min_chars=60
  mt-train recipe=ks_lottery preset=paper lang=en-ro model=llama_7b
  mt-train recipe=my_tuner user_dir=./plugins lang=en-ro
  mt-train config=runs/en-ro/ks_lottery/seed-0/config.yaml out_dir=runs/again
  torchrun --nproc-per-node 4 -m mt_lottery.cli.train recipe=full lang=en-ro

The first argument of a kind chooses a file of the recipes:
"""

HELP = ("-h", "--help", "help")
KINDS = "The first argument of a kind"  # from here on, --help only


def command(arguments: Sequence[str]) -> int:
    """Run with ``key=value`` arguments; raises what the user can fix."""
    parallel.start()  # first: a mistake in the arguments must be reported once
    if not arguments:
        if parallel.is_main():
            print(f"{USAGE.partition(KINDS)[0]}mt-train --help lists recipes and settings.")
        return 2
    given = [argument for argument in arguments if argument not in HELP]
    if len(given) < len(arguments):
        if parallel.is_main():
            from mt_lottery.cli.train_help import usage

            print(usage(given, USAGE), end="")
        return 0
    if "--version" in arguments:
        if parallel.is_main():
            print(f"mt-lottery {__version__}")
        return 0
    from mt_lottery.config.compose import compose
    from mt_lottery.config.overrides import twice

    config = compose(arguments)
    from mt_lottery.runs import run
    from mt_lottery.runs.planning.effects import without_effect

    if parallel.is_main():
        keys = [argument.partition("=")[0] for argument in arguments]
        for line in (*twice(arguments), *without_effect(config, keys)):
            echo(f"Warning: {line}")

    outcome = run(config, echo=echo)
    if parallel.is_main():
        from mt_lottery.api.training import as_python
        from mt_lottery.cli.summary import show

        def shown() -> None:
            show(outcome)
            print("\nThe same in Python:\n  import mt_lottery as mtl")
            print(f"  {as_python(arguments, config)}")

        present(shown, f"The run is finished, in {outcome.run_dir}.")
    return 0


def main() -> int:
    """Entry point of ``mt-train``."""
    return guarded(lambda: command(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
