"""``mt-ticket show``: the tokens of a ticket, how frequent they are, what other measures say."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mt_lottery.cli.options import Commands, add_options, positive, subcommand
from mt_lottery.cli.outputs import check_files, check_results
from mt_lottery.cli.shared import echo
from mt_lottery.errors import plural

if TYPE_CHECKING:
    from pathlib import Path

    from mt_lottery.paper.show.ticket_report import TicketReport

EXAMPLES = """\
  mt-ticket show runs/en-ro/ks_lottery/seed-0 --top 40
  mt-ticket show runs/en-ro/embed/seed-0 --corpus news.ro --csv tokens.csv
  mt-ticket show tickets.csv --no-plot --json
"""

_BAR = 40  # characters of the longest bar


def show(given: argparse.Namespace) -> int:
    """``mt-ticket show``."""
    from importlib.util import find_spec
    from pathlib import Path

    from mt_lottery.paper.show.ticket_report import write_csv
    from mt_lottery.report.figures import check_matplotlib

    if given.plot is None and not given.figure and find_spec("matplotlib") is None:
        echo("No figure: it needs matplotlib (pip install 'mt-lottery[plot]').")
        given.plot = False
    elif given.plot is not False:
        check_matplotlib()
        given.plot = True
    path = Path(given.run).expanduser()
    reads = [given.run, given.corpus, given.tokenizer]
    if given.csv:
        check_files(given, [Path(given.csv).expanduser()], reads=reads)
    folder = path if path.is_dir() else path.parent
    stem = Path(given.figure).expanduser() if given.figure else folder / "ticket"
    if given.plot and (given.figure or path.exists()):  # a run's own figure is drawn again
        own = None if given.figure else "record.json"
        check_results(given, stem.parent, [stem.name], ("png", "svg"), own, reads=reads)
    report = _open(given, path)
    if given.csv:
        write_csv(report, Path(given.csv).expanduser())
        echo(f"{given.csv}: {plural(len(report.lines), 'row')}.")
    if given.plot:
        from mt_lottery.paper.show.figure import draw_ticket

        for written in draw_ticket(report, stem):
            echo(f"Figure: {written}")
    if given.json:
        import json

        print(json.dumps(report.to_dict(given.top), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(report, given.top)
    return 0


def _open(given: argparse.Namespace, path: Path) -> TicketReport:
    from mt_lottery.errors import ConfigError, MTLotteryError, RecordError
    from mt_lottery.paper.show.ticket_report import show_file, show_run
    from mt_lottery.runs import Run

    if path.is_file():
        tokenizer: Any = None
        if given.corpus is not None and given.tokenizer is None:
            raise ConfigError(
                f"--corpus {given.corpus}: to count tokens, {path} alone is not enough; give "
                "--tokenizer FOLDER as well (the model's), or the run directory."
            )
        if given.tokenizer is not None:
            from mt_lottery.model.hf import load_tokenizer
            from mt_lottery.paper.find.tables import open_model

            tokenizer = load_tokenizer(open_model(given.tokenizer).path)[0]
        return show_file(path, corpus=given.corpus, tokenizer=tokenizer)
    try:
        run = Run(path, given.device, echo=echo)
        _ = run.probe
    except MTLotteryError as error:
        if not (path / "tickets.csv").is_file():
            raise
        raise RecordError(
            f"{error} What is known without it: mt-ticket show {path / 'tickets.csv'}"
        ) from error
    return show_run(run, corpus=given.corpus, among=given.ranks)


def _print(report: TicketReport, top: int) -> None:
    from mt_lottery.report.printing import Grid, printer
    from mt_lottery.report.tokens import shown_tokens

    console = printer()
    lines = report.lines[:top]
    names = shown_tokens([x.token for x in lines], among=(x.token for x in report.lines))
    parts = [
        p for p in ("corpus", "template", "source", "target") if lines and p in lines[0].counts
    ]
    headings = ["id", "D", "nominal p"]
    if parts:
        headings += ["frequency rank", *("text" if p == "corpus" else p for p in parts)]
    table = Grid("Most changed tokens (• in the ticket)", ["", "token", *headings], left=2)
    for name, line in zip(names, lines, strict=True):
        cells = [str(line.token_id), f"{line.statistic:.4f}", _number(line.pvalue, ".3g")]
        if parts:
            rank = "—" if line.frequency_rank is None else f"{line.frequency_rank:,}"
            cells += [rank, *(f"{line.counts.get(p, 0):,}" for p in parts)]
        table.add("•" if line.selected else "", name, *cells)
    console.print(table)
    if report.corpus:
        text = f"Frequency rank and text: occurrences in {report.corpus}"
        if "source" in parts:
            text += ", special tokens left out; template, source, target: in the training inputs"
        console.print(f"{text}.")
    if lines and lines[0].ranks:
        console.print(_rank_table(report, names))
    console.print(_histogram(report))
    if report.dimension:
        console.print(
            f"{len(report.lines):,} of {report.vocabulary:,} rows changed; d = "
            f"{report.dimension}. p is nominal: it ranks rows, it controls no error rate."
        )


def _number(value: float | None, form: str) -> str:
    return "—" if value is None else format(value, form)


def _rank_table(report: TicketReport, names: list[str]) -> Any:
    from mt_lottery.report.printing import Grid

    rows = (
        f"the {plural(len(report.lines), 'changed row')}"
        if report.among == "changed"
        else f"all {report.vocabulary:,} rows"
    )
    measures = [measure.replace("_", "\n") for measure in report.lines[0].ranks]
    table = Grid(f"Rank among {rows}, 1 = most changed", ["token", *measures])
    for name, line in zip(names, report.lines, strict=False):
        table.add(name, *(f"{rank:.3f}" for rank in line.ranks.values()))
    return table


def _histogram(report: TicketReport) -> Any:
    import math

    from rich.text import Text

    counts, edges = report.histogram.counts, report.histogram.edges
    longest = math.log10(max(counts, default=0) + 1) or 1.0
    lines = ["Histogram of D (bars: logarithm of the number of rows)"]
    for place, number in enumerate(counts):
        bar = "█" * round(_BAR * math.log10(number + 1) / longest)
        lines.append(f"  {edges[place]:.4f} to {edges[place + 1]:.4f}  {number:>8,}  {bar}")
    return Text("\n".join(lines))


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    part = subcommand(
        commands,
        show,
        EXAMPLES,
        help="show a ticket's tokens, their frequency, and other measures' ranks",
        description=(
            "Show the most changed tokens of a run: KS distance, nominal p, how often they occur "
            "(in the template, in sources and in targets), their rank by every measure of the "
            "paper's Table 3, and a histogram. RUN is a run of ks_lottery, ks_transfer, ks_freeze "
            "or embed, or a tickets.csv, of which less is known."
        ),
    )
    part.add_argument("run", metavar="RUN", help="run directory of mt-train, or a tickets.csv")
    part.add_argument("--top", type=positive, default=20, metavar="N", help="tokens shown [20]")
    part.add_argument(
        "--corpus", metavar="FILE", help="count tokens in this text file [the training text]"
    )
    part.add_argument(
        "--ranks",
        choices=("changed", "all"),
        default="changed",
        help="rank among the changed rows, or all of the vocabulary [changed]",
    )
    part.add_argument("--json", action="store_true", help="print JSON instead of tables")
    part.add_argument("--csv", metavar="FILE", help="write every changed row to a CSV file")
    part.add_argument(
        "--plot",
        action=argparse.BooleanOptionalAction,
        help="draw the figure [where matplotlib is installed]",
    )
    part.add_argument("--figure", metavar="STEM", help="write STEM.png and STEM.svg [RUN/ticket]")
    part.add_argument(
        "--tokenizer",
        metavar="FOLDER",
        help="model folder; for a tickets.csv: counts --corpus, checks its tokens",
    )
    add_options(part, "--device", help="for a run whose probe must be trained again [auto]")
    add_options(part, "--overwrite")
