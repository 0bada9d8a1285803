"""What trackers show of a run: parameters, numbers, tables, files; nothing secret in it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mt_lottery.config.stored import flat
from mt_lottery.report.tokens import shown_tokens
from mt_lottery.system.secrets import without_secrets

#: Rows of a ticket that are shown; the recipe `frequency` may choose a hundred thousand.
TICKET_ROWS = 2000
#: Keys of the training log in the words of transformers' integrations, whose charts are known.
NAMES = {"loss": "train/loss", "lr": "train/learning_rate", "dev_loss": "eval/loss"}
SAMPLE_COLUMNS = ["source", "reference", "hypothesis", "first_line", "stopped"]


@dataclass
class Report:
    """The end of a run, or of a benchmark, as plain data.

    Attributes:
        numbers: name → value, shown as the run's summary.
        texts: name → text (signatures, versions).
        tables: name → columns and rows.
        files: paths of files that are kept as they are.
        artifact: a folder that is kept as one thing (the adapter), or None.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    tables: dict[str, tuple[list[str], list[list[Any]]]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    artifact: str | None = None

    def clean(self) -> dict[str, Any]:
        """As JSON-like content without secrets."""
        found: dict[str, Any] = without_secrets(asdict(self), weak=False)  # sentences among it
        return found


def numbers_in(node: dict[str, Any], prefix: str) -> dict[str, float]:
    """The finite numbers in nested dictionaries, named ``prefix/key/…``."""
    return {
        f"{prefix}/{key.replace('.', '/')}": float(value)
        for key, value in flat(node)
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def step_values(values: dict[str, float]) -> dict[str, float]:
    """The numbers of one step, by the names that trackers show."""
    return {
        NAMES.get(name, f"train/{name}"): float(value)
        for name, value in values.items()
        if math.isfinite(value)
    }


def run_report(record: dict[str, Any], run_dir: Path, tracking: dict[str, Any]) -> Report:
    """What a finished run shows.

    Args:
        record: as ``record.json`` has it.
        run_dir: the run directory; a file that is not there is left out.
        tracking: the section of the configuration.
    """
    report = Report()
    for metric, both in record["scores"].items():
        for which in ("raw", "first_line"):
            low, high = both[which]["ci95"]
            score = both[which]["score"]
            report.numbers |= {
                f"scores/{metric}/{which}": float(score),
                f"scores/{metric}/{which}_low": float(low),
                f"scores/{metric}/{which}_high": float(high),
            }
        report.texts[f"signature/{metric}"] = str(both["signature"])
    for lang, own in record.get("directions", {}).items():  # of a run that has several
        for metric, both in own["scores"].items():
            for which in ("raw", "first_line"):
                name = f"directions/{lang}/{metric}/{which}"
                report.numbers[name] = float(both[which]["score"])
    for section in ("generation", "cost"):
        report.numbers |= numbers_in(record[section], section)
    report.numbers["trainable_parameters"] = float(record["trainable_parameters"])
    if record.get("tickets"):
        report.numbers |= numbers_in(record["tickets"], "tickets")
        report.texts |= {
            f"tickets/{key}": str(record["tickets"][key])
            for key in ("selector", "scope", "correction")
        }
    report.texts |= {f"environment/{k}": str(v) for k, v in record["environment"].items()}
    report.texts |= {key: str(record[key]) for key in ("method", "lang", "config_hash")}
    for name in ("name", "sha256", "revision"):
        if record["model"].get(name):
            report.texts[f"model/{name}"] = str(record["model"][name])
    ticket = _ticket(run_dir / "tickets.csv")
    if ticket is not None:
        report.tables["ticket"] = ticket
    samples = _samples(run_dir / "hypotheses.jsonl", int(tracking["samples"]))
    if samples is not None:
        report.tables["translations"] = samples
    if tracking["adapter"]:
        kept = next((run_dir / x for x in ("adapter", "model") if (run_dir / x).is_dir()), None)
        report.artifact = None if kept is None else str(kept.resolve())
    return report


def _ticket(path: Path) -> tuple[list[str], list[list[Any]]] | None:
    """The chosen rows: token id, token, KS distance, nominal p, count in the training text."""
    if not path.is_file():
        return None
    from mt_lottery.ticket.ticket import Ticket  # with PyTorch, which a client's process needs not

    lines = [line for line in Ticket.load(path).lines() if line["selected"]]
    among = [line["token"] for line in lines]
    names = shown_tokens(among[:TICKET_ROWS], among)
    columns = ["token_id", "token", "statistic", "pvalue", "train_frequency"]
    rows = [
        [name if key == "token" else line[key] for key in columns]
        for name, line in zip(names, lines, strict=False)
    ]
    return columns, rows


def _samples(path: Path, count: int) -> tuple[list[str], list[list[Any]]] | None:
    """Translations from all over the test set, evenly spaced."""
    if not path.is_file() or count < 1:
        return None
    lines = [json.loads(x) for x in path.read_text("utf-8").split("\n") if x.strip()]
    places = sorted({i * len(lines) // count for i in range(min(count, len(lines)))})
    if len(lines) <= count:
        places = list(range(len(lines)))
    return SAMPLE_COLUMNS, [[lines[i][key] for key in SAMPLE_COLUMNS] for i in places]


def board_report(board: dict[str, Any], folder: Path) -> Report:
    """What a benchmark's leaderboard shows: each recipe's averages, the table, its files."""
    report = Report()
    columns = ["block", "recipe", "trained", *board["languages"], "average", "first line"]
    columns += ["stopped", "p (against the best)"]
    rows: list[list[Any]] = []
    for block in board["blocks"]:
        for row in block["rows"]:
            average = row["average"]
            each = [
                cell["raw"]["score"] if cell["state"] == "done" else cell["state"]
                for cell in (row["cells"][lang] for lang in board["languages"])
            ]
            rows.append(
                [
                    *(block["name"], row["method"], row["trainable_parameters"], *each),
                    average and average["raw"]["score"],
                    average and average["first_line"]["score"],
                    average and average["stopped"],
                    row["pvalue"],
                ]
            )
            if average:
                name = f"{block['name']}/{row['method']}".replace(" ", "_")
                report.numbers |= {
                    f"{name}/{which}": float(average[which]["score"])
                    for which in ("raw", "first_line")
                }
                report.numbers[f"{name}/stopped"] = float(average["stopped"])
    report.tables["averages"] = (columns, rows)
    metric = board["metric"]
    report.texts = {"metric": metric["column"], "signature": metric["signature"]}
    names = [f"leaderboard.{kind}" for kind in ("md", "csv", "json")]  # the page has text
    report.files = [str((folder / n).resolve()) for n in names if (folder / n).is_file()]
    return report
