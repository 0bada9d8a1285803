"""First tokens that are forced, and the stop at a line break, against ``generate``'s own."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast, StoppingCriteria, StoppingCriteriaList
from translate_models import EOS, PAD, VOCAB, random_prompts, tiny_model

from mt_lottery.decoding import Hypothesis, first_line, translate, translation
from mt_lottery.decoding.lines import FirstLine
from mt_lottery.errors import ConfigError

pytestmark = pytest.mark.slow

LINES = {3: "\n", 4: ".\n", 5: "\n\n", 6: "\r", 7: " ", 8: ".", 9: "a\nb"}
LINES_AND_WORD = {**LINES, 10: "abcdef"}  # a text that StopStringCriteria looks at tokens behind
NEW = 24
NAMES = ("llama", "gemma3", "gpt2")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Tokens with line breaks alone, doubled, and merged with what is before or after them."""
    words = ["<pad>", "</s>", "<s>", *LINES_AND_WORD.values()]
    words += [f" w{i}" for i in range(11, VOCAB)]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", bos_token="<s>"
    )


def said(model: Any, tokenizer: Any, prompts: list[list[int]], **more: Any) -> list[Hypothesis]:
    settings = {"max_new_tokens": NEW, "eos_ids": [EOS], "pad_id": PAD, "batch_size": 7, **more}
    return translate(model, tokenizer, prompts, **settings)


def by_generate(model: Any, prompt: list[int], new: int = NEW, **more: Any) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new,
        eos_token_id=EOS, pad_token_id=PAD, **more,
    )  # fmt: skip
    found: list[int] = out[0, len(prompt) :].tolist()
    return found


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_line_is_the_first_line_of_what_would_follow(
    name: str, cached: bool, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompts = tiny_model(name), random_prompts(24)
    if not cached:  # through `generate`
        monkeypatch.setattr(translation, "new_cache", lambda _: None)
    steps: list[int] = []
    whole = said(model, tokenizer, prompts)
    lines = said(model, tokenizer, prompts, one_line=True, progress=lambda *p: steps.append(p[2]))
    assert [h.text for h in lines] == [h.first_line for h in whole]
    assert [h.first_line for h in lines] == [h.text for h in lines]
    shorter = [a.tokens < b.tokens for a, b in zip(lines, whole, strict=True)]
    assert sum(shorter) > 2
    assert steps[-1] == sum(h.tokens for h in lines) < sum(h.tokens for h in whole)
    for line, long in zip(lines, whole, strict=True):
        assert line.stopped == (long.stopped and line.tokens == long.tokens)


def test_generate_with_a_stop_string_says_the_same(tokenizer: Any) -> None:
    model, prompts = tiny_model("llama"), random_prompts(24, seed=1)
    cut = 0
    for prompt, line in zip(prompts, said(model, tokenizer, prompts, one_line=True), strict=True):
        ids = by_generate(model, prompt, stop_strings=["\n", "\r"], tokenizer=tokenizer)
        ids = ids[: ids.index(EOS) if EOS in ids else None]
        text = tokenizer.decode(ids, skip_special_tokens=True)
        if text.strip() and text.lstrip(" ") == text.lstrip():  # no blank line comes first
            assert (line.text, line.tokens) == (first_line(text), len(ids))
            cut += "\n" in text
    assert cut > 5


def test_beams_end_where_a_stopping_criterion_ends_them(tokenizer: Any) -> None:
    model, prompts = tiny_model("llama"), random_prompts(16, seed=2)

    class HasLine(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
            texts = tokenizer.batch_decode(input_ids[:, self.start :], skip_special_tokens=True)
            return torch.tensor([re.search(r"\S\s*?[\r\n]", text) is not None for text in texts])

    lines = said(model, tokenizer, prompts, one_line=True, beam_size=3)
    ended = 0
    for prompt, line in zip(prompts, lines, strict=True):
        criterion = HasLine()
        criterion.start = len(prompt)
        ids = by_generate(model, prompt, num_beams=3, early_stopping=True,
                          stopping_criteria=StoppingCriteriaList([criterion]))  # fmt: skip
        ids = ids[: ids.index(EOS) if EOS in ids else None]
        text = tokenizer.decode(ids, skip_special_tokens=True)
        assert (line.text, line.tokens) == (first_line(text), len(ids))
        ended += line.tokens < NEW and not line.stopped
    assert ended > 5


def test_a_line_break_that_is_none(tokenizer: Any) -> None:
    """The byte of a line break within a broken character; blank lines; special tokens."""

    class Bytes:
        def decode(self, tokens: list[int], **_: Any) -> str:
            if 0xC4 in tokens:  # as byte fallback decodes a run of bytes that is no text
                return "\ufffd" * len(tokens)
            return bytes(tokens).decode()

    complete = FirstLine(Bytes())
    assert not complete([10]) and not complete([10, 10]) and not complete([65])
    assert complete([65, 10]) and not complete([32, 10]) and not complete([65, 0xC4, 10])
    real = FirstLine(tokenizer)
    assert [real([20, i]) for i in LINES] == [True, True, True, True, False, False, True]
    assert real([4]) and not real([3]) and not real([3, 5]) and real([3, 9])


@pytest.mark.parametrize("name", NAMES)
def test_forced_tokens_are_the_end_of_the_prompt(name: str, tokenizer: Any) -> None:
    model, prompts, forced = tiny_model(name), random_prompts(12), [11, 12]
    found = said(model, tokenizer, prompts, forced=forced)
    plain = said(model, tokenizer, prompts)
    assert [h.text for h in found] != [h.text for h in plain]
    for prompt, hypothesis in zip(prompts, found, strict=True):
        ids = by_generate(model, [*prompt, *forced], NEW - 2)
        ids = [*forced, *ids[: ids.index(EOS) if EOS in ids else None]]
        assert hypothesis.text == tokenizer.decode(ids, skip_special_tokens=True)[1:]
        assert hypothesis.text.startswith("w11 w12") and hypothesis.tokens == len(ids) <= NEW
    both = said(model, tokenizer, prompts, forced=forced, one_line=True)
    assert [h.text for h in both] == [h.first_line for h in found]
    for too_few in (1, 2):
        with pytest.raises(
            ConfigError, match=rf"max_new_tokens={too_few}: must be more than the 2"
        ):
            said(model, tokenizer, prompts, forced=forced, max_new_tokens=too_few)
