"""Tiny random models and a tokenizer, made in milliseconds."""

from __future__ import annotations

from typing import Any

import torch

VOCAB = 64
PAD, EOS, BOS = 0, 1, 2

ARCHITECTURES = ("llama", "mistral", "gemma3", "qwen2", "gpt2")
#: Others, as transformers call their classes.
MORE = {"olmo2": "Olmo2", "phi3": "Phi3", "qwen3": "Qwen3", "smollm3": "SmolLM3"}


def tiny_model(name: str, seed: int = 0, **extra: Any) -> Any:
    """A random causal LM in float32; its weights are large, so that argmax is far from ties."""
    import transformers as t

    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "bos_token_id": BOS,
        **extra,
    }
    if name == "llama":
        model = t.LlamaForCausalLM(t.LlamaConfig(**shape))
    elif name == "mistral":
        model = t.MistralForCausalLM(t.MistralConfig(**{"sliding_window": 9, **shape}))
    elif name == "gemma3":
        types = ["sliding_attention", "full_attention", "sliding_attention"]
        shape = {"sliding_window": 7, "tie_word_embeddings": False, **shape}
        model = t.Gemma3ForCausalLM(t.Gemma3TextConfig(head_dim=8, layer_types=types, **shape))
        # Scaled by the root of d, the embeddings would drown what attention adds.
        model.model.embed_tokens.weight.data *= 0.05
    elif name == "qwen2":
        model = t.Qwen2ForCausalLM(t.Qwen2Config(tie_word_embeddings=True, **shape))
    elif name in MORE:
        kind = MORE[name]
        model = getattr(t, f"{kind}ForCausalLM")(getattr(t, f"{kind}Config")(head_dim=8, **shape))
    elif name == "gpt2":
        model = t.GPT2LMHeadModel(
            t.GPT2Config(
                vocab_size=VOCAB,
                n_embd=32,
                n_layer=3,
                n_head=4,
                n_positions=shape["max_position_embeddings"],
                initializer_range=0.3,
                pad_token_id=PAD,
                eos_token_id=EOS,
                bos_token_id=BOS,
            )
        )
    else:
        raise ValueError(name)
    return model.eval()


def tiny_tokenizer(clean_up: bool = False) -> Any:
    """Whole words ``w3`` … ``w63`` and a few that clean-up would rewrite; ids are the numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<s>", "w3", "w4", ".", "n't", "\n"]
    words += [f"w{i}" for i in range(len(words), VOCAB)]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        clean_up_tokenization_spaces=clean_up,
    )


def random_prompts(count: int, longest: int = 20, seed: int = 0) -> list[list[int]]:
    """Prompts of 1 to ``longest`` tokens, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [torch.randint(3, VOCAB, (n,), generator=generator).tolist() for n in lengths]
