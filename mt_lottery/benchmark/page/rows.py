"""What the page says of a recipe: its numbers for a language, and why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from mt_lottery.benchmark.page.numbers import (
    COLUMNS,
    Column,
    Json,
    exact,
    interval,
    number,
    plain,
    raw_of,
)

AVERAGE = "average"


def columns_of(board: Json) -> list[tuple[str, list[Column]]]:
    """The groups of columns after the parameters': the raw score of each language comes first."""
    columns = [*map(raw_of, board["languages"]), *COLUMNS]
    return [(name, list(own)) for name, own in groupby(columns, key=lambda column: column.group)]


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


def all_failures(rows: Sequence[Json], languages: Sequence[str]) -> list[tuple[str, str, str]]:
    """Recipe, language and reason of every failed cell."""
    return [(label_of(row), *failed) for row in rows for failed in failures(row, languages)]


def missing(row: Json, scope: str, languages: Sequence[str]) -> tuple[bool, str]:
    """Whether a score is missing because its run failed, and why it is, in a few words."""
    failed = dict(failures(row, languages))
    if scope in failed:
        return True, failed[scope]
    if scope != AVERAGE:
        return False, "not run"
    unrun = [each for each in languages if cell_of(row, each).get("state") == "missing"]
    said = [f"failed: {', '.join(failed)}"] if failed else []
    said += [f"not run: {', '.join(unrun)}"] if unrun else []
    return False, f"no average ({'; '.join(said)})" if said else "no average"


def significance(row: Json) -> str:
    """A recipe's difference to the best one with its p-value; empty where neither is known."""
    difference, pvalue = number(row, "difference"), number(row, "pvalue")
    said = [] if difference is None else [f"difference to the best {plain(difference, 2)}"]
    sign = "≤" if row.get("pvalue_is_least") else "="
    said += [] if pvalue is None else [f"p {sign} {pvalue:.3g}"]
    return ", ".join(said)


def size_title(row: Json) -> str:
    """How many numbers a recipe trains, exactly, and in how many rows."""
    rows = exact(number(row, "rows"), "vocabulary row")
    count = exact(number(row, "trainable_parameters"), "trained parameter")
    return " ".join(part for part in (count, rows and f"({rows})") if part)


def facts(row: Json, languages: Sequence[str]) -> list[str]:
    """What is said of a recipe above its own table."""
    average = "" if done(row, AVERAGE) else missing(row, AVERAGE, languages)[1]
    said = [
        exact(number(row, "trainable_parameters"), "trained parameter"),
        exact(number(row, "rows"), "vocabulary row"),
        "★ Best or not significantly worse" if row.get("mark") else "",
        significance(row).capitalize(),
        average.capitalize(),
    ]
    return [str(row.get("what") or ""), *(f"{text}." for text in said if text)]


def cell_title(row: Json, scope: str, column: Column, seeds: Sequence[Any], langs: Any) -> str:
    """What a cell of the table leaves out: decimals, interval, spread over seeds, a reason."""
    of = done(row, scope)
    if of is None or column.value(of) is None:
        failed, why = missing(row, scope, langs)
        return (f"FAILED: {why}" if failed else why) if column.kind else ""
    if not column.kind:
        return column.more(of)
    said = [plain(number(of, *column.path), 2)]
    if ends := interval(of, column.kind, "ci95"):
        said.append(f"95% interval {plain(ends[0], 2)} to {plain(ends[1], 2)}")
    spread = number(of, column.kind, "sd")
    if spread is not None and len(seeds) != 1:
        said.append(f"standard deviation over seeds {plain(spread, 2)}")
    if seeds:
        said.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    if scope == AVERAGE and column.kind == "raw" and (text := significance(row)):
        said.append(text)
    return "; ".join(said)
