"""Sentences a second: mt-lottery's greedy decoding against transformers' `generate`.

    python benchmarks/decode.py --data flores101_dataset --run runs/en-ro/ks_lottery/seed-0
    python benchmarks/decode.py --quick        # under a minute: a tiny random model

The peer decodes fixed batches of 16 in file order with `model.generate`; ours sorts,
batches, shares the prompts' common prefix and lets finished sentences leave.  Both
take turns in one process on the same loaded model.  Arms: the tuned model of --run,
the original, and PEFT adapters with random weights (LoRA, prefix, prompt), which
never stop either.  Hypotheses of the two are compared.  The results are written after
each arm, so that an interrupted run keeps what it measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import torch

from mt_lottery.config import DataConfig, ModelConfig
from mt_lottery.data.corpora import load_corpora
from mt_lottery.data.prompts.batches import encode_prompts
from mt_lottery.data.prompts.templates import get_template
from mt_lottery.decoding import translate
from mt_lottery.decoding.continuation import cut_at_eos, left_pad
from mt_lottery.languages import parse_pair
from mt_lottery.model.loading import LoadedModel, load
from mt_lottery.model.tables import eos_ids
from mt_lottery.runs import Run

FIXED = 16


def by_generate(loaded: LoadedModel, prompts: list[list[int]], new: int) -> list[list[int]]:
    model, tokenizer = loaded.model, loaded.tokenizer
    ends = eos_ids(getattr(model, "get_base_model", lambda: model)(), tokenizer)
    device = next(model.parameters()).device
    found: list[list[int]] = []
    with torch.no_grad():
        for start in range(0, len(prompts), FIXED):
            ids, mask = left_pad(
                prompts[start : start + FIXED], int(tokenizer.pad_token_id), device
            )
            out = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=new,
                eos_token_id=ends,
                pad_token_id=int(tokenizer.pad_token_id),
            )
            rows = out[:, ids.shape[1] :].tolist()
            found += [cut_at_eos(row, frozenset(ends)).tokens for row in rows]
    return found


class _Ids:
    """Stands in for a tokenizer: the token ids themselves are compared."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        return " ".join(map(str, tokens))


def by_ours(loaded: LoadedModel, prompts: list[list[int]], new: int) -> list[list[int]]:
    model, tokenizer = loaded.model, loaded.tokenizer
    found = translate(
        model,
        _Ids(),
        prompts,
        max_new_tokens=new,
        max_tokens=32_768,
        eos_ids=eos_ids(getattr(model, "get_base_model", lambda: model)(), tokenizer),
        pad_id=int(tokenizer.pad_token_id),
    )
    return [[int(t) for t in hypothesis.text.split()] for hypothesis in found]


def timed(work: Callable[..., list[list[int]]], *arguments: Any) -> tuple[float, list[list[int]]]:
    start = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - start, result


def measure(
    name: str, loaded: LoadedModel, prompts: list[list[int]], new: int, repeats: int
) -> dict[str, Any]:
    for work in (by_ours, by_generate):  # warm up: compiled kernels, allocated memory
        work(loaded, prompts[:FIXED], 4)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(repeats):
        seconds, mine = timed(by_ours, loaded, prompts, new)
        ours.append(seconds)
        seconds, other = timed(by_generate, loaded, prompts, new)
        theirs.append(seconds)
    result = {
        "arm": name,
        "sentences": len(prompts),
        "max_new_tokens": new,
        "stopped": round(sum(len(m) < new for m in mine) / len(mine), 3),
        "new_tokens": sum(map(len, mine)),
        "seconds": {"ours": [round(s, 2) for s in ours], "generate": [round(s, 2) for s in theirs]},
        "sentences_per_second": {
            "ours": round(len(prompts) / statistics.median(ours), 3),
            "generate": round(len(prompts) / statistics.median(theirs), 3),
        },
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 2),
        # bf16 rounds otherwise in other batch shapes: generate differs from itself, too
        "identical_hypotheses": sum(a == b for a, b in zip(mine, other, strict=True)),
    }
    speed = result["sentences_per_second"]
    print(
        f"{name}: {speed['ours']} sentences/s, generate {speed['generate']}, "  # type: ignore[index]
        f"ratio {result['ratio']}; {result['identical_hypotheses']} of {len(prompts)} identical",
        flush=True,
    )
    return result


def with_adapter(loaded: LoadedModel, kind: str) -> LoadedModel:
    """The model with a random adapter of PEFT's."""
    import peft

    torch.manual_seed(0)
    if kind == "lora":
        settings: Any = peft.LoraConfig(
            task_type="CAUSAL_LM", r=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False
        )
    else:
        make = {"prefix": peft.PrefixTuningConfig, "prompt": peft.PromptTuningConfig}[kind]
        settings = make(task_type="CAUSAL_LM", num_virtual_tokens=10)
    model = peft.get_peft_model(loaded.model, settings).eval()
    return LoadedModel(model, loaded.tokenizer, loaded.info)


def tiny(device: str) -> LoadedModel:
    """A random model for --quick, with the default model's tokenizer left out."""
    from train_step import make_model

    class Tokenizer:
        pad_token_id, eos_token_id, all_special_ids = 0, 1, (0, 1)
        added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012

    info: Any = None
    return LoadedModel(make_model("tiny", device).eval(), Tokenizer(), info)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny random model")
    parser.add_argument("--data", type=Path, help="folder of Flores-101")
    parser.add_argument("--run", type=Path, help="a finished run: the tuned model")
    parser.add_argument("--lang", default="en-ro")
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--adapter-sentences", type=int, default=64)
    parser.add_argument("--new", type=int, default=128, help="most new tokens")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--arms", default="tuned,original,lora,prefix,prompt")
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    given = parser.parse_args()
    arms = given.arms.split(",")
    results: list[dict[str, Any]] = []

    def model() -> LoadedModel:
        if given.quick:
            return tiny(given.device)
        return load(ModelConfig(name="gemma3_270m"), given.device)

    if given.quick:
        generator = torch.Generator().manual_seed(0)
        lengths = torch.randint(5, 60, (48,), generator=generator).tolist()
        prompts = [
            [2] * 8 + torch.randint(3, 2048, (n,), generator=generator).tolist() for n in lengths
        ]
        given.new, arms = 32, [a for a in arms if a != "tuned"]
    else:
        if given.data is None:
            parser.error("--data is needed (or --quick)")
        config = DataConfig(
            name="flores101", path=str(given.data.resolve()), test_pairs=given.sentences
        )
        pair = parse_pair(given.lang)
        test = load_corpora(config, pair, ("test",)).test
        assert test is not None
        template = get_template("plain")
        sources = [p.source for p in test.pairs]
        prompts = encode_prompts(sources, template, pair, model().tokenizer)
    report = {
        "quick": given.quick,
        "device": given.device,
        "lang": given.lang,
        "peer": f"transformers generate, fixed batches of {FIXED} in file order",
        "machine": common.machine("torch", "transformers", "peft", device=given.device),
        "arms": results,
    }
    for arm in arms:
        if arm == "tuned":
            if given.run is None:
                print("tuned: left out, no --run")
                continue
            loaded = Run(given.run, given.device).tuned
        elif arm == "original":
            loaded = model()
        else:
            loaded = with_adapter(model(), arm)
        some = prompts if arm in ("tuned", "original") else prompts[: given.adapter_sentences]
        results.append(measure(arm, loaded, some, given.new, given.repeats))
        written = common.write("decode", report, given.output)
        print(f"written: {written}", flush=True)


if __name__ == "__main__":
    main()
