"""A board as ``mt-bench`` writes it, made up: fourteen methods, one failed cell, one missing."""

from __future__ import annotations

from typing import Any

HOSTILE = '</script><script>document.title="owned"</script><b onmouseover=alert(1)>&amp;"\'$x ${y}'
ARABIC = "قال إن لديهم الآن فئرانًا."
METHODS = (
    # method, label, parameters, raw, first line, stopped, seconds of training, bytes on disk
    ("none", "Original model", 0, 3.1, 7.4, 0.0, 0, 0),
    ("few_shot", "Few-shot prompt", 0, 5.2, 10.9, 0.02, 0, 0),
    ("eos_bias", "EOS bias", 1, 6.9, 7.5, 0.83, 41, 640),
    ("full", "Full tuning", 268_098_176, 18.9, 18.9, 0.99, 902, 536_212_480),
    ("qlora", "QLoRA", 1_474_560, 16.1, 16.3, 0.96, 640, 5_903_112),
    ("lora", "LoRA", 368_640, 16.8, 16.9, 0.97, 511, 1_481_204),
    ("prefix", "Prefix tuning", 92_160, 9.4, 10.2, 0.71, 402, 369_040),
    ("prompt", "Prompt tuning", 6_400, 8.1, 9.9, 0.64, 398, 25_984),
    ("embed", "Embedding tuning", 3_327_360, 16.0, 16.0, 0.98, 167, 13_410_002),
    ("random", "Random rows", 11_520, 3.2, 7.5, 0.0, 166, 57_175),
    ("random_seen", "Random rows, seen", 11_520, 10.7, 11.5, 0.74, 166, 57_175),
    ("frequency", "Most frequent rows", 11_520, 15.7, 15.9, 0.93, 167, 57_175),
    ("ks_transfer", "KS-Lottery (partial transfer)", 11_520, 6.1, 10.8, 0.06, 0, 57_175),
    ("ks_lottery", "KS-Lottery (partial tuning)", 11_520, 16.4, 16.4, 0.94, 167, 57_175),
)
ROWS = {"random", "random_seen", "frequency", "ks_transfer", "ks_lottery"}
PROBED = {"ks_transfer", "ks_lottery"}
LANGUAGES = ("en-ro", "en-es", "en-ca", "en-no")


def _score(value: float, sd: float | None) -> dict[str, Any]:
    return {"score": value, "sd": sd, "ci95": [0.78 * value, 1.21 * value], "unknown": "x"}


def _numbers(method: tuple[Any, ...], shift: float, sd: float | None) -> dict[str, Any]:
    name, _, _, raw, first, stopped, seconds, size = method
    raw, first = raw * shift, first * shift
    probe = 167.2 if name in PROBED else 0.0
    decode = 31.5 if stopped < 0.5 else 8.3
    gain = {"raw": raw - 3.1 * shift, "translate": first - 7.4 * shift}
    return {
        "seeds": [0] if sd is None else [0, 1, 2],
        "raw": _score(raw, sd),
        "first_line": _score(first, sd),
        "stopped": stopped,
        "length_ratio": 3.4 - 2.42 * stopped,
        "empty": 0.002 if name == "eos_bias" else 0.0,
        "truncated": 1 - stopped,
        "off_target": None if name == "prompt" else 0.31 if name == "none" else 0.02,
        "probe_seconds": probe,
        "train_seconds": float(seconds),
        "decode_seconds": decode,
        "seconds": probe + seconds + decode,
        "peak_memory_bytes": 4_446_650_368 if name != "full" else 6_912_000_123,
        "adapter_bytes": size,
        "gain": None if name == "none" else gain | {"stop": gain["raw"] - gain["translate"]},
    }


