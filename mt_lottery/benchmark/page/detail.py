"""Recipe by recipe: every number of one recipe, a row a measure, for narrow screens and print."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from mt_lottery.benchmark.board.metric_table import headings, pvalue
from mt_lottery.benchmark.page.numbers import (
    COLUMNS,
    NONE,
    SCORES,
    Json,
    duration,
    number,
    score_html,
)
from mt_lottery.benchmark.page.table import (
    AVERAGE,
    STAR,
    absent,
    anchor,
    done,
    label_of,
    seeds_of,
    significance,
    why_no_average,
)

PARTS = (("probe", "probe_seconds"), ("training", "train_seconds"), ("decoding", "decode_seconds"))


def _line(label: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{escape(label)}</th>{"".join(f"<td>{c}</td>" for c in cells)}</tr>'


def _score(board: Json, row: Json, scope: str, kind: str) -> str:
    of = done(row, scope)
    if number(of, kind, "score") is None:
        return absent(row, scope, board["languages"])
    return score_html(of, kind, seeds_of(row, scope, board.get("seeds") or []))


def _numbers(board: Json, row: Json) -> str:
    scopes = [AVERAGE, *board["languages"]]
    lines = []
    for column in COLUMNS:
        if column.key in SCORES:
            cells = [_score(board, row, scope, column.key) for scope in scopes]
        else:
            cells = [column.write(column.value(done(row, scope))) for scope in scopes]
        lines.append(_line(column.label, cells))
        if column.key == "seconds":
            for name, key in PARTS:
                parts = (number(done(row, scope), key) for scope in scopes)
                lines.append(_line(f"of which {name}", map(duration, parts)))
    heads = "".join(f'<th scope="col">{escape(scope)}</th>' for scope in scopes)
    name = escape(label_of(row))
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="Numbers: {name}">'
        f'<table class="one"><caption class="vh">All numbers: {name}</caption>'
        f'<thead><tr><th scope="col">Measure</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def every_metric(board: Json, block: int) -> str:
    """The averages by every metric with the test against the best; empty for an older board."""
    metrics = board["blocks"][block].get("metrics") or []
    if not metrics:
        return ""
    names = headings(dict(board))
    heads = "".join(
        f'<th scope="col">{escape(head)}</th>'
        for metric in metrics
        for head in (names[metric["key"]], "first line", "p")
    )
    seeds = board.get("seeds") or []
    lines = []
    for place, row in enumerate(board["blocks"][block]["rows"]):
        cells: list[str] = []
        for metric in metrics:
            own = metric["rows"][place]
            average = own["average"]
            shown = [
                score_html(average, kind, seeds) if average else NONE
                for kind in ("raw", "first_line")
            ]
            cells += [*shown, escape(pvalue(own))]
        lines.append(_line(label_of(row), cells))
    name = escape(str(board["blocks"][block]["name"]))
    return (
        f'<details class="recipes"><summary>Every metric: {name}</summary>'
        f'<div class="scroll" role="group" tabindex="0" aria-label="Every metric: {name}">'
        f'<table class="one"><caption class="vh">Every metric: {name}</caption>'
        f'<thead><tr><th scope="col">Recipe (average)</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def detail(board: Json, block: int, place: int) -> str:
    """One recipe's numbers behind a disclosure that a link to them opens."""
    row = board["blocks"][block]["rows"][place]
    count, rows = number(row, "trainable_parameters"), number(row, "rows")
    said = [
        escape(str(row.get("what") or "")),
        "" if count is None else f"{count:,.0f} trainable parameters.",
        "" if rows is None else f"{rows:,.0f} vocabulary rows.",
        f"{STAR} Best or not significantly worse." if row.get("mark") else "",
        f"{escape(significance(row).capitalize())}." if significance(row) else "",
        f"{escape(why_no_average(row, board['languages']).capitalize())}."
        if done(row, AVERAGE) is None
        else "",
    ]
    return (
        f"<details><summary>{escape(label_of(row))} <code>{escape(str(row['method']))}</code>"
        f'</summary><div id="{anchor(block, place)}" tabindex="-1">'
        f"<p>{' '.join(part for part in said if part)}</p>{_numbers(board, row)}</div></details>"
    )
