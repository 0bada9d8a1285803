"""Embedding tables found and read in parts, without a model and without its memory."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mt_lottery.errors import ModelError
from mt_lottery.paper.find.pair import Pair
from mt_lottery.paper.find.tables import MemoryTable, PatchedTable, open_model, read_rows
from mt_lottery.paper.find.ticket import score_pair
from mt_lottery.runs.outcome import peak_memory, start_peak
from mt_lottery.ticket.ks import ks_test

NAMES = {"gpt2": "transformer.wte.weight"}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", [*tiny.KINDS, "cohere"])
def test_the_table_is_the_models(kind: str, tied: bool, tmp_path: Path) -> None:
    model = tiny.model(kind, tied=tied, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    folder = open_model(tmp_path)
    assert folder.tied is tied
    assert (folder.head is None) is tied
    table = folder.table()
    assert table.shape == (64, 16) and table.dtype is torch.bfloat16
    expected = model.get_input_embeddings().weight.detach()
    assert torch.equal(table.read(3, 9), expected[3:9])
    assert torch.equal(read_rows(table, torch.tensor([9, 0, 63])), expected[[9, 0, 63]])


def test_other_names_for_the_same_tensor(tmp_path: Path) -> None:
    """The body's prefix may be missing, or another may stand before it."""
    model = tiny.model("gpt2", tied=True)
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    for prefix in ("", "wrapped.language_model."):
        renamed = {prefix + k.removeprefix("transformer."): v for k, v in state.items()}
        save_file(renamed, file)
        table = open_model(tmp_path).table()
        assert table.name == f"{prefix}wte.weight"
        assert torch.equal(table.read(0, 64), model.get_input_embeddings().weight)


def test_a_tied_model_saved_under_the_heads_name(tmp_path: Path) -> None:
    tiny.model("llama", tied=True).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    state["lm_head.weight"] = state.pop("model.embed_tokens.weight")
    save_file(state, file)
    assert open_model(tmp_path).table().name == "lm_head.weight"
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(ModelError, match="hold no input embedding table of LlamaForCausalLM"):
        open_model(tmp_path).table()


def test_packed_weights_are_named(tmp_path: Path) -> None:
    tiny.model("llama").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    state["model.embed_tokens.weight"] = torch.zeros(64, 16, dtype=torch.int8)
    save_file(state, file)
    with pytest.raises(ModelError, match=r"model.embed_tokens.weight is stored as I8; allowed"):
        open_model(tmp_path).table()


def pair(before: Any, after: Any) -> Pair:
    names = ("before", "after")
    counts: Counter[int] = Counter()
    return Pair(before, after, before.shape[0], names, None, counts, "before", False)


@given(
    rows=st.integers(1, 40),
    moved=st.sets(st.integers(0, 39)),
    part=st.integers(1, 3000),
    seed=st.integers(0, 100),
    half=st.booleans(),
)
def test_in_parts_as_in_one(rows: int, moved: set[int], part: int, seed: int, half: bool) -> None:
    """Whatever the size of a part, the result is that of both tables at once."""
    from unittest import mock

    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, 24, generator=generator)
    table = table.bfloat16() if half else table
    ids = torch.tensor(sorted((i for i in moved if i < rows), reverse=True), dtype=torch.int64)
    values = torch.randn(len(ids), 24, generator=generator)
    before = MemoryTable(table)
    after = PatchedTable(before, ids, values) if len(ids) else before
    whole = table.float().clone()
    whole[ids] = values
    expected = ks_test(table.float(), whole)
    with mock.patch("mt_lottery.paper.find.tables.PART", part):
        found = score_pair(pair(before, after))
    assert torch.equal(found.statistic, expected.statistic)
    assert found.pvalue is None or torch.equal(found.pvalue, expected.pvalue)
    assert torch.equal(read_rows(after, ids), values if len(ids) else torch.empty(0, 24))


def test_rows_of_another_model() -> None:
    before = MemoryTable(torch.zeros(4, 8))
    with pytest.raises(ModelError, match="of another model"):
        PatchedTable(before, torch.tensor([4]), torch.zeros(1, 8))
    with pytest.raises(ModelError, match="of another model"):
        PatchedTable(before, torch.tensor([3]), torch.zeros(1, 7))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    """Two tables of 256 MB each, mapped files included: far less than one of them."""
    shape = {"vocab_size": 1 << 16, "hidden_size": 1024, "num_hidden_layers": 1}
    config = tiny.model("llama").config
    table = torch.randn(1 << 16, 1024)
    for side in ("before", "after"):
        folder = tmp_path / side
        folder.mkdir()
        settings = config.to_dict() | shape | {"architectures": ["LlamaForCausalLM"]}
        (folder / "config.json").write_text(json.dumps(settings))
        save_file({"model.embed_tokens.weight": table}, folder / "model.safetensors")
        table[1000:1050] += 0.5
    expected = 50
    del table
    both = pair(*(open_model(tmp_path / side).table() for side in ("before", "after")))
    score_pair(pair(MemoryTable(torch.zeros(70, 1024)), MemoryTable(torch.ones(70, 1024))))
    start_peak("cpu")
    start = peak_memory("cpu")
    scores = score_pair(both)
    assert peak_memory("cpu") - start < 128 << 20
    assert int((scores.statistic > 0).sum()) == expected
