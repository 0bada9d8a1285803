"""``mt-ticket explain``: what the ticket does, and where in the text it does it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mt_lottery.cli.options import Commands, add_options, positive, some_of, subcommand, whole
from mt_lottery.cli.outputs import check_results
from mt_lottery.cli.shared import echo
from mt_lottery.errors import plural

if TYPE_CHECKING:
    from mt_lottery.paper.explain.arms import Explained
    from mt_lottery.paper.explain.files import Report
    from mt_lottery.paper.explain.recovery import Measured

EXAMPLES = """\
  mt-ticket explain runs/en-ro/ks_lottery/seed-0
  mt-ticket explain runs/en-ro/ks_lottery/seed-0 --template alpaca --sentences 100
  mt-ticket explain runs/en-ro/ks_transfer/seed-0 --arms bos,instruction,random --controls 1
"""


def explain(given: argparse.Namespace) -> int:
    """``mt-ticket explain``."""
    import time

    from mt_lottery.paper.explain.arms import CHOICES
    from mt_lottery.paper.explain.arms import explain as run_arms
    from mt_lottery.paper.explain.files import report, write
    from mt_lottery.report.figures import check_matplotlib
    from mt_lottery.runs import Run
    from mt_lottery.runs.outcome import peak_memory, start_peak

    if given.plot:
        check_matplotlib()
    started = time.monotonic()
    start_peak("cpu")
    out = Path(given.out or f"{given.run}/explain").expanduser()
    stem = "explain"
    run = Run(given.run, given.device, echo=echo)
    if given.template is not None and given.template != run.config.data.template:
        stem += f"-{given.template}"
    kinds = ("json", "csv", "png", "svg") if given.plot else ("json", "csv")
    asked = {"sentences": given.sentences}  # arms are kept: others may be added
    own = None if given.out else f"{stem}.json"
    check_results(given, out, [stem], kinds, own, asked, reads=[given.run])
    explained = run_arms(
        run,
        out,
        template=given.template,
        sentences=given.sentences,
        seeds=range(given.seed, given.seed + given.controls),
        wanted=CHOICES if given.arms is None else given.arms,
    )
    made = report(explained)
    cost = {
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_bytes": peak_memory(str(explained.run.tuned.model.device)),
    }
    written = write(explained, made, out, cost, given.plot, asked)
    _show(explained, made, cost)
    echo("Written: " + ", ".join(str(path) for path in written))
    return 0


def _interval(value: Measured | None, digits: int) -> str:
    from mt_lottery.report.numbers import GAP, spread

    return GAP if value is None else spread(value.value, value.ci95, form=f".{digits}f")


def _show(explained: Explained, made: Report, cost: dict[str, float]) -> None:
    from mt_lottery.data.prompts.several import shown as shown_template
    from mt_lottery.paper.explain.files import shown_name
    from mt_lottery.report.printing import Grid, printer
    from mt_lottery.scoring.metric import WHICH

    console = printer(130)
    key, column = next(iter(made.columns.items()))
    record = explained.run.record
    data = explained.run.config.data
    trained = [*map(shown_template, data.train_templates or [str(data.template)])]
    wording = f"template {explained.template}"
    if trained != [explained.template]:
        wording += f" (trained with {', '.join(trained)})"
    title = (
        f"{record.lang}, {record.method}, {plural(len(explained.sources), 'sentence')} of "
        f"{record.data.test.name}, {wording}: {column} with 95% interval"
    )
    heads = ["raw", "first line", "stopped", "length", "R, raw", "R, first line"]
    table = Grid(title, ["the rows are read …", *heads])
    for arm in made.arms:
        table.add(
            shown_name(arm, explained),
            *(_interval(arm.scores[key][way], 1) for way in WHICH),
            f"{arm.stopped:.0%}",
            f"{arm.length:.2f}",
            *(_interval(arm.recovery[key][way], 2) for way in WHICH),
        )
    console.print(table)
    raw, first = (made.gain[key][way] for way in WHICH)
    console.print(
        f"Gain of the tuned rows: {_interval(raw, 1)} raw, {_interval(first, 1)} on the first line."
    )
    console.print(
        "R = (arm − original) / (tuned − original), paired bootstrap over sentences; — where the "
        "gain is not clear of 0: its interval reaches 0 or below."
    )
    console.print(
        "Positions a sentence whose token is a row of the ticket: "
        + ", ".join(f"{count:.1f} {kind}" for kind, count in explained.reads.items())
        + "."
    )
    if explained.as_in_run is not None:
        console.print(
            f"Tuned, everywhere: {explained.as_in_run} of "
            f"{plural(len(explained.sources), 'translation')} are word for word the run's own."
        )
    console.print(f"{cost['seconds']:.0f} s, peak memory {cost['peak_memory_bytes'] / 1e9:.1f} GB.")


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    part = subcommand(
        commands,
        explain,
        EXAMPLES,
        help="what the ticket does: its rows read in instruction, source or target only",
        description=(
            "Translate the test set of a run again, greedily, with its tuned rows read at some "
            "positions only: in the instruction (first token included; where it is in the "
            "ticket, also alone), in the source sentence, in what is generated; and with random "
            "changes of the same size in their place. For each arm: raw and first-line score, "
            "share stopped, and which share R of the gain it recovers. Each arm is kept under "
            "--out: an interrupted command goes on where it was."
        ),
    )
    part.add_argument(
        "run", metavar="RUN", help="run directory of a recipe that tunes or copies rows"
    )
    part.add_argument(
        "--template", metavar="NAME", help="another wording of the prompt [the run's]"
    )
    part.add_argument(
        "--sentences", metavar="N", type=positive,
        help="the first N of the test set [all]",
    )  # fmt: skip
    part.add_argument(
        "--seed", metavar="N", type=whole, default=0,
        help="of the first random control [0]",
    )  # fmt: skip
    part.add_argument(
        "--controls", metavar="N", type=whole, default=3,
        help="number of random controls, of seeds N, N+1, … [3]",
    )  # fmt: skip
    part.add_argument(
        "--arms", metavar="ARM,…", type=some_of("bos", "instruction", "source", "target", "random"),
        help="beside original and tuned: bos, instruction, source, target, random [all]",
    )  # fmt: skip
    part.add_argument("--out", metavar="DIR", help="folder for the results [RUN/explain]")
    add_options(part, "--no-plot", "--overwrite", "--device")
