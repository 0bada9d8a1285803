"""Model folders damaged by hand and at random: one ModelError with the path, or the same model."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mt_lottery.data.prompts.tokenise import plain_ids
from mt_lottery.errors import ModelError
from mt_lottery.model.hf import load_folder

pytestmark = pytest.mark.slow

IDS = torch.tensor([[1, 5, 6, 7]])


def load(folder: Path) -> Any:
    return load_folder(folder, name="m", dtype="auto", device="cpu")


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vocab_size", "x"), ("vocab_size", 10**12), ("vocab_size", None), ("vocab_size", 60),
        ("hidden_size", -1), ("hidden_size", 0), ("hidden_size", 1.5), ("hidden_size", [16]),
        ("num_hidden_layers", 10**9), ("num_hidden_layers", 9_000), ("num_hidden_layers", True),
        ("intermediate_size", 10**15), ("num_attention_heads", 0), ("num_attention_heads", "2"),
        ("head_dim", 10**7), ("architectures", 3), ("architectures", "LlamaForCausalLM"),
        ("model_type", 7), ("model_type", None), ("rope_parameters", "x"), ("dtype", "float33"),
        ("torch_dtype", {}), ("quantization_config", "x"), ("quantization_config", {}),
        ("quantization_config", {"quant_method": "nosuch"}), ("auto_map", 5),
        ("tie_word_embeddings", "perhaps"), ("eos_token_id", {"a": 1}),
    ],
)  # fmt: skip
def test_a_wrong_value_in_config_json(model_folder, change_json, key: str, value: Any) -> None:
    folder = model_folder()
    change_json(folder / "config.json", **{key: value})
    try:
        loaded = load(folder)
    except ModelError as error:
        assert str(folder) in str(error)
    else:  # what transformers rightly takes no notice of
        plain = ("vocab_size", "auto_map", "eos_token_id", "dtype", "torch_dtype")
        assert key in plain or value == {"quant_method": "nosuch"}
        assert loaded.info.vocab_size == 48


@pytest.mark.parametrize("value", ["512", [512], {"value": 512}])
def test_a_longest_text_that_is_no_number(model_folder, change_json, value: Any) -> None:
    """transformers loads it, and fails at the first text."""
    folder = model_folder()
    path = folder / "tokenizer_config.json"
    change_json(path, model_max_length=value)
    assert refused(folder) == f"{path}: model_max_length is {str(value)!r}; allowed: a number."


@pytest.mark.parametrize("role", ["bos_token", "cls_token", "mask_token", "unk_token"])
def test_a_role_without_a_token(model_folder, write_tokenizer, change_json, role: str) -> None:
    """LLaMA conversions write "" for it; such a token has no id."""
    folder = model_folder()
    write_tokenizer(folder, unk_token=None)
    change_json(folder / "tokenizer_config.json", **{role: ""})
    tokenizer = load(folder).tokenizer
    assert getattr(tokenizer, role) is None
    assert plain_ids(tokenizer, ["w2 w3 </s>"]) == [[5, 6, 0]]


def test_rope_is_computed_as_it_was_stored_or_refused(model_folder) -> None:
    """transformers 4.57 takes no notice of what 5.x stores in ``rope_parameters``."""
    folder = model_folder()
    path = folder / "config.json"
    content = json.loads(path.read_text())
    for key in ("rope_theta", "rope_scaling", "rope_parameters"):
        content.pop(key, None)
    theirs = {"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}

    def logits(**rope: Any) -> torch.Tensor:
        path.write_text(json.dumps({**content, **rope}))
        with torch.no_grad():
            return load(folder).model(IDS).logits

    wanted = logits(**theirs, rope_theta=7.0)
    assert not torch.equal(wanted, logits())
    if int(transformers.__version__.partition(".")[0]) >= 5:
        assert torch.equal(wanted, logits(**theirs))
    else:
        path.write_text(json.dumps({**content, **theirs}))
        text = refused(folder)
        assert str(folder) in text and "rope_theta is 7.0" in text and "Take transformers 5" in text
    path.write_text(json.dumps({**content, "rope_parameters": "x"}))
    assert "rope_parameters is 'x'; allowed: settings by name" in refused(folder)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
@pytest.mark.parametrize("content", ["", "[1", "[]", "{}x", "\0", '{"a": ' * 500, None])
def test_a_damaged_json_file(model_folder, name: str, content: str | None) -> None:
    folder = model_folder()
    (folder / name).unlink()
    if content is None:
        (folder / name).mkdir()
    else:
        (folder / name).write_text(content)
    text = refused(folder)
    assert str(folder) in text and len(text) < 1000


@pytest.mark.parametrize(
    ("weight_map", "wrong"),
    [
        ({"a": "../../x.safetensors"}, "../../x"), ({"a": "/etc/passwd"}, "/etc/passwd"),
        ({"a": 5}, "5"), ({"a": None}, "None"), ({}, "weight_map"), ("x", "weight_map"),
        ({"a": "no.safetensors"}, "no.safetensors is missing"), ({"a": ".."}, "'..'"),
        ({"a": "model.bin"}, "model.bin"),
    ],
)  # fmt: skip
def test_an_index_that_points_elsewhere(model_folder, weight_map: Any, wrong: str) -> None:
    folder = model_folder()
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    text = refused(folder)
    assert wrong in text and str(folder) in text


def test_a_link_that_leads_nowhere_and_a_pipe(model_folder) -> None:
    folder = model_folder()
    (folder / "generation_config.json").unlink()
    (folder / "generation_config.json").symlink_to(folder / "nowhere")
    assert "nowhere" in refused(folder)
    (folder / "generation_config.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    os.mkfifo(folder / "tokenizer_config.json")
    assert "pipe" in refused(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_no_numbers(model_folder, value: float, dtype: torch.dtype) -> None:
    folder = model_folder()
    tensors = {k: v.to(dtype) for k, v in load_file(folder / "model.safetensors").items()}
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name][3, 5] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    text = refused(folder)
    assert name in text and "[3, 5]" in text and str(value) in text


def test_weights_of_other_shapes(model_folder) -> None:
    folder = model_folder()
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(31, 16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert str(folder) in refused(folder)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95])
def test_a_gguf_file_cut_short(tmp_path: Path, share: float) -> None:
    from gguf import GGUFWriter

    whole = tmp_path / "whole.gguf"
    writer = GGUFWriter(str(whole), "llama")
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", torch.zeros(48, 16).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    cut = tmp_path / "cut.gguf"
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    assert str(cut) in refused(cut)


#: Values of every JSON type, sensible and not.
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 3, 10**9, 10**30, 0.5, 1e300, "", "x", "../../x", [],
    [1], ["x"], {}, {"a": 1},
)  # fmt: skip


def _wrong_json(file: Path, chance: random.Random) -> None:
    content = json.loads(file.read_text("utf-8"))
    node, key = content, chance.choice(list(content))
    while isinstance(node[key], dict) and node[key] and chance.random() < 0.6:
        node = node[key]
        key = chance.choice(list(node))
    if chance.random() < 0.2:
        del node[key]
    else:
        node[key] = chance.choice(ODD)
    file.write_text(json.dumps(content))


def _wrong_bytes(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    kind = chance.randrange(4)
    if kind == 0:
        content = content[: chance.randrange(len(content))]
    elif kind == 1:
        at = chance.randrange(min(len(content), 3000))
        content[at : at + 8] = chance.randbytes(8)
    elif kind == 2:
        content += chance.randbytes(10)
    else:
        content = bytearray(chance.randbytes(200))
    file.write_bytes(content)


def _wrong_file(file: Path, chance: random.Random) -> None:
    file.unlink()
    if chance.random() < 0.5:
        file.mkdir()
    elif chance.random() < 0.5:
        file.write_bytes(b"")


MUTATIONS: dict[str, Callable[[Path, random.Random], None]] = {
    "json": _wrong_json,
    "bytes": _wrong_bytes,
    "file": _wrong_file,
}


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_done_to_a_folder(built, tmp_path: Path, seed: int) -> None:
    """ModelError with the path; or, where the change does not matter, a model that translates."""
    chance = random.Random(seed)
    folder = tmp_path / "m"
    shutil.copytree(built(chance.choice(["llama", "gemma3", "gpt2"]), False), folder)
    kind = chance.choice(list(MUTATIONS))
    names = sorted(p.name for p in folder.iterdir() if kind != "json" or p.suffix == ".json")
    name = chance.choice(names)
    MUTATIONS[kind](folder / name, chance)
    try:
        loaded = load(folder)
    except ModelError as error:
        assert str(folder) in str(error), (kind, name)
        assert len(str(error)) < 1200
    else:
        logits = loaded.model(input_ids=IDS).logits
        assert logits.shape[:2] == IDS.shape and bool(torch.isfinite(logits).all())
        assert loaded.tokenizer.eos_token_id is not None


def changed(folder: Path, **tensors: Any) -> None:
    """Write tensors (or leave out, for None) beside those of a folder; ``__`` for a dot."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name, value in tensors.items():
        weights.pop(name.replace("__", "."), None)
        if value is not None:
            weights[name.replace("__", ".")] = value
    save_file(weights, path, metadata={"format": "pt"})


