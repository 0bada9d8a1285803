"""The tables of ``mt-ticket compare``: what the terminal shows, and what the CSV holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mt_lottery.errors import plural
from mt_lottery.paper.compare.comparison import Pair, group_sizes
from mt_lottery.paper.compare.files import Comparison, null_summary, to_json
from mt_lottery.paper.compare.nulls import Null
from mt_lottery.report.numbers import number
from mt_lottery.report.plain import csv_text
from mt_lottery.report.table import Column, Table, field
from mt_lottery.report.tokens import shown_tokens
from mt_lottery.system.atomic import write_text

SHOWN_TOKENS = 60


def groups_table(found: Comparison) -> Table:
    """The tokens in all tickets, in most, in some, in one, as far as there is room for them."""
    sizes = group_sizes(found.shared)
    title = f"Tokens of {plural(len(found.runs), 'ticket')}: " + ", ".join(
        f"{count} in {group}" for group, count in sizes.items() if count or group != "some"
    )
    among = [token for run in found.runs for token in run.tokens.values()]
    names = shown_tokens([each.token for each in found.shared], among)
    groups: dict[str, list[str]] = {group: [] for group in sizes}
    for name, each in zip(names, found.shared, strict=True):
        groups[each.group].append(name)

    def listed(group: str) -> str:
        more = len(groups[group]) - SHOWN_TOKENS
        return "  ".join(groups[group][:SHOWN_TOKENS]) + (
            f"  … and {more} more" if more > 0 else ""
        )

    columns = [Column("in"), Column("tokens", listed)]
    return Table(columns, [group for group, tokens in groups.items() if tokens], title, left=2)


def pairs_table(found: Comparison) -> Table:
    """Every two tickets, and how alike D ranks the rows."""
    sizes = sorted({k for pair in found.pairs for k in pair.at})
    measured = [k for k in sizes if any(pair.at.get(k) is not None for pair in found.pairs)]
    shown = [k for k in measured if k in (18, 100, 400)] or measured[:3]

    def differ(pair: Pair) -> str:
        return ", ".join(pair.differ) or "nothing"

    def top(k: int) -> Column:
        head, key = (f"top {k}" if k in shown else None), f"common_share_of_top_{k}"
        at = field("at", head, lambda at: number(at.get(k), ".2f"))
        return replace(at, key=key, value=lambda pair: pair.at.get(k))

    columns = [
        *(field("first", "first"), field("second", "second")),
        Column("differ in", differ, "differ_in", lambda pair: "+".join(pair.differ)),
        *(field("common", "common"), field("chance", "chance", ".2f")),
        *(
            field("jaccard", "Jaccard", ".2f"),
            field("overlap", "overlap", ".2f", "overlap_coefficient"),
        ),
        *(field("spearman", "Spearman", ".2f"), field("rows")),
        *(field("spearman_both", "in both", ".2f"), field("rows_both")),
        *map(top, sizes),
    ]
    title = "Two by two: tickets, and how alike D ranks the rows"
    return Table(columns, found.pairs, title, left=3)


def unchanged_table(found: Comparison) -> Table:
    """The rows that partial tuning leaves as partial transfer has them (Table 6)."""
    rows = [
        vars(level) | {"run": each.run, "transfer": each.transfer, "share": level.share,
                       "own": each.own_alpha is not None and level.alpha == each.own_alpha}
        for each in found.unchanged
        for level in each.levels
    ]  # fmt: skip

    def alpha(row: dict[str, Any]) -> str:
        return f"{row['alpha']:.3g}{' (own)' if row['own'] else ''}"

    columns = [
        *(field("run", "run"), field("transfer", "transfer")),
        Column("α", alpha, "alpha", lambda row: repr(row["alpha"])),
        field("ticket", "ticket", ",", "ticket_rows"),
        field("compared", "compared", ",", "compared_rows"),
        field("unchanged", "unchanged", ",", "unchanged_rows"),
        field("share", "share", ".0%"),
        field("median_distance", "median D", ".4f"),
        field("largest_distance", "largest D", ".4f"),
    ]
    return Table(columns, rows, "Partial tuning against partial transfer (Table 6)", left=2)


def nulls_table(found: Comparison) -> Table:
    """D against a measured null, a line a run."""

    def of_changed(key: str) -> Callable[[dict[str, Any]], str]:
        return lambda changed: f"{changed[key] / max(changed['rows'], 1):.1%}"

    columns = [
        field("run", "run"),
        Column("null", lambda null: f"{null['kind']}, seed {null['seed']}"),
        field("rows", "trained rows", ","),
        field("largest", "largest D", lambda both: f"{both['run']:.4f}"),
        field("largest", "null's", lambda both: f"{both['null']:.4f}"),
        field("last_of_as_many", "ticket's last D", lambda both: f"{both['run']:.4f}"),
        field("last_of_as_many", "null's", lambda both: f"{both['null']:.4f}"),
        field("null_quantiles", "95% of null", lambda levels: f"{levels['0.95']:.4f}"),
        field("changed", "rows beyond", of_changed("beyond")),
        field("changed", "above own", of_changed("above_own")),
        field("ticket", "ticket above own", lambda own: f"{own['above_own']} of {own['rows']}"),
    ]
    rows = [null_summary(null) for null in found.nulls]
    return Table(columns, rows, "D against a measured null", left=2)


def _null_rows(found: Comparison, null: Null) -> list[list[Any]]:
    """Every trained row, most changed first."""
    tokens = next(run.tokens for run in found.runs if run.label == null.run)
    order = torch.argsort(null.statistic[null.rows], descending=True, stable=True)
    rows = null.rows[order].tolist()
    ticket = set(null.ticket)
    return [
        [null.run, null.kind, row, tokens.get(row, ""), repr(float(null.statistic[row])),
         repr(float(null.null[row])), repr(p), row in ticket]
        for row, p in zip(rows, null.pvalues(rows).tolist(), strict=True)
    ]  # fmt: skip


def write(found: Comparison, out: Path) -> list[Path]:
    """Write ``compare.json`` and a CSV a table; returns their paths."""
    texts = {}
    if found.shared:
        heads = ["token_id", "token", "count", "group", *(run.label for run in found.runs)]
        rows = [[t.token_id, t.token, t.count, t.group, *t.held] for t in found.shared]
        texts["tokens.csv"] = csv_text(heads, rows)
    for name, table in (("pairs", pairs_table(found)), ("unchanged", unchanged_table(found))):
        if table.rows:
            texts[f"{name}.csv"] = table.csv()
    if found.nulls:
        heads = ["run", "kind", "token_id", "token", "statistic", "null_statistic", "empirical_p",
                 "in_ticket"]  # fmt: skip
        rows = [row for null in found.nulls for row in _null_rows(found, null)]
        texts["null.csv"] = csv_text(heads, rows)
    texts["compare.json"] = json.dumps(to_json(found), indent=2, ensure_ascii=False) + "\n"
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]
