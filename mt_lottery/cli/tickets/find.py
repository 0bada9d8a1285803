"""``mt-ticket find``: the winning ticket of two model folders, or of a run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mt_lottery.cli.options import Commands, add_options, alpha, positive, subcommand, whole
from mt_lottery.cli.outputs import check_files
from mt_lottery.cli.shared import echo
from mt_lottery.errors import plural

if TYPE_CHECKING:
    from mt_lottery.paper.find.ticket import Choice

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
        "--alpha", type=alpha, metavar="A", help="rows whose nominal p is at most A"
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
        help="measure of change: ks, cos, absolute, relative, ratio, kl, frequency, gradient, "
        "random, or a plugin's [ks]",
    )
    part.add_argument(
        "--reduction",
        choices=("abs", "signed"),
        help="absolute, relative, ratio: mean of how far coordinates moved, or to which side [abs]",
    )
    part.add_argument("--seed", type=whole, default=0, help="of --selector random [0]")
    part.add_argument(
        "--pairs",
        type=positive,
        metavar="N",
        help="of --selector gradient: training pairs of the run, drawn by its seed [64]",
    )
    part.add_argument(
        "--shared-rows",
        action="store_true",
        help="of vocabularies of different size, compare the rows that both have",
    )
    add_options(part, "--device", help="for a run whose probe must be trained again [auto]")
    return chosen


def _option(name: str, value: object = True) -> str:
    """An argument of :func:`mt_lottery.find_ticket` as the command line writes it."""
    written = {"rows": "top", "rows_file": "rows"}.get(name, name).replace("_", "-")
    return f"--{written}" if value is True else f"--{written} {value}"


def choice_of(given: argparse.Namespace, rows_file: str | None = None) -> Choice:
    """What the arguments of :func:`add_choice` choose; 18 rows if nothing is given."""
    from mt_lottery.paper.find.ticket import Choice
    from mt_lottery.tuners.rows.base import DEFAULT_TICKETS

    by_number = given.top or (DEFAULT_TICKETS if given.alpha is rows_file is None else None)
    return Choice(
        rows=by_number,
        alpha=given.alpha,
        correction=given.correction,
        selector=given.selector,
        reduction=given.reduction,
        seed=given.seed,
        pairs=given.pairs,
        rows_file=rows_file,
        option=_option,
    )


def find(given: argparse.Namespace) -> int:
    """``mt-ticket find``."""
    from pathlib import Path

    from mt_lottery.errors import ConfigError
    from mt_lottery.paper.find.ticket import find as find_ticket
    from mt_lottery.report.printing import printer
    from mt_lottery.ticket.certify import tau_analytic
    from mt_lottery.ticket.ticket import IMPLIED

    choice = choice_of(given)
    choice.check()
    out = Path(given.out).expanduser()
    if out.exists() and not given.overwrite and not out.is_dir():
        raise ConfigError(f"{given.out} exists: give another file (--out FILE), or --overwrite.")
    check_files(given, [out], reads=[given.before, given.after])
    ticket = find_ticket(
        given.before,
        given.after,
        choice,
        shared_rows=given.shared_rows,
        device=given.device,
        echo=echo,
    )
    ticket.save(out)
    console = printer()
    console.print(ticket.table(given.show))
    assert ticket.scores is not None and ticket.dimension is not None
    if ticket.pvalue is not None:
        moved, total = ticket.scores.eligible(), len(ticket.scores.statistic)
        console.print(f"{moved:,} of {plural(total, 'row')} changed; the others have D = 0, p = 1.")
    line = f"Ticket: {plural(len(ticket), 'row')}, selector {given.selector}"
    if ticket.alpha is not None and ticket.tau is not None:
        how = IMPLIED if given.alpha is None else ticket.level_note()
        analytic = tau_analytic(ticket.alpha, ticket.dimension)
        line += (
            f", α = {ticket.alpha:.4g} ({how}), τ = "
            f"{ticket.tau:.4f} estimated, {analytic:.4f} analytic (d = {ticket.dimension}). p is "
            "nominal: it ranks rows, it controls no error rate"
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
    part.instead = {"--rows": "The number of rows is --top K."}
    part.add_argument(
        "before",
        metavar="BEFORE|RUN",
        help="model folder, .safetensors file, hub id or gemma3_270m, or a run directory",
    )
    part.add_argument("after", metavar="AFTER", nargs="?", help="likewise")
    add_choice(part)
    part.add_argument(
        "--out",
        default="tickets.csv",
        metavar="FILE",
        help="where the ticket is written [tickets.csv]",
    )
    part.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    part.add_argument("--show", type=positive, default=20, metavar="N", help="rows printed [20]")
