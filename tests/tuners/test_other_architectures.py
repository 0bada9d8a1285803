"""Models that transformers stores under other names, and those that PEFT's prefix does not fit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file, save_file

from mt_lottery.config import TunerConfig
from mt_lottery.errors import RecordError, TuningError
from mt_lottery.registry import TUNERS
from mt_lottery.tuners.base import TuningContext

pytestmark = pytest.mark.slow


def model(config: Any, **more: Any) -> Any:
    torch.manual_seed(0)
    shape = config(
        vocab_size=tiny.VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        pad_token_id=tiny.PAD, eos_token_id=tiny.EOS, bos_token_id=tiny.BOS, **more,
    )  # fmt: skip
    return transformers.AutoModelForCausalLM.from_config(shape).eval()


MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt_neox": (transformers.GPTNeoXConfig, {"intermediate_size": 32}),
    "mixtral": (
        transformers.MixtralConfig,
        {"intermediate_size": 32, "num_key_value_heads": 1, "num_local_experts": 2},
    ),
    "bloom": (transformers.BloomConfig, {}),
}


def tuner(name: str, **settings: Any) -> Any:
    schema = TUNERS.dataclass_of(name) or TunerConfig
    return TUNERS.get(name)(schema(name, **settings))


def context(made: Any) -> TuningContext:
    examples = [("w5 w6 w7", " w8"), ("w9 w10", " w11")]
    return TuningContext(made, tiny.tokenizer(), 0, examples=examples)


def logits(made: Any) -> torch.Tensor:
    ids = tiny.ids(2, 7)
    with torch.no_grad():
        found: torch.Tensor = made.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return found


@pytest.mark.parametrize("name", MODELS)
def test_full_tuning_is_read_as_it_was_saved(name: str, tmp_path: Path) -> None:
    config, more = MODELS[name]
    where = context(model(config, **more))
    base = copy.deepcopy(where.model)
    full = tuner("full")
    for parameter in full.apply(where):
        parameter.data += 0.05 * torch.randn_like(parameter)
    full.finish(where.model)
    full.save(where, tmp_path)
    expected = logits(where.model)
    assert (logits(base) - expected).abs().max() > 0.01
    found = tuner("full").restore(base, tmp_path)
    torch.testing.assert_close(logits(found), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_a_full_tuning_with_a_weight_too_few_is_refused(name: str, tmp_path: Path) -> None:
    config, more = MODELS[name]
    where = context(model(config, **more))
    tuner("full").save(where, tmp_path)
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    lost = next(key for key in weights if "dense" in key or "self_attn" in key)
    del weights[lost]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(RecordError, match=r"model\.safetensors: the tuned model cannot be read"):
        tuner("full").restore(model(config, **more), tmp_path)


def test_prompt_of_a_model_that_projects_its_embeddings(tmp_path: Path) -> None:
    """OPT-350m: d = 512, hidden size 1,024; PEFT's default would not load its own folder again."""
    narrow = {"ffn_dim": 64, "word_embed_proj_dim": 16, "max_position_embeddings": 64}
    where = context(model(transformers.OPTConfig, **narrow))
    base = copy.deepcopy(where.model)
    prompt = tuner("prompt")
    (learned,) = prompt.apply(where)
    assert learned.shape == (10, 16)
    prompt.save(where, tmp_path)
    found = tuner("prompt").restore(base, tmp_path)
    torch.testing.assert_close(logits(found), logits(where.model), rtol=0, atol=0)


@pytest.mark.parametrize("init", ["text", "random"])
def test_prefix_is_refused_where_the_model_has_no_plain_cache(init: str) -> None:
    if not hasattr(transformers, "Lfm2Config"):
        pytest.skip("this transformers has no LFM2")
    mixed = {"intermediate_size": 32, "num_key_value_heads": 1}
    mixed |= {"layer_types": ["conv", "full_attention"]}
    with pytest.raises(TuningError, match=r"Lfm2ForCausalLM .*recipe=prompt may"):
        tuner("prefix", init=init).apply(context(model(transformers.Lfm2Config, **mixed)))
    assert tuner("prompt", init=init).apply(context(model(transformers.Lfm2Config, **mixed)))


def test_prefix_is_refused_where_the_heads_are_shared_otherwise_than_the_config_says() -> None:
    with pytest.raises(TuningError, match=r"FalconForCausalLM does not work with PEFT's prefix"):
        tuner("prefix", init="random").apply(context(model(transformers.FalconConfig)))
