"""Which way of ranking rows by gradient is best: 18 rows by each, tuned, on real text.

    python benchmarks/gradient_rankings.py --data DIR --out DIR --rank     # rows alone, minutes
    python benchmarks/gradient_rankings.py --data DIR --out DIR            # and tune them
    python benchmarks/gradient_rankings.py --data DIR --out DIR --report   # what is there

DIR holds NTREX-128/ and flores101_dataset/.  400 NTREX-128 pairs, 200 Flores-101 devtest sentences,
Gemma 3 270M, one seed.  Finished runs are never done again.  Writes
benchmarks/results/gradient_en-LANG.json: the rows of each ranking, and the scores of those that
were tuned.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mt_lottery.config.compose import compose
from mt_lottery.model.loading import load
from mt_lottery.report.tokens import token_strings
from mt_lottery.runs.context import make_context
from mt_lottery.runs.decode import pad_id
from mt_lottery.runs.finished import Run
from mt_lottery.runs.planning.plan import make_plan
from mt_lottery.scoring.metric import MetricContext, make_metric
from mt_lottery.scoring.significance import Bootstrap
from mt_lottery.training.objective import Objective
from mt_lottery.training.row_gradients import sample
from mt_lottery.tuners.rows.module import attach

ROWS, MOST = 18, 256
#: What is run, in this order: recipes, and rows of a ranking (None).
RUNS: dict[str, list[str] | None] = {
    "none": ["recipe=none"],
    "ks": ["recipe=ks_lottery"],
    "pair norms, 64": None,
    "cos": ["recipe=ks_lottery", "tuner.selector=cos"],
    "Adam, 64": None,
    "batch norms, 64": None,
    "norm of the sum, 64": None,
    "frequency": ["recipe=frequency"],
    "pair norms, 16": None,
}
FIRST = "pair norms, 64"  # what the others' rows are compared with

Part = dict[str, Any]  # rows, gradient [n, d] of the mean loss a label


def text(data: Path, lang: str) -> list[str]:
    return [
        *(f"lang=en-{lang}", "data=ntrex", f"data.path={data}/NTREX-128", "data.train_pairs=400"),
        *("data.test=flores101", f"data.test_path={data}/flores101_dataset", "data.test_pairs=200"),
        "translate.max_new_tokens=96",
    ]


def total(parts: Iterable[Part], size: int, score: Callable[[Tensor], Tensor]) -> Tensor:
    found = torch.zeros(size, dtype=torch.float64)
    for part in parts:
        found[part["rows"]] += score(part["gradient"])
    return found


def moments(parts: list[Part], shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Sums of the gradients, and of their squares, [V, d]."""
    first, second = torch.zeros(shape), torch.zeros(shape)
    for part in parts:
        first[part["rows"]] += part["gradient"]
        second[part["rows"]] += part["gradient"] ** 2
    return first, second


def norm(gradient: Tensor) -> Tensor:
    return gradient.double().norm(dim=1)


def rankings(data: Path, lang: str) -> tuple[dict[str, Tensor], Any]:
    """Name → one score a row, [V]; and the tokenizer."""
    config = compose(["recipe=frequency", *text(data, lang)])
    plan = make_plan(config, print)
    loaded = load(config.model, plan.device)
    context, encoded, _ = make_context(plan, loaded, print)
    assert encoded is not None
    table = context.table.float()
    embedding = attach(loaded.model, context.seen, tied=False)

    def parts(pairs: int, batch: int, seed: int = 0) -> list[Part]:
        train = dataclasses.replace(config.train, batch_size=batch, epochs=1)
        chosen = sample(encoded.examples, pairs, seed)
        pad = pad_id(loaded.tokenizer)
        objective = Objective(loaded.model, train, chosen, pad_id=pad, seed=seed)
        found = []
        for batch_of in objective.batches:
            examples = [chosen[i] for i in batch_of]
            loss = objective.sum_loss(objective.to_device(objective.collate(examples)))
            (gradient,) = torch.autograd.grad(
                loss / sum(len(e.target_ids) for e in examples), [embedding.rows]
            )
            moved = gradient.any(dim=1)
            indices = [e.index for e in examples]
            part = {"rows": context.seen[moved], "gradient": gradient[moved], "of": indices}
            found.append(part)
        return found

    def by_adam(among: list[Part]) -> Tensor:
        first, second = (m / len(among) for m in moments(among, table.shape))
        return norm(first / (second.sqrt() + 1e-8))

    size = len(table)
    apart = parts(MOST, 1)
    drawn = {n: {e.index for e in sample(encoded.examples, n, 0)} for n in (16, 64, MOST)}
    pairs = {n: [p for p in apart if p["of"][0] in those] for n, those in drawn.items()}
    batches = parts(64, 8)
    made = {f"pair norms, {n}": total(found, size, norm) for n, found in pairs.items()}
    made["pair norms, 64, seed 1"] = total(parts(64, 1, seed=1), size, norm)
    made["pair norms by row norm, 64"] = made["pair norms, 64"] / norm(table)
    made["squared pair norms, 64"] = total(pairs[64], size, lambda g: norm(g) ** 2)
    made["batch norms, 64"] = total(batches, size, norm)
    made["norm of the sum, 64"] = norm(moments(pairs[64], table.shape)[0])
    made["Adam, 64"] = by_adam(batches)
    return made, loaded.tokenizer


