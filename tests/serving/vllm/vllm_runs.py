"""Tiny models that vLLM loads, and runs whose ticket changes what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_runs import VOCABULARY, _write_tokenizer
from vllm_there import environment

import mt_lottery as mtl

NEW = 12
#: A prompt of the mini corpus and NEW tokens fit; so does each kernel of vLLM (heads of 32).
ENGINE: dict[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 256,
    "max_num_seqs": 8,
    "max_loras": 4,
    "max_lora_rank": 32,
}


def make_base(kind: str, folder: Path, *, tied: bool = True) -> Path:
    """Write a random model of a class of transformers, float32, with a tokenizer."""
    import transformers as tf

    torch.manual_seed(0)
    config = getattr(tf, f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config")(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        initializer_range=0.2,
        tie_word_embeddings=tied,
    )
    getattr(tf, f"{kind}ForCausalLM")(config).save_pretrained(folder)
    _write_tokenizer(folder)
    return folder


def make_run(base: Path, out: Path, language: str = "ro", **settings: Any) -> mtl.Run:
    """A run of a second whose 18 rows move far."""
    return mtl.train(
        "random_seen",
        f"en-{language}",
        model="hf",
        data="mini",
        out_dir=str(out),
        metrics=["chrf"],
        baseline=False,
        train={"lr": 0.1},
        translate={"max_new_tokens": NEW},
        settings={
            "model.name_or_path": str(base),
            "data.train_pairs": 24,
            "data.test_pairs": 6,
            "data.dev_pairs": 4,
            **settings,
        },
    )


@dataclass(frozen=True)
class Said:
    """What vLLM continues prompts with: token ids and, for five at each step, logarithms."""

    tokens: list[list[int]]
    logprobs: list[list[dict[int, float]]]
    refused: str | None = None


def prompts_of(run: mtl.Run) -> list[list[int]]:
    """The run's test prompts as token ids."""
    sources = [line["source"] for line in run.hypotheses]
    return run.text.prompts(sources, run.tuned.tokenizer, run.lead)


def vllm_says(
    base: Path, asked: list[tuple[Path | None, list[list[int]]]], scratch: Path, **settings: Any
) -> list[Said]:
    """Ask one engine for each adapter (None: the bare base) and its prompts."""
    task = {
        "model": str(base),
        "settings": {**ENGINE, "enable_lora": any(adapter for adapter, _ in asked), **settings},
        "new": NEW,
        "asked": [{"adapter": str(a) if a else None, "prompts": prompts} for a, prompts in asked],
    }
    answer = scratch / "said.json"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("vllm_says.py")), str(answer)],
        input=json.dumps(task),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [
        Said([], [], one["refused"])
        if "refused" in one
        else Said(
            [answer["tokens"] for answer in one["answers"]],
            [
                [{int(token): value for token, value in step.items()} for step in a["logprobs"]]
                for a in one["answers"]
            ],
        )
        for one in json.loads(answer.read_text("utf-8"))
    ]


def furthest(model: Any, prompts: list[list[int]], said: Said) -> float:
    """Largest difference between log-probabilities of vLLM and of a transformers model."""
    worst = 0.0
    for prompt, tokens, steps in zip(prompts, said.tokens, said.logprobs, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 :]
        wanted = logits.float().log_softmax(-1)
        for at, step in enumerate(steps):
            worst = max(worst, *(abs(value - float(wanted[at, t])) for t, value in step.items()))
    return worst


def whole(texts: list[str]) -> list[str]:
    """Texts without bytes at the end that begin a character: vLLM leaves those out."""
    return [text.rstrip("\ufffd").rstrip() for text in texts]
