"""Tiny random models with a tiny tokenizer, built once and copied for each test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

WORDS = ["<unk>", "<s>", "</s>", *[f"w{i}" for i in range(40)], "<end_of_turn>"]
EOS, VOCABULARY = 2, 48


def _write_tokenizer(folder: Path, **special: str | None) -> None:
    """A word tokenizer of 44 tokens that puts <s> first."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    backend.add_special_tokens([AddedToken(t, special=True) for t in (*WORDS[:3], WORDS[-1])])
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **special}
    given = {key: token for key, token in tokens.items() if token is not None}
    PreTrainedTokenizerFast(tokenizer_object=backend, **given).save_pretrained(folder)


def _build_model(kind: str, tied: bool = False):
    """A random model of one of four families, vocabulary 48, d = 16."""
    import torch
    import transformers as tf

    torch.manual_seed(0)
    common = {
        "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "tie_word_embeddings": tied, "bos_token_id": 1, "eos_token_id": EOS, "pad_token_id": None,
    }  # fmt: skip
    if kind == "llama":
        return tf.LlamaForCausalLM(tf.LlamaConfig(**common))
    if kind == "qwen2":
        return tf.Qwen2ForCausalLM(tf.Qwen2Config(**common))
    if kind == "gemma3":
        config = tf.Gemma3TextConfig(**{**common, "pad_token_id": 0}, head_dim=8, sliding_window=8)
        return tf.Gemma3ForCausalLM(config)
    config = tf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=EOS
    )
    return tf.GPT2LMHeadModel(config)


@pytest.fixture
def build_model() -> Callable[..., object]:
    return _build_model


@pytest.fixture
def write_tokenizer() -> Callable[..., None]:
    return _write_tokenizer


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    folders: dict[tuple[str, bool], Path] = {}

    def build(kind: str, tied: bool) -> Path:
        if (kind, tied) not in folders:
            folder = tmp_path_factory.mktemp(f"{kind}-{tied}")
            _build_model(kind, tied).save_pretrained(folder)
            _write_tokenizer(folder)
            folders[kind, tied] = folder
        return folders[kind, tied]

    return build


@pytest.fixture
def model_folder(built: Callable[[str, bool], Path], tmp_path: Path) -> Callable[..., Path]:
    """``model_folder("llama", tied=True)``: a copy that the test may break."""

    def copy(kind: str = "llama", tied: bool = False) -> Path:
        target = tmp_path / kind
        shutil.copytree(built(kind, tied), target)
        return target

    return copy


@pytest.fixture
def change_json() -> Callable[..., None]:
    def change(path: Path, **values: object) -> None:
        stored = json.loads(path.read_text())
        stored.update(values)
        path.write_text(json.dumps({k: v for k, v in stored.items() if v is not ...}))

    return change


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own for the test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(folder))
    return folder
