"""What prompts share is computed once, and changes nothing; learned prefixes included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_greedy import Ids, by_generate, ids_of
from translate_models import ARCHITECTURES, EOS, PAD, VOCAB, random_prompts, tiny_model

from mt_lottery.decoding import translate
from mt_lottery.decoding.prefix import common_length, learned_prefix, share_prefix

pytestmark = pytest.mark.slow

SHARED = [2, 9, 31, 7, 12, 40, 8]


def sharing(count: int, longest: int, seed: int = 0) -> list[list[int]]:
    """Prompts with the same first seven tokens and another eighth."""
    rest = random_prompts(count, longest, seed)
    return [[*SHARED, 3 + i, *p] for i, p in enumerate(rest)]


class Positions:
    """Counts the positions that the model computes, padding included."""

    def __init__(self, model: Any) -> None:
        self.shapes: list[tuple[int, int]] = []
        body = getattr(model, "model", None) or model.transformer
        body.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, module: Any, args: Any, kwargs: Any) -> None:
        given = kwargs.get("input_ids")
        given = kwargs["inputs_embeds"] if given is None else given
        self.shapes.append((given.shape[0], given.shape[1]))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("longest", [3, 25])
def test_shared_tokens_change_nothing(name: str, longest: int) -> None:
    # 25: shorter prompts take less of the prefix, or none of it; windows of 7 and 9 end in it
    model, prompts = tiny_model(name), sharing(9, longest)
    expected = by_generate(model, prompts, 12, [EOS])
    for batch_size in (2, 4, 9):
        found = translate(
            model, Ids(), prompts, max_new_tokens=12, batch_size=batch_size, eos_ids=EOS, pad_id=PAD
        )
        assert [ids_of(h) for h in found] == [e.tokens for e in expected]


def test_the_prefix_is_computed_once() -> None:
    model, prompts = tiny_model("llama"), sharing(8, 3)
    longest = sorted((len(p) for p in prompts), reverse=True)
    positions = Positions(model)
    translate(model, Ids(), prompts, max_new_tokens=1, batch_size=4, eos_ids=EOS, pad_id=PAD)
    assert positions.shapes == [(1, 7), (4, longest[0] - 7), (4, longest[4] - 7)]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5))
def test_common_length(prompts: list[list[int]]) -> None:
    found = common_length(prompts)
    room = min(map(len, prompts)) - 1
    alike = [len({tuple(p[:n]) for p in prompts}) == 1 for n in range(room + 1)]
    assert found == max(n for n in range(room + 1) if alike[n])


def learned(kind: str, name: str, virtual: int = 3) -> Any:
    """A model with random learned states (prefix) or embeddings (prompt) before the input."""
    import peft

    config = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=virtual)
    model = peft.get_peft_model(tiny_model(name), config).eval()
    torch.manual_seed(1)
    for parameter in model.prompt_encoder.parameters():
        parameter.data = torch.randn_like(parameter) * 0.5
    return model


def by_whole_forward(model: Any, prompts: list[list[int]], new: int) -> list[list[int]]:
    """Greedy without any cache: the whole text through PEFT's own forward, each time."""
    results = []
    for prompt in prompts:
        tokens: list[int] = []
        for _ in range(new):
            ids = torch.tensor([prompt + tokens])
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            tokens.append(int(logits[0, -1].argmax()))
        results.append(tokens)
    return results


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["PrefixTuningConfig", "PromptTuningConfig"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_learned_prefixes_equal_pefts_forward(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = learned(kind, name)
    for prompts in (random_prompts(5, 12), sharing(5, 12)):
        with torch.no_grad():
            expected = by_whole_forward(model, prompts, 9)
        with monkeypatch.context() as patch:
            patch.setattr(type(model), "generate", None)
            patch.setattr(type(model.get_base_model()), "generate", None)
            for batch_size in (1, 2, 5):
                found = translate(
                    model,
                    Ids(),
                    prompts,
                    max_new_tokens=9,
                    batch_size=batch_size,
                    eos_ids=[],
                    pad_id=PAD,
                )
                assert [ids_of(h) for h in found] == expected
    assert expected != by_whole_forward(model.get_base_model(), prompts, 9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["PrefixTuningConfig", "PromptTuningConfig"])
@pytest.mark.parametrize("name", ["gemma3", "mistral"])
def test_batches_change_nothing_past_a_sliding_window(name: str, kind: str) -> None:
    model = learned(kind, name)
    prompts = sharing(7, 20)
    results = [
        translate(
            model,
            Ids(),
            prompts,
            max_new_tokens=12,
            batch_size=batch_size,
            eos_ids=[],
            pad_id=PAD,
        )
        for batch_size in (1, 3, 7)
    ]
    assert results[0] == results[1] == results[2]


@pytest.mark.filterwarnings("ignore")
def test_a_prefix_longer_than_the_window_is_left_to_generate() -> None:
    model = learned("PrefixTuningConfig", "gemma3", virtual=9)
    assert learned_prefix(model) == "keys"
    with torch.no_grad():
        assert share_prefix(model, [[5, 6], [5, 7]]) is None


def test_nothing_is_shared_by_one_prompt_or_by_unlike_ones() -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        assert share_prefix(model, [[5, 6, 7]]) is None
        assert share_prefix(model, [[5, 6, 7], [6, 6, 7]]) is None
        shared = share_prefix(model, [[5, 6, 7], [5, 6, VOCAB - 1]])
    assert shared is not None and (shared.virtual, shared.tokens) == (0, 2)
