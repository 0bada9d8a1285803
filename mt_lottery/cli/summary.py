"""What a person sees when a run is done: the comparison, the tokens, some translations."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mt_lottery.report.printing import Grid, printer
from mt_lottery.runs import Outcome, Run
from mt_lottery.runs.folder.record import Record

SHOWN_EXAMPLES = 3


def _score(record: Record, key: str, which: str) -> str:
    found = record.scores.get(key)
    if found is None:
        return "—"
    times = found.get("shown_times", 1)
    score, low, high = (times * x for x in (found[which]["score"], *found[which]["ci95"]))
    return f"{score:.1f} [{low:.1f}, {high:.1f}]"


def _column(record: Record, key: str) -> str:
    times = record.scores[key].get("shown_times", 1)
    return f"{record.scores[key].get('column', key)}{'' if times == 1 else f' ×{times:g}'}"


def comparison(records: list[Record]) -> Grid:
    """Recipes side by side: parameters, rows, raw and first-line score, share stopped."""
    last = records[-1]
    key = next(iter(last.scores))
    column = _column(last, key)
    title = (
        f"{last.lang}, {last.data.test.name}, {last.data.test.pairs} sentences: {column} "
        "with 95% interval"
    )
    heads = ["recipe", "trained", "rows", "raw", "first line", "stopped", "length"]
    table = Grid(title, heads)
    for record in records:
        rows = "—" if record.tickets is None else f"{record.tickets.count:,}"
        table.add(
            "none (original)" if record.method == "none" else record.method,
            f"{record.trainable_parameters:,}",
            rows,
            _score(record, key, "raw"),
            _score(record, key, "first_line"),
            f"{record.generation.stopped:.0%}",
            f"{record.generation.length_ratio:.2f}",
        )
    return table


def other_metrics(records: list[Record]) -> Grid | None:
    """The metrics after the first one: raw and first-line score of each recipe."""
    last = records[-1]
    keys = list(last.scores)[1:]
    if not keys:
        return None
    heads = [head for key in keys for head in (_column(last, key), "first line")]
    table = Grid("Other metrics with 95% interval: raw, first line", ["recipe", *heads])
    for record in records:
        shown = [_score(record, key, which) for key in keys for which in ("raw", "first_line")]
        table.add("none (original)" if record.method == "none" else record.method, *shown)
    return table


def tokens(outcome: Outcome) -> Grid | None:
    """The most changed tokens with KS distance and nominal p, where a test was made."""
    if outcome.record.tickets is None:
        return None
    ticket = Run(outcome.run_dir).ticket
    return None if ticket.scores is None else ticket.table()


def _examples(console: Console, outcome: Outcome) -> None:
    after = Run(outcome.run_dir).hypotheses
    before = None
    if outcome.baseline_dir is not None:
        before = Run(outcome.baseline_dir).hypotheses
        if len(before) != len(after):
            before = None
    step = max(1, len(after) // SHOWN_EXAMPLES)
    for i in list(range(0, len(after), step))[:SHOWN_EXAMPLES]:
        console.print(Text.assemble(("source     ", "bold"), after[i]["source"]))
        console.print(Text.assemble(("reference  ", "bold"), after[i]["reference"]))
        if before is not None:
            console.print(Text.assemble(("original   ", "bold"), _clip(before[i]["hypothesis"])))
        console.print(Text.assemble(("tuned      ", "bold green"), _clip(after[i]["hypothesis"])))
        console.print()


def _clip(text: str, width: int = 200) -> str:
    shown = text.strip().replace("\n", " ⏎ ")
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def show(outcome: Outcome, console: Console | None = None) -> None:
    """Print a run's summary on standard output."""
    console = console or printer()
    records = [outcome.record]
    if outcome.baseline_dir is not None:
        records.insert(0, Run(outcome.baseline_dir).record)
    console.print()
    console.print(comparison(records))
    if (others := other_metrics(records)) is not None:
        console.print(others)
    cost = outcome.record.cost
    console.print(
        f"raw: the whole output, up to end-of-sequence or {records[-1].generation.max_new_tokens} "
        "tokens; first line: the output up to its first line break; trained: number of "
        "parameters; length: characters, relative to the reference."
    )
    if outcome.record.tickets is not None and outcome.record.tickets.alpha is not None:
        ticket = outcome.record.tickets
        console.print(
            f"Ticket: {ticket.count} rows, α = {ticket.alpha:.3g} (correction: "
            f"{ticket.correction}), scope {ticket.scope}. p is nominal: it ranks rows, it controls "
            "no error rate."
        )
    table = tokens(outcome)
    if table is not None:
        console.print()
        console.print(table)
    console.print()
    _examples(console, outcome)
    steps = (("probe", cost.probe_seconds), ("training", cost.train_seconds))
    seconds = [f"{name} {spent:.0f} s, " for name, spent in steps if spent]
    spent = f"{''.join(seconds)}decoding {cost.decode_seconds:.0f} s"
    console.print(
        f"{spent[0].upper()}{spent[1:]}; peak memory {cost.peak_memory_bytes / 1e9:.1f} GB."
    )
    if outcome.baseline_dir is not None:
        console.print(Text(f"Original model's run: {outcome.baseline_dir}"), soft_wrap=True)
    console.print(Text(f"This run: {outcome.run_dir}"), soft_wrap=True)
