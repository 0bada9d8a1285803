"""What a person sees when a run is done: the comparison, the tokens, some translations."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mt_lottery.errors import plural
from mt_lottery.report.printing import Grid, printer
from mt_lottery.runs import Outcome, Run
from mt_lottery.runs.summary import by_direction, comparison, examples, other_metrics


def tokens(outcome: Outcome) -> Grid | None:
    """The most changed tokens with KS distance and nominal p, where a test was made."""
    if outcome.record.tickets is None:
        return None
    ticket = outcome.opened.ticket
    return None if ticket.scores is None else ticket.table()


def _examples(console: Console, outcome: Outcome) -> None:
    baseline = outcome.baseline_dir
    before = None if baseline is None else Run(baseline).hypotheses
    own = "original" if outcome.record.method == "none" else "tuned"
    for lines in examples(outcome.opened.hypotheses, before, own):
        wide = max(9, *(len(name) for name, _ in lines)) + 2
        for name, text in lines:
            style = "bold green" if name == "tuned" else "bold"
            console.print(Text.assemble((f"{name:<{wide}}", style), text))
        console.print()


def show(outcome: Outcome, console: Console | None = None) -> None:
    """Print a run's summary on standard output."""
    console = console or printer()
    records = [outcome.record]
    if outcome.baseline_dir is not None:
        records.insert(0, Run(outcome.baseline_dir).record)
    console.print()
    console.print(comparison(records))
    if (several := by_direction(records)) is not None:
        console.print(several)
    if (others := other_metrics(records)) is not None:
        console.print(others)
    cost = outcome.record.cost
    console.print(
        "raw: the whole output, up to end-of-sequence or "
        f"{plural(records[-1].generation.max_new_tokens, 'token')}; first line: the output up to "
        "its first line break; trained: number of parameters; length: characters, relative to the "
        "reference."
    )
    if outcome.record.tickets is not None and outcome.record.tickets.alpha is not None:
        ticket = outcome.record.tickets
        console.print(
            f"Ticket: {plural(ticket.count, 'row')}, α = {ticket.alpha:.3g} "
            f"({outcome.opened.ticket.level_note()}), scope {ticket.scope}. p is nominal: it ranks "
            "rows, it controls no error rate."
        )
    table = tokens(outcome)
    if table is not None:
        console.print()
        console.print(table)
    console.print()
    _examples(console, outcome)
    gradients = outcome.record.extra.get("gradient", {}).get("seconds", 0.0)
    steps = (
        ("probe", cost.probe_seconds - gradients),
        ("gradients", gradients),
        ("training", cost.train_seconds),
    )
    seconds = [f"{name} {spent:.0f} s, " for name, spent in steps if spent]
    spent = f"{''.join(seconds)}decoding {cost.decode_seconds:.0f} s"
    console.print(
        f"{spent[0].upper()}{spent[1:]}; peak memory {cost.peak_memory_bytes / 1e9:.1f} GB."
    )
    if outcome.baseline_dir is not None:
        console.print(Text(f"Original model's run: {outcome.baseline_dir}"), soft_wrap=True)
    console.print(Text(f"This run: {outcome.run_dir}"), soft_wrap=True)
