"""Rows written as a LoRA: plain PEFT gives the logits of the tuned model, whatever the shape."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.runs.export.engines import Fit, check_passed_on, fit, vllm_rank
from mt_lottery.runs.export.formats import ENGINES
from mt_lottery.runs.export.rows import Moved, take_rows, write_rows
from mt_lottery.tuners.rows.module import attach

sys.path.insert(0, str(Path(__file__).parents[1] / "tuners"))

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

CASES = [
    (kind, tied, scope)
    for kind in (*tiny.KINDS, "granite", "cohere")
    for tied, scope in ((False, "input"), (True, "input"), (True, "tied"))
]


def tuned(kind: str, tied: bool, scope: str, rows: int, seed: int = 0) -> tuple[Any, Any]:
    """A model with rows of its own, and the original."""
    original = tiny.model(kind, tied=tied)
    made = tiny.clone(original)
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randperm(tiny.VOCAB, generator=draw)[:rows]
    start = original.get_input_embeddings().weight[ids].detach()
    values = start + 0.3 * torch.randn(start.shape, generator=draw)
    attach(made, ids, values, tied=scope == "tied")
    return made, original


def by_peft(original: Any, moved: Moved, wanted: Fit, text: Tensor | None = None) -> Tensor:
    """Logits that plain PEFT gives with the files."""
    import peft

    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), moved, "base", wanted.factor, wanted.one_hot)
        model = peft.PeftModel.from_pretrained(original, folder).eval()
    logits: Tensor = model(tiny.ids(4, 24) if text is None else text).logits
    return logits


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "tied", "scope"), CASES)
def test_peft_gives_the_tuned_models_logits(kind: str, tied: bool, scope: str) -> None:
    made, original = tuned(kind, tied, scope, rows=9)
    wanted = made(tiny.ids(4, 24)).logits
    assert (wanted - original(tiny.ids(4, 24)).logits).abs().max() > 0.1
    moved = take_rows(made)
    # the original is back
    torch.testing.assert_close(made(tiny.ids()).logits, original(tiny.ids()).logits)
    assert moved.rank == 9 and moved.head is (scope == "tied") and moved.tied is tied
    found = by_peft(original, moved, fit("peft", moved, ""))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["llama", "gemma3"]),
    st.sampled_from([(False, "input"), (True, "input"), (True, "tied")]),
    st.integers(1, tiny.VOCAB),
    st.integers(0, 1000),
    st.sampled_from([torch.uint8, torch.bfloat16, torch.float32]),
)
@example("llama", (True, "tied"), 1, 0, torch.bfloat16)  # the transpose of one row shares memory
def test_any_number_of_rows(
    kind: str, how: tuple[bool, str], rows: int, seed: int, one_hot: torch.dtype
) -> None:
    """More rows than the width of the model too: the rank is the smaller of the two."""
    made, original = tuned(kind, *how, rows, seed)
    wanted = made(tiny.ids(4, 24)).logits
    moved = take_rows(made)
    assert moved.rank == min(rows, tiny.DIM)
    found = by_peft(original, moved, Fit(one_hot=one_hot))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_rows_that_did_not_move_are_left_out() -> None:
    original = tiny.model()
    values = original.get_input_embeddings().weight[[5, 9, 3]].detach().clone()
    values[1] += 1
    attach(original, torch.tensor([5, 9, 3]), values, tied=False)
    assert take_rows(original).ids.tolist() == [9]
    attach(original, torch.tensor([5, 9, 3]), tied=False)
    moved = take_rows(original)
    assert moved.rank == 1 and not moved.delta.any()


def test_vllm_scales_what_peft_scales_itself(tmp_path: Path) -> None:
    """vLLM's own engine is asked in ``tests/serving``; here, what it is given."""
    made, _ = tuned("gemma3", True, "input", 9)
    moved = take_rows(made)
    scale = tiny.DIM**0.5
    assert moved.scale == pytest.approx(scale)
    wanted = fit("vllm", moved, "Gemma3ForCausalLM")
    assert not wanted.peft and wanted.arguments["model_impl"] == "transformers"
    tensors = {}
    for name, each in (("vllm", wanted), ("peft", fit("peft", moved, "Gemma3ForCausalLM"))):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name, moved, "base", each.factor, each.one_hot)
        tensors[name] = load_file(tmp_path / name / "adapter_model.safetensors")
    a, b = (f"base_model.model.model.embed_tokens.lora_embedding_{one}" for one in "AB")
    torch.testing.assert_close(tensors["vllm"][b], tensors["peft"][b] * scale)
    assert tensors["vllm"][a].dtype is torch.uint8
    assert tensors["vllm"][a].shape == (9, tiny.VOCAB)
    assert torch.equal(tensors["vllm"][a].float(), tensors["peft"][a].float())


