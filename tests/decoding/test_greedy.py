"""Greedy decoding against transformers' own ``generate``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from translate_models import (
    ARCHITECTURES,
    EOS,
    PAD,
    VOCAB,
    random_prompts,
    tiny_model,
    tiny_tokenizer,
)

from mt_lottery.decoding import Hypothesis, translate
from mt_lottery.decoding.caches import new_cache
from mt_lottery.decoding.continuation import cut_at_eos
from mt_lottery.decoding.greedy import greedy_batch
from mt_lottery.decoding.prefix import learned_prefix, share_prefix

pytestmark = pytest.mark.slow


class Ids:
    """A tokenizer whose text is the ids themselves."""

    def decode(self, tokens: list[int], **_: Any) -> str:
        return "".join(f"{token} " for token in tokens)


def ids_of(hypothesis: Hypothesis) -> list[int]:
    return [int(word) for word in hypothesis.text.split()]


def by_generate(model: Any, prompts: list[list[int]], new: int, eos: list[int] | None) -> list[Any]:
    """One prompt at a time, no padding: the plainest oracle there is."""
    results = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=new,
            eos_token_id=eos,
            pad_token_id=PAD,
        )
        results.append(cut_at_eos(out[0, len(prompt) :].tolist(), frozenset(eos or [])))
    return results


def some_eos(model: Any, prompts: list[list[int]]) -> list[int]:
    """Tokens that end about half of the sentences, at various steps."""
    seen = [r.tokens for r in by_generate(model, prompts, 24, [EOS])]
    chosen: list[int] = []
    for tokens in seen[::3]:
        if len(tokens) > 2:
            chosen.append(tokens[(len(chosen) * 5) % len(tokens)])
    return sorted({EOS, *chosen})


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_generate_token_for_token(name: str) -> None:
    # Prompts of up to 20 tokens and 24 new ones: well past the sliding windows of 7 and 9.
    model = tiny_model(name)
    prompts = random_prompts(14)
    eos = some_eos(model, prompts)
    expected = by_generate(model, prompts, 24, eos)
    lengths = {len(e.tokens) for e in expected}
    assert len(lengths) > 2, "the test needs sentences that stop at various steps"
    for batch_size in (1, 5, 32):
        found = translate(
            model, Ids(), prompts, max_new_tokens=24, batch_size=batch_size, eos_ids=eos, pad_id=PAD
        )
        assert [ids_of(h) for h in found] == [e.tokens for e in expected]
        assert [h.stopped for h in found] == [e.stopped for e in expected]
        assert [h.tokens for h in found] == [len(e.tokens) for e in expected]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_loop_is_ours_and_not_the_fallback(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(name)
    monkeypatch.setattr(type(model), "generate", None)
    assert new_cache(model) is not None
    found = translate(model, Ids(), [[3, 4]], max_new_tokens=3, eos_ids=[], pad_id=PAD)
    assert found[0].tokens == 3 and not found[0].stopped


@pytest.mark.parametrize("name", ["gemma3", "mistral"])
def test_the_windows_of_these_tests_matter(name: str) -> None:
    prompts = random_prompts(6)
    narrow, wide = (
        translate(model, Ids(), prompts, max_new_tokens=24, eos_ids=[], pad_id=PAD)
        for model in (tiny_model(name), tiny_model(name, sliding_window=200))
    )
    assert narrow != wide


def test_finished_sentences_leave_the_batch() -> None:
    model = tiny_model("llama")
    prompts = random_prompts(16)
    eos = some_eos(model, prompts)
    sizes: list[int] = []
    forward = model.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        sizes.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    watched.__signature__ = __import__("inspect").signature(forward)  # type: ignore[attr-defined]
    model.forward = watched
    translate(model, Ids(), prompts, max_new_tokens=24, eos_ids=eos, pad_id=PAD)
    assert sizes[0] == 16 and sizes[-1] < 16
    assert sizes == sorted(sizes, reverse=True)


def test_without_eos_every_sentence_runs_to_the_limit() -> None:
    model = tiny_model("gpt2")
    found = translate(
        model, Ids(), random_prompts(3), max_new_tokens=9, eos_ids=frozenset(), pad_id=PAD
    )
    assert [(h.tokens, h.stopped) for h in found] == [(9, False)] * 3


def test_all_stop_at_the_first_step() -> None:
    found = translate(
        tiny_model("llama"), Ids(), random_prompts(4), max_new_tokens=8, eos_ids=range(VOCAB),
        pad_id=PAD,
    )  # fmt: skip
    assert found == [Hypothesis("", 0, True)] * 4


def test_a_limit_of_one_token() -> None:
    model, prompts = tiny_model("gemma3"), random_prompts(5)
    expected = by_generate(model, prompts, 1, [EOS])
    found = translate(model, Ids(), prompts, max_new_tokens=1, eos_ids=EOS, pad_id=PAD)
    assert [ids_of(h) for h in found] == [e.tokens for e in expected]


def test_a_wrapped_embedding_table_is_used() -> None:
    class Shifted(torch.nn.Module):
        def __init__(self, table: torch.nn.Module) -> None:
            super().__init__()
            self.table = table

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            result = self.table(ids)
            assert isinstance(result, torch.Tensor)
            return result.roll(1, -1)

    model, prompts = tiny_model("llama"), random_prompts(6)
    plain = translate(model, Ids(), prompts, max_new_tokens=8, eos_ids=EOS, pad_id=PAD)
    model.set_input_embeddings(Shifted(model.get_input_embeddings()))
    expected = by_generate(model, prompts, 8, [EOS])
    found = translate(model, Ids(), prompts, max_new_tokens=8, eos_ids=EOS, pad_id=PAD)
    assert [ids_of(h) for h in found] == [e.tokens for e in expected]
    assert found != plain


@pytest.mark.filterwarnings("ignore")
def test_lora_model_is_decoded_by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    model = peft.get_peft_model(tiny_model("llama"), config)
    prompts = random_prompts(5)
    expected = by_generate(model, prompts, 8, [EOS])
    monkeypatch.setattr(type(model), "generate", None)
    found = translate(model, Ids(), prompts, max_new_tokens=8, eos_ids=EOS, pad_id=PAD)
    assert [ids_of(h) for h in found] == [e.tokens for e in expected]


@pytest.mark.filterwarnings("ignore")
def test_other_prompt_learning_falls_back_on_generate() -> None:
    peft = pytest.importorskip("peft")
    config = peft.CPTConfig(
        task_type="CAUSAL_LM", cpt_token_ids=[5, 6, 7], cpt_mask=[1, 1, 1],
        cpt_tokens_type_mask=[1, 2, 3],
    )  # fmt: skip
    model = peft.get_peft_model(tiny_model("llama"), config).eval()
    assert learned_prefix(model) == "other" and share_prefix(model, [[5, 6], [5, 7]]) is None
    prompts = random_prompts(3)
    found = translate(model, Ids(), prompts, max_new_tokens=5, eos_ids=[], pad_id=PAD)
    expected = by_generate(model, prompts, 5, None)
    assert [ids_of(h) for h in found] == [e.tokens for e in expected]


def test_a_model_without_a_plain_cache_falls_back_on_generate() -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.MambaConfig(
        vocab_size=VOCAB, hidden_size=16, state_size=4, num_hidden_layers=2, eos_token_id=EOS,
        pad_token_id=PAD, bos_token_id=2,
    )  # fmt: skip
    model = transformers.MambaForCausalLM(config).eval()
    prompts = [[5, 6, 7], [8, 9, 10]]
    assert greedy_batch(
        model, prompts, max_new_tokens=4, eos_ids=frozenset(), pad_id=PAD, on_step=print,
    ) is None  # fmt: skip
    found = translate(model, Ids(), prompts, max_new_tokens=4, eos_ids=[], pad_id=PAD)
    expected = by_generate(model, prompts, 4, None)
    assert [ids_of(h) for h in found] == [e.tokens for e in expected]


def test_bf16_first_difference_is_a_near_tie() -> None:
    model = tiny_model("llama").to(torch.bfloat16)
    prompts = random_prompts(12)
    expected = by_generate(model, prompts, 16, [EOS])
    found = translate(model, Ids(), prompts, max_new_tokens=16, eos_ids=EOS, pad_id=PAD)
    for prompt, h, e in zip(prompts, found, expected, strict=True):
        ours = ids_of(h)
        if ours == e.tokens:
            continue
        at = next(i for i in range(16) if ours[i : i + 1] != e.tokens[i : i + 1])
        logits = model(torch.tensor([prompt + ours[:at]])).logits[0, -1].float()
        a, b = ((t[at] if at < len(t) else EOS) for t in (ours, e.tokens))
        assert abs(logits[a] - logits[b]) <= 0.05 * logits.abs().max()


def test_real_tokenizer_text() -> None:
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    prompts = random_prompts(3)
    found = translate(model, tokenizer, prompts, max_new_tokens=6, eos_ids=[EOS], pad_id=PAD)
    for prompt, hypothesis in zip(prompts, found, strict=True):
        expected = by_generate(model, [prompt], 6, [EOS])[0]
        assert hypothesis.text == tokenizer.decode(expected.tokens, skip_special_tokens=True)
