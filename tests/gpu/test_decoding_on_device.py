"""Greedy and beam search on the device, against the CPU's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import tiny
import torch
import transformers
from training import fit
from transformers.cache_utils import DynamicSlidingWindowLayer
from translate_models import ARCHITECTURES, EOS, PAD, random_prompts, tiny_model

from mt_lottery.decoding import Hypothesis, translate
from mt_lottery.decoding.replay import KNOWN, Replayed, replayable
from mt_lottery.tuners.rows.module import attach

pytestmark = pytest.mark.slow

NEW = 24
RECORDED = sorted(name.removesuffix("_text") for name in KNOWN)


class Ids:
    """A tokenizer whose text is the ids themselves."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        return " ".join(map(str, tokens))


def translated(model: Any, prompts: list[list[int]], **settings: Any) -> list[Hypothesis]:
    given = {"max_new_tokens": NEW, "eos_ids": [EOS], "pad_id": PAD, **settings}
    return translate(model, Ids(), prompts, **given)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("beams", [1, 3])
def test_equals_the_cpus(device: str, name: str, beams: int) -> None:
    prompts = [[5, 6, 7, *prompt] for prompt in random_prompts(14)]
    model = tiny_model(name)
    endless = [h.text.split() for h in translated(model, prompts, eos_ids=[])]
    eos = [EOS, int(endless[0][3]), int(endless[5][7])]
    wanted = translated(model, prompts, beam_size=beams, eos_ids=eos)
    assert len({h.tokens for h in wanted}) > 1, "the test needs sentences that stop at some steps"
    for batch_size in (5, 32):
        settings = {"beam_size": beams, "batch_size": batch_size, "eos_ids": eos}
        found = translated(model.to(device), prompts, **settings)
        assert found == wanted


#: The last of 23 + 24 tokens is not read again: windows of 46 see all that is, 45 and 7 do not.
WINDOWS = {"gemma3": 46, "mistral": 64, "phi3": 64}


