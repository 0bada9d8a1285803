"""Which way of ranking rows by gradient is best: 18 rows by each, tuned, on real text.

    python benchmarks/gradient_rankings.py --data DIR --out DIR --rank     # rows alone
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
from common import own_training
from safetensors.torch import load_file, save_file
from torch import Tensor

from mt_lottery.config.compose import compose
from mt_lottery.data.prompts.batches import Example
from mt_lottery.model.loading import load, tokenizer_of
from mt_lottery.report.tokens import shown_tokens, token_strings
from mt_lottery.runs.context import make_context
from mt_lottery.runs.decode import pad_id
from mt_lottery.runs.finished import Run
from mt_lottery.runs.planning.plan import make_plan
from mt_lottery.scoring.metric import MetricContext, make_metric
from mt_lottery.scoring.significance import Bootstrap
from mt_lottery.training.objective import Objective
from mt_lottery.tuners.rows.module import attach

ROWS = 18
# not the defaults, which change: the result is of these
PROBE = ["probe.lr=1e-3", "probe.epochs=2"]
TUNED = ["train.lr=1e-2", "train.epochs=2"]
#: What is run, in this order: recipes, and rows of a ranking (None).
RUNS: dict[str, list[str] | None] = {
    "none": ["recipe=none"],
    "embed": ["recipe=embed", "train.lr=1e-3", "train.epochs=2"],
    "ks": ["recipe=ks_lottery", *PROBE, *TUNED],
    "pair norms, 64": None,
    "cos": ["recipe=ks_lottery", "tuner.selector=cos", *PROBE, *TUNED],
    "Adam, 64": None,
    "batch norms, 64": None,
    "norm of the sum, 64": None,
    "frequency": ["recipe=frequency", *TUNED],
    "pair norms, 16": None,
}
FIRST = "pair norms, 64"  # what the others' rows are compared with

Part = dict[str, Any]  # rows, gradient [n, d] of the mean loss a label, labels, pairs


def text(data: Path, lang: str) -> list[str]:
    return [
        *(f"lang=en-{lang}", "data=ntrex", f"data.path={data}/NTREX-128", "data.train_pairs=400"),
        *("data.test=flores101", f"data.test_path={data}/flores101_dataset", "data.test_pairs=200"),
        "translate.max_new_tokens=96",
    ]


def arguments(name: str, rows: Path) -> list[str]:
    """A run of :data:`RUNS` for ``mt-train``; ``rows`` is the file of a ranking's."""
    return RUNS[name] or ["recipe=ks_lottery", f"tuner.rows_file={rows}", *TUNED]


