"""Parts *decode…*: mt-lottery's greedy decoding against transformers' ``generate``.

With LLaMA-7B's shape, and in *decode_small* with that of the default model, Gemma 3 270M.

256 prompts with a common beginning, as a template gives them.  Random weights never end a
sentence, and real ones do: a share of the vocabulary counts as end-of-sequence.
"""

from __future__ import annotations

import random
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

import torch

from gpu_parts.work import Given, Report, attempt, clear, make_model, peak, profiled, wait
from mt_lottery.decoding import greedy, translate
from mt_lottery.decoding.continuation import cut_at_eos, left_pad
from mt_lottery.decoding.greedy import greedy_batch
from mt_lottery.model.attention import of_any_shape

PAD = 0


class Ids:
    """Stands in for a tokenizer: the token ids themselves are compared."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        return " ".join(map(str, tokens))


class Work:
    """Prompts, their limit, and what ends a sentence."""

    def __init__(self, vocabulary: int, check: bool) -> None:
        sentences, self.new, self.batch = (12, 8, 4) if check else (256, 96, 64)
        choose = random.Random(0)
        shared = choose.choices(range(3, vocabulary), k=12)
        self.prompts = [
            [*shared, *choose.choices(range(3, vocabulary), k=choose.randint(10, 60))]
            for _ in range(sentences)
        ]
        self.ends = sorted(choose.sample(range(3, vocabulary), vocabulary // 64))


def stepwise(single: bool) -> AbstractContextManager[object]:
    """With no step recorded as a CUDA graph, or as it is by default."""
    nothing: frozenset[str] = frozenset()
    return mock.patch.object(greedy, "REPLAY_ON", nothing) if single else nullcontext()


def by_ours(model: Any, work: Work, *, single: bool = False, size: int = 128) -> list[list[int]]:
    """As mt-train does."""
    with stepwise(single):
        found = translate(
            model, Ids(), work.prompts, max_new_tokens=work.new, max_tokens=size * 256,
            batch_size=size, eos_ids=work.ends, pad_id=PAD,
        )  # fmt: skip
    return [[int(i) for i in h.text.split()] for h in found]


def by_generate(model: Any, work: Work, **settings: Any) -> list[list[int]]:
    """Batches of 64, longest prompts first; a static cache where the settings say so."""
    order = sorted(range(len(work.prompts)), key=lambda i: -len(work.prompts[i]))
    found: dict[int, list[int]] = {}
    with torch.no_grad():
        for start in range(0, len(order), work.batch):
            chosen = order[start : start + work.batch]
            ids, mask = left_pad([work.prompts[i] for i in chosen], PAD, model.device)
            out = model.generate(
                input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=work.new,
                eos_token_id=work.ends, pad_token_id=PAD, **settings,
            )  # fmt: skip
            for index, row in zip(chosen, out[:, ids.shape[1] :].tolist(), strict=True):
                found[index] = cut_at_eos(row, frozenset(work.ends)).tokens
    return [found[i] for i in range(len(order))]


STATIC = {"cache_implementation": "static"}
ARMS: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "decode": {
        "ours": (by_ours, {}),
        "generate, static cache": (by_generate, {**STATIC, "disable_compile": True}),
        "ours, 256 at a time": (by_ours, {"size": 256}),
        "ours, not recorded": (by_ours, {"single": True}),
        "generate, dynamic cache": (by_generate, {}),
    },
    "decode_compiled": {
        "ours": (by_ours, {}),
        "generate, static cache, compiled": (by_generate, STATIC),
    },
}


def measured(decode: Any, settings: dict[str, Any], model: Any, work: Work, given: Given) -> Any:
    """The second call counts: the first one allocates, compiles and captures."""
    clear(given.device)
    start = time.perf_counter()
    found = decode(model, work, **settings)
    wait(given.device)
    first = time.perf_counter() - start
    spent = first
    if given.left() > first + 5 or given.check:
        start = time.perf_counter()
        found = decode(model, work, **settings)
        wait(given.device)
        spent = time.perf_counter() - start
    measured.found = found  # type: ignore[attr-defined]
    return {
        "seconds": round(spent, 3),
        "seconds_of_the_first_call": round(first, 3),
        "sentences_per_second": round(len(work.prompts) / spent, 2),
        "new_tokens": sum(map(len, found)),
        "new_tokens_per_second": round(sum(map(len, found)) / spent, 1),
        "stopped": sum(len(tokens) < work.new for tokens in found),
        "peak_bytes": peak(given.device),
    }


def steps_of(model: Any, work: Work, given: Given, part: str, *, single: bool) -> dict[str, Any]:
    """One batch that nothing ends: seconds a step, and how busy the device is meanwhile."""
    prompts = work.prompts[: 2 * work.batch]

    def run(new: int) -> float:
        with stepwise(single), of_any_shape():
            return decoded(new)

    def decoded(new: int) -> float:
        wait(given.device)
        start = time.perf_counter()
        with torch.no_grad():
            greedy_batch(
                model, prompts, max_new_tokens=new, eos_ids=frozenset(), pad_id=PAD,
                on_step=lambda *_: None,
            )  # fmt: skip
        wait(given.device)
        return time.perf_counter() - start

    few, many = (2, 6) if given.check else (4, 36)
    run(few)
    step = (run(many) - run(few)) / (many - few)
    found: dict[str, Any] = {"batch": len(prompts), "seconds_a_step": round(step, 5)}
    if given.cuda:
        kinds = [torch.profiler.ProfilerActivity.CUDA]
        busy = []
        for new in (few, few + 8):
            with torch.profiler.profile(activities=kinds) as profile:
                run(new)
            busy.append(sum(e.self_device_time_total for e in profile.key_averages()) / 1e6)
        found["device_busy_seconds_a_step"] = round((busy[1] - busy[0]) / 8, 5)
        found["host_share"] = round(1 - (busy[1] - busy[0]) / 8 / step, 4)
    name = f"{part}, not recorded" if single else part
    found["profile"] = profiled(lambda: run(few + 8), few + 8, name, given)
    return found


def run(given: Given, name: str) -> None:
    small = name == "decode_small"
    shape = "gemma3_270m" if small else "llama_7b"
    if given.check:
        shape = "tiny_gemma3" if small else "tiny"
    model = make_model(shape, given.device)
    work = Work(int(model.config.vocab_size), given.check)
    report = Report(
        given, name, shape=shape, sentences=len(work.prompts), max_new_tokens=work.new,
        prompt_tokens=sum(map(len, work.prompts)),
    )  # fmt: skip
    results: dict[str, list[list[int]]] = {}
    for arm, (decode, settings) in ARMS[name.removesuffix("_small")].items():
        if given.left() < 15 and not given.check:
            report.add("arms", arm, {"failed": "no time was left for it"})
            continue
        done = attempt(
            report, "arms", arm,
            lambda decode=decode, settings=settings: measured(
                decode, settings, model, work, given
            ),
        )  # fmt: skip
        if "failed" not in done:
            results[arm] = measured.found  # type: ignore[attr-defined]
    if "ours" in results:
        # bfloat16 rounds otherwise in batches of other shapes: generate differs from itself too
        report.add("compared", "sentences identical with ours", {
            arm: sum(a == b for a, b in zip(found, results["ours"], strict=True))
            for arm, found in results.items()
        })  # fmt: skip
    for single in (False, True) if name != "decode_compiled" else ():
        arm = "a step of ours" + ", not recorded" * single
        if given.left() < 20 and not given.check:
            report.add("steps", arm, {"failed": "no time was left for it"})
            continue
        attempt(
            report, "steps", arm,
            lambda single=single: steps_of(model, work, given, name, single=single),
        )  # fmt: skip
