"""``mt-ticket find``: the winning ticket of two model folders, or of a run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mt_lottery.cli.options import Commands, add_options, positive, share, subcommand, whole
from mt_lottery.cli.shared import echo

if TYPE_CHECKING:
    from mt_lottery.paper.find.pair import Pair
    from mt_lottery.ticket.level import RowScores
    from mt_lottery.ticket.ticket import Ticket

EXAMPLES = """\
  mt-ticket find gemma3_270m gemma3-embed-tuned --out tickets.csv
  mt-ticket find runs/en-ro/embed/seed-0 --alpha 0.5
  mt-ticket find BEFORE AFTER --selector relative --reduction signed --top 100
"""


def add_choice(part: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """The arguments that say which rows: shared with ``mt-ticket transfer``."""
    chosen = part.add_mutually_exclusive_group()
    chosen.add_argument("--top", type=positive, metavar="K", help="the K most changed rows [18]")
    chosen.add_argument(
        "--alpha", type=share, metavar="A", help="rows whose nominal p is at most A"
    )
    part.add_argument(
        "--correction",
        choices=("none", "bonferroni", "bh"),
        default="none",
        help="of p over the vocabulary, with --alpha [none]",
    )
    part.add_argument(
        "--selector",
        default="ks",
        metavar="NAME",
        help="measure of change: ks, cos, absolute, relative, ratio, kl, frequency, random, or a "
        "plugin's [ks]",
    )
    part.add_argument(
        "--reduction",
        choices=("abs", "signed"),
        help="absolute, relative, ratio: mean of how far coordinates moved, or to which side [abs]",
    )
    part.add_argument("--seed", type=whole, default=0, help="of --selector random [0]")
    part.add_argument(
        "--shared-rows",
        action="store_true",
        help="of vocabularies of different size, compare the rows that both have",
    )
    add_options(part, "--device", help="for a run whose probe must be trained again [auto]")
    return chosen


def chosen_by(
    given: argparse.Namespace, pair: Pair, rows_file: str | None = None
) -> tuple[RowScores, Ticket]:
    """The scores of a pair's rows and its ticket, by the arguments of :func:`add_choice`."""
    from mt_lottery.paper.find.ticket import choose, score_pair

    scores = score_pair(pair, given.selector, reduction=given.reduction, seed=given.seed)
    chosen = choose(
        pair,
        scores,
        selector=given.selector,
        alpha=given.alpha,
        top=given.top,
        rows_file=rows_file,
        correction=given.correction,
    )
    return scores, chosen


def find(given: argparse.Namespace) -> int:
    """``mt-ticket find``."""
    from pathlib import Path

    from mt_lottery.errors import ConfigError
    from mt_lottery.paper.find.pair import open_pair
    from mt_lottery.registry import SELECTORS
    from mt_lottery.report.printing import printer
    from mt_lottery.system.replacing import check_new_files
    from mt_lottery.ticket.certify import tau_analytic

    SELECTORS.get(given.selector)  # an unknown name is refused before anything is read
    out = Path(given.out).expanduser()
    if out.exists() and not given.overwrite and not out.is_dir():
        raise ConfigError(f"--out {given.out} exists; give another file, or --overwrite.")
    check_new_files([out], overwrite=given.overwrite)
    paths = [path for path in (given.before, given.after) if path is not None]
    pair = open_pair(paths, shared_rows=given.shared_rows, device=given.device, echo=echo)
    scores, chosen = chosen_by(given, pair)
    chosen = chosen.named(pair.tokenizer, pair.counts)
    chosen.save(out)
    console = printer()
    console.print(chosen.table(given.show))
    if scores.pvalue is not None:
        moved = int((scores.statistic > 0).sum())
        console.print(f"{moved:,} of {pair.rows:,} rows changed; the others have D = 0, p = 1.")
    rows = "1 row" if len(chosen.rows) == 1 else f"{len(chosen.rows):,} rows"
    line = f"Ticket: {rows}, selector {given.selector}"
    if chosen.alpha is not None and chosen.tau is not None:
        implied = "" if given.alpha is not None else ", implied by their number"
        line += (
            f", α = {chosen.alpha:.4g}{implied} (correction: {given.correction}), τ = "
            f"{chosen.tau:.4f} estimated, {tau_analytic(chosen.alpha, pair.dimension):.4f} "
            f"analytic (d = {pair.dimension}). p is nominal: it ranks rows, it controls no error "
            "rate"
        )
    console.print(f"{line}.")
    console.print(f"{out}: written. tuner.rows_file={out} tunes its selected rows.", soft_wrap=True)
    return 0


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    part = subcommand(
        commands,
        find,
        EXAMPLES,
        help="find the ticket of two model folders, or of a run",
        description=(
            "Compare two embedding tables row by row (BEFORE and AFTER embedding tuning), choose "
            "the rows that changed most, and write tickets.csv as a run directory has it. The "
            "tables are read in parts from safetensors; no model is loaded. A run directory "
            "stands for the table that it ended with; alone, it is compared with its original "
            "model."
        ),
    )
    part.add_argument(
        "before", metavar="BEFORE|RUN", help="model folder (or gemma3_270m), or a run directory"
    )
    part.add_argument("after", metavar="AFTER", nargs="?", help="model folder or run directory")
    add_choice(part)
    part.add_argument("--out", default="tickets.csv", metavar="FILE", help="[tickets.csv]")
    part.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    part.add_argument("--show", type=positive, default=20, metavar="N", help="rows printed [20]")