def _row(method: tuple[Any, ...], better: float, several: bool) -> dict[str, Any]:
    name, label, parameters = method[:3]
    sd = 0.31 if several else None
    cells: dict[str, Any] = {}
    for language, shift in zip(LANGUAGES, (1.0, 1.22, 1.16, 0.93), strict=True):
        cells[language] = {"state": "done", "reason": None}
        cells[language] |= _numbers(method, shift * better, sd)
    average: dict[str, Any] | None = _numbers(method, 1.08 * better, sd)
    if name == "qlora":
        reason = f"out of memory: 3.1 GB were asked for {HOSTILE}"
        cells["en-no"] = {"state": "failed", "reason": reason, "seeds": [0]}
        average = None
    if name == "few_shot":
        cells["en-ca"] = {"state": "missing", "reason": None}
        average = None
    best = name in ("full", "lora", "ks_lottery")
    return {
        "method": name,
        "label": label,
        "what": f"What {label} does, in one line.",
        "trainable_parameters": parameters,
        "rows": 18 if name in ROWS else None,
        "cells": cells,
        "average": average,
        "mark": best if several else None,
        "pvalue": 0.21 if several else None,
        "difference": -1.4 if several else None,
    }


def make_board(several_seeds: bool = False, blocks: int = 1) -> dict[str, Any]:
    """A whole board; with several seeds methods are marked."""
    names = (("recipe settings", None), ("tuned on the dev set", 8))
    return {
        "schema": 1,
        "title": "mt-lottery leaderboard: gemma3_270m",
        "created": "2025-11-02T10:15:00+00:00",
        "command": "mt-bench all --langs ro,es,ca,no --data ntrex",
        "metric": {
            "key": "bleu_subword",
            "column": "BLEU[gemma3 subwords]",
            "signature": "nrefs:1|case:mixed|eff:no|tok:gemma3-subwords|smooth:exp|version:2.6.0",
            "beam_size": 1,
            "max_new_tokens": 128,
        },
        "languages": list(LANGUAGES),
        "seeds": [0, 1, 2] if several_seeds else [0],
        "blocks": [
            {
                "name": name,
                "trials": trials,
                "explanation": "Every method with the settings of its recipe; nothing searched for."
                if trials is None
                else "Every method with settings searched for on the dev set, equally often.",
                "rows": [_row(each, 1 + 0.04 * place, several_seeds) for each in METHODS],
            }
            for place, (name, trials) in enumerate(names[:blocks])
        ],
        "notes": [
            "One seed: nothing is marked, differences between methods may be chance.",
            "The split of the gain is accounting, not causation.",
        ],
        "provenance": [
            {"name": "model", "value": "gemma3_270m sha256 7420cde57c96f43fbf630922901a4921d6b92"},
            {"name": "test", "value": f"flores101 devtest, 48 pairs {HOSTILE}"},
        ],
        "contamination": ["Flores-101 was public before the model was trained."],
        "a_key_of_tomorrow": {"ignored": True},
    }


def _outputs(reference: str, place: int) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for name, *_, stopped, _, _ in METHODS:
        first = f"{reference} ({name})"
        runs_on = stopped < 0.5
        more = "\n\nEnglish: It rained.\nRomanian: A plouat.\n" * (1 + 9 * (place % 3 == 1))
        hypothesis = f" {first}{more}" if runs_on else first
        outputs[name] = {"hypothesis": hypothesis, "first_line": first, "stopped": not runs_on}
    return outputs


def make_sentences(count: int = 25, blocks: int = 1) -> dict[str, Any]:
    """Sentences of every language; the first ones are hostile, right to left, empty."""
    names = ("recipe settings", "tuned on the dev set")[:blocks]
    made: dict[str, Any] = {}
    for language in LANGUAGES:
        made[language] = lines = []
        for place in range(count):
            source = f"We now have 4-month-old mice that are non-diabetic, he added ({place + 1})."
            reference = f"Acum avem șoareci în vârstă de 4 luni, a adăugat el [{place + 1}]."
            outputs = {name: _outputs(reference, place) for name in names}
            mine = outputs[names[0]]
            if place == 0:
                source = HOSTILE
                mine["full"] = {"hypothesis": HOSTILE, "first_line": HOSTILE, "stopped": True}
            elif place == 1:
                mine["lora"] = {"hypothesis": ARABIC, "first_line": ARABIC, "stopped": True}
                mine["full"] = {"hypothesis": "", "first_line": "", "stopped": True}
            elif place == 2:
                mine["full"] = None
                mine["lora"] = {"hypothesis": "half \ud83d", "first_line": "half \ud83d"}
            lines.append({"source": source, "reference": reference, "outputs": outputs})
    return made
