"""Tiny random causal LMs, training examples and a tokenizer, made in milliseconds."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mt_lottery.data.prompts.batches import Example, collate

VOCAB, DIM = 64, 16
PAD, EOS, BOS = 0, 1, 2
KINDS = ("llama", "mistral", "gemma3", "qwen2", "gpt2")


def model(
    kind: str = "llama",
    *,
    tied: bool = False,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    **more: Any,
) -> Any:
    """A random model: vocabulary 64, d = 16, two layers, weights large enough to matter."""
    import transformers as t

    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": VOCAB, "hidden_size": DIM, "intermediate_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 64, "initializer_range": 0.2, "head_dim": 8,
        "pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": BOS,
        "tie_word_embeddings": tied, **more,
    }  # fmt: skip
    if kind == "gpt2":
        config: Any = t.GPT2Config(
            vocab_size=more.get("vocab_size", VOCAB), n_embd=DIM, n_layer=2, n_head=2,
            n_positions=64, initializer_range=0.2, pad_token_id=PAD, eos_token_id=EOS,
            bos_token_id=BOS, tie_word_embeddings=tied,
        )  # fmt: skip
        made: Any = t.GPT2LMHeadModel(config)
    else:
        head, config_of = {
            "llama": (t.LlamaForCausalLM, t.LlamaConfig),
            "mistral": (t.MistralForCausalLM, t.MistralConfig),
            "gemma2": (t.Gemma2ForCausalLM, t.Gemma2Config),
            "gemma3": (t.Gemma3ForCausalLM, t.Gemma3TextConfig),
            "qwen2": (t.Qwen2ForCausalLM, t.Qwen2Config),
            "granite": (t.GraniteForCausalLM, t.GraniteConfig),
            "cohere": (t.CohereForCausalLM, t.CohereConfig),
        }[kind]
        if kind in ("granite", "cohere", "qwen2"):
            shape.pop("head_dim")
        made = head(config_of(**shape))
    return made.to(dtype).eval()


def untied(tied_model: Any, kind: str) -> Any:
    """The same function with an output head of its own."""
    made = model(kind, tied=False, dtype=tied_model.get_input_embeddings().weight.dtype)
    state = dict(tied_model.state_dict())
    state["lm_head.weight"] = tied_model.get_input_embeddings().weight.detach().clone()
    made.load_state_dict(state, strict=False)
    for one, other in zip(made.buffers(), tied_model.buffers(), strict=True):
        one.copy_(other)
    assert made.get_output_embeddings().weight is not made.get_input_embeddings().weight
    return made


def clone(made: Any) -> Any:
    return copy.deepcopy(made)


def ids(batch: int = 2, length: int = 9, seed: int = 0, vocab: int = VOCAB) -> Tensor:
    """Random token ids, [B, T], none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, vocab, (batch, length), generator=generator)


def examples(count: int = 8, seed: int = 0, vocab: int = 24) -> list[Example]:
    """Pairs of unequal length whose target repeats the first tokens of the source."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for index in range(count):
        length = int(torch.randint(2, 7, (), generator=generator))
        source = torch.randint(4, vocab, (length,), generator=generator).tolist()
        keep = int(torch.randint(1, length + 1, (), generator=generator))
        made.append(Example(index, [BOS, *source, 3], [*source[:keep], EOS]))
    return made


def seen(made: Sequence[Example]) -> Tensor:
    """Every token id of the examples, ascending."""
    return torch.tensor(sorted({i for e in made for i in (*e.prompt_ids, *e.target_ids)}))


def batch(made: Sequence[Example]) -> tuple[dict[str, Tensor], Tensor]:
    """Model inputs [B, T] and labels [B, T]."""
    tensors = collate(made, PAD)
    labels = tensors.pop("labels")
    return tensors, labels


def plain_loss(
    made: Any, inputs: dict[str, Tensor], labels: Tensor, smoothing: float = 0
) -> Tensor:
    """The summed loss as any textbook computes it: all logits, then cross entropy."""
    logits = made(**inputs, use_cache=False).logits[:, -labels.shape[1] :]
    wide = logits[:, :-1].flatten(0, 1)
    wide = wide if wide.dtype is torch.float64 else wide.float()
    return F.cross_entropy(
        wide, labels[:, 1:].flatten(), reduction="sum", label_smoothing=smoothing
    )


def tokenizer() -> Any:
    """Whole words ``w3`` … ``w63``; ids are the numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<s>", *(f"w{i}" for i in range(3, VOCAB))]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", bos_token="<s>"
    )
