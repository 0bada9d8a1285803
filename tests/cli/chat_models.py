"""Tiny random instruct models: a Llama with a published tokenizer's layout and chat template."""

from __future__ import annotations

import sys
from pathlib import Path

from tiny_runs import latin_text

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import published_chats as published


def make_chat_model(layout: str, folder: Path) -> Path:
    """Write a model; it stops at its tokenizer's EOS and at the end of a turn, as published ones.

    Args:
        layout: of ``published_chats.LAYOUTS``.
        folder: where to.
    """
    import torch
    import transformers as tf

    text = "\n".join(file.read_text("utf-8") for file in latin_text())
    tokenizer = published.tokenizer(layout, text)
    eos = int(tokenizer.eos_token_id)
    end = int(tokenizer.convert_tokens_to_ids(published.LAYOUTS[layout].end))
    torch.manual_seed(0)
    config = tf.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512,
        initializer_range=0.2, bos_token_id=tokenizer.bos_token_id, eos_token_id=eos,
        pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=False,
    )  # fmt: skip
    model = tf.LlamaForCausalLM(config)
    if end != eos:
        assert model.generation_config is not None
        model.generation_config.eos_token_id = [eos, end]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
