"""How time and memory grow: KS on larger tables, reports and plans of more runs, more sentences.

    python benchmarks/scale.py             # every size
    python benchmarks/scale.py --quick     # the smaller sizes
    python benchmarks/scale.py --parts find,report

Each size is a command in a process of its own: processor seconds, those of its children too (other
programs on the machine do not count in), and peak memory.  *Per unit* is over what grows: values of
a table, cells, sentences.  A part grows no faster than its input where that does not rise.

find    ``mt-ticket find`` on two bfloat16 tables, in which 1,000 rows differ (sparse files)
report  ``mt-bench report`` on recipes × languages × 3 seeds: one true cell, copied under every name
plan    ``mt-bench all --dry-run`` (chrF++) on as many languages, each with a made-up corpus
score   ``mtl.score`` on 1,012 made-up sentences a language, BLEU and chrF++, with intervals
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import common
import numpy as np

from mt_lottery.languages import LANGUAGES

Size = tuple[int, ...]
CHANGED = 1000  # rows
SENTENCES = 1012  # of Flores-101's devtest
RECIPES = (
    *("none", "full", "embed", "ks_lottery", "ks_transfer", "lora", "qlora", "prefix", "prompt"),
    *("frequency", "random", "random_seen", "eos_bias", "few_shot"),
)
SCORE = """
import json, sys, mt_lottery as mtl
for path in sys.argv[1:]:
    text = json.load(open(path))
    mtl.score(text["outputs"], text["references"], metrics=["bleu", "chrf"])
"""


def words(count: int, seed: int) -> list[str]:
    """Sentences of 8 to 30 words that do not mean anything."""
    choose = random.Random(seed)
    known = [
        "".join(choose.choices("abcdefghilmnoprstuvz", k=n)) for n in range(2, 12) for _ in "ab"
    ]
    return [" ".join(choose.choices(known, k=choose.randint(8, 30))) + "." for _ in range(count)]


def command(*arguments: object) -> tuple[float, int]:
    """Run ``python …``; its processor seconds and its peak resident memory in bytes."""
    path = os.pathsep.join(filter(None, (str(common.ROOT), os.environ.get("PYTHONPATH"))))
    given = [sys.executable, *map(str, arguments)]
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            given, env={**os.environ, "PYTHONPATH": path}, stdout=out, stderr=out
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            out.seek(0)
            raise SystemExit(out.read().decode("utf-8", "replace")[-2000:])
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def table(path: Path, rows: int, width: int, changed: int) -> None:
    """A table of zeros that takes no disk, but for rows of small numbers."""
    values = rows * width
    tensor = {"dtype": "BF16", "shape": [rows, width], "data_offsets": [0, 2 * values]}
    header = json.dumps({"model.embed_tokens.weight": tensor}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 2 * values)
    found = np.memmap(path, np.uint16, "r+", 8 + len(header), (rows, width))
    draw = np.random.default_rng(0)
    for row in draw.choice(rows, changed, replace=False):  # bfloat16 from 0.008 to 0.03
        found[row] = draw.integers(0x3C00, 0x3D00, width, dtype=np.uint16)
    found.flush()


# Each of these makes an input of a size, and yields the command that is measured.


def find(folder: Path, rows: int, width: int) -> Iterator[tuple[object, ...]]:
    table(folder / "before.safetensors", rows, width, 0)
    table(folder / "after.safetensors", rows, width, CHANGED)
    yield (
        *("-m", "mt_lottery.cli.ticket", "find", folder / "before.safetensors"),
        *(folder / "after.safetensors", "--out", folder / "tickets.csv"),
    )


def codes(count: int) -> list[str]:
    """Target languages of Flores-101."""
    known = [each.code for each in LANGUAGES if each.flores and each.code != "en"]
    return known[:count]


def model(folder: Path) -> Path:
    """A tiny random LLaMA with a tokenizer of words."""
    from gpu_parts.work import make_model
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = make_model("tiny", "cpu").float()
    vocabulary = {f"<{i}>": i for i in range(made.config.vocab_size)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<3>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<3>", bos_token="<1>", eos_token="<2>", pad_token="<0>"
    )
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def corpus(folder: Path, targets: list[str]) -> Path:
    """Flores-101's layout with made-up text."""
    named = {each.code: each.flores for each in LANGUAGES}
    for part, count in (("dev", 200), ("devtest", 50)):
        (folder / part).mkdir(parents=True)
        for number, code in enumerate(["en", *targets]):
            text = "\n".join(words(count, number + len(part) * 1000)) + "\n"
            (folder / part / f"{named[code]}.{part}").write_text(text, "utf-8")
    return folder


def bench(folder: Path, targets: list[str]) -> list[object]:
    """Arguments of mt-bench for a tiny model and made-up text."""
    text = corpus(folder / "flores", targets)
    return [
        *("-m", "mt_lottery.cli.bench"),
        *("--model", model(folder / "model"), "--langs", ",".join(targets), "--seeds", "0,1,2"),
        *("--out", folder / "bench", "data=flores101", f"data.path={text}"),
        *("translate.max_new_tokens=8", "metrics=[chrf]", "train.epochs=1"),
    ]


