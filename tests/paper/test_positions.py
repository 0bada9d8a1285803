"""Rows read at some positions only: against one sentence at a time with ``inputs_embeds``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import Models
from translate_models import PAD, VOCAB, tiny_model

from mt_lottery.data.prompts.batches import encode_prompts
from mt_lottery.data.prompts.templates import get_template, one_line
from mt_lottery.decoding.continuation import Continuation
from mt_lottery.decoding.greedy import greedy_batch
from mt_lottery.decoding.prefix import share_prefix
from mt_lottery.errors import ConfigError, ModelError
from mt_lottery.languages import parse_pair
from mt_lottery.paper.explain.positions import (
    BOS,
    INSTRUCTION,
    PROMPT_KINDS,
    SOURCE,
    PositionRows,
    Prompt,
    split_prompts,
)
from mt_lottery.tuners.rows.module import TokenRows, attach

pytestmark = pytest.mark.slow

EOS_IDS = frozenset({1, 7, 20, 33, 41, 52})  # so many that sentences end at different steps
STEPS = 12
PAIR = parse_pair("en-es")


def tables(name: str) -> tuple[Any, Any, Any, TokenRows]:
    """A model with tuned rows, its original embedding, the tuned one, and the rows."""
    model = tiny_model(name)
    original = copy.deepcopy(model.get_input_embeddings())
    tuned = copy.deepcopy(original)
    generator = torch.Generator().manual_seed(5)
    ids = torch.randperm(VOCAB, generator=generator)[:24]
    scale = float(original.weight.std())
    values = original.weight[ids].detach() + 2 * scale * torch.randn(
        24, original.weight.shape[1], generator=generator
    )
    with torch.no_grad():
        tuned.weight[ids] = values
    rows = attach(model, ids, values, tied=False)
    return model, original, tuned, rows


def one_by_one(
    model: Any, original: Any, tuned: Any, prompt: Prompt, read: Sequence[str], generated: bool
) -> Continuation:
    """The plainest loop: no cache, no batch, the whole sequence as embeddings at each step."""
    found = Continuation()
    tokens = list(prompt.ids)
    own = [kind in read for kind in prompt.kinds]
    for _ in range(STEPS):
        ids = torch.tensor([tokens])
        mask = torch.tensor([own])[..., None]
        embedded = torch.where(mask, tuned(ids), original(ids))
        chosen = int(model(inputs_embeds=embedded, use_cache=False).logits[0, -1].argmax())
        if chosen in EOS_IDS:
            found.stopped = True
            break
        found.tokens.append(chosen)
        tokens.append(chosen)
        own.append(generated)
    return found


def batched(
    model: Any, rows: TokenRows, prompts: Sequence[Prompt], read: Sequence[str], generated: bool
) -> list[Continuation]:
    embedding = PositionRows(rows)
    embedding.generated = generated
    model.set_input_embeddings(embedding)
    try:
        marked = [prompt.marked(VOCAB, read) for prompt in prompts]
        found = greedy_batch(
            model, marked, max_new_tokens=STEPS, eos_ids=EOS_IDS, pad_id=PAD,
            on_step=lambda *_: None, prefix=share_prefix(model, marked),
        )  # fmt: skip
    finally:
        model.set_input_embeddings(rows)
    assert found is not None
    return found


def some_prompts(count: int, seed: int = 0) -> list[Prompt]:
    """Unequal lengths, a beginning in common, then source, then a common end."""
    generator = torch.Generator().manual_seed(seed)

    def draw(length: int) -> list[int]:
        return torch.randint(3, VOCAB, (length,), generator=generator).tolist()

    head, tail = draw(6), draw(2)
    made = []
    for _ in range(count):
        source = draw(int(torch.randint(1, 14, (), generator=generator)))
        kinds = [BOS, *[INSTRUCTION] * 6, *[SOURCE] * len(source), *[INSTRUCTION] * 2]
        made.append(Prompt([2, *head, *source, *tail], kinds))
    return made


ARMS = {
    "nowhere": ((), False),
    "everywhere": (PROMPT_KINDS, True),
    "bos": ((BOS,), False),
    "instruction": ((BOS, INSTRUCTION), False),
    "source": ((SOURCE,), False),
    "target": ((), True),
}


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma3", "qwen2", "gpt2"])
@torch.no_grad()
def test_each_arm_equals_one_sentence_at_a_time(name: str) -> None:
    model, original, tuned, rows = tables(name)
    prompts = some_prompts(9)
    assert len({len(prompt.ids) for prompt in prompts}) > 4
    results = {}
    for arm, (read, generated) in ARMS.items():
        wanted = [one_by_one(model, original, tuned, p, read, generated) for p in prompts]
        assert batched(model, rows, prompts, read, generated) == wanted, arm
        results[arm] = wanted
    # the arms are told apart, and sentences leave the batch at different steps
    assert len({str(result) for result in results.values()}) == len(ARMS)
    ends = {len(c.tokens) for result in results.values() for c in result if c.stopped}
    assert len(ends) > 3


@pytest.mark.parametrize("name", ["llama", "gemma3"])
@settings(max_examples=12, deadline=None)
@given(data=st.data())
@torch.no_grad()
def test_any_pattern_of_positions(name: str, data: st.DataObject) -> None:
    model, original, tuned, rows = tables(name)
    prompts = []
    for prompt in some_prompts(4, seed=data.draw(st.integers(0, 50))):
        kinds = [data.draw(st.sampled_from((SOURCE, INSTRUCTION))) for _ in prompt.ids]
        prompts.append(Prompt(prompt.ids, kinds))
    generated = data.draw(st.booleans())
    wanted = [one_by_one(model, original, tuned, p, (SOURCE,), generated) for p in prompts]
    assert batched(model, rows, prompts, (SOURCE,), generated) == wanted


@torch.no_grad()
def test_everywhere_and_nowhere_are_the_tuned_and_the_original_model() -> None:
    model, original, _, rows = tables("gemma3")
    prompts = some_prompts(5)
    plain = [prompt.ids for prompt in prompts]

    def greedy() -> list[Continuation] | None:
        return greedy_batch(
            model, plain, max_new_tokens=STEPS, eos_ids=EOS_IDS, pad_id=PAD,
            on_step=lambda *_: None, prefix=share_prefix(model, plain),
        )  # fmt: skip

    assert batched(model, rows, prompts, PROMPT_KINDS, True) == greedy()
    model.set_input_embeddings(original)
    before = greedy()
    model.set_input_embeddings(rows)
    assert batched(model, rows, prompts, (), False) == before


@pytest.fixture(scope="module")
def words(models: Models) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(models.untied)


def decoded(tokenizer: Any, prompt: Prompt, *kinds: str) -> str:
    ids = [t for t, kind in zip(prompt.ids, prompt.kinds, strict=True) if kind in kinds]
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


SOURCES = (
    "The cat sat on the mat.",
    "English",
    "Translate English to Spanish.",
    "A line\nand another — “quoted”, ünïcödé 日本語 🙂.",
    "English: Spanish:",
    "x",
    "</s> is no end here",
)


@pytest.mark.parametrize("name", ["plain", "alpaca"])
def test_a_prompt_is_split_at_the_source(name: str, words: Any) -> None:
    template = get_template(name)
    prompts = split_prompts(SOURCES, template, PAIR, words, name)
    assert [p.ids for p in prompts] == encode_prompts(SOURCES, template, PAIR, words)
    before, after = template.prompt("⁂", PAIR).split("⁂")
    for source, prompt in zip(SOURCES, prompts, strict=True):
        assert prompt.kinds[0] == BOS and BOS not in prompt.kinds[1:]
        start = prompt.kinds.index(SOURCE)
        end = len(prompt.kinds) - prompt.kinds[::-1].index(SOURCE)
        assert set(prompt.kinds[start:end]) == {SOURCE}
        # the blank before the source is part of its first token
        assert decoded(words, prompt, SOURCE).strip() == one_line(source)
        rest = decoded(words, prompt, INSTRUCTION)
        assert rest in (before + after, before.removesuffix(" ") + after)


@settings(max_examples=60, deadline=None)
@given(source=st.text(min_size=1, max_size=40).filter(lambda text: one_line(text) != ""))
def test_no_character_of_the_source_is_lost(source: str, words: Any) -> None:
    template = get_template("plain")
    try:
        (prompt,) = split_prompts([source], template, PAIR, words, "plain")
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    whole = template.prompt(source, PAIR)
    assert decoded(words, prompt, INSTRUCTION, SOURCE) == whole
    inside = decoded(words, prompt, SOURCE)
    assert one_line(source) in inside or inside in one_line(source) or "\ufffd" in inside
    tokens = set(range(600))
    assert sum(prompt.count(tokens).values()) == len(prompt.ids)


class Twice:
    def prompt(self, source: str, pair: Any) -> str:
        return f"{source} = {source} ="

    def target(self, target: str) -> str:
        return target


class Loud(Twice):
    def prompt(self, source: str, pair: Any) -> str:
        return f"In {len(source)} letters: {source} ="


def test_templates_that_cannot_be_split(words: Any) -> None:
    with pytest.raises(ConfigError, match="'twice' puts the source sentence into its prompt 2"):
        split_prompts(["a"], Twice(), PAIR, words, "twice")
    with pytest.raises(ConfigError, match="'loud' words its prompt by the source"):
        split_prompts(["abcdefghijklmnop"], Loud(), PAIR, words, "loud")


def test_a_tokenizer_without_characters(words: Any) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match="Slow does not say which characters"):
        split_prompts(["a"], get_template("plain"), PAIR, Slow(), "plain")
