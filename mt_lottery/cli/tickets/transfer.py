"""``mt-ticket transfer``: the ticket's rows of one model copied into another."""

from __future__ import annotations

import argparse
from typing import Any

from mt_lottery.cli.options import REPLACE, Commands, add_options, subcommand
from mt_lottery.cli.shared import echo
from mt_lottery.cli.tickets.find import add_choice, choice_of
from mt_lottery.errors import plural

EXAMPLES = """\
  mt-ticket transfer gemma3_270m gemma3-embed-tuned gemma3-100-rows --top 100
  mt-ticket transfer runs/en-ro/embed/seed-0 gemma3-en-ro-transfer --top 400
  mt-ticket transfer BEFORE AFTER OUT --rows tickets.csv --scope tied
"""


def transfer(given: argparse.Namespace) -> int:
    """``mt-ticket transfer``."""
    from mt_lottery.errors import ConfigError
    from mt_lottery.paper.find.pair import open_pair
    from mt_lottery.paper.find.ticket import choose
    from mt_lottery.paper.find.transfer import check_scope, transfer
    from mt_lottery.runs.folder.targets import check_model_folder, inputs_of

    if not 2 <= len(given.paths) <= 3:
        raise ConfigError(
            f"mt-ticket transfer got {len(given.paths)} paths; allowed: BEFORE AFTER OUT, or RUN "
            "OUT."
        )
    choice = choice_of(given, given.rows)
    choice.check()
    *sources, target = given.paths
    inputs: dict[str, Any] = {"the file of --rows": given.rows}
    for source in sources:
        inputs |= inputs_of(source)
    out = check_model_folder(target, overwrite=given.overwrite, inputs=inputs)
    pair = open_pair(
        *sources,
        shared_rows=given.shared_rows,
        device=given.device,
        echo=echo,
        option=choice.option,
    )
    check_scope(pair, given.scope)
    chosen = choose(pair, choice)
    info = transfer(pair, chosen, out, scope=given.scope)
    print(
        f"{out}: {pair.names[0]} with {len(chosen.rows):,} of {plural(pair.rows, 'row')} from "
        f"{pair.names[1]}, a plain transformers model. {out / 'tickets.csv'} lists them."
    )
    if info.tied_embeddings and given.scope == "input":
        print(
            "The model ties its two tables; only the input table was changed, so the output head "
            "now has its own table (--scope tied changes both)."
        )
    return 0


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    part = subcommand(
        commands,
        transfer,
        EXAMPLES,
        usage="mt-ticket transfer [options] BEFORE AFTER OUT\n"
        "       mt-ticket transfer [options] RUN OUT",
        help="copy the ticket's rows of a tuned model into the original",
        description=(
            "Partial transfer: copy the most changed rows of AFTER's embedding table into BEFORE "
            "and write the result as a plain transformers folder, in BEFORE's dtype. RUN stands "
            "for its original model and the table that it ended with (of ks recipes: its "
            "embedding-tuned probe)."
        ),
    )
    part.add_argument("paths", nargs="+", metavar="PATH", help="see the two forms above")
    chosen = add_choice(part)
    chosen.add_argument(
        "--rows", metavar="FILE", help="token ids, one a line, or a tickets.csv's selected rows"
    )
    part.add_argument(
        "--scope",
        choices=("input", "tied"),
        default="input",
        help="of a tied model, change the input table only, or the output head too [input]",
    )
    add_options(part, "--overwrite", help=REPLACE)
