"""Sentences, tokenizers and a SentencePiece model for the score tests, all made on the spot."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from mt_lottery.scoring import MetricContext

TEXT = """casa mare este lângă râul vechi unde copiii cântă în fiecare dimineață și beau apă rece
cartea nouă costă zece lei dar nimeni nu o cumpără azi pentru că plouă"""
WORDS = TEXT.split()


def corpus(count: int = 60, seed: int = 0, noise: float = 0.3) -> tuple[list[str], list[str]]:
    """Hypotheses (references with some words exchanged) and references."""
    rng, noises = random.Random(seed), random.Random(seed + 1000)
    references, hypotheses = [], []
    for _ in range(count):
        words = rng.choices(WORDS, k=rng.randint(4, 18))
        references.append(" ".join(words).capitalize() + rng.choice([".", "!", ", (da)?"]))
        noisy = [noises.choice(WORDS) if noises.random() < noise else w for w in words]
        hypotheses.append(" ".join(noisy).capitalize() + ".")
    return hypotheses, references


def tokenizer() -> Any:
    """A byte-level BPE of a few merges."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=["<s>"],
    )
    inner.train_from_iterator(corpus(30, seed=9)[1], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>")


def context(**changes: Any) -> MetricContext:
    settings: dict[str, Any] = {"tokenizer": None, "tokenizer_name": "gemma3", "target": "ro"}
    return MetricContext(**{**settings, "bootstrap": 200, **changes})


def train_spm(path: Path) -> None:
    """A real, tiny SentencePiece model at ``path``."""
    import sentencepiece

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus(80, seed=5)[1]),
            model_writer=file,
            vocab_size=90,
            minloglevel=2,
        )
