"""A Gemma 3 text model in GGUF, written again as a folder that transformers reads.

transformers reads GGUF too, but what comes out depends on its version and on the
machine: 5.x may keep the weights packed and refuses to save the model, 4.57 builds
a Unigram tokenizer in place of Gemma's BPE.  Here one file gives the same folder
everywhere, so its hash can name the model.

Layout of the names and the +1 in the norms: llama.cpp, ``convert_hf_to_gguf.py``
(``Gemma3Model``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mt_lottery.errors import ModelError

_BLOCK = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
# Token types of GGUF (llama.cpp, ``llama_token_type``).
_CONTROL, _USER_DEFINED = 3, 4
_LAYERS_PER_FULL_ATTENTION = 6
_LOCAL_ROPE_THETA = 10_000.0


def convert(gguf: Path, folder: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` (bfloat16) and the tokenizer to ``folder``.

    Args:
        gguf: a Gemma 3 text model; its quantised blocks are dequantised in float32.
        folder: an existing folder.

    Raises:
        ModelError: another architecture, or the package ``gguf`` is not installed.
        OSError: the folder cannot be written.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ModelError(
            "Reading a GGUF file needs the package 'gguf': pip install 'mt-lottery[demo]'"
        ) from error
    reader = GGUFReader(str(gguf))
    architecture = _field(reader, "general.architecture")
    if architecture != "gemma3":
        raise ModelError(f"{gguf}: the architecture is '{architecture}'; allowed: 'gemma3'.")
    tied = not any(tensor.name == "output.weight" for tensor in reader.tensors)
    _write(folder / "config.json", _config(reader, tied))
    _write(folder / "generation_config.json", _special_ids(reader))
    _write_tokenizer(reader, folder)
    _write_weights(reader, folder / "model.safetensors")


def _field(reader: Any, key: str) -> Any:
    field = reader.fields.get(key)
    if field is None:
        raise ModelError(f"The GGUF file has no '{key}'.")
    return field.contents()


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _special_ids(reader: Any) -> dict[str, Any]:
    ggml = "tokenizer.ggml"
    return {
        "bos_token_id": _field(reader, f"{ggml}.bos_token_id"),
        "eos_token_id": _field(reader, f"{ggml}.eos_token_id"),
        "pad_token_id": _field(reader, f"{ggml}.padding_token_id"),
    }


def _config(reader: Any, tied: bool) -> dict[str, Any]:
    layers = _field(reader, "gemma3.block_count")
    head_dim = _field(reader, "gemma3.attention.key_length")
    theta = _field(reader, "gemma3.rope.freq_base")
    pattern = _LAYERS_PER_FULL_ATTENTION
    kinds = [
        "sliding_attention" if (layer + 1) % pattern else "full_attention"
        for layer in range(layers)
    ]
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "vocab_size": len(_field(reader, "tokenizer.ggml.tokens")),
        "hidden_size": _field(reader, "gemma3.embedding_length"),
        "intermediate_size": _field(reader, "gemma3.feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": _field(reader, "gemma3.attention.head_count"),
        "num_key_value_heads": _field(reader, "gemma3.attention.head_count_kv"),
        "head_dim": head_dim,
        "query_pre_attn_scalar": head_dim,  # so in every size but 27B
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": _field(reader, "gemma3.context_length"),
        # GGUF holds float32: 1e-6 comes back as 9.99…e-07.
        "rms_norm_eps": float(f"{_field(reader, 'gemma3.attention.layer_norm_rms_epsilon'):.6g}"),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "initializer_range": 0.02,
        "use_bidirectional_attention": False,
        "use_cache": True,
        "tie_word_embeddings": tied,
        "sliding_window": _field(reader, "gemma3.attention.sliding_window"),
        "sliding_window_pattern": pattern,
        "layer_types": kinds,
        # Two spellings of one thing: transformers 4.57 ignores `rope_parameters` in silence,
        # 5.x prefers it.
        "rope_theta": theta,
        "rope_local_base_freq": _LOCAL_ROPE_THETA,
        "rope_scaling": None,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": _LOCAL_ROPE_THETA},
        },
        # 4.57.6 takes a local folder without this for a Mistral's and warns of a wrong tokenizer.
        "transformers_version": "4.57.1",
        "torch_dtype": "bfloat16",
        "dtype": "bfloat16",
        **_special_ids(reader),
    }


def _target_name(name: str) -> str:
    """``blk.3.attn_q.weight`` → ``model.layers.3.self_attn.q_proj.weight``."""
    stem, _, suffix = name.rpartition(".")
    if stem.startswith("blk."):
        _, layer, part = stem.split(".", 2)
        if part in _BLOCK:
            return f"model.layers.{layer}.{_BLOCK[part]}.{suffix}"
    elif stem in _TOP:
        return f"{_TOP[stem]}.{suffix}"
    raise ModelError(f"The GGUF file has a tensor '{name}' that a Gemma 3 text model has not.")


def _write_weights(reader: Any, path: Path) -> None:
    import torch
    from gguf.quants import dequantize
    from safetensors.torch import save_file

    weights = {}
    for tensor in reader.tensors:
        name = _target_name(tensor.name)
        values = dequantize(tensor.data, tensor.tensor_type)
        if name.endswith("norm.weight"):
            values = values - 1  # llama.cpp multiplies by w, transformers by 1 + w
        if not values.flags.writeable:
            values = values.copy()  # float32 tensors are views of the file
        weights[name] = torch.from_numpy(values).to(torch.bfloat16).contiguous()
    save_file(dict(sorted(weights.items())), str(path), metadata={"format": "pt"})


def _write_tokenizer(reader: Any, folder: Path) -> None:
    """Gemma's BPE with byte fallback, as ``transformers.GemmaTokenizer`` 5.x builds it."""
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    stored = _field(reader, "tokenizer.ggml.tokens")
    kinds = _field(reader, "tokenizer.ggml.token_type")
    # The file spells runs of blanks as blanks; BPE meets them as "▁" (the normalizer's work).
    tokens = ["▁" * len(t) if t and not t.strip(" ") else t for t in stored]
    vocab = {token: index for index, token in enumerate(tokens)}
    ids = _special_ids(reader)
    bos, eos, pad = (tokens[ids[f"{name}_token_id"]] for name in ("bos", "eos", "pad"))
    unk = tokens[_field(reader, "tokenizer.ggml.unknown_token_id")]

    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab, merges=_merges(tokens, vocab), unk_token=unk, fuse_unk=True,
            byte_fallback=True,
        )
    )  # fmt: skip
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A",
        pair=f"{bos} $A {bos}:1 $B:1",
        special_tokens=[(bos, vocab[bos])],
    )
    # Control tokens are special; user-defined ones ("\n\n", "<table>") only stay whole.
    # Runs of blanks are left to the merges: raw text holds no "▁".
    added = [
        AddedToken(token, normalized=False, special=kind == _CONTROL)
        for token, raw, kind in zip(tokens, stored, kinds, strict=True)
        if kind in (_CONTROL, _USER_DEFINED) and token == raw
    ]
    tokenizer.add_special_tokens([token for token in added if token.special])
    tokenizer.add_tokens([token for token in added if not token.special])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    _write(
        folder / "tokenizer_config.json",
        {
            # The one class that 4.57 and 5.x both have and both load as it is written.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": bos,
            "eos_token": eos,
            "pad_token": pad,
            "unk_token": unk,
            "clean_up_tokenization_spaces": False,
            "model_max_length": _field(reader, "gemma3.context_length"),
        },
    )


def _merges(tokens: list[str], vocab: dict[str, int]) -> list[tuple[str, str]]:
    """Merges of Gemma's BPE, rebuilt from its vocabulary: best first, the order of the ids.

    Every way to cut a token into two tokens is a merge, the longest left part first
    (``transformers.convert_slow_tokenizer.generate_merges``).
    """
    return [
        (token[:cut], token[cut:])
        for token in tokens
        for cut in range(len(token) - 1, 0, -1)
        if token[:cut] in vocab and token[cut:] in vocab
    ]
