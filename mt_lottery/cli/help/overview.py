"""``mt-train --help``: one screen, printed without composing a recipe or importing PyTorch."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from mt_lottery.config import RunConfig, describe
from mt_lottery.config.recipe_files import names_in

USAGE = """\
usage: mt-train recipe=NAME lang=SRC-TGT [key=value …]

Tune a language model for one translation direction with one recipe, translate
the test set, score it, and write a run directory.
"""
EXAMPLES = """\
examples:
  mt-train recipe=ks_lottery lang=en-ro
  mt-train recipe=lora lang=en-es model=hf model.name_or_path=./my-llama tuner.r=16 seed=1
  mt-train recipe=ks_lottery lang=de-en data=files data.train_source=train.tsv \\
           data.test_source=test.tsv
"""
STATUS = "exit status: 0 done, 1 crash, 2 a mistake in what was given, 130 interrupted\n"
#: Keys that people need first; what they mean and their defaults are the schema's.
KEYS = (
    *("seed", "out_dir", "resume", "overwrite", "device"),
    *("data.train_pairs", "train.epochs", "train.lr"),
)
MORE = (
    ("mt-train recipe=NAME --help", "every key of a recipe, with the values it gives"),
    ("mt-train --help all", "every key by section, which recipes change it, more examples"),
    ("mt-train --completion bash", "completion of recipes, languages and keys (or zsh, fish)"),
    ("mt-bench --help", "recipes compared; likewise mt-ticket and mt-translate"),
)


def families(recipes: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What kind of recipes → their names; each recipe once."""
    from mt_lottery.benchmark.recipes import CONTROLS, ORDER, PEFT_FAMILY

    left = dict.fromkeys([*ORDER, *PEFT_FAMILY, *recipes])
    controls = [name for name in CONTROLS if name != "ks_lottery"]
    tuning = [name for name in ORDER[::-1] if name not in controls]
    more = [name for name in PEFT_FAMILY if name not in ORDER]
    for what, members in (("tuning", tuning), ("controls", controls), ("of PEFT", more)):
        for name in members:
            del left[name]
        yield what, members
    yield "others", list(left)


def filled(text: str, indent: str, first: str | None = None) -> str:
    """Text in lines of a terminal's width; in one line where it goes to a file, or to grep."""
    first = indent if first is None else first
    if not sys.stdout.isatty():
        return f"{first}{text}\n"
    lines = textwrap.wrap(
        text,
        width=max(shutil.get_terminal_size().columns - 2, 40),  # argparse leaves two, too
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines) + "\n"


def _row(left: str, text: str, width: int) -> str:
    return filled(text, " " * (width + 4), f"  {left:<{width}}  ")


def overview(recipes: Sequence[str]) -> str:
    """The whole screen.

    Args:
        recipes: the names of all, plugins' included.
    """
    described = {key: (value, text) for key, value, text in describe(RunConfig)}
    parts = [USAGE, "\nrecipes:\n"]
    parts += [_row(what, ", ".join(members), 8) for what, members in families(recipes)]
    parts.append("\nkeys that are needed first (default in brackets):\n")
    rows = [("lang [must be given]", described["lang"][1])]
    for group, default, own in (
        ("model", "gemma3_270m", "model=hf model.name_or_path=FOLDER_OR_HUB_ID"),
        ("data", "mini", "data=files data.train_source=FILE"),
    ):
        rows.append((f"{group} [{default}]", f"{', '.join(names_in(group))}; your own: {own}"))
    rows.append(("preset [null]", described["preset"][1]))
    rows += [(f"{key} [{described[key][0]}]", described[key][1]) for key in KEYS]
    parts += [_row(left, text, 23) for left, text in rows]
    parts.append("\nmore:\n")
    parts += [_row(command, what, 27) for command, what in MORE]
    return "".join([*parts, "\n", STATUS, "\n", EXAMPLES])