def drawn(examples: list[Example], seed: int) -> list[Example]:
    """The training pairs in the order in which a run draws them."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return [examples[i] for i in order.tolist()]


def measure(data: Path, lang: str) -> dict[str, Any]:
    """Gradients of pairs, alone and in batches of 8, and what is needed to rank by them."""
    config = compose(["recipe=frequency", *text(data, lang)])
    plan = make_plan(config, print)
    loaded = load(config.model, plan.device)
    context, encoded, _ = make_context(plan, loaded, print)
    assert encoded is not None
    norms = context.table.float().norm(dim=1)
    embedding = attach(loaded.model, context.seen, tied=False)

    def parts(chosen: list[Example], batch: int) -> list[Part]:
        train = dataclasses.replace(config.train, batch_size=batch, epochs=1)
        pad = pad_id(loaded.tokenizer)
        objective = Objective(loaded.model, train, chosen, pad_id=pad, seed=0)
        found = []
        for numbers in objective.batches:
            examples = [chosen[i] for i in numbers]
            labels = sum(len(e.target_ids) for e in examples)
            loss = objective.sum_loss(objective.to_device(objective.collate(examples)))
            (gradient,) = torch.autograd.grad(loss / labels, [embedding.rows])
            moved = gradient.any(dim=1)
            found.append({
                "rows": context.seen[moved], "gradient": gradient[moved],
                "labels": labels, "pairs": numbers,
            })  # fmt: skip
        return found

    one, other = drawn(encoded.examples, 0), drawn(encoded.examples, 1)
    return {
        "pairs": parts(one[:64], 1),
        "batches of the first 16": parts(one[:16], 8),
        "batches of the next 48": parts(one[16:64], 8),
        "batches of the next 192": parts(one[64:256], 8),
        "batches of seed 1": parts(other[:64], 8),
        "row norms": norms,
        "width": context.table.shape[1],
    }


def rankings(found: dict[str, Any]) -> dict[str, Tensor]:
    """Name → one score a row, [V]."""
    size = len(found["row norms"])

    def total(parts: Iterable[Part], score: Callable[[Part], Tensor]) -> Tensor:
        summed = torch.zeros(size, dtype=torch.float64)
        for part in parts:
            summed[part["rows"]] += score(part)
        return summed

    def norm(part: Part) -> Tensor:
        return part["gradient"].double().norm(dim=1)

    def moments(parts: list[Part]) -> tuple[Tensor, Tensor]:
        first, second = (torch.zeros(size, found["width"]) for _ in range(2))
        for part in parts:
            first[part["rows"]] += part["gradient"]
            second[part["rows"]] += part["gradient"] ** 2
        return first / len(parts), second / len(parts)

    pairs = found["pairs"]
    few = found["batches of the first 16"]
    batches = few + found["batches of the next 48"]
    first, second = moments(batches)
    return {
        "pair norms, 64": total(pairs, norm),
        "pair norms, 16": total([p for p in pairs if p["pairs"][0] < 16], norm),
        "pair norms, 32": total([p for p in pairs if p["pairs"][0] < 32], norm),
        "pair norms, the other 32": total([p for p in pairs if p["pairs"][0] >= 32], norm),
        "pair norms by label, 64": total(pairs, lambda part: norm(part) * part["labels"]),
        "pair norms by row norm, 64": total(pairs, norm) / found["row norms"],
        "squared pair norms, 64": total(pairs, lambda part: norm(part) ** 2),
        "batch norms, 16": total(few, norm),
        "batch norms, 64": total(batches, norm),
        "batch norms, 256": total(batches + found["batches of the next 192"], norm),
        "batch norms, 64 by seed 1": total(found["batches of seed 1"], norm),
        "norm of the sum, 64": first.norm(dim=1),
        "Adam, 64": (first / (second.sqrt() + 1e-8)).norm(dim=1),
    }


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
    kept = out / f"rankings-{given.lang}.safetensors"
    if not kept.is_file():
        save_file(rankings(measure(data, given.lang)), kept)
    (tokenizer, _) = tokenizer_of(compose(["recipe=none", *text(data, given.lang)]).model)  # type: ignore[misc]
    ranked: dict[str, dict[str, Any]] = {}
    for name, scores in sorted(load_file(kept).items()):
        rows = torch.argsort(scores, descending=True, stable=True)[:ROWS].tolist()
        ranked[name] = {"rows": rows, "tokens": token_strings(tokenizer, rows)}
    runs = {name: out / given.lang / re.sub(r"\W+", "-", name) for name in RUNS}
    for name, folder in runs.items():
        if given.rank or given.report or given.only not in (None, name):
            continue
        if (folder / "record.json").is_file():
            continue
        file = folder.with_suffix(".txt")
        if RUNS[name] is None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{row}\n" for row in ranked[name]["rows"]))
        own = [*arguments(name, file), *text(data, given.lang)]
        command = [sys.executable, "-m", "mt_lottery.cli.train", *own]
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
            "training": own_training(run.config),
            "first_line": scores["first_line"], "stopped": record.generation.stopped,
            "probe_seconds": record.cost.probe_seconds,
            "shared": len(first & set(run.ticket)) if run.record.tickets else None,
            **{
                f"less_{other}": compared(run, done[other], bootstrap, key)
                for other in ("ks", "embed")
                if other in done and other != name
            },
            "config_hash": record.config_hash,
        }  # fmt: skip
    result = {
        "command": f"gradient_rankings.py --lang {given.lang}",
        "rows": ROWS, "ranked": ranked, "tuned": rows,
    }  # fmt: skip
    file = Path(__file__).parent / "results" / f"gradient_en-{given.lang}.json"
    file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for name, one in ranked.items():
        print(f"{name:28} shares {one['shared']:2}: {' '.join(shown_tokens(one['tokens']))}")
    for name, one in rows.items():
        less = one.get("less_ks")
        raw = one["raw"]
        against = f"less ks {less['difference']:+.1f} {less['ci95']}" if less else ""
        print(f"{name:20} {raw['score']:.1f} {raw['ci95']} {against}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
