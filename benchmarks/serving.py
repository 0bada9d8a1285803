"""One base with a ticket a language against a merged model a language, and `mt-translate`.

    python benchmarks/serving.py --run runs/en-ro/ks_lottery/seed-0 --base gemma.gguf \\
        --vllm .venv-vllm/bin/python --llamacpp .venv-llamacpp/bin/python
    python benchmarks/serving.py --random …    # a random Llama of 24 million parameters
    python benchmarks/serving.py --quick …     # a tiny one, 1 and 2 languages

Sentences a second and bytes, on disk and in memory, for 1, 4 and 16 languages.  Tickets are served
by one server that gets the language with each request; merged models by a server a language, side
by side.  All get the same sentences, languages in turn, 8 requests at a time or one a language.
The servers of an arm share the threads, one each where there are not more.  `mt-translate` gets a
language after the other, a process each, and loads the model each time.  The languages are one
run's ticket (or merged model) under as many names: an engine cannot know, and sentences, lengths
and ends are those of a run.  Where an engine is absent, or the servers do not fit into memory, the
report says so.  It is written after each arm.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import common
import torch
from serving_parts.arms import ENGINES, Work, answer_all, mt_translate, size
from serving_parts.servers import PARALLEL, has, memory

import mt_lottery as mtl
from mt_lottery.decoding.translation import first_line

sys.path[:0] = [str(common.ROOT / "tests"), str(common.ROOT / "tests" / "cli")]  # tiny models


def available() -> int:
    """Bytes of memory that are free for new processes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(s.split()[1]) for s in lines if s.startswith("MemAvailable:")) * 1024


def first_lines(texts: list[str]) -> list[str]:
    """As a run takes them, without a character that was begun at the end: engines leave it out."""
    return [first_line(text).rstrip("\ufffd").rstrip() for text in texts]


def described(
    seconds: list[float], texts: list[str], work: Work, disk: int, used: int | None
) -> dict[str, Any]:
    rates = sorted(len(work.sources) / one for one in seconds)
    return {
        "seconds": [round(one, 2) for one in seconds],
        "sentences_per_second": round(statistics.median(rates), 3),
        "slowest_fastest": [round(rates[0], 3), round(rates[-1], 3)],
        "disk_bytes": disk,
        "memory_bytes": used,
        # engines round otherwise than the run did
        "same_as_the_run": sum(
            a == b for a, b in zip(first_lines(texts), first_lines(work.wanted), strict=True)
        ),
    }


def serve(work: Work, engine: str, way: str, languages: int, repeats: int) -> dict[str, Any]:
    module, ways = ENGINES[engine]
    python = work.pythons[engine]
    if not has(python, module):
        return {"left_out": f"no {engine} here (--{engine} PYTHON)"}
    if engine == "llamacpp" and work.base is None:
        return {"left_out": "no GGUF of the base (--base)"}
    assert python is not None
    with ways[way](work, python, languages) as arm:
        answer_all(arm, languages, languages)  # warm up: each has its ticket, or its server, loaded
        seconds, texts = [], []
        for _ in range(repeats):
            one, texts = answer_all(arm, languages, len(work.prompts))
            seconds.append(one)
        return described(seconds, texts, work, arm.bytes, memory(arm.pids))


def attempt(work: Work, engine: str, way: str, languages: int, repeats: int) -> dict[str, Any]:
    """As :func:`serve`; an engine that fails is reported, and the others go on."""
    try:
        return serve(work, engine, way, languages, repeats)
    except (RuntimeError, OSError) as error:
        return {"left_out": f"FAILED: {error}"}


def by_mt_translate(work: Work, languages: int, repeats: int) -> dict[str, Any]:
    found = [mt_translate(work, languages) for _ in range(repeats)]
    weights = work.original().glob("*.safetensors")
    disk = size(*weights) + languages * size(work.run.folder / "adapter")
    return described([f[0] for f in found], found[-1][1], work, disk, found[-1][2])