def test_unscaled_models_share_one_file() -> None:
    made, _ = tuned("llama", True, "input", 9)
    moved = take_rows(made)
    wanted = fit("vllm", moved, "LlamaForCausalLM")
    assert wanted.peft and wanted.factor == 1
    assert wanted.arguments == {"max_lora_rank": 16, "lora_target_modules": ["embed_tokens"]}
    assert fit("vllm", moved, "MistralForCausalLM").arguments["model_impl"] == "transformers"
    assert fit("sglang", moved, "LlamaForCausalLM").peft


@pytest.mark.parametrize(
    ("kind", "scope", "engine", "said"),
    [
        ("gpt2", "input", "vllm", "takes an embedding called embed_tokens, not transformer.wte"),
        ("mistral", "tied", "vllm", "input table alone for Mistral.* scope=tied"),
        ("cohere", "tied", "vllm", "input table alone for Cohere.* scope=tied"),
        ("gemma3", "tied", "vllm", "input table alone for Gemma3.* scope=tied"),
        ("llama", "tied", "sglang", "tables apart .*scope=tied"),
        ("gemma3", "input", "sglang", "takes no LoRA on the scaled embedding of Gemma3"),
    ],
)
def test_what_an_engine_cannot_serve(kind: str, scope: str, engine: str, said: str) -> None:
    made, original = tuned(kind, True, scope, 9)
    wanted = f"engine={engine}: {ENGINES[engine]} .*{said}.*format=merged"
    with pytest.raises(TuningError, match=wanted):
        fit(engine, take_rows(made), type(original).__name__)


def test_rows_of_the_head_in_vllm() -> None:
    made, _ = tuned("llama", True, "tied", 9)
    moved = take_rows(made)
    arguments = fit("vllm", moved, "LlamaForCausalLM").arguments
    assert arguments["lora_target_modules"] == ["embed_tokens", "lm_head"]
    with pytest.raises(TuningError, match="258,048 tokens at most, and this has 262,144"):
        fit("vllm", dataclasses.replace(moved, vocabulary=262_144), "LlamaForCausalLM")


def test_only_plain_lora_is_passed_on() -> None:
    """Whatever PEFT's own configurations say, as they are written."""
    import peft

    def written(**more: Any) -> dict[str, Any]:
        return peft.LoraConfig(target_modules=["q_proj"], r=8, **more).to_dict()

    served = ({}, {"use_rslora": True}, {"init_lora_weights": "gaussian"}, {"lora_alpha": 3})
    for plain in served:
        found = check_passed_on("vllm", written(**plain)).arguments
        assert found == {"max_lora_rank": 8}
    more = written(rank_pattern={"layers.1.q_proj": 20})
    assert check_passed_on("vllm", more).arguments == {"max_lora_rank": 32}
    for beyond in (
        {"use_dora": True},
        {"bias": "all"},
        {"lora_bias": True},
        {"init_lora_weights": "pissa"},
        {"trainable_token_indices": [1]},
    ):
        ((name, _),) = beyond.items()
        for engine in ("vllm", "sglang"):
            with pytest.raises(TuningError, match=f"plain LoRA alone, not {name}=.*merged"):
                check_passed_on(engine, written(**beyond))
        check_passed_on("peft", written(**beyond))
    other = peft.IA3Config(target_modules=["q_proj"], feedforward_modules=[]).to_dict()
    with pytest.raises(TuningError, match="of the kind IA3, only LoRA; format=merged"):
        check_passed_on("vllm", other | {"peft_type": "IA3"})


def test_ranks_of_vllm() -> None:
    assert [vllm_rank(r) for r in (1, 2, 18, 257, 512)] == [1, 8, 32, 320, 512]
    with pytest.raises(TuningError, match="rank of 512 at most, and this is 5,199"):
        vllm_rank(5199)


@pytest.mark.filterwarnings("ignore")
def test_a_model_with_a_tower() -> None:
    """The text model's table is found under its own name, and scaled."""
    from test_multimodal import ROWS, gemma3

    original = gemma3()
    made = tiny.clone(original)
    ids = torch.tensor([7, 3])
    attach(made, ids, torch.randn(2, 64), tied=False)
    text = tiny.ids(2, 12, vocab=ROWS - 3)
    wanted = made(text).logits
    moved = take_rows(made)
    assert moved.embedding.endswith("language_model.embed_tokens") and moved.scale == 8
    found = by_peft(original, moved, Fit(), text)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(TuningError, match="has not been tried with Gemma3ForConditionalGener"):
        fit("vllm", moved, type(original).__name__)