def test_weights_that_the_model_has_no_place_for(model_folder, change_json) -> None:
    folder = model_folder()
    width = load(folder).info.embedding_dim
    changed(folder, vision_tower__layers__7__weight=torch.zeros(3, 3))
    load(folder)  # a part of another kind may be left out
    changed(folder, model__layers__0__self_attn__q_proj__bias=torch.ones(width))
    said = refused(folder)
    assert "1 tensor that a LlamaForCausalLM of its config.json has no place for" in said
    assert "model.layers.0.self_attn.q_proj.bias" in said and str(folder) in said

    shutil.rmtree(folder)
    folder = model_folder()
    layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    name = f"model.layers.{layers}.input_layernorm.weight".replace(".", "__")
    changed(folder, **{name: torch.ones(width)})
    assert f"model.layers.{layers}.input_layernorm.weight" in refused(folder)
    change_json(folder / "config.json", num_nextn_predict_layers=1)
    load(folder)  # a head for the token after the next
    change_json(folder / "config.json", num_nextn_predict_layers=0, num_hidden_layers=1)
    assert "no place for (model.layers.1." in refused(folder)


def test_a_mask_that_is_called_bias(model_folder) -> None:
    """GPT-J, GPT-Neo and BigCode models were stored with their attention's causal mask."""
    folder = model_folder()
    config = transformers.GPTJConfig(vocab_size=99, n_embd=16, n_layer=1, n_head=2, rotary_dim=4)
    gptj: Any = transformers.GPTJForCausalLM(config)
    gptj.save_pretrained(folder)
    mask = torch.ones(1, 1, 8, 8, dtype=torch.uint8)
    changed(folder, transformer__h__0__attn__bias=mask)
    load(folder)
    changed(folder, transformer__h__0__attn__q_proj__bias=torch.ones(16))
    assert "transformer.h.0.attn.q_proj.bias" in refused(folder)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_a_head_that_is_stored_beside_the_table_that_it_is(model_folder, kind: str) -> None:
    folder = model_folder(kind, tied=True)
    (name,) = (n for n in load_file(folder / "model.safetensors") if "embed_tokens" in n)
    changed(folder, lm_head__weight=load_file(folder / "model.safetensors")[name].clone())
    assert load(folder).info.tied_embeddings


def test_weights_in_whole_numbers_without_a_quantisation(model_folder) -> None:
    folder = model_folder()
    name = "model.layers.0.self_attn.q_proj.weight"
    weight = load_file(folder / "model.safetensors")[name]
    changed(folder, **{name.replace(".", "__"): (weight * 100).to(torch.int8)})
    said = refused(folder)
    assert f"{name} is stored as I8" in said and "no quantization_config" in said


def test_a_tensor_in_two_files(model_folder) -> None:
    folder = model_folder()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    name = "model.norm.weight"
    save_file(weights, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})
    save_file({name: weights[name] * 2}, folder / "model-00002-of-00002.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    places = dict.fromkeys(weights, "model-00001-of-00002.safetensors")
    places[name] = "model-00002-of-00002.safetensors"
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    said = refused(folder)
    assert (
        f"model-00002-of-00002.safetensors and model-00001-of-00002.safetensors both hold {name}"
        in said
    )


def test_a_shape_of_another_configuration_is_named(model_folder, change_json) -> None:
    folder = model_folder()
    change_json(folder / "config.json", intermediate_size=24)
    said = refused(folder)
    assert "mlp.down_proj.weight is 16 x 32, and its config.json describes 16 x 24" in said
    assert "above report" not in said
