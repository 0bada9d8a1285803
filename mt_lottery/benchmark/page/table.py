"""The page's tables: one a block, with a body for the average and one for each language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from mt_lottery.benchmark.page.numbers import (
    COLUMNS,
    GROUPS,
    NONE,
    SCORES,
    Column,
    Json,
    exact,
    number,
    parameters,
    plain,
    score_html,
    score_title,
    title,
)

AVERAGE = "average"
SCOPE_NAME = f'<span class="scope-name">{AVERAGE}</span>'
STAR = '<span class="star" aria-hidden="true">★</span>'
MARKED = f'{STAR}<span class="vh">best or not significantly worse: </span> '


def cell_of(row: Json, language: str) -> Json:
    """A recipe's cell for a language; one in the state ``missing`` where the board has none."""
    return (row.get("cells") or {}).get(language) or {"state": "missing"}


def label_of(row: Json) -> str:
    """A recipe's name for a reader."""
    return str(row.get("label") or row["method"])


def done(row: Json, scope: str) -> Json | None:
    """The numbers of a recipe for a language, or the average; None where there are none."""
    if scope == AVERAGE:
        return row.get("average") or None
    cell = cell_of(row, scope)
    return cell if cell.get("state") == "done" else None


def failures(row: Json, languages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each language that failed, with the reason."""
    for language in languages:
        cell = cell_of(row, language)
        if cell.get("state") == "failed":
            yield language, str(cell.get("reason") or "no reason was recorded")


def why_no_average(row: Json, languages: Sequence[str]) -> str:
    """What keeps a recipe from having an average, in a few words."""
    failed = [language for language, _ in failures(row, languages)]
    missing = [each for each in languages if cell_of(row, each).get("state") == "missing"]
    said = [f"failed: {', '.join(failed)}"] if failed else []
    said += [f"not run: {', '.join(missing)}"] if missing else []
    return f"no average ({'; '.join(said)})" if said else "no average"


def seeds_of(row: Json, scope: str, seeds: list[Any]) -> list[Any]:
    """The seeds behind a recipe's numbers: the cell's own, or all of the board's."""
    return list((done(row, scope) or {}).get("seeds") or seeds)


def significance(row: Json) -> str:
    """A recipe's difference to the best one with its p-value; empty where neither is known."""
    difference, pvalue = number(row, "difference"), number(row, "pvalue")
    said = [] if difference is None else [f"difference to the best {plain(difference, 2)}"]
    sign = "≤" if row.get("pvalue_is_least") else "="
    said += [] if pvalue is None else [f"p {sign} {pvalue:.3g}"]
    return ", ".join(said)


def absent(row: Json, scope: str, languages: Sequence[str]) -> str:
    """What replaces a score that is missing: FAILED and why, or a dash."""
    reason = dict(failures(row, languages)).get(scope)
    if reason is not None:
        return f'<b class="failed">FAILED</b><span class="vh">: {escape(reason)}</span>'
    why = why_no_average(row, languages) if scope == AVERAGE else "not run"
    return f'<span aria-hidden="true">{NONE}</span><span class="vh">{escape(why)}</span>'


def _absent_title(row: Json, scope: str, languages: Sequence[str]) -> str:
    reason = dict(failures(row, languages)).get(scope)
    if reason is not None:
        return f"FAILED: {reason}"
    return why_no_average(row, languages) if scope == AVERAGE else "not run"


def _td(content: str, value: float | None, group: str, hint: str) -> str:
    data = "" if value is None else f"{value:.10g}"
    return f'<td class="in-{group}" data-value="{data}"{title(hint)}>{content}</td>'


def _score_td(board: Json, row: Json, scope: str, kind: str, group: str) -> str:
    languages = board["languages"]
    numbers = done(row, scope)
    value = number(numbers, kind, "score")
    if numbers is None or value is None:
        return _td(absent(row, scope, languages), None, group, _absent_title(row, scope, languages))
    seeds = seeds_of(row, scope, board.get("seeds") or [])
    hint, mark = score_title(numbers, kind, seeds), ""
    if scope == AVERAGE and kind == "raw":
        hint = "; ".join(part for part in (hint, significance(row)) if part)
        mark = MARKED if row.get("mark") else ""
    content = score_html(numbers, kind, seeds, mark)
    if mark:
        content = f'<strong class="mark">{content}</strong>'
    return _td(content, value, group, hint)


def _number_td(row: Json, scope: str, column: Column) -> str:
    numbers = done(row, scope)
    value = column.value(numbers)
    if numbers is None or value is None:
        content = f'<span aria-hidden="true">{NONE}</span><span class="vh">none</span>'
        return _td(content, None, column.group, "")
    return _td(column.write(value), value, column.group, column.more(numbers))


def anchor(block: int, row: int) -> str:
    """The id of a recipe's own numbers."""
    return f"recipe-{block}-{row}"


def _row(board: Json, block: int, place: int, scope: str) -> str:
    row = board["blocks"][block]["rows"][place]
    count = number(row, "trainable_parameters")
    rows = number(row, "rows")
    label = label_of(row)
    hint = exact(count, "trainable parameters")
    if rows is not None:
        hint += f"{' ' if hint else ''}({exact(rows, 'vocabulary rows')})"
    cells = [
        f'<th scope="row" data-value="{escape(label)}"{title(str(row.get("what") or ""))}>'
        f'<a href="#{anchor(block, place)}">{escape(label)}</a> '
        f"<code>{escape(str(row['method']))}</code></th>",
        _td(parameters(count), count, "parameters", hint),
    ]
    for language in board["languages"]:
        cells.append(_score_td(board, row, language, "raw", "languages"))
    for column in COLUMNS:
        if column.key in SCORES:
            cells.append(_score_td(board, row, scope, column.key, column.group))
        else:
            cells.append(_number_td(row, scope, column))
    return f'<tr data-place="{place}">{"".join(cells)}</tr>'


def _header(label: str, group: str, meaning: str, best_first: bool, tall: bool = False) -> str:
    first = "descending" if best_first else "ascending"
    rows = ' rowspan="2"' if tall else ""
    return (
        f'<th scope="col"{rows} class="in-{group}" aria-sort="none" data-first="{first}">'
        f'<button type="button" class="sort"{title(meaning)}>{escape(label)}</button></th>'
    )


def _head(board: Json) -> str:
    languages = board["languages"]
    groups = [("languages", "Raw by language", len(languages))]
    groups += [(key, name, sum(c.group == key for c in COLUMNS)) for key, name in GROUPS.items()]
    upper = [
        _header("Recipe", "recipe", "Sort by name", False, tall=True),
        _header("Trainable parameters", "parameters", "How many numbers are trained", False, True),
    ]
    for group, name, span in groups:
        # what these columns are over changes with the choice of language; the first group's not
        over = "" if group == "languages" else f" {SCOPE_NAME}"
        if span:
            kind = f'scope="colgroup" colspan="{span}" class="in-{group}"'
            upper.append(f"<th {kind}>{escape(name)}{over}</th>")
    lower = [_header(each, "languages", f"Raw score for {each}", True) for each in languages]
    lower += [_header(c.label, c.group, c.meaning, c.best_first) for c in COLUMNS]
    return f"<thead><tr>{''.join(upper)}</tr><tr>{''.join(lower)}</tr></thead>"


def table(board: Json, block: int) -> str:
    """The table of one block: rows are recipes, one ``tbody`` for the average and each language.

    All bodies are in the page, so that a choice of language needs no second way of writing
    numbers; the ones not chosen are hidden.
    """
    rows = board["blocks"][block]["rows"]
    name = str(board["blocks"][block]["name"])
    bodies = []
    for scope in (AVERAGE, *board["languages"]):
        hidden = "" if scope == AVERAGE else " hidden"
        lines = "\n".join(_row(board, block, place, scope) for place in range(len(rows)))
        bodies.append(f'<tbody data-scope="{escape(scope)}"{hidden}>\n{lines}\n</tbody>')
    count = f"{len(rows)} recipe{'' if len(rows) == 1 else 's'}"
    marks = any(row.get("mark") for row in rows)
    legend = f". {STAR} and bold: the best, or not significantly worse" if marks else ""
    caption = f"{escape(name)}: {count}; numbers for: {SCOPE_NAME}{legend}"
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {escape(name)}">'
        f'<table class="board"><caption><span class="still">{caption}</span></caption>'
        f"{_head(board)}{''.join(bodies)}</table></div>{_failed_list(board, block)}"
    )


def _failed_list(board: Json, block: int) -> str:
    """Every failed cell with its reason in the open, for those who cannot hover."""
    items = [
        f"<li>{escape(label_of(row))}, {escape(language)}: "
        f'<b class="failed">FAILED</b>, {escape(reason)}</li>'
        for row in board["blocks"][block]["rows"]
        for language, reason in failures(row, board["languages"])
    ]
    return f'<ul class="failures">{"".join(items)}</ul>' if items else ""


def glossary() -> str:
    """What each column means, as a list of definitions."""
    items = "".join(
        f"<div><dt>{escape(c.label)}</dt><dd>{escape(c.meaning)}</dd></div>" for c in COLUMNS
    )
    return f"<dl>{items}</dl>"
