"""LoRA, QLoRA, prefix and prompt tuning: what they train and save, and that PEFT loads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file, save_file

from mt_lottery.config import RunConfig, TrainConfig, TunerConfig
from mt_lottery.errors import RecordError, TuningError
from mt_lottery.registry import TUNERS
from mt_lottery.training.trainer import train
from mt_lottery.tuners.adapters.base import query_and_value_layers
from mt_lottery.tuners.adapters.quantise import (
    dequantised,
    memory_bytes,
    quantise,
    quantised_layers,
)
from mt_lottery.tuners.base import TuningContext

pytestmark = pytest.mark.slow

METHODS = ("lora", "qlora", "prefix", "prompt")
KINDS = ("llama", "gemma3", "mistral", "qwen2")


def tuner(name: str, **settings: Any) -> Any:
    schema = TUNERS.dataclass_of(name) or TunerConfig
    return TUNERS.get(name)(schema(name, **settings))


def context(model: Any, seed: int = 0) -> TuningContext:
    examples = [("w5 w6 w7", " w8"), ("w9 w10", " w11")]
    return TuningContext(model, tiny.tokenizer(), seed, examples=examples)


def made(kind: str, method: str, dtype: torch.dtype = torch.float32, **more: Any) -> Any:
    # bitsandbytes works in blocks of 64 values
    wide = {"hidden_size": 64, "intermediate_size": 128} if method == "qlora" else {}
    return tiny.model(kind, tied=kind == "gemma3", dtype=dtype, **wide, **more)


def fit(model: Any, folder: Path, **settings: Any) -> None:
    config = TrainConfig(epochs=1, batch_size=4, **{"lr": 0.05, **settings})
    train(
        model,
        config,
        tiny.examples(12),
        pad_id=tiny.PAD,
        seed=0,
        folder=folder / "checkpoints",
        log=folder / "log.jsonl",
        title="test",
        dev=tiny.examples(3, seed=5),  # an evaluation without gradients between the epochs
    )


def logits(model: Any) -> torch.Tensor:
    ids = tiny.ids(2, 7)
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return found[:, -7:]


@pytest.fixture(autouse=True)
def quiet_libraries() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_trained_saved_and_loaded_by_plain_peft(kind: str, method: str, tmp_path: Path) -> None:
    base = made(kind, method)
    start = logits(base)
    where, method_tuner = context(base), tuner(method)
    trained = method_tuner.apply(where)
    assert trained == [p for p in where.model.parameters() if p.requires_grad]
    assert all(p.dtype is torch.float32 for p in trained)
    first = [p.detach().clone() for p in trained]
    fit(where.model, tmp_path)
    assert any(not torch.equal(a, b) for a, b in zip(first, trained, strict=True))
    method_tuner.finish(where.model)
    method_tuner.save(where, tmp_path)
    tuned = logits(where.model)
    assert not torch.allclose(tuned, start, atol=1e-3)

    plain = made(kind, method)
    if method == "qlora":
        quantise(plain)
    theirs = peft.PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(logits(theirs), tuned, atol=1e-5, rtol=1e-5)
    ours = tuner(method).restore(made(kind, method), tmp_path)
    torch.testing.assert_close(logits(ours), tuned, atol=1e-5, rtol=1e-5)
    assert not any(p.requires_grad for p in ours.parameters())
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    assert weights.stat().st_mode & 0o044 == 0o044  # others may read it
    said = (tmp_path / "adapter" / "README.md").read_text()
    assert "PeftModel.from_pretrained" in said and ("nf4" in said) == (method == "qlora")


@pytest.mark.parametrize("method", METHODS)
def test_start_values_depend_on_the_seed_alone(method: str) -> None:
    def start(seed: int, disturb: int) -> list[torch.Tensor]:
        torch.manual_seed(disturb)
        settings = {"init": "random"} if method in ("prefix", "prompt") else {}
        return [
            p.detach().clone()
            for p in tuner(method, **settings).apply(context(made("llama", method), seed))
        ]

    one, same, other = start(1, 5), start(1, 6), start(2, 5)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("kind", KINDS)
def test_virtual_tokens_start_as_the_words_of_a_prompt(kind: str, method: str) -> None:
    base = tiny.model(kind, tied=True)
    ids = tiny.ids(2, 7)
    words = torch.tensor([[5, 6, 7, 5]]).expand(2, -1)  # w5 w6 w7, and around again
    with torch.no_grad():
        expected = base(torch.cat([words, ids], dim=1)).logits[:, -7:]
    where = context(base)
    tuner(method, tokens=4).apply(where)
    torch.testing.assert_close(logits(where.model.eval()), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_count_needs_no_weights_and_agrees(kind: str, method: str) -> None:
    where = context(made(kind, method))
    applied = tuner(method)
    applied.apply(where)
    with torch.device("meta"):
        shape = made(kind, method)
    assert tuner(method).count(shape) == applied.trainable_parameters(where)
    if method == "prompt":
        assert applied.trainable_parameters(where) == 10 * tiny.DIM


def test_targets_that_the_model_lacks() -> None:
    with pytest.raises(TuningError, match=r"no linear layers named 'q_prj'. Did you mean 'q_proj'"):
        tuner("lora", target_modules=["q_prj"]).apply(context(tiny.model()))
    with pytest.raises(TuningError, match="It has: c_attn, c_fc, c_proj"):
        tuner("lora", target_modules=["q_proj"]).apply(context(tiny.model("gpt2")))


FAMILIES = {
    "llama": (transformers.LlamaConfig, {}, ["q_proj", "v_proj"]),
    "gpt2": (transformers.GPT2Config, {}, ["c_attn"]),
    "phi": (transformers.PhiConfig, {}, ["q_proj", "v_proj"]),  # PEFT's list has fc1, fc2 too
    "phi3": (transformers.Phi3Config, {"pad_token_id": 0}, ["qkv_proj"]),  # PEFT's list has none
    "opt": (transformers.OPTConfig, {"word_embed_proj_dim": 32}, ["q_proj", "v_proj"]),
    "bloom": (transformers.BloomConfig, {}, ["query_key_value"]),
    "gpt_neox": (transformers.GPTNeoXConfig, {}, ["query_key_value"]),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_query_and_value_layers_of_other_architectures(family: str) -> None:
    kind, more, wanted = FAMILIES[family]
    shape = kind(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, **more)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(shape)
    assert query_and_value_layers(model) == wanted
    where = context(model)
    tuner("lora").apply(where)
    trained = [n for n, p in where.model.named_parameters() if p.requires_grad]
    assert {n.partition(".lora_")[0].rpartition(".")[2] for n in trained} == set(wanted)


def test_a_model_without_attention() -> None:
    shape = transformers.MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(shape)
    with pytest.raises(TuningError, match=r"give tuner\.target_modules\. It has: dt_proj, in_proj"):
        tuner("lora").apply(context(model))
    with pytest.raises(TuningError, match="PEFT cannot put prefix on MambaForCausalLM"):
        tuner("prefix").apply(context(model))


def test_prefix_refuses_gradient_checkpointing() -> None:
    run = RunConfig(train=TrainConfig(gradient_checkpointing=True))
    assert "recipe=prefix: false" in " ".join(tuner("prefix").problems_with(run))
    assert list(tuner("prompt").problems_with(run)) == []
    assert list(tuner("prefix").problems_with(RunConfig())) == []


def test_damaged_adapter(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=re.escape("adapter_config.json: missing")):
        tuner("lora").restore(tiny.model(), tmp_path)
    where = context(tiny.model())
    saver = tuner("lora")
    saver.apply(where)
    saver.save(where, tmp_path)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    good = load_file(file)
    name = next(iter(good))
    for wrong in (
        {n: t for n, t in good.items() if n != name},
        {n: t for n, t in good.items() if "lora_A" in n},
        {f"base_model.{n}": t for n, t in good.items()},
        good | {"more": torch.zeros(1)},
        good | {name: good[name][:1].clone()},
        good | {name: good[name] / 0},
    ):
        save_file(wrong, file)
        with pytest.raises(RecordError, match=re.escape(str(tmp_path / "adapter"))):
            tuner("lora").restore(tiny.model(), tmp_path)
    save_file(good, file)
    with pytest.raises(RecordError, match="`r` is 8, but the run's settings make it 4"):
        tuner("lora", r=4).restore(tiny.model(), tmp_path)
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(RecordError, match="damaged"):
        tuner("lora").restore(tiny.model(), tmp_path)
    (tmp_path / "adapter" / "adapter_config.json").write_text("{")
    with pytest.raises(RecordError, match="damaged"):
        tuner("lora").restore(tiny.model(), tmp_path)


# -- quantisation


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantised_as_transformers_does(dtype: torch.dtype, double: bool, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    made("llama", "qlora", dtype).save_pretrained(tmp_path)
    settings: Any = BitsAndBytesConfig
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path,
        dtype=dtype,
        quantization_config=settings(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=double,
            bnb_4bit_compute_dtype=dtype,
        ),
    )
    for layer in quantised_layers(theirs).values():
        layer.support_avx512bf16_for_cpu = False  # it repacks narrow layers wrongly, or refuses
    ours = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    whole = memory_bytes(ours, trained=True)
    quantise(ours, double=double)
    assert quantised_layers(ours).keys() == quantised_layers(theirs).keys() != set()
    for (name, a), b in zip(
        quantised_layers(ours).items(), quantised_layers(theirs).values(), strict=True
    ):
        assert torch.equal(dequantised(a), dequantised(b)), name
    torch.testing.assert_close(logits(ours), logits(theirs))
    assert memory_bytes(ours, trained=True) < 0.6 * whole


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_survive_an_evaluation(dtype: torch.dtype) -> None:
    where = context(made("llama", "qlora", dtype))
    trained = tuner("qlora").apply(where)
    ids = tiny.ids(4, 9)

    def gradients() -> list[torch.Tensor]:
        where.model.zero_grad()
        where.model(input_ids=ids, labels=ids).loss.backward()
        return [p.grad.clone() for p in trained if p.grad is not None]

    where.model.train()
    before = gradients()
    where.model.eval()
    logits(where.model)
    where.model.train()
    after = gradients()
    assert len(before) == len(after) == len(trained)
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(one, two)
    assert any(bool(g.abs().sum() > 0) for g in after)


def test_the_record_says_what_is_quantised() -> None:
    where = context(made("llama", "qlora", torch.bfloat16))
    applied = tuner("qlora")
    applied.apply(where)
    said = json.loads(json.dumps(applied.details(where)))["quantization"]
    assert said["method"] == "nf4" and said["double_quantization"] is True
    assert said["layers"] == 14 and said["parameters"] == sum(
        m.weight.numel() for m in linear_layers(made("llama", "qlora"))
    )
    assert said["base_bytes"] < memory_bytes(made("llama", "qlora", torch.bfloat16), trained=True)


def linear_layers(model: Any) -> list[Any]:
    head = model.get_output_embeddings()
    return [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]


def test_a_model_that_cannot_be_quantised() -> None:
    with pytest.raises(TuningError, match=r"GPT2LMHeadModel has no linear layer.*recipe=lora"):
        tuner("qlora").apply(context(tiny.model("gpt2")))


def test_token_rows_on_a_quantised_base(tmp_path: Path) -> None:
    from mt_lottery.tuners.rows.module import attach

    model = made("llama", "qlora")
    quantise(model)
    embedding = attach(model, torch.tensor([4, 9, 12]), tied=False)
    start = embedding.rows.detach().clone()
    fit(model, tmp_path)
    assert not torch.equal(embedding.rows, start)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_rank_beyond_the_layers_is_refused(kind: str) -> None:
    with pytest.raises(TuningError, match=r"tuner.r=65: .* allowed: 1 to 64"):
        tuner("lora", r=65).apply(context(tiny.model(kind)))


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_more_learned_positions_than_the_model_has_are_refused(method: str) -> None:
    with pytest.raises(TuningError, match=r"tuner.tokens=64: .* allowed: 1 to 63"):
        tuner(method, tokens=64).apply(context(tiny.model("llama")))


def test_an_adapter_names_its_layers_in_one_order(tmp_path: Path) -> None:
    """PEFT keeps them as a set, whose order is another one in every process."""
    names = ["v_proj", "q_proj", "o_proj", "k_proj", "up_proj", "down_proj", "gate_proj"]
    where, lora = context(made("llama", "lora")), tuner("lora", target_modules=names)
    lora.apply(where)
    written = json.loads((lora.save(where, tmp_path) / "adapter_config.json").read_text())
    assert written["target_modules"] == sorted(names)
