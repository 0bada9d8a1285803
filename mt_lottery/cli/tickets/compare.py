"""``mt-ticket compare``: tickets of several runs: overlap, stability, unchanged rows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_lottery.cli.options import (
    Commands,
    add_options,
    counts,
    levels,
    positive,
    subcommand,
    whole,
)
from mt_lottery.cli.outputs import check_results
from mt_lottery.cli.shared import echo

if TYPE_CHECKING:
    from mt_lottery.paper.compare.files import Comparison

EXAMPLES = """\
  mt-ticket compare runs/en-ro/ks_lottery/seed-0 runs/en-es/ks_lottery/seed-0
  mt-ticket compare runs/en-ro/ks_lottery/seed-0 runs/en-ro/ks_transfer/seed-0 --alphas 0.05,0.5
  mt-ticket compare runs/en-ro/ks_lottery/seed-0 --null shuffled
"""


def compare(given: argparse.Namespace) -> int:
    """``mt-ticket compare``."""
    import time

    from mt_lottery.errors import TuningError
    from mt_lottery.paper.compare import comparison as c
    from mt_lottery.paper.compare.figures import draw
    from mt_lottery.paper.compare.files import Comparison
    from mt_lottery.paper.compare.nulls import measure_null
    from mt_lottery.paper.compare.runs import open_runs
    from mt_lottery.paper.compare.tables import write
    from mt_lottery.report.figures import check_matplotlib
    from mt_lottery.runs import Run
    from mt_lottery.runs.outcome import peak_memory, start_peak
    from mt_lottery.tuners.recipes import recipes_that

    if given.plot:
        check_matplotlib()
    out = Path(given.out).expanduser()
    _check_out(given, out)
    started = time.monotonic()
    start_peak("cpu")
    runs = open_runs(given.runs, given.top)
    sizes = given.at or c.SIZES
    tuned = [run for run in runs if c.can_be_tuned_side(run)]
    if given.alphas is not None and not tuned:
        raise TuningError(
            "--alphas compares partial tuning with partial transfer: give a run whose rows were "
            "chosen by KS distance and tuned. Recipes that tune the rows that they choose: "
            f"{recipes_that(lambda tuner: tuner.tunes_chosen and tuner.has_probe)}."
        )
    if len(runs) == 1 and given.null is None and given.alphas is None:
        raise TuningError(
            f"{given.runs[0]} alone: give a second run to compare it with, --alphas (its partial "
            "tuning against its partial transfer) or --null (its D against a null)."
        )
    for run in runs if given.null else ():
        run.distances()  # says now what is missing, not after the first training
    comparison = Comparison(runs, asked=_asked(given))
    if len(runs) > 1:
        comparison.shared = c.shared_tokens(runs)
        comparison.pairs = c.pairs_of(runs, sizes)
    probes = {}
    if given.null:
        for run in runs:
            # the default: another seed than the run's own; the first shuffle
            seed = given.null_seed
            if seed is None:
                seed = run.record.seed + 1 if given.null == "seeds" else 0
            null, probes[run.label] = measure_null(run, given.null, seed, given.device, echo)
            comparison.nulls.append(null)
            comparison.pairs.append(c.null_pair(run, null.label, given.null, null.other, sizes))
    for run in tuned:
        partner = c.transfer_partner(run, runs)
        if partner is not None:
            comparison.unchanged.append(c.unchanged_of(run, partner, given.alphas))
        elif given.alphas is not None:
            probe = probes.get(run.label) or Run(run.folder, given.device, echo=echo).probe
            comparison.unchanged.append(c.unchanged_of(run, probe, given.alphas))
    comparison.cost = {
        "seconds": round(time.monotonic() - started, 2),
        "peak_memory_bytes": peak_memory("cpu"),
    }
    written = write(comparison, out) + (draw(comparison, out) if given.plot else [])
    _show(comparison)
    echo("Written: " + ", ".join(str(path) for path in written))
    return 0


def _asked(given: argparse.Namespace) -> dict[str, Any]:
    places = [str(Path(run).expanduser().resolve()) for run in given.runs]
    keys = ("top", "at", "alphas", "null", "null_seed")
    return {"runs": places} | {key: getattr(given, key) for key in keys}


def _check_out(given: argparse.Namespace, out: Path) -> None:
    own = "compare.json" if given.out == "compare" else None
    check_results(given, out, ["compare"], ("json",), own, _asked(given), reads=given.runs)
    check_results(
        given, out, ("tokens", "pairs", "unchanged", "null"), ("csv",), own, reads=given.runs
    )
    if given.plot:
        nulls = [f"null-{number + 1}" for number in range(len(given.runs))]
        figures = ("overlap", "stability", "unchanged", "null", *nulls)
        check_results(given, out, figures, ("png", "svg"), own, reads=given.runs)


def _show(comparison: Comparison) -> None:
    from mt_lottery.paper.compare import tables
    from mt_lottery.report.printing import printer

    console = printer(120)
    shown = (tables.groups_table, tables.pairs_table, tables.unchanged_table, tables.nulls_table)
    for table in (make(comparison) for make in shown):
        if table.rows:
            console.print(table.grid())
    notes = []
    if comparison.shared:
        notes.append(
            "Spearman: of D, over the rows that changed in either run; in both: over those that "
            "changed in both."
        )
        notes.append(
            "Tickets of texts that share their source side share its tokens whatever the target "
            "language; chance: common tokens of two random tickets among the rows that changed."
        )
    if comparison.unchanged:
        notes.append(
            "unchanged: p > α between the tuned and the transferred row, p nominal, α the level "
            "that chose the ticket too; tuned by the run as it is, whatever its own α."
        )
    if comparison.nulls:
        notes.append(
            "null's last D: of its own most changed rows, as many as the ticket has. rows beyond: "
            "changed rows with a D above 95% of the null, pooled over all trained rows (5% if the "
            "two are alike); above own: above the same row's D under the null."
        )
    for note in notes:
        console.print(note)
    peak = comparison.cost["peak_memory_bytes"] / 1e9
    console.print(f"{comparison.cost['seconds']:.0f} s, peak memory {peak:.1f} GB.")


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    part = subcommand(
        commands,
        compare,
        EXAMPLES,
        help="overlap of tickets across languages, their stability, tuning against transfer",
        description=(
            "Compare the tickets of runs over one vocabulary. Overlap: the tokens in all tickets, "
            "in most, in some, in one (the paper's Table 8), and Jaccard index and overlap "
            "coefficient of every two. Stability: rank correlation of D and overlap of the k most "
            "changed rows, over whatever sets the runs apart (language, seed, amount of text, "
            "template). Unchanged rows (Table 6): a ks_lottery run against the ks_transfer run of "
            "the same probe, or with --alphas against its own probe. --null puts D beside what "
            "moves without anything to learn."
        ),
    )
    part.instead = {"--rows": "The number of rows is --top K."}
    part.add_argument("runs", metavar="RUN", nargs="+", help="run directories of mt-train")
    part.add_argument(
        "--alphas", type=levels, metavar="A,A,…",
        help="levels of Table 6; with it, a ks_lottery run without its ks_transfer run is "
        "compared with its probe (from the cache, or trained again) "
        "[0.05,0.1,0.3,0.5,0.7,0.9 and own]",
    )  # fmt: skip
    part.add_argument(
        "--top", type=positive, metavar="K", help="the K most changed rows as ticket [its own]"
    )
    part.add_argument(
        "--at", type=counts, metavar="K,K,…",
        help="sizes of the lists of most changed rows [5,10,18,50,100,200,400,1000]",
    )  # fmt: skip
    part.add_argument(
        "--null", choices=("seeds", "shuffled"),
        help="D between two probes of different seeds, or of a probe on shuffled targets "
        "(from the cache, or trained: minutes for each run)",
    )  # fmt: skip
    part.add_argument(
        "--null-seed", type=whole, metavar="N",
        help="of the other probe [the run's seed + 1], or of the shuffle [0]",
    )  # fmt: skip
    part.add_argument(
        "--out", default="compare", metavar="DIR", help="folder for CSV, JSON, figures [compare]"
    )
    add_options(part, "--no-plot", "--device", "--overwrite")
