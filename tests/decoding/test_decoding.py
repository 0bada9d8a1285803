"""Order, batches, memory, progress, errors, text; and beam search."""

from __future__ import annotations

import warnings
from typing import Any

import peft
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from translate_models import EOS, PAD, random_prompts, tiny_model, tiny_tokenizer

from mt_lottery.decoding import Hypothesis, first_line, translate
from mt_lottery.decoding.continuation import Continuation, cut_at_eos
from mt_lottery.decoding.translation import _to_text
from mt_lottery.errors import ConfigError, DataError, ModelError

pytestmark = pytest.mark.slow


def run(model: Any, prompts: list[list[int]], **settings: Any) -> list[Hypothesis]:
    settings = {"max_new_tokens": 8, "eos_ids": [EOS], "pad_id": PAD, **settings}
    return translate(model, tiny_tokenizer(), prompts, **settings)


class Small:
    """A model that runs out of memory when a batch has more than ``room`` sentences."""

    def __init__(self, model: Any, room: int, error: BaseException) -> None:
        self.batches: list[int] = []
        forward = type(model).forward

        def limited(module: Any, *args: Any, **kwargs: Any) -> Any:
            rows = len(kwargs["input_ids"])
            if kwargs["input_ids"].shape[1] > 1:
                self.batches.append(rows)
            elif rows > room - 1 and room > 1:
                raise error  # in the middle of decoding, too
            if rows > room:
                raise error
            return forward(module, *args, **kwargs)

        limited.__signature__ = __import__("inspect").signature(forward)  # type: ignore[attr-defined]
        self.forward = limited


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model("llama")
    prompts = [[*p, 3, 4] for p in random_prompts(12)]
    expected = run(model, prompts, eos_ids=[])
    small = Small(model, 4, error)
    monkeypatch.setattr(type(model), "forward", small.forward)
    calls: list[tuple[int, int, int]] = []
    found = run(model, prompts, eos_ids=[], progress=lambda *c: calls.append(c))
    assert found == expected
    # 12 and 6 do not fit; 3 does, and stays.
    assert small.batches == [12, 6, 3, 3, 3, 3]
    assert "3 sentences" in caplog.text
    assert calls[-1] == (12, 12, 12 * 8)


def test_a_failed_batch_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    small = Small(model, 3, torch.OutOfMemoryError("out of memory"))
    monkeypatch.setattr(type(model), "forward", small.forward)
    calls: list[tuple[int, int, int]] = []
    run(model, [[3, 4], [5, 6], [7, 8]], eos_ids=[], progress=lambda *c: calls.append(c))
    assert small.batches == [3, 1, 1, 1]
    assert calls[-1] == (3, 3, 24)


def test_out_of_memory_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    small = Small(model, 0, torch.OutOfMemoryError("out of memory"))
    monkeypatch.setattr(type(model), "forward", small.forward)
    with pytest.raises(ModelError, match="single sentence \\(prompt of 3 tokens\\)"):
        run(model, [[3, 4, 5], [6, 7, 8], [9, 3, 4]])
    with pytest.raises(ModelError, match="single sentence \\(prompt of 3 tokens\\)"):
        run(model, [[3, 4, 5]] * 3)  # already what the prompts share does not fit