@pytest.mark.parametrize("room", [3, 64])
@pytest.mark.parametrize(
    ("name", "window"),
    [*((name, WINDOWS.get(name)) for name in RECORDED), ("gemma3", 45), ("mistral", 7)],
)
def test_recorded_steps(
    device: str,
    name: str,
    window: int | None,
    room: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On the CPU recording fails, and the same steps are done; where a window moves, none are."""
    monkeypatch.setattr("mt_lottery.decoding.replay.ROOM", room)
    recordings = Mock(wraps=Replayed._record)
    monkeypatch.setattr(Replayed, "_record", lambda self: recordings(self))
    prompts = [[5, 6, 7, *prompt] for prompt in random_prompts(14)]
    assert max(map(len, prompts)) == 23
    model = tiny_model(name, **({"sliding_window": window} if window else {}))
    endless = [h.text.split() for h in translated(model, prompts, eos_ids=[])]
    eos = [EOS, *(int(endless[i][3 + i]) for i in range(0, 14, 2))]
    wanted = translated(model, prompts, eos_ids=eos)
    monkeypatch.setattr("mt_lottery.decoding.greedy.REPLAY_ON", frozenset([device]))
    for change in (lambda same: same, rows):
        changed = change(copy.deepcopy(model).to(device))
        found = translated(changed, prompts, eos_ids=eos)
        if change is not rows:
            assert found == wanted
    monkeypatch.setattr("mt_lottery.decoding.greedy.REPLAY_ON", frozenset())
    assert translated(changed, prompts, eos_ids=eos) == found
    said = [r.message for r in caplog.records if "cannot be recorded" in r.message]
    moves = window in (45, 7)
    assert len(said) == (2 if device == "cpu" and not moves else 0)
    assert bool(recordings.call_count) is not moves


def lora(model: Any) -> Any:
    import peft

    settings = {"r": 2, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
    return peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings)).eval()


def virtual(kind: str) -> Callable[[Any], Any]:
    def change(model: Any) -> Any:
        import peft

        settings = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=3)
        return peft.get_peft_model(model, settings).eval()

    return change


def rows(model: Any) -> Any:
    embedding = attach(model, torch.arange(4, 30), tied=False)
    with torch.no_grad():
        embedding.rows += torch.randn(
            embedding.rows.shape, generator=torch.Generator().manual_seed(1)
        ).to(embedding.rows.device)
    return model


@pytest.mark.parametrize("batch_size", [3, 5, 14])
@pytest.mark.parametrize("change", [rows, lora, virtual("PrefixTuningConfig")])
def test_recorded_batches(
    device: str, batch_size: int, change: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several batches in a row, of several shapes, of tuned models."""
    torch.manual_seed(0)
    model = change(tiny_model("llama").to(device)).to(device)
    prompts = [[5, 6, 7, *prompt] for prompt in random_prompts(14)]
    monkeypatch.setattr("mt_lottery.decoding.greedy.REPLAY_ON", frozenset())
    endless = [h.text.split() for h in translated(model, prompts, eos_ids=[])]
    eos = [EOS, *(int(endless[i][3 + i]) for i in range(0, 14, 2))]
    wanted = translated(model, prompts, eos_ids=eos, batch_size=batch_size)
    monkeypatch.setattr("mt_lottery.decoding.greedy.REPLAY_ON", frozenset([device]))
    for _ in range(2):
        assert translated(model, prompts, eos_ids=eos, batch_size=batch_size) == wanted


def test_a_window_that_the_cache_does_not_have(device: str) -> None:
    """Mistral masks all layers by its window, whatever ``layer_types`` says."""
    kinds = ["full_attention"] * 3
    model = tiny_model("mistral", layer_types=kinds, sliding_window=9).to(device)
    cache = model(input_ids=torch.tensor([[5, 6, 7]], device=device)).past_key_values
    assert replayable(model, cache, 6) and not replayable(model, cache, 7)


def test_code_that_came_with_a_model(device: str) -> None:
    """Another class of a known type may take another mask."""
    model = tiny_model("llama").to(device)
    cache = model(input_ids=torch.tensor([[5, 6, 7]], device=device)).past_key_values
    assert replayable(model, cache, NEW)
    model.__class__ = type("Own", (type(model),), {"__module__": "transformers_modules.own"})
    assert not replayable(model, cache, NEW)


@pytest.mark.parametrize("change", ["half", "rope", "rope by layer", "window", "autocast", "eager"])
def test_what_is_not_recorded(device: str, change: str) -> None:
    """Weights in part elsewhere or in fewer bits, positions and windows chosen on the host."""
    settings: dict[str, Any] = {
        "rope": {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        "eager": {"attn_implementation": "eager"},
    }.get(change, {})
    kind = "llama"
    if change == "rope by layer":
        kind = "gemma3"
        dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
        sliding = {"rope_type": "default", "rope_theta": 1e4}
        settings = {"rope_parameters": {"full_attention": dynamic, "sliding_attention": sliding}}
        settings["layer_types"] = ["sliding_attention", "full_attention"]
    model = tiny.model(kind, **settings).to(device).eval()
    ids = torch.tensor([[5, 6, 7]], device=device)
    cache = model(input_ids=ids, use_cache=True).past_key_values
    assert replayable(tiny.model("llama").to(device), cache, NEW)
    if change == "half":
        head = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(head.weight.to(torch.uint8), requires_grad=False)
    if change == "window":
        cache.layers[0] = DynamicSlidingWindowLayer(sliding_window=8)
    with torch.autocast(device, torch.bfloat16, enabled=change == "autocast"):
        assert not replayable(model, cache, NEW)


@pytest.mark.parametrize(
    "change",
    [rows, lora, virtual("PrefixTuningConfig"), virtual("PromptTuningConfig")],
    ids=["rows", "lora", "prefix", "prompt"],
)
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_tuned_models(device: str, name: str, change: Callable[[Any], Any]) -> None:
    torch.manual_seed(0)
    model = change(tiny_model(name))
    prompts = [[5, 6, 7, *prompt] for prompt in random_prompts(8)]
    wanted = translated(model, prompts)
    assert translated(copy.deepcopy(model).to(device), prompts) == wanted


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_differs_at_near_ties_alone(device: str, dtype: torch.dtype) -> None:
    model = tiny_model("llama").to(dtype)
    prompts = random_prompts(16)
    wanted = translated(model, prompts, eos_ids=[])
    found = translated(copy.deepcopy(model).to(device), prompts, eos_ids=[])
    for prompt, ours, theirs in zip(prompts, found, wanted, strict=True):
        one, other = ([int(i) for i in h.text.split()] for h in (ours, theirs))
        at = next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), None)
        if at is None:
            continue
        with torch.no_grad():
            logits = model(torch.tensor([prompt + other[:at]])).logits[0, -1].float()
        margin = float(logits[other[at]] - logits[one[at]])
        assert abs(margin) <= 16 * float(torch.finfo(dtype).eps) * float(logits.abs().max())


def test_a_model_that_transformers_has_placed(device: str, tmp_path: Path) -> None:
    """``device_map`` (as a plugin's loader may use it): tuning and translating."""
    torch.manual_seed(0)
    tiny.model("llama").save_pretrained(tmp_path)
    place: Any = "auto" if device == "cuda" else {"": "cpu"}
    prompts = random_prompts(5)
    found = []
    for settings in ({"device_map": place}, {}):
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, **settings)
        if settings:
            assert {p.device.type for p in model.parameters()} == {device}
        attach(model, torch.arange(4, 24), tied=False)
        fit(model, tmp_path / f"run-{len(settings)}", optimizer="sgd", lr=0.05)
        rows = model.get_input_embeddings().rows.detach().cpu()
        found.append((translated(model.eval(), prompts), rows))
    assert found[0][0] == found[1][0]
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-5)
