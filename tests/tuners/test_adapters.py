"""Folders of rows, read by plain PEFT and by ourselves."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mt_lottery.errors import ModelError, RecordError
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.adapter_file import CONFIG, WEIGHTS, load_rows, module_name, save_rows
from mt_lottery.tuners.rows.base import RowsConfig
from mt_lottery.tuners.rows.embed import EmbedTuner
from mt_lottery.tuners.rows.module import attach

pytestmark = pytest.mark.slow

ROWS = torch.tensor([9, 4, 33])


def tuned(kind: str, base_tied: bool, scope: str, dtype: torch.dtype) -> tuple[Any, Any, Tensor]:
    """The original, the tuned model, and its rows."""
    base = tiny.model(kind, tied=base_tied, dtype=dtype)
    model = tiny.clone(base)
    values = 0.3 * torch.randn(3, tiny.DIM, generator=torch.Generator().manual_seed(1))
    attach(model, ROWS, values, tied=scope == "tied")
    return base, model, values


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "base_tied", "scope"),
    [
        ("llama", False, "input"),
        ("llama", True, "input"),
        ("llama", True, "tied"),
        ("gemma3", True, "input"),
        ("gemma3", True, "tied"),
        ("qwen2", True, "input"),
        ("gpt2", True, "input"),
        ("gpt2", True, "tied"),
        ("gpt2", False, "input"),
    ],
)
def test_plain_peft_gives_the_same_logits(
    kind: str, base_tied: bool, scope: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    from peft import PeftModel

    base, model, _ = tuned(kind, base_tied, scope, dtype)
    context = TuningContext(model, None, 0)
    folder = EmbedTuner(RowsConfig("embed", scope=scope)).save(context, tmp_path)
    assert folder == tmp_path / "adapter"
    ids = torch.cat([tiny.ids(2, 7), ROWS.repeat(2, 1)], dim=1)
    before = base(ids).logits
    with warnings.catch_warnings():
        # PEFT only warns of keys that it lacks and settings that it corrects
        warnings.filterwarnings("error", message=".*(missing|unexpected|fan_in_fan_out).*")
        loaded = PeftModel.from_pretrained(base, folder)
    assert not torch.allclose(before, model(ids).logits)
    exact = dtype is torch.float32
    room = {"rtol": 1e-5, "atol": 1e-5} if exact else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(loaded(ids).logits, model(ids).logits, **room)


@pytest.mark.parametrize("scope", ["input", "tied"])
@pytest.mark.parametrize("kind", ["llama", "gemma3", "gpt2"])
def test_round_trip(kind: str, scope: str, tmp_path: Path) -> None:
    base, model, values = tuned(kind, True, scope, torch.bfloat16)
    tuner = EmbedTuner(RowsConfig("embed", scope=scope))
    tuner.save(TuningContext(model, None, 0), tmp_path)
    token_ids, read = load_rows(tmp_path / "adapter")
    assert token_ids.tolist() == ROWS.tolist() and read.dtype is torch.float32
    assert torch.equal(read, values)
    tuner.restore(base, tmp_path)
    assert torch.equal(base(tiny.ids()).logits, model(tiny.ids()).logits)
    assert not any(p.requires_grad for p in base.parameters())


def test_one_row_of_a_model_whose_head_has_another_name(tmp_path: Path) -> None:
    model = tiny.model(tied=True)
    head = model.lm_head
    del model.lm_head
    model.embed_out = head
    model.get_output_embeddings = lambda: head
    values = torch.randn(1, tiny.DIM)
    save_rows(
        tmp_path, model, ROWS[:1], values, base_name="somewhere/base", input_only=True
    )  # as many rows as the head's
    token_ids, read = load_rows(tmp_path)
    assert token_ids.tolist() == [9] and torch.equal(read, values)


def test_what_the_folder_says(tmp_path: Path) -> None:
    _, model, values = tuned("llama", True, "input", torch.float32)
    save_rows(tmp_path / "a", model, ROWS, values, base_name="org/base", input_only=True)
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    assert config["base_model_name_or_path"] == "org/base"
    assert config["trainable_token_indices"] == {"embed_tokens": [9, 4, 33], "lm_head": [0]}
    readme = (tmp_path / "a" / "README.md").read_text()
    assert "3 rows of the input embedding table" in readme and "merge_and_unload" in readme
    save_rows(tmp_path / "b", model, ROWS, values, base_name="org/base", input_only=False)
    assert json.loads((tmp_path / "b" / CONFIG).read_text())["token_indices"] == [9, 4, 33]
    assert "merge_and_unload" not in (tmp_path / "b" / "README.md").read_text()
    tensors = load_file(tmp_path / "b" / WEIGHTS)
    assert {t.dtype for t in tensors.values()} == {torch.float32}


def change(**values: Any) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        config.update(values)
        (folder / CONFIG).write_text(json.dumps(config))

    return act


def cut(name: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return act


def other_tensors(folder: Path) -> None:
    save_file({"base_model.model.x.lora_A.weight": torch.zeros(1, 4)}, folder / WEIGHTS)


def tensors(made: Callable[[Any], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        save_file(made(load_file(folder / WEIGHTS)), folder / WEIGHTS)

    return act


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / CONFIG).unlink(), f"{CONFIG}: missing; not a finished run"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"{WEIGHTS}: missing; not a finished run"),
        (cut(CONFIG), "damaged"),
        (cut(WEIGHTS), "damaged"),
        (lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe{"), "UTF-16"),
        (lambda folder: (folder / CONFIG).write_text("[1, 2]"), "damaged: it must hold"),
        (lambda folder: (folder / CONFIG).write_text("{}"), "not an adapter of vocabulary"),
        (change(trainable_token_indices=[3, 4]), "not an adapter of vocabulary"),
        (change(trainable_token_indices=None), "not an adapter of vocabulary"),
        (change(trainable_token_indices={}), "not an adapter of vocabulary"),
        (change(trainable_token_indices={"embed_tokens": [1, 2]}), "not an adapter of vocab"),
        (change(trainable_token_indices={"embed_tokens": ["a"] * 3}), "not an adapter of vocab"),
        (other_tensors, "not an adapter of vocabulary rows written by mt-lottery"),
        (change(trainable_token_indices={"embed_tokens": [9, 4, 9], "lm_head": [0]}), "distinct"),
        (change(trainable_token_indices={"embed_tokens": [9, 4, -1], "lm_head": [0]}), "distinct"),
        (change(trainable_token_indices={"embed_tokens": [9, 4, True], "lm_head": [0]}), "whole"),
        (change(trainable_token_indices={"embed_tokens": [9, 4, 5], "lm_head": [1]}), "another ro"),
        (change(trainable_token_indices={"embed_tokens": [9, 4, 64], "lm_head": [0]}), "id 64"),
        (tensors(lambda t: t | {"more": torch.zeros(1)}), "more belongs to no part"),
        (tensors(lambda t: {k: v for k, v in t.items() if "lora_A" not in k}), "lora_A.* missing"),
        (tensors(lambda t: {k: v + ("lora_B" in k) for k, v in t.items()}), "is not zero"),
        (tensors(lambda t: {k: v + ("lm_head" in k) for k, v in t.items()}), "row 0 of the output"),
        (tensors(lambda t: {k: v / ("lora" in k) for k, v in t.items()}), "NaN or infinity"),
        (tensors(lambda t: {k: v.double() for k, v in t.items()}), "not float32"),
        (tensors(lambda t: {k: v[..., :1].clone() for k, v in t.items()}), "width 1, not 16"),
        (tensors(lambda t: {k.replace("embed", "enbed"): v for k, v in t.items()}), "not an ada"),
        (tensors(lambda t: {k.replace("model.model", "model.m"): v for k, v in t.items()}), "not "),
    ],
)
def test_damaged_or_foreign_folders(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    base, model, values = tuned("llama", True, "input", torch.float32)
    save_rows(folder, model, ROWS, values, base_name="", input_only=True)
    assert torch.equal(load_rows(folder, base)[1], values)
    damage(folder)
    with pytest.raises(RecordError, match=message) as caught:
        load_rows(folder, base)
    assert str(folder) in str(caught.value)


def test_module_of_another_model() -> None:
    with pytest.raises(ModelError, match="Linear is no part of LlamaForCausalLM"):
        module_name(tiny.model(), torch.nn.Linear(1, 1))