def test_batches_keep_within_the_token_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = tiny_model("llama"), random_prompts(12)
    single = [run(model, [p], eos_ids=[])[0] for p in prompts]
    lengths = sorted(map(len, prompts), reverse=True)
    for budget, beam in ((60, 1), (100, 1), (100, 2), (1, 1)):
        small = Small(model, 99, RuntimeError())
        with monkeypatch.context() as patch:
            patch.setattr(type(model), "forward", small.forward)
            found = run(model, prompts, eos_ids=[], max_tokens=budget, beam_size=beam)
        planned, start = [], 0
        while start < len(lengths):
            size = max(1, budget // beam // (lengths[start] + 8))
            planned.append(min(size, len(lengths) - start) * beam)
            start += size
        at, wanted = 0, []  # a prompt of one token is read as if it were a step of decoding
        for size in planned:
            wanted += [size] if lengths[at] > 1 else []
            at += size // beam
        assert small.batches == wanted
        if beam == 1:
            assert found == single


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("shape mismatch")])
def test_other_errors_pass(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    model.train()
    monkeypatch.setattr(type(model), "forward", Small(model, 0, error).forward)
    with pytest.raises(type(error)):
        run(model, [[3, 4, 5]])
    assert model.training


def test_modes_are_put_back_and_dropout_is_off() -> None:
    model = tiny_model("gpt2")  # dropout 0.1
    prompts = random_prompts(6)
    expected = run(model, prompts)
    model.train()
    model.transformer.h[0].eval()
    assert run(model, prompts) == expected
    assert model.training and model.transformer.h[1].training
    assert not model.transformer.h[0].training


def test_training_goes_on_after_decoding() -> None:
    model = tiny_model("llama")
    run(model, [[3, 4]])
    model(input_ids=torch.tensor([[3, 4]]), labels=torch.tensor([[3, 4]])).loss.backward()
    assert model.model.embed_tokens.weight.grad is not None


@pytest.mark.parametrize("prompts", [[[3, 4, 5]], [[3, 4, 5], [3, 4, 6, 7]]])
def test_the_heads_weight_is_not_copied(prompts: list[list[int]]) -> None:
    """As PyTorch's linear layer does for a strided input: it is ``bmm`` then, not ``mm``."""
    seen: list[tuple[str, tuple[int, ...]]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, op: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            made = op(*args, **(kwargs or {}))
            if str(op) in ("aten.bmm.default", "aten.mm.default"):
                seen.append((str(op), tuple(made.shape)))
            return made

    model = tiny_model("llama").requires_grad_(False)  # as a frozen one: else it is always `mm`
    with Watch():
        run(model, prompts, eos_ids=[])
    heads = {op for op, shape in seen if shape[-1] == model.config.vocab_size}
    assert heads == {"aten.mm.default"}


def test_under_inference_mode() -> None:
    model, prompts = tiny_model("gemma3"), random_prompts(5)
    expected = run(model, prompts)
    with torch.inference_mode():
        assert run(model, prompts) == expected


@pytest.mark.parametrize("beam_size", [1, 3])
def test_order_and_progress(beam_size: int) -> None:
    model, prompts = tiny_model("llama"), random_prompts(7)
    single = [run(model, [p], beam_size=beam_size)[0] for p in prompts]
    calls: list[tuple[int, int, int]] = []
    found = run(
        model, prompts, batch_size=3, beam_size=beam_size, progress=lambda *c: calls.append(c)
    )
    assert found == single
    assert calls[-1] == (7, 7, sum(h.tokens for h in found))
    assert calls == sorted(calls)
    assert run(model, [], beam_size=beam_size) == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"beam_size": 0}, "translate.beam_size=0"),
        ({"batch_size": 0}, "translate.batch_size=0"),
        ({"max_new_tokens": 0}, "translate.max_new_tokens=0"),
        ({"max_tokens": 0}, "translate.max_tokens=0"),
        ({"max_new_tokens": -1, "batch_size": 0}, "2 settings"),
    ],
)
def test_sizes_below_one(settings: dict[str, int], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        run(tiny_model("llama"), [[3]], **settings)


def test_empty_prompt() -> None:
    with pytest.raises(DataError, match="Sentence 1 "):
        run(tiny_model("llama"), [[3], []])


def test_more_tokens_than_learned_positions() -> None:
    model = tiny_model("gpt2", max_position_embeddings=16)
    assert len(run(model, [[3] * 9], max_new_tokens=8, eos_ids=[])) == 1
    with pytest.raises(ModelError, match=r"10 tokens.*max_new_tokens=8.*16 positions"):
        run(model, [[3] * 10], max_new_tokens=8)
    settings = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    prefixed = peft.get_peft_model(model, settings).eval()  # they take positions too
    assert len(run(prefixed, [[3] * 5], max_new_tokens=8, eos_ids=[])) == 1
    with pytest.raises(ModelError, match=r"6 tokens.*max_new_tokens=8.*12 positions"):
        run(prefixed, [[3] * 6], max_new_tokens=8)
    # Rotary positions have no table to fall out of.
    assert run(tiny_model("llama", max_position_embeddings=16), [[3] * 10])


def test_beam_equals_generate() -> None:
    model, prompts = tiny_model("llama", seed=3), random_prompts(6)
    for penalty in (0.0, 1.0, 2.0):
        found = run(model, prompts, beam_size=4, length_penalty=penalty, eos_ids=[EOS, 9, 17])
        for prompt, hypothesis in zip(prompts, found, strict=True):
            out = model.generate(
                input_ids=torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                do_sample=False, num_beams=4, early_stopping=True, length_penalty=penalty,
                max_new_tokens=8, eos_token_id=[EOS, 9, 17], pad_token_id=PAD,
            )  # fmt: skip
            expected = cut_at_eos(out[0, len(prompt) :].tolist(), frozenset([EOS, 9, 17]))
            assert hypothesis == _to_text(tiny_tokenizer(), expected, [], one_line=False)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_models_own_generation_settings_do_not_leak_in(
    beam_size: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import GenerationConfig

    model, prompts = tiny_model("llama"), random_prompts(5)
    expected = run(model, prompts, beam_size=beam_size)
    words = [[token] for token in range(3, 40)]
    own = GenerationConfig(
        do_sample=True, temperature=0.3, top_k=5, top_p=0.5, repetition_penalty=3.0,
        no_repeat_ngram_size=1, bad_words_ids=words, min_new_tokens=8, max_length=5, eos_token_id=7,
    )  # fmt: skip
    model.generation_config = own
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(model, prompts, beam_size=beam_size) == expected
    assert model.generation_config is own
    assert not caplog.text
    assert not capfd.readouterr().err


def test_padding_that_equals_eos() -> None:
    model, prompts = tiny_model("llama"), random_prompts(6)
    for beam_size in (1, 2):
        expected = run(model, prompts, beam_size=beam_size)
        assert run(model, prompts, beam_size=beam_size, pad_id=EOS) == expected


def test_cut_at_eos() -> None:
    assert cut_at_eos([5, PAD, 6, EOS, PAD], frozenset([EOS])) == Continuation([5, PAD, 6], True)
    assert cut_at_eos([5, 6], frozenset([EOS])) == Continuation([5, 6], False)


def test_text_is_not_cleaned_up_and_loses_one_leading_blank() -> None:
    tokenizer = tiny_tokenizer(clean_up=True)
    ended = Continuation([3, 5, 4, 6, 2], True)
    assert _to_text(tokenizer, ended, [], one_line=False).text == "w3 . w4 n't"
    # A forced beginning is part of the translation; one line is what comes before the first break.
    forced = _to_text(tokenizer, Continuation([4, 6, 2], True), [3, 5], one_line=False)
    assert forced == _to_text(tokenizer, ended, [], one_line=False)

    class Blank:
        def decode(self, tokens: list[int], **_: Any) -> str:
            return "  two\nlines \n"

    hypothesis = _to_text(Blank(), Continuation([1], False), [], one_line=False)
    assert hypothesis == Hypothesis(" two\nlines \n", 1, False)
    assert hypothesis.first_line == "two"
    assert _to_text(Blank(), Continuation([1], False), [], one_line=True).text == "two"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        (" \n\n ", ""),
        ("\n\n  Bună ziua.  \nEnglish: x", "Bună ziua."),
        ("one\r\ntwo", "one"),
        ("one", "one"),
    ],
)
def test_first_line(text: str, line: str) -> None:
    assert first_line(text) == line
