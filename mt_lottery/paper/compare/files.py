"""What ``mt-ticket compare`` found, and the CSV and JSON it writes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import torch

from mt_lottery.paper.compare.comparison import Pair, SharedToken, UnchangedRows, group_sizes
from mt_lottery.paper.compare.nulls import LEVEL, Null
from mt_lottery.paper.compare.runs import TicketRun


@dataclass
class Comparison:
    """All that was compared.

    Attributes:
        runs: in the order given.
        shared: tokens of the tickets (Table 8); empty for a single run.
        pairs: every two runs, and each run beside its null's probe.
        unchanged: Table 6, one a ``ks_lottery`` run.
        nulls: one a run, where asked for.
        cost: seconds and bytes.
        asked: the question that it answers.
    """

    runs: list[TicketRun]
    shared: list[SharedToken] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    unchanged: list[UnchangedRows] = field(default_factory=list)
    nulls: list[Null] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)


def null_summary(null: Null) -> dict[str, Any]:
    """The numbers of a null, ready for JSON."""
    changed = torch.nonzero(null.statistic > 0).flatten()
    ticket = list(null.ticket)
    # the k most changed rows are far out in any distribution: hold them against the null's own k
    ordered = {
        name: column[null.rows].sort(descending=True).values
        for name, column in (("run", null.statistic), ("null", null.null))
    }
    last = min(len(ticket), len(null.rows)) - 1
    return {
        "run": null.run,
        "kind": null.kind,
        "seed": null.seed,
        "rows": len(null.rows),
        "null_quantiles": {f"{level:g}": value for level, value in null.quantiles().items()},
        "level": LEVEL,
        "largest": {name: float(column[0]) for name, column in ordered.items()},
        "last_of_as_many": {name: float(column[last]) for name, column in ordered.items()},
        "ticket": _held_against(null, ticket),
        "changed": _held_against(null, changed.tolist()),
    }


def _held_against(null: Null, rows: list[int]) -> dict[str, Any]:
    if not rows:
        return {
            "rows": 0,
            "beyond": 0,
            "above_own": 0,
            "smallest_distance": None,
            "largest_p": None,
        }
    return {
        "rows": len(rows),
        "beyond": null.beyond(rows),
        "above_own": null.above_own(rows),
        "smallest_distance": float(null.statistic[rows].min()),
        "largest_p": float(null.pvalues(rows).max()),
    }


def _run(run: TicketRun) -> dict[str, Any]:
    record = run.record
    return {
        "label": run.label,
        "folder": str(run.folder),
        "method": record.method,
        "lang": record.lang,
        "seed": record.seed,
        "template": record.data.template,
        "train": None if record.data.train is None else dataclasses.asdict(record.data.train),
        "model": record.model.name,
        "vocab_size": record.model.vocab_size,
        "embedding_dim": record.model.embedding_dim,
        "rows": len(run.rows),
        "alpha": None if record.tickets is None else record.tickets.alpha,
        "changed": int((run.distances() > 0).sum()) if run.has_distances else None,
        "config_hash": record.config_hash,
    }


def to_json(found: Comparison) -> dict[str, Any]:
    """Everything, ready for JSON: what was compared and each number of the tables."""
    return {
        "runs": [_run(run) for run in found.runs],
        "overlap": {
            "tickets": len(found.runs),
            "groups": group_sizes(found.shared),
            "tokens": [
                {
                    "token_id": each.token_id,
                    "token": each.token,
                    "count": each.count,
                    "group": each.group,
                    "runs": [
                        run.label for run, held in zip(found.runs, each.held, strict=True) if held
                    ],
                }
                for each in found.shared
            ],
        },
        "pairs": [
            {**dataclasses.asdict(pair), "at": {str(k): v for k, v in pair.at.items()}}
            for pair in found.pairs
        ],
        "unchanged": [
            {
                "run": each.run,
                "transfer": each.transfer,
                "own_alpha": each.own_alpha,
                "levels": [
                    {**dataclasses.asdict(level), "share": level.share, "whole": level.whole}
                    for level in each.levels
                ],
            }
            for each in found.unchanged
        ],
        "nulls": [null_summary(null) for null in found.nulls],
        "cost": found.cost,
        "asked": found.asked,
    }