def compared(run: Run, other: Run, bootstrap: Bootstrap, key: str) -> dict[str, Any]:
    one, two = (bootstrap.scores([r.sentence_scores[key]["raw"]]) for r in (run, other))
    return dataclasses.asdict(one.minus(two))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="rankings and runs go here")
    parser.add_argument("--lang", default="es")
    parser.add_argument("--only", help="tune nothing but this")
    parser.add_argument("--rank", action="store_true", help="tune nothing")
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    data, out = given.data.resolve(), given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    kept = out / f"rankings-{given.lang}.json"
    if not kept.is_file():
        scores, tokenizer = rankings(data, given.lang)
        chosen = {
            name: torch.argsort(s, descending=True, stable=True)[:ROWS].tolist()
            for name, s in scores.items()
        }
        found = {n: {"rows": r, "tokens": token_strings(tokenizer, r)} for n, r in chosen.items()}
        kept.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    ranked: dict[str, dict[str, Any]] = json.loads(kept.read_text("utf-8"))
    runs = {name: out / given.lang / re.sub(r"\W+", "-", name) for name in RUNS}
    for name, folder in runs.items():
        if given.rank or given.report or given.only not in (None, name):
            continue
        if (folder / "record.json").is_file():
            continue
        more = RUNS[name]
        if more is None:
            file = folder.with_suffix(".txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{row}\n" for row in ranked[name]["rows"]))
            more = ["recipe=ks_lottery", f"tuner.rows_file={file}"]
        command = [sys.executable, "-m", "mt_lottery.cli.train", *more, *text(data, given.lang)]
        subprocess.run([*command, f"out_dir={folder}", "baseline=false"], check=True)
    first = set(ranked[FIRST]["rows"])
    for one in ranked.values():
        one["shared"] = len(first & set(one["rows"]))
    done = {n: Run(folder) for n, folder in runs.items() if (folder / "record.json").is_file()}
    rows: dict[str, Any] = {}
    for name, run in done.items():
        record, key = run.record, next(iter(run.scores))
        scores = run.scores[key]
        metric: Any = make_metric(key, MetricContext(object(), "any", given.lang))
        bootstrap = Bootstrap(metric.corpus_score)
        rows[name] = {
            "metric": key, "signature": scores["signature"], "raw": scores["raw"],
            "first_line": scores["first_line"], "stopped": record.generation.stopped,
            "probe_seconds": record.cost.probe_seconds,
            "less_ks": compared(run, done["ks"], bootstrap, key) if "ks" in done else None,
            "config_hash": record.config_hash,
        }  # fmt: skip
    result = {
        "command": f"gradient_rankings.py --lang {given.lang}",
        "rows": ROWS, "ranked": ranked, "tuned": rows,
    }  # fmt: skip
    file = Path(__file__).parent / "results" / f"gradient_en-{given.lang}.json"
    file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for name, one in ranked.items():
        print(f"{name:28} shares {one['shared']:2}: {' '.join(one['tokens'])}")
    for name, one in rows.items():
        less = one["less_ks"]
        raw = one["raw"]
        against = f"less ks {less['difference']:+.1f} {less['ci95']}" if less else ""
        print(f"{name:20} {raw['score']:.1f} {raw['ci95']} {against}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
