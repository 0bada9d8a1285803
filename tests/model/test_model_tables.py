"""Tables, tying, EOS and padding."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoTokenizer

from mt_lottery.config import ModelConfig
from mt_lottery.errors import ModelError
from mt_lottery.model import special_tokens, tables
from mt_lottery.model.loading import load

KINDS = ["llama", "qwen2", "gemma3", "gpt2"]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_the_parameters_themselves(build_model, kind):
    model = build_model(kind, tied=True)
    table = tables.input_table(model)
    assert table is model.get_input_embeddings().weight
    assert tuple(table.shape) == (48, 16)
    assert tables.is_tied(model)
    assert tables.output_table(model) is table


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_untied(build_model, kind):
    model = build_model(kind, tied=False)
    assert not tables.is_tied(model)
    # The memory decides: a setting that says otherwise changes nothing.
    model.config.tie_word_embeddings = True
    assert not tables.is_tied(model)


def test_same_memory_in_two_parameters_is_tied(build_model):
    model = build_model("llama", tied=False)
    model.lm_head.weight = torch.nn.Parameter(model.get_input_embeddings().weight.data)
    assert tables.is_tied(model)


def test_weights_without_memory_follow_the_config(build_model):
    with torch.device("meta"):
        assert not tables.is_tied(build_model("llama", tied=False))


def test_tables_through_peft(build_model):
    peft = pytest.importorskip("peft")
    model = build_model("llama", tied=False)
    table = tables.input_table(model)
    settings = peft.LoraConfig(r=2, target_modules=["q_proj", "embed_tokens", "lm_head"])
    wrapped = peft.get_peft_model(model, settings)
    assert tables.input_table(wrapped) is table
    assert not tables.is_tied(wrapped)


def test_a_model_without_tables():
    empty = SimpleNamespace(get_input_embeddings=lambda: None, get_output_embeddings=lambda: None)
    with pytest.raises(ModelError, match="no input embedding table"):
        tables.input_table(empty)
    with pytest.raises(ModelError, match="no output head"):
        tables.output_head(empty)


@pytest.fixture
def make_tokenizer(write_tokenizer, tmp_path):
    def make(**special):
        write_tokenizer(tmp_path, **special)
        return AutoTokenizer.from_pretrained(tmp_path)

    return make


def test_eos_ids(make_tokenizer, build_model):
    tokenizer = make_tokenizer()
    model = build_model("llama")
    assert tables.eos_ids(model, tokenizer) == [2]
    # The chat's end counts where the model says so; an ordinary word and a foreign id never do.
    model.generation_config.eos_token_id = [43, 2, 7, 4000]
    assert tables.eos_ids(model, tokenizer) == [2, 43]
    model.generation_config.eos_token_id = None
    assert tables.eos_ids(model, tokenizer) == [2]


@pytest.mark.parametrize(
    ("special", "padding"),
    [
        ({"pad_token": "w3"}, "w3"),
        ({}, "<unk>"),
        ({"pad_token": "</s>"}, "<unk>"),
        ({"unk_token": None}, "</s>"),
        ({"eos_token": "w1", "unk_token": None}, "w1"),
    ],
)
def test_padding(make_tokenizer, special, padding):
    tokenizer = make_tokenizer(**special)
    before = len(tokenizer)
    special_tokens.prepare(tokenizer, 48, "here")
    assert tokenizer.pad_token == padding
    assert len(tokenizer) == before


def test_padding_that_the_vocabulary_has(make_tokenizer, monkeypatch):
    monkeypatch.setattr(special_tokens, "_PADDING", ("no such", "w9"))
    tokenizer = make_tokenizer()
    special_tokens.prepare(tokenizer, 48, "here")
    assert tokenizer.pad_token_id == tokenizer.convert_tokens_to_ids("w9")


@pytest.mark.parametrize("eos", [None, "<unk>"])
def test_no_eos(make_tokenizer, eos):
    tokenizer = make_tokenizer(eos_token=None)
    if eos:  # a token that the vocabulary lacks: its id is the unknown's
        tokenizer = SimpleNamespace(
            eos_token_id=0, unk_token_id=0, eos_token="<|end|>", unk_token="<unk>"
        )
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        special_tokens.prepare(tokenizer, 48, "here")


def test_vocabulary_beyond_the_table(model_folder, cache):
    folder = model_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"more{i}" for i in range(10)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"ids up to 53 \('more9'\).*only 48 rows"):
        load(ModelConfig(name="hf", name_or_path=str(folder)), "cpu")
