"""Where a model's positions end: by its own forward pass, one token further."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as t

from mt_lottery.model.positions import learned_positions

pytestmark = pytest.mark.slow

L = 16
WIDE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": L}  # fmt: skip
NARROW = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": L}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (t.GPT2Config, NARROW),
    "gpt_bigcode": (t.GPTBigCodeConfig, NARROW),
    "openai-gpt": (t.OpenAIGPTConfig, NARROW),
    "gptj": (t.GPTJConfig, {**NARROW, "rotary_dim": 4}),
    "codegen": (t.CodeGenConfig, {**NARROW, "n_head": 4, "rotary_dim": 4}),
    "ctrl": (t.CTRLConfig, {**NARROW, "dff": 24}),
    "opt": (t.OPTConfig, {**WIDE, "ffn_dim": 24, "word_embed_proj_dim": 16}),
    "biogpt": (t.BioGptConfig, WIDE),
    "gpt_neo": (t.GPTNeoConfig, {
        "hidden_size": 16, "num_layers": 2, "num_heads": 2, "window_size": 4,
        "attention_types": [[["global", "local"], 1]], "max_position_embeddings": L,
    }),
    "bart": (t.BartConfig, {
        "d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 24,
        "max_position_embeddings": L, "is_decoder": True, "is_encoder_decoder": False,
    }),
    "bert": (t.BertGenerationConfig, {**WIDE, "is_decoder": True}),
    "mpt": (t.MptConfig, {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": L}),
    "xglm": (t.XGLMConfig, {
        "d_model": 16, "num_layers": 2, "attention_heads": 2, "ffn_dim": 24,
        "max_position_embeddings": L,
    }),
    "bloom": (t.BloomConfig, {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "llama": (t.LlamaConfig, WIDE),
    "gemma3": (t.Gemma3TextConfig, {**WIDE, "num_key_value_heads": 1, "head_dim": 8}),
    "phi": (t.PhiConfig, WIDE),
    "gpt_neox": (t.GPTNeoXConfig, WIDE),
    "falcon": (t.FalconConfig, WIDE),
    "falcon-alibi": (t.FalconConfig, {**WIDE, "alibi": True}),
    "stablelm": (t.StableLmConfig, {**WIDE, "num_key_value_heads": 2}),
    "mamba": (t.MambaConfig, {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}),
}  # fmt: skip


def works(model: Any, length: int) -> bool:
    ids = torch.full((1, length), 5)
    try:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize("kind", MODELS)
def test_the_forward_pass_ends_where_we_say(kind: str) -> None:
    config, settings = MODELS[kind]
    special = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}
    model = t.AutoModelForCausalLM.from_config(config(**{**special, **settings})).eval()
    limit = learned_positions(model)
    assert works(model, L)
    if works(model, L + 1):
        assert limit is None and works(model, 3 * L)
    else:
        assert limit == L
