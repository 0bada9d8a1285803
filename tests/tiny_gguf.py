"""Tiny models as GGUF files, as llama.cpp's converter would write them, and runs of them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "cli"))

ARCHITECTURES = {"llama": "llama", "gemma3_text": "gemma3", "qwen2": "qwen2", "gemma2": "gemma2"}


def permuted(weight: Any, heads: int) -> Any:
    """Rows of q or k of a Llama, in the order in which llama.cpp rotates them."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def add_tokenizer(writer: Any, folder: Path, rows: int) -> None:
    """Byte-level BPE with GPT-2's way to cut words."""
    stored = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = {**stored["model"]["vocab"]} | {
        t["content"]: t["id"] for t in stored["added_tokens"]
    }
    special = {t["id"] for t in stored["added_tokens"] if t["special"]}
    tokens = {index: token for token, index in vocabulary.items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([tokens.get(i, f"[PAD{i}]") for i in range(rows)])
    kinds = [3 if i in special else 1 if i in tokens else 5 for i in range(rows)]
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in stored["model"]["merges"]])
    named = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    for name in ("bos", "eos", "pad"):
        getattr(writer, f"add_{name}_token_id")(vocabulary[named[f"{name}_token"]])
    writer.add_add_bos_token(True)


def write_gguf(
    folder: Path,
    path: Path,
    *,
    table: str = "F32",
    also: dict[str, Any] | None = None,
    alignment: int = 32,
) -> Path:
    """A model folder as a GGUF file.

    Args:
        folder: of transformers, its tokenizer byte-level BPE.
        path: the file.
        table: type of the embedding table.
        also: more tensors, float32.
        alignment: of the tensors.
    """
    import gguf
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text("utf-8"))
    arch = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("tiny")
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    rope = config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 1e4))
    if arch.startswith("gemma"):
        writer.add_sliding_window(config["sliding_window"])
        writer.add_sliding_window_pattern(
            [kind == "sliding_attention" for kind in config["layer_types"]]
        )
    add_tokenizer(writer, folder, config["vocab_size"])
    names = gguf.get_tensor_name_map(
        getattr(gguf.MODEL_ARCH, arch.upper()), config["num_hidden_layers"]
    )
    for name, tensor in load_file(folder / "model.safetensors").items():
        values = tensor.to(torch.float32).numpy()
        if arch.startswith("gemma") and name.endswith("norm.weight"):
            values = values + 1
        if arch == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            kind = "num_attention_heads" if "q_proj" in name else "num_key_value_heads"
            values = permuted(values, config[kind])
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert new is not None, name
        if new == "token_embd.weight":
            kind = gguf.GGMLQuantizationType[table]
            writer.add_tensor(new, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(new, np.ascontiguousarray(values))
    for name, values in (also or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@dataclass(frozen=True)
class Model:
    """A folder of transformers and the same model for llama.cpp, float32."""

    folder: Path
    gguf: Path


def make_model(folder: Path, kind: str, *, tied: bool, **more: Any) -> Model:
    """A random model of 600 tokens and 32 dimensions, with a byte-level BPE tokenizer."""
    import tiny
    from tiny_runs import _write_tokenizer

    shape = {"vocab_size": 600, "hidden_size": 32, "intermediate_size": 64, "head_dim": 16}
    shape |= {"max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1}
    if kind.startswith("gemma"):
        more = {
            "query_pre_attn_scalar": 16,  # as llama.cpp has it in all sizes but one
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            **more,
        }
    made = tiny.model(kind, tied=tied, **{**shape, "pad_token_id": 2, **more})
    made.save_pretrained(folder)
    _write_tokenizer(folder)
    return Model(folder, write_gguf(folder, folder.with_suffix(".gguf")))


def tune(
    model: Model, out: Path, *, lang: str = "en-ro", recipe: str = "random_seen", **more: Any
) -> Any:
    """A finished run: a dozen rows, moved far enough to change what is said."""
    import mt_lottery as mtl

    settings = {
        "model": "hf", "model.name_or_path": str(model.folder), "model.dtype": "float32",
        "data": "mini", "data.train_pairs": 16, "data.test_pairs": 6, "data.dev_pairs": 4,
        "translate.max_new_tokens": 10, "metrics": ["chrf"], "baseline": False,
        "train.epochs": 2, "device": "cpu",
        **({"tuner.tickets": 12, "train.lr": 0.3} if recipe == "random_seen" else {}),
    }  # fmt: skip
    return mtl.train(recipe, lang, out_dir=out, settings=settings | more, echo=lambda _: None)


def answers(run: Any, sources: list[str] | None = None) -> list[tuple[list[int], list[int]]]:
    """Prompt and greedy continuation of sentences as token ids, by the run's own model.

    Those of its test set where none are given.
    """
    import torch

    loaded = run.tuned
    sources = sources or [line["source"] for line in run.hypotheses]
    found = []
    for ids in run.text.prompts(sources, loaded.tokenizer, run.lead):
        with torch.no_grad():
            said = loaded.model.generate(
                torch.tensor([ids]), max_new_tokens=10, do_sample=False, eos_token_id=1,
                pad_token_id=2,
            )  # fmt: skip
        found.append((ids, said[0, len(ids) :].tolist()))
    return found


def entries(path: Path) -> dict[str, Any]:
    """All metadata of a file, as gguf's own reader has them."""
    import gguf

    return {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items()}
