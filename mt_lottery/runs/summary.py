"""A finished run as tables: its scores beside the original model's, some of its translations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mt_lottery.errors import plural
from mt_lottery.report.numbers import GAP, number, percent
from mt_lottery.report.printing import Grid, as_text
from mt_lottery.runs.folder.directions import alone, directions_in
from mt_lottery.runs.folder.record import Record
from mt_lottery.scoring import report

if TYPE_CHECKING:
    from mt_lottery.runs.opened.files import RunFiles

SHOWN_EXAMPLES = 3


def shown_score(record: Record, key: str, which: str) -> str:
    """A score with its interval; a dash where the record has none."""
    found = record.scores.get(key)
    return GAP if found is None else report.shown_score(found, which)


def shown_metric(record: Record, key: str) -> str:
    """What a metric's column is called."""
    return report.shown_column(record.scores[key], key)


def in_table(recipe: str) -> str:
    """What a table on a terminal calls a recipe: the name that commands take."""
    return "none (original)" if recipe == "none" else recipe


def comparison(records: list[Record]) -> Grid:
    """Recipes side by side: parameters, rows, raw and first-line score, share stopped."""
    last = records[-1]
    key = next(iter(last.scores))
    column = shown_metric(last, key)
    trained = last.lang.split(",")
    several = f"average of {', '.join(trained)}" if len(trained) > 1 else last.lang
    title = (
        f"{several}, {last.data.test.name}, {plural(scored_sentences(last), 'sentence')}: {column} "
    )
    title += "with 95% interval"
    heads = ["recipe", "trained", "rows", "raw", "first line", "stopped", "length"]
    table = Grid(title, heads)
    for record in records:
        rows = "—" if record.tickets is None else f"{record.tickets.count:,}"
        table.add(
            in_table(record.method),
            f"{record.trainable_parameters:,}",
            rows,
            shown_score(record, key, "raw"),
            shown_score(record, key, "first_line"),
            f"{record.generation.stopped:.0%}",
            number(record.generation.length_ratio, ".2f"),
        )
    return table


def scored_sentences(record: Record) -> int:
    """Test sentences behind a record's scores: those of the trained directions."""
    several = directions_in(record).values()
    return sum(one.test.pairs for one in several if one.trained) or record.data.test.pairs


def by_direction(records: list[Record]) -> Grid | None:
    """Each direction by itself, a row a recipe; None for runs of one."""
    known = [directions_in(record) for record in records]
    if not known[-1]:
        return None
    key = next(iter(records[-1].scores))
    heads = ["direction", "recipe", "raw", "first line", "stopped", "off target"]
    table = Grid(
        f"Each direction: {shown_metric(records[-1], key)} with 95% interval", heads, left=2
    )
    for lang, own in known[-1].items():
        for record, found in zip(records, known, strict=True):
            if lang not in found:
                continue
            one = alone(record, lang)
            table.add(
                lang if own.trained else f"{lang} (not trained)",
                in_table(record.method),
                shown_score(one, key, "raw"),
                shown_score(one, key, "first_line"),
                f"{one.generation.stopped:.0%}",
                percent(one.generation.off_target),
            )
        table.section()
    return table


def other_metrics(records: list[Record]) -> Grid | None:
    """The metrics after the first one: raw and first-line score of each recipe."""
    last = records[-1]
    keys = list(last.scores)[1:]
    if not keys:
        return None
    heads = [head for key in keys for head in (shown_metric(last, key), "first line")]
    table = Grid("Other metrics with 95% interval: raw, first line", ["recipe", *heads])
    for record in records:
        shown = [shown_score(record, key, which) for key in keys for which in ("raw", "first_line")]
        table.add(in_table(record.method), *shown)
    return table


def examples(
    after: Sequence[dict[str, Any]],
    before: Sequence[dict[str, Any]] | None,
    name: str = "tuned",
) -> list[list[tuple[str, str]]]:
    """A few test sentences, evenly spaced: source, reference, original model, tuned model.

    Args:
        after: the lines of the run's ``hypotheses.jsonl``, [N].
        before: of the original model's; None, or another number of lines, leaves it out.
        name: what the run's own text is called.
    """
    step = max(1, len(after) // SHOWN_EXAMPLES)
    chosen = []
    for i in list(range(0, len(after), step))[:SHOWN_EXAMPLES]:
        lang = after[i].get("lang")
        lines = [(f"source ({lang})" if lang else "source", after[i]["source"])]
        lines.append(("reference", after[i]["reference"]))
        if before is not None and len(before) == len(after):
            lines.append(("original", clip(before[i]["hypothesis"])))
        chosen.append([*lines, (name, clip(after[i]["hypothesis"]))])
    return chosen


def examples_table(chosen: Sequence[Sequence[tuple[str, str]]]) -> Grid:
    """The :func:`examples` as one table, a row a text."""
    table = Grid("Translations", ["", "text"], left=2)
    for lines in chosen:
        for name, text in lines:
            table.add(name, text, style="bold" if name == "tuned" else None)
        table.section()
    return table


def clip(text: str, width: int = 200) -> str:
    """A text on one line, cut where it is long."""
    shown = text.strip().replace("\n", " ⏎ ")
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def _records(run: RunFiles) -> list[Record]:
    return [*([] if run.baseline is None else [run.baseline.record]), run.record]


def as_lines(run: RunFiles) -> str:
    """The comparison, as text."""
    return as_text(comparison(_records(run)))


def as_html(run: RunFiles) -> str:
    """Scores beside the original model's, and some translations, for a notebook."""
    records = _records(run)
    before = None if run.baseline is None else run.baseline.hypotheses
    own = "original" if run.record.method == "none" else "tuned"
    shown = examples_table(examples(run.hypotheses, before, own))
    tables = [comparison(records), by_direction(records), other_metrics(records), shown]
    return "".join(table.html() for table in tables if table is not None)
