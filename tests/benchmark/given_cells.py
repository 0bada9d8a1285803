"""Finished cells of a benchmark whose scores are given: what reports are rendered from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

SENTENCES = 80


def cell(
    out: Path,
    method: str,
    seed: int,
    comet: np.ndarray,
    first: np.ndarray,
    lang: str = "en-ro",
    **more: Any,
) -> None:
    """A finished cell whose COMET scores are given; chrF's are those of ``method``'s hypotheses."""
    from mt_lottery.scoring.metric import MetricContext, make_metric

    folder = out / "runs" / method / lang / f"seed-{seed}"
    folder.mkdir(parents=True)
    chrf: Any = make_metric("chrf", MetricContext(None, "any", "ro"))
    references = [f"propoziția numărul {i} este aici" for i in range(len(comet))]
    hypotheses = [r if c > 0.5 else r[::-1] for r, c in zip(references, comet, strict=True)]
    counts = chrf.statistics(hypotheses, references)
    scored = chrf.score(hypotheses, references)
    lines = [
        {
            "chrf": {"raw": one.tolist(), "first_line": one.tolist()},
            "comet": {"raw": [x, 1], "first_line": [y, 1]},
        }
        for one, x, y in zip(counts, comet.tolist(), first.tolist(), strict=True)
    ]
    text = "".join(json.dumps(x) + "\n" for x in lines)
    (folder / "sentence_scores.jsonl").write_text(text)

    def both(raw: float, line: float, spread: float, **about: Any) -> dict[str, Any]:
        def one(score: float) -> dict[str, Any]:
            return {"score": score, "ci95": [score - spread, score + spread]}

        return {"raw": one(raw), "first_line": one(line), **about}

    split = {"name": "x", "pairs": len(comet), "sha256": "t", "dropped": 0}
    scores = {
        "chrf": both(scored.score, scored.score, 1.0, signature=scored.signature, column="chrF++"),
        "comet": both(
            float(comet.mean()), float(first.mean()), 0.02,
            signature=more.get("signature", "model:m|sha256:1|nrefs:1|unbabel-comet:2.2.7"),
            column="COMET[m]", shown_times=100,
        ),
    }  # fmt: skip
    if more.get("lacking"):
        del scores["comet"]
    record = {
        "schema": 1, "status": "done", "method": method, "lang": lang, "seed": seed,
        "model": {"name": "m", "sha256": "a", "revision": None, "parameters": 9, "vocab_size": 3,
                  "embedding_dim": 2, "tied_embeddings": True},
        "trainable_parameters": 4, "tickets": None,
        "data": {"train": None, "test": split, "template": "plain", "overlap": 0},
        "scores": scores,
        "generation": {"stopped": 1.0, "empty": 0.0, "truncated": 0.0, "off_target": None,
                       "length_ratio": 1.0, "beam_size": 1, "max_new_tokens": 8},
        "cost": {}, "environment": {"torch": "2"}, "config_hash": f"{method}{seed}",
        "tuning": None, "baseline": None,
    }  # fmt: skip
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "hypotheses.jsonl").write_text(
        "".join(
            json.dumps({"source": "s", "reference": r, "hypothesis": h, "first_line": h,
                        "stopped": True, "tokens": 1}) + "\n"
            for h, r in zip(hypotheses, references, strict=True)
        )
    )  # fmt: skip


def bench(tmp_path: Path, *langs: str) -> Path:
    """A benchmark's folder that asks for three methods, without a cell."""
    settings = {"overrides": {}, "tune": 0}
    asked = {"methods": ["none", "lora", "eos_bias"], "langs": [*langs], "seeds": [0]}
    content = {"schema": 1, "mt_lottery": "0", "settings": settings, "asked": asked}
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "bench.json").write_text(json.dumps(content))
    return tmp_path


def scores() -> dict[str, np.ndarray]:
    """COMET of each sentence, [SENTENCES], for each method."""
    rng = np.random.default_rng(0)
    lora = rng.uniform(0.3, 0.9, SENTENCES)
    return {
        "lora": lora,
        "eos_bias": lora - 0.012 + rng.normal(0, 0.06, SENTENCES),  # a little worse: paired
        "none": lora - 0.2 + rng.normal(0, 0.02, SENTENCES),  # clearly worse
    }
