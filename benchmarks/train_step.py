"""Seconds and peak memory of a training step: token rows against PEFT and full tuning.

    python benchmarks/train_step.py            # about ten minutes on 2 cores
    python benchmarks/train_step.py --quick    # under a minute
    python benchmarks/train_step.py --shape llama_7b --device cuda

A model of the given shape with random weights (bf16), a batch of 8 × 96 tokens of
which the second half is labelled, 18 token rows.  Each arm runs in a fresh process;
the arms take turns, and medians over all rounds are compared.  Peak memory is that
of the process from the first step on, the model's weights included.  What a peer compiles or
plans, it does in the first step, which does not count.  A peer that is not installed (trl,
cut-cross-entropy) or does not run here is reported as left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import torch
from gpu_parts import peers
from gpu_parts.work import versions
from torch import Tensor

BATCH, LENGTH, ROWS = 8, 96, 18

SHAPES: dict[str, dict[str, Any]] = {
    "gemma3_270m": {
        "model_type": "gemma3_text", "vocab_size": 262144, "hidden_size": 640,
        "intermediate_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 256, "query_pre_attn_scalar": 256,
        "sliding_window": 512, "tie_word_embeddings": True,
    },
    "llama_7b": {
        "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096,
        "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "tie_word_embeddings": False,
    },
    "tiny": {
        "model_type": "llama", "vocab_size": 2048, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
}  # fmt: skip

ARMS = {
    "rows": "mt-lottery, 18 rows, label-position loss",
    "peft_rows": "PEFT TrainableTokens, 18 rows, transformers' loss",
    "peft_rows_trl": "PEFT TrainableTokens, 18 rows, TRL's chunked loss",
    "peft_rows_cce": "PEFT TrainableTokens, 18 rows, cut-cross-entropy (torch.compile)",
    "lora": "PEFT LoRA r=8 on q, v, mt-lottery's loss",
    "peft_lora": "PEFT LoRA r=8 on q, v, transformers' loss",
    "peft_lora_trl": "PEFT LoRA r=8 on q, v, TRL's chunked loss",
    "full": "full tuning (bf16), mt-lottery's loss",
    "plain_full": "full tuning (bf16), transformers' loss",
}

#: By the end of an arm's name.
LOSSES = {"trl": peers.trl, "cce": peers.cut_cross_entropy}


def make_model(shape: str, device: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    settings = dict(SHAPES[shape])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


def batch(vocabulary: int, device: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Inputs and labels [8, 96], and the rows: 18 ids that occur."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, vocabulary, (BATCH, LENGTH), generator=generator)
    labels = ids.clone()
    labels[:, : LENGTH // 2] = -100
    inputs = {"input_ids": ids.to(device), "attention_mask": torch.ones_like(ids).to(device)}
    return inputs, labels.to(device), ids.flatten().unique()[:ROWS]


def prepare(arm: str, model: Any, rows: Tensor) -> tuple[Any, bool]:
    """The model with what is to be trained, and whether mt-lottery computes the loss."""
    if arm == "rows":
        from mt_lottery.tuners.rows.module import attach

        attach(model, rows, tied=False)
        return model, True
    if arm in ("full", "plain_full"):
        return model.requires_grad_(True), arm == "full"
    import peft

    if arm.startswith("peft_rows"):
        settings: Any = peft.TrainableTokensConfig(
            target_modules=["embed_tokens"], token_indices=rows.tolist()
        )
    else:
        settings = peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"])
    return peft.get_peft_model(model, settings), arm == "lora"


def run_arm(arm: str, shape: str, device: str, steps: int) -> dict[str, Any]:
    model = make_model(shape, device)
    inputs, labels, rows = batch(int(model.config.vocab_size), device)
    model, ours = prepare(arm, model, rows)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)

    loss_of: Callable[[], Tensor]
    if ours:
        from mt_lottery.training.cross_entropy import summed_cross_entropy
        from mt_lottery.training.label_loss import label_loss

        count = int((labels[:, 1:] != -100).sum())

        def loss_of() -> Tensor:
            return label_loss(model, inputs, labels, summed_cross_entropy, widen=False) / count
    else:
        theirs = LOSSES.get(arm.rpartition("_")[2], peers.plain)

        def loss_of() -> Tensor:
            return theirs(model, {**inputs, "labels": labels})

    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        common.reset_peak()
    times, losses = [], []
    for _ in range(steps + 1):  # the first one warms up
        start = time.perf_counter()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))  # waits for the device
        times.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if cuda else common.peak()
    return {"seconds": times[1:], "peak_bytes": peak, "first_loss": losses[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="rows and PEFT only, few steps")
    parser.add_argument("--shape", choices=SHAPES, default="gemma3_270m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--arms", default=None, help="comma-separated; all by default")
    parser.add_argument("--rounds", type=int, default=None, help="fresh processes an arm")
    parser.add_argument("--steps", type=int, default=None, help="timed steps a process")
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        try:
            done = run_arm(given.arm, given.shape, given.device, given.steps)
        except Exception as error:
            if given.arm.rpartition("_")[2] not in LOSSES:
                raise
            done = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        print(json.dumps(done))
        return
    names = (given.arms or ("rows,peft_rows" if given.quick else ",".join(ARMS))).split(",")
    rounds = given.rounds or (1 if given.quick else 5)
    steps = given.steps or (2 if given.quick else 3)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            options = ["--arm", name, "--shape", given.shape, "--device", given.device]
            runs[name].append(common.in_fresh_process(__file__, *options, "--steps", str(steps)))
    left_out = {n: one["failed"] for n, done in runs.items() for one in done if "failed" in one}
    arms = {
        name: {
            "what": ARMS[name],
            "median_seconds": statistics.median(s for r in done for s in r["seconds"]),
            "peak_bytes": statistics.median(r["peak_bytes"] for r in done),
            "first_loss": done[0]["first_loss"],
            "seconds": [[round(s, 4) for s in r["seconds"]] for r in done],
        }
        for name, done in runs.items()
        if name not in left_out
    }
    ours = arms["rows"]
    ratios = {
        name: {
            "time": round(ours["median_seconds"] / arm["median_seconds"], 3),
            "memory": round(ours["peak_bytes"] / arm["peak_bytes"], 3),
        }
        for name, arm in arms.items()
        if name != "rows"
    }
    for name, arm in arms.items():
        line = (
            f"{arm['what']}: {arm['median_seconds']:.3f} s a step, {arm['peak_bytes'] / 1e9:.2f} GB"
        )
        if name in ratios:
            line += "; rows take {time} of its time, {memory} of its memory".format(**ratios[name])
        print(line)
    for name, why in left_out.items():
        print(f"{ARMS[name]}: left out ({why})")
    report = {
        "quick": given.quick,
        "shape": given.shape,
        "device": given.device,
        "batch": [BATCH, LENGTH],
        "rows": ROWS,
        "machine": common.machine("torch", "transformers", "peft", device=given.device),
        "peers": {name: versions()[name] for name in ("trl", "cut-cross-entropy")},
        "arms": arms,
        "left_out": left_out,
        "rows_against": ratios,
    }
    name = "train_step" if given.shape == "gemma3_270m" else f"train_step_{given.shape}"
    print(f"written: {common.write(name, report, given.output)}")


if __name__ == "__main__":
    main()
