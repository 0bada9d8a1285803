"""The table on real text: 400 NTREX-128 pairs, 48 Flores-101 devtest sentences.

    python benchmarks/real_text.py --data DIR --out DIR
    python benchmarks/real_text.py --out DIR --report       # the table from what is there

DIR holds NTREX-128/ and flores101_dataset/.  Finished runs are never done again.
Writes benchmarks/results/real_text.json: numbers and provenance, no text.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from common import own_training

from mt_lottery.runs.finished import Run

RESULTS = Path(__file__).parent / "results" / "real_text.json"

# not the defaults, which change: the table is of these
PROBE = ["probe.lr=1e-3", "probe.epochs=2"]
TABLE = ["train.lr=1e-3", "train.epochs=2"]
ROWS = ["train.lr=1e-2", "train.epochs=2"]

RUNS: list[tuple[str, str, list[str]]] = [
    ("es-ks18", "es", ["recipe=ks_lottery", *PROBE, *ROWS]),
    ("es-embed", "es", ["recipe=embed", *TABLE]),
    *(
        (f"es-transfer{k}", "es", ["recipe=ks_transfer", f"tuner.tickets={k}", *PROBE])
        for k in (18, 100, 400)
    ),
    *((f"es-seen{s}", "es", ["recipe=random_seen", f"seed={s}", *ROWS]) for s in range(3)),
    *((f"es-random{s}", "es", ["recipe=random", f"seed={s}", *ROWS]) for s in range(3)),
    *((f"{t}-ks18", t, ["recipe=ks_lottery", *PROBE, *ROWS]) for t in ("ro", "ca", "no")),
    *((f"{t}-embed", t, ["recipe=embed", *TABLE]) for t in ("ro", "ca", "no")),
]


def text(data: Path) -> list[str]:
    return [
        "data=ntrex",
        f"data.path={data}/NTREX-128",
        "data.train_pairs=400",
        "data.dev_pairs=16",
        "data.test=flores101",
        f"data.test_path={data}/flores101_dataset",
        "data.test_pairs=48",
        "translate.max_new_tokens=96",
    ]


def row(run: Run) -> dict[str, object]:
    record = run.record
    key = next(iter(record.scores))
    scores = record.scores[key]
    return {
        "lang": record.lang,
        "method": record.method,
        "seed": record.seed,
        "training": own_training(run.config),
        "rows": record.tickets.count if record.tickets else None,
        "trainable_parameters": record.trainable_parameters,
        "metric": key,
        "signature": scores["signature"],
        "raw": scores["raw"],
        "first_line": scores["first_line"],
        "chrf_first_line": record.scores.get("chrf", {}).get("first_line"),
        "generation": vars(record.generation),
        "cost": vars(record.cost),
        "data": {
            "train": record.data.train and record.data.train.sha256,
            "test": record.data.test.sha256,
        },
        "model": record.model.sha256,
        "environment": record.environment,
        "config_hash": record.config_hash,
    }


def table(rows: list[dict[str, object]]) -> str:
    lines = [
        "| pair | method | rows | trained parameters | raw | first line | stopped |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        raw, first, generation = r["raw"], r["first_line"], r["generation"]
        assert isinstance(raw, dict)
        assert isinstance(first, dict)
        assert isinstance(generation, dict)
        name = str(r["method"])
        if name.startswith("random"):
            name += f", seed {r['seed']}"
        lines.append(
            f"| {r['lang']} | {name} | {r['rows'] or ''} | {r['trainable_parameters']:,} "
            f"| {raw['score']:.1f} [{raw['ci95'][0]:.1f}, {raw['ci95'][1]:.1f}] "
            f"| {first['score']:.1f} | {generation['stopped']:.0%} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of NTREX-128/ and flores101_dataset/")
    parser.add_argument("--out", type=Path, required=True, help="run directories go here")
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    seen: set[str] = set()
    for name, target, arguments in RUNS:
        folder = given.out / name
        if not given.report and not (folder / "record.json").is_file():
            if given.data is None:
                parser.error("--data is needed to run")
            command = [sys.executable, "-m", "mt_lottery.cli.train", f"lang=en-{target}"]
            command += [*arguments, *text(given.data.resolve()), f"out_dir={folder.resolve()}"]
            subprocess.run(command, check=True)
        if not (folder / "record.json").is_file():
            print(f"{name}: not there", file=sys.stderr)
            continue
        run = Run(folder)
        record = run.record
        if record.baseline and record.lang not in seen:
            seen.add(record.lang)
            rows.append(row(Run(record.baseline)))
        rows.append(row(run))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