def ratios(arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tickets as parts of what merged models, and mt-translate, need or do."""
    measured = {(a["engine"], a["serves"], a["languages"]): a for a in arms if "left_out" not in a}
    keys = ("sentences_per_second", "memory_bytes", "disk_bytes")
    found = []
    for (engine, way, languages), arm in measured.items():
        if way != "tickets" or engine == "mt-translate":
            continue
        others = {
            "merged": measured.get((engine, "merged", languages)),
            "mt-translate": measured.get(("mt-translate", "tickets", languages)),
        }
        found += [
            {"engine": engine, "languages": languages, "against": name}
            | {key: round(arm[key] / other[key], 3) for key in keys if other[key]}
            for name, other in others.items()
            if other is not None
        ]
    return found


#: Random models: a word, and what differs from 32 dimensions in two layers.
RANDOM: dict[str, dict[str, int]] = {
    "quick": {"hidden_size": 64, "head_dim": 32},
    "random": {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8,
               "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64},
}  # fmt: skip


def random_run(folder: Path, shape: str, sentences: int) -> tuple[mtl.Run, Path]:
    """A run of twelve rows of a random tied Llama of 600 tokens, and the base's GGUF."""
    from tiny_gguf import make_model, tune

    base = make_model(folder / "base", "llama", tied=True, **RANDOM[shape])
    more = {"data.test_pairs": sentences, "translate.max_new_tokens": 32}
    return tune(base, folder / "run", **more), base.gguf


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny model, 1 and 2 languages")
    parser.add_argument("--random", action="store_true", help="a larger random model")
    parser.add_argument("--run", type=Path, help="a finished run of token rows")
    parser.add_argument("--base", type=Path, help="GGUF of its original model, for llama.cpp")
    parser.add_argument("--vllm", metavar="PYTHON", help="that has vLLM")
    parser.add_argument("--llamacpp", metavar="PYTHON", help="that has xllamacpp")
    parser.add_argument("--languages", default="1,4,16")
    parser.add_argument("--sentences", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=common.cores(), help="shared by servers")
    parser.add_argument("--most-gb", type=float, default=None, help="memory to use [what is free]")
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    given = parser.parse_args()
    counts = [int(n) for n in given.languages.split(",")]
    if given.quick:
        counts, given.repeats, given.sentences = [1, 2], 1, 16
    elif given.run is None and not given.random:
        parser.error("--run is needed (or --random, or --quick)")
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder, base = Path(scratch), given.base
        if given.run is None:
            shape = "quick" if given.quick else "random"
            run, base = random_run(folder, shape, given.sentences)
        else:
            run = mtl.Run(given.run, "cpu")
        said = (run.hypotheses * given.sentences)[: given.sentences]
        prompts = [run.prompt(line["source"]) for line in said]
        pythons = {"vllm": given.vllm, "llamacpp": given.llamacpp}
        sources, wanted = ([line[key] for line in said] for key in ("source", "first_line"))
        work = Work(run, folder, sources, wanted, prompts, pythons, base, 512, given.threads)
        measure(work, counts, given)


def measure(work: Work, counts: list[int], given: argparse.Namespace) -> None:
    """All arms, one after the other."""
    arms: list[dict[str, Any]] = []
    report = {
        "quick": given.quick,
        "run": f"{work.run.record.method} {work.run.record.lang}",
        "model": dataclasses.asdict(work.run.record.model) | {"random": given.run is None},
        "rows": int(work.run.ticket.rows.numel()),
        "sentences": len(work.sources),
        "requests_at_a_time": PARALLEL,
        "threads": given.threads,
        "max_new_tokens": work.new,
        "dtype": work.dtype,
        "machine": common.machine("torch", "transformers"),
        "arms": arms,
    }
    room = given.most_gb * 1e9 if given.most_gb else 0.9 * available()

    def note(engine: str, way: str, languages: int, found: dict[str, Any]) -> None:
        arms.append({"engine": engine, "serves": way, "languages": languages, **found})
        print(arms[-1], flush=True)
        common.write("serving", {**report, "ratios": ratios(arms)}, given.output)

    for engine in ENGINES:
        one: int | None = None  # bytes of one server with a merged model
        for languages in counts:
            for way in ("tickets", "merged"):
                needed = (one or 0) * languages if way == "merged" else 0
                if needed > room:
                    why = (
                        f"{languages} servers need {needed / 1e9:.1f} GB, {room / 1e9:.1f} are free"
                    )
                    found: dict[str, Any] = {"left_out": why}
                else:
                    found = attempt(work, engine, way, languages, given.repeats)
                if way == "merged" and one is None:
                    one = found.get("memory_bytes")
                note(engine, way, languages, found)
    for languages in counts:
        repeats = given.repeats if languages == 1 else 1  # each language starts a process
        note("mt-translate", "tickets", languages, by_mt_translate(work, languages, repeats))


if __name__ == "__main__":
    main()
