"""Frequencies chosen by the length: each sentence is what ``generate`` makes of it alone."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from test_greedy import Ids, ids_of
from translate_models import EOS, PAD, VOCAB, tiny_model

from mt_lottery.decoding import Hypothesis, translate
from mt_lottery.decoding.continuation import Continuation, cut_at_eos
from mt_lottery.decoding.rotary import unchanged_positions

pytestmark = pytest.mark.slow

ORIGINAL, NEW = 16, 8
#: Three end before the frequencies change, three pass it while decoding, three begin beyond it.
LENGTHS = [7, 9, 8, 10, 12, 15, 20, 22, 40]
EOS_IDS = [EOS, 11, 29]
DYNAMIC = {"max_position_embeddings": ORIGINAL,
           "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "phi3": {
        "max_position_embeddings": 64,
        "original_max_position_embeddings": ORIGINAL,
        "rope_scaling": {
            "type": "longrope",  # as 4.57 wants it
            "short_factor": [1.0] * 4,
            "long_factor": [3.0] * 4,
        },
    },
    "llama": DYNAMIC,
    "gemma3": DYNAMIC,  # in its layers without a window alone
}


def prompts_of(lengths: list[int], shared: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(5)
    first = torch.randint(3, VOCAB, (shared,), generator=generator).tolist()
    rest = [torch.randint(3, VOCAB, (n - shared,), generator=generator) for n in lengths]
    return [[*first, *r.tolist()] for r in rest]


def alone(model: Any, prompts: list[list[int]], new: int, **more: Any) -> list[Continuation]:
    """What ``generate`` says of each prompt, by a model that has read nothing before."""
    results = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = deepcopy(model).generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=PAD,
            max_new_tokens=new, eos_token_id=EOS_IDS, **more,
        )  # fmt: skip
        results.append(cut_at_eos(out[0, len(prompt) :].tolist(), frozenset(EOS_IDS)))
    return results


def ours(model: Any, prompts: list[list[int]], new: int, **more: Any) -> list[Hypothesis]:
    settings = {"max_new_tokens": new, "eos_ids": EOS_IDS, "pad_id": PAD, **more}
    return translate(model, Ids(), prompts, **settings)


def same(found: list[Hypothesis], expected: list[Continuation]) -> list[bool]:
    pairs = zip(found, expected, strict=True)
    return [(ids_of(h), h.stopped) == (e.tokens, e.stopped) for h, e in pairs]


@pytest.mark.parametrize("shared", [0, 5])
@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_each_sentence_is_what_generate_makes_of_it_alone(
    name: str, beam_size: int, shared: int
) -> None:
    model = tiny_model(name, **MODELS[name])
    beam = {"num_beams": 3, "early_stopping": True} if beam_size > 1 else {}
    prompts = prompts_of(LENGTHS, shared)
    expected = alone(model, prompts, NEW, **beam)
    for chosen in (LENGTHS, [20, 22, 40], [10, 12], [7, 40], [7, 8, 9]):
        wanted = [LENGTHS.index(n) for n in chosen]
        for batch_size in (1, 8):
            found = ours(
                deepcopy(model), [prompts[i] for i in wanted], NEW, batch_size=batch_size,
                beam_size=beam_size,
            )  # fmt: skip
            assert all(same(found, [expected[i] for i in wanted])), (chosen, batch_size)


@pytest.mark.parametrize("name", MODELS)
def test_short_sentences_share_batches_and_prefix(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shapes = tiny_model(name, **MODELS[name]), []
    model.model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    ours(model, [*prompts_of([7, 9, 8], 5), [3] * 40], 1)  # `forget_longer_texts` reads one token
    # what the short ones share, the long one by itself, and the rest of the short ones
    assert [s for s in shapes if s != (1, 1)] == [(1, 5), (1, 40), (3, 4)]
    monkeypatch.setattr(type(model), "generate", None)
    shapes.clear()
    ours(model, prompts_of([7, 9, 8], 5), NEW, eos_ids=[])
    assert shapes == [(1, 5), (3, 4), *[(3, 1)] * (NEW - 1)]


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_a_longer_text_before_changes_nothing(name: str) -> None:
    model = tiny_model(name, **MODELS[name])
    prompts = prompts_of([20, ORIGINAL, 7])  # at the original length nothing falls back by itself
    expected = alone(model, prompts, 1)
    fresh = {name: buffer.clone() for name, buffer in model.named_buffers()}
    longer = prompts_of([50])[0]
    for prompt, wanted in zip(prompts, expected, strict=True):
        with torch.no_grad():
            model(torch.tensor([longer]))
        assert any(not b.equal(fresh[name]) for name, b in model.named_buffers())
        assert same(ours(model, [prompt], 1), [wanted]) == [True]
        assert all(b.equal(fresh[name]) for name, b in model.named_buffers())
    assert all(same(ours(model, prompts, 1), expected))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["PrefixTuningConfig", "PromptTuningConfig"])
@pytest.mark.parametrize("name", ["phi3", "llama"])
def test_learned_prefixes_take_positions(name: str, kind: str) -> None:
    peft = pytest.importorskip("peft")
    config = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = peft.get_peft_model(tiny_model(name, **MODELS[name]), config).eval()
    assert unchanged_positions(model) == ORIGINAL - 3
    prompts = prompts_of([4, 6, 7, 9, 20, 22], 3)
    expected = alone(model, prompts, NEW)
    for batch_size in (1, 8):
        assert all(same(ours(deepcopy(model), prompts, NEW, batch_size=batch_size), expected))


def test_where_frequencies_change() -> None:
    for name, settings in MODELS.items():
        assert unchanged_positions(tiny_model(name, **settings)) == ORIGINAL
        assert unchanged_positions(tiny_model(name)) is None
    assert unchanged_positions(tiny_model("gpt2")) is None
    linear = {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}
    assert unchanged_positions(tiny_model("llama", **linear)) is None