def report(folder: Path, methods: int, count: int) -> Iterator[tuple[object, ...]]:
    targets = codes(count)
    arguments = bench(folder, targets[:1])
    command(*arguments, "random", "--seeds", "0")
    runs = folder / "bench" / "runs"
    first = next(runs.glob("random/*/seed-0"))
    record = json.loads((first / "record.json").read_text("utf-8"))
    for key in ("integrity", "baseline"):
        record.pop(key, None)
    settings = folder / "bench" / "bench.json"
    content = json.loads(settings.read_text("utf-8"))
    names, pairs = RECIPES[:methods], [f"en-{target}" for target in targets]
    content["asked"] = {"methods": list(names), "langs": pairs, "seeds": [0, 1, 2]}
    settings.write_text(json.dumps(content), "utf-8")
    kept = ("sentence_scores.jsonl", "hypotheses.jsonl", "config.yaml", "train_log.jsonl")
    for name in names:
        for pair in pairs:
            for seed in (0,) if name == "none" else (0, 1, 2):
                cell = runs / name / pair / f"seed-{seed}"
                if cell != first:
                    cell.mkdir(parents=True, exist_ok=True)
                    for file in kept:
                        shutil.copyfile(first / file, cell / file)
                own = {**record, "method": name, "lang": pair, "seed": seed}
                (cell / "record.json").write_text(json.dumps(own), "utf-8")
    yield "-m", "mt_lottery.cli.bench", "report", folder / "bench"


def plan(folder: Path, methods: int, count: int) -> Iterator[tuple[object, ...]]:
    yield (*bench(folder, codes(count)), *RECIPES[:methods], "--dry-run")


def score(folder: Path, count: int) -> Iterator[tuple[object, ...]]:
    paths = [folder / f"{number}.json" for number in range(count)]
    for number, path in enumerate(paths):
        sides = [words(SENTENCES, 2 * number), words(SENTENCES, 2 * number + 1)]
        path.write_text(json.dumps(dict(zip(("outputs", "references"), sides, strict=True))))
    yield "-c", SCORE, *paths


#: Part → what makes its input and gives its command, its sizes, and what they count.
PARTS: dict[str, tuple[Callable[..., Iterator[tuple[object, ...]]], list[Size], str]] = {
    "find": (
        find,
        [(32_000, 640), (128_000, 640), (128_000, 2_560), (128_000, 4_096), (128_256, 8_192)],
        "values",
    ),
    "report": (report, [(4, 8), (14, 8), (14, 32), (14, 101)], "recipes × languages"),
    "plan": (plan, [(4, 8), (14, 8), (14, 32), (14, 101)], "recipes × languages"),
    "score": (score, [(1,), (5,), (25,), (101,)], "languages"),
}


def measured(part: str, size: Size) -> dict[str, Any]:
    make, _, _ = PARTS[part]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MT_LOTTERY_CACHE"] = f"{folder}/cache"
        (arguments,) = make(Path(folder), *size)
        began = time.perf_counter()
        seconds, memory = command(*arguments)
        wall = time.perf_counter() - began
    units = int(np.prod(size))
    return {
        "size": list(size),
        "units": units,
        "processor_seconds": round(seconds, 2),
        "microseconds_a_unit": round(seconds / units * 1e6, 4),
        "wall_seconds": round(wall, 2),
        "peak_bytes": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes of each part")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    given = parser.parse_args()
    if unknown := set(given.parts.split(",")) - PARTS.keys():
        parser.error(f"--parts: {', '.join(sorted(unknown))}; allowed: {', '.join(PARTS)}")
    parts: dict[str, Any] = {}
    for name in given.parts.split(","):
        _, sizes, unit = PARTS[name]
        done = parts[name] = {"unit": unit, "sizes": []}
        for size in sizes[:2] if given.quick else sizes:
            row = measured(name, size)
            done["sizes"].append(row)
            shown = " × ".join(f"{n:,}" for n in size)
            print(
                f"{name} {shown}: {row['processor_seconds']:.1f} s of a processor, "
                f"{row['microseconds_a_unit']:.4g} µs a unit, {row['peak_bytes'] / 1e9:.2f} GB",
                flush=True,
            )
        first, last = done["sizes"][0], done["sizes"][-1]
        grown = {key: round(last[key] / first[key], 2) for key in ("units", "processor_seconds")}
        done["grown"] = grown | {"peak_bytes": round(last["peak_bytes"] / first["peak_bytes"], 2)}
        print(
            f"{name}: {grown['units']} times the input, {grown['processor_seconds']} times the time"
        )
    described = common.machine("torch", "sacrebleu")
    report = {"quick": given.quick, "machine": described, "parts": parts}
    print(f"written: {common.write('scale', report, given.output)}")


if __name__ == "__main__":
    main()
