"""``mt-train``: one run from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mt_lottery import __version__, parallel
from mt_lottery.cli.shared import guarded, say

USAGE = """\
usage: mt-train recipe=NAME lang=SRC-TGT [key=value …]

Tune a language model for one translation direction with one method, translate
the test set, score it, and write a run directory.

examples:
  mt-train recipe=ks_lottery lang=en-ro
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


def usage() -> str:
    """The whole of ``--help``."""
    from mt_lottery import registry
    from mt_lottery.config import RunConfig, describe
    from mt_lottery.recipe_files import GROUPS, recipes_folder

    lines = [USAGE]
    for group in GROUPS:
        names = sorted(p.stem for p in (recipes_folder() / group).glob("*.yaml"))
        lines.append(f"  {group}=…  {', '.join(names)}\n")
    lines.append("  config=FILE  a run's config.yaml: the same run again\n")
    lines.append("\nsettings (default in brackets):\n")
    shown = list(describe(RunConfig))
    for section, kind in (("tuner.", registry.TUNERS), ("data.", registry.CORPORA)):
        for name in kind.names():
            schema = kind.dataclass_of(name)
            if schema is not None:
                shown += [(k, v, f"{t} [{name}]") for k, v, t in describe(schema, section)]
    merged: dict[tuple[str, str, str], list[str]] = {}
    for key, value, text in shown:
        text, _, owner = text.partition(" [")
        merged.setdefault((key, value, text), []).append(owner.rstrip("]"))
    for (key, value, text), owners in merged.items():
        if key in ("recipe", "tuner.name", "model.name", "data.name"):
            continue
        who = f" — {', '.join(owners)}" if owners[0] else ""
        lines.append(f"  {key} [{value}]\n      {text}{who}\n")
    lines.append("\nexit status: 0 done, 1 crash, 2 a mistake in what was given, 130 interrupted\n")
    return "".join(lines)


def command(arguments: Sequence[str]) -> int:
    """Run with ``key=value`` arguments; raises what the user can mend."""
    parallel.start()  # first: a mistake in the arguments must be told once
    if not arguments or any(a in ("-h", "--help", "help") for a in arguments):
        if parallel.is_main():
            print(usage(), end="")
        return 0 if arguments else 2
    if "--version" in arguments:
        if parallel.is_main():
            print(f"mt-lottery {__version__}")
        return 0
    from mt_lottery.compose import compose

    config = compose(arguments)
    from mt_lottery.pipeline import run

    outcome = run(config, say=say)
    if parallel.is_main():
        from mt_lottery.cli.summary import show

        show(outcome)
    return 0


def main() -> int:
    """Entry point of ``mt-train``."""
    return guarded(lambda: command(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
