"""Tokenising pairs, collating them, and batches of similar length."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast

from mt_lottery.config import DataConfig
from mt_lottery.data.corpora import load_corpora
from mt_lottery.data.prompts.batches import (
    BucketBatchSampler,
    Example,
    collate,
    encode,
    encode_prompts,
)
from mt_lottery.data.prompts.templates import get_template
from mt_lottery.data.text import Pair
from mt_lottery.errors import ConfigError, DataError, ModelError
from mt_lottery.languages import LanguagePair, parse_pair

EN_RO = parse_pair("en-ro")
PLAIN = get_template("plain")
PAIRS = [
    Pair("Good morning, my friend.", "Bună dimineața, prietene."),
    Pair("Where is the old bridge?", "Unde este podul vechi?"),
    Pair("Tea.", "Ceai."),
]
REAL = Path(os.environ.get("MT_LOTTERY_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")


new_tokenizer: Any = PreTrainedTokenizerFast  # untyped in transformers 5


def byte_level(*, bos: bool = True, eos: bool = False, **special: str) -> Any:
    """A byte-level BPE tokenizer that adds BOS (and EOS) by itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [PLAIN.prompt(p.source, EN_RO) + PLAIN.target(p.target) for p in PAIRS]
    tokenizer.train_from_iterator(texts, trainer)
    single = " ".join([*(["<s>"] if bos else []), "$A", *(["</s>"] if eos else [])])
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1), ("</s>", 2)]),
        ]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", **special}
    return new_tokenizer(
        tokenizer_object=tokenizer, **{key: name for key, name in names.items() if name}
    )


def text_of(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


# ---------------------------------------------------------------- encoding


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("eos", [True, False])
def test_prompt_target_and_exactly_one_eos(bos: bool, eos: bool) -> None:
    tokenizer = byte_level(bos=bos, eos=eos)
    encoded = encode(PAIRS, PLAIN, EN_RO, tokenizer, 512)
    assert encoded.dropped == []
    assert [example.index for example in encoded.examples] == [0, 1, 2]
    start = "<s>" if bos else ""
    for pair, example in zip(PAIRS, encoded.examples, strict=True):
        ids = example.prompt_ids + example.target_ids
        assert ids.count(2) == 1 and ids[-1] == 2
        assert ids.count(1) == int(bos)
        assert text_of(tokenizer, example.prompt_ids) == start + PLAIN.prompt(pair.source, EN_RO)
        assert text_of(tokenizer, example.target_ids) == f" {pair.target}</s>"
        assert len(example) == len(ids)


@pytest.mark.parametrize("eos", [True, False])
def test_decoding_starts_from_the_prompts_of_training(eos: bool) -> None:
    tokenizer = byte_level(eos=eos)
    prompts = encode_prompts([pair.source for pair in PAIRS], PLAIN, EN_RO, tokenizer)
    examples = encode(PAIRS, PLAIN, EN_RO, tokenizer, 512).examples
    assert prompts == [example.prompt_ids for example in examples]
    assert encode_prompts([], PLAIN, EN_RO, tokenizer) == []
    assert encode([], PLAIN, EN_RO, tokenizer, 512).examples == []


def test_bos_and_eos_may_be_the_same_token() -> None:
    """GPT-2 style: one token begins and ends a text."""
    tokenizer = byte_level(bos=True, eos_token="<s>")
    example = encode(PAIRS[:1], PLAIN, EN_RO, tokenizer, 512).examples[0]
    assert example.prompt_ids[0] == 1 and example.prompt_ids[-1] != 1
    assert example.target_ids.count(1) == 1 and example.target_ids[-1] == 1


def test_special_tokens_in_a_sentence_are_text() -> None:
    tokenizer = byte_level()
    pair = Pair("The tag </s> ends <s>", "Eticheta </s> încheie </s>")
    example = encode([pair], PLAIN, EN_RO, tokenizer, 512).examples[0]
    assert (example.prompt_ids + example.target_ids).count(2) == 1
    assert example.prompt_ids.count(1) == 1
    assert text_of(tokenizer, example.target_ids) == f" {pair.target}</s>"
    # and the tokenizer is left as it was
    assert tokenizer("</s>", add_special_tokens=False)["input_ids"] == [2]


class GluedTemplate:
    """A target without a blank, which the tokenizer glues to the prompt's last letters."""

    def prompt(self, source: str, pair: LanguagePair) -> str:
        return source

    def target(self, target: str) -> str:
        return target


def test_a_token_across_the_border_is_cut_there() -> None:
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5}
    tokenizer = new_tokenizer(
        tokenizer_object=Tokenizer(models.BPE(vocabulary, [("a", "b")])),
        eos_token="</s>",
        pad_token="<pad>",
    )
    assert tokenizer("ab")["input_ids"] == [5]
    pairs = [Pair("a", "b"), Pair("b", "a")]
    examples = encode(pairs, GluedTemplate(), EN_RO, tokenizer, 9).examples
    assert (examples[0].prompt_ids, examples[0].target_ids) == ([3], [4, 2])
    assert (examples[1].prompt_ids, examples[1].target_ids) == ([4], [3, 2])
    assert encode_prompts(["a", "b"], GluedTemplate(), EN_RO, tokenizer) == [[3], [4]]


def test_too_long_pairs_are_dropped_and_counted() -> None:
    tokenizer = byte_level()
    lengths = [len(e) for e in encode(PAIRS, PLAIN, EN_RO, tokenizer, 512).examples]
    limit = max(lengths) - 1
    encoded = encode(PAIRS, PLAIN, EN_RO, tokenizer, limit)
    assert encoded.dropped == [i for i, length in enumerate(lengths) if length > limit]
    assert encoded.dropped and encoded.examples
    for example in encoded.examples:  # kept whole, EOS included in the limit
        assert len(example) == lengths[example.index] <= limit
    with pytest.raises(DataError, match="All 3 pairs are longer"):
        encode(PAIRS, PLAIN, EN_RO, tokenizer, 8)


def test_a_tokenizer_without_eos() -> None:
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        encode(PAIRS, PLAIN, EN_RO, byte_level(eos_token=""), 512)


# ---------------------------------------------------------------- collate

ids = st.lists(st.integers(1, 99), min_size=1, max_size=12)


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=9), st.integers(0, 120))
def test_collate(rows: list[tuple[list[int], list[int]]], pad_id: int) -> None:
    examples = [Example(i, prompt, target) for i, (prompt, target) in enumerate(rows)]
    batch = collate(examples, pad_id)
    shape = (len(examples), max(map(len, examples)))
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    for tensor in batch.values():
        assert tensor.dtype == torch.long and tuple(tensor.shape) == shape
    for row, example in enumerate(examples):
        pad = shape[1] - len(example)
        prompt, target = example.prompt_ids, example.target_ids
        assert batch["input_ids"][row].tolist() == prompt + target + [pad_id] * pad
        assert batch["attention_mask"][row].tolist() == [1] * len(example) + [0] * pad
        expected = [-100] * len(prompt) + target + [-100] * pad
        assert batch["labels"][row].tolist() == expected


# ---------------------------------------------------------------- sampler

many = st.lists(st.integers(1, 60), max_size=80)


@given(many, st.integers(1, 9), st.none() | st.integers(1, 200), st.integers(0, 5), st.booleans())
def test_every_example_once_and_within_the_limits(
    lengths: list[int], size: int, tokens: int | None, epoch: int, shuffle: bool
) -> None:
    sampler = BucketBatchSampler(lengths, size, tokens, seed=3, shuffle=shuffle)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert len(sampler) == len(batches)
    assert batches == sampler.planned(epoch)
    for batch in batches:
        assert 1 <= len(batch) <= size
        longest = max(lengths[i] for i in batch)
        assert tokens is None or len(batch) == 1 or len(batch) * longest <= tokens
    if tokens is None:
        assert len(batches) == -(-len(lengths) // size)


@given(many, st.integers(1, 9), st.integers(0, 99), st.integers(0, 99))
def test_seed_and_epoch_decide(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    first = BucketBatchSampler(lengths, size, seed=seed)
    second = BucketBatchSampler(lengths, size, seed=seed)
    second.set_epoch(epoch)
    assert first.planned(epoch) == list(second)
    plain = BucketBatchSampler(lengths, size, seed=seed, shuffle=False)
    assert plain.planned(0) == plain.planned(epoch)
    longest = [max(lengths[i] for i in batch) for batch in plain]
    assert longest == sorted(longest)


def test_an_example_past_the_budget_is_a_batch_of_its_own() -> None:
    sampler = BucketBatchSampler([5, 50, 5, 60, 5], 8, max_tokens=20)
    assert sorted(map(sorted, sampler.planned(0))) == [[0, 2, 4], [1], [3]]


def test_epochs_and_seeds_differ() -> None:
    lengths = [10] * 32 + [20] * 32
    sampler = BucketBatchSampler(lengths, 8)
    epochs = [sampler.planned(epoch) for epoch in range(4)]
    # the order of the batches, and the company of sentences of one length
    assert len({str(batches) for batches in epochs}) == 4
    assert len({str(sorted(map(sorted, batches))) for batches in epochs}) == 4
    other = BucketBatchSampler(lengths, 8, seed=1)
    assert other.planned(0) not in epochs
    # (seed 0, epoch 1) is not (seed 1, epoch 0)
    assert other.planned(0) != sampler.planned(1)
    assert all(len({lengths[i] for i in batch}) == 1 for batch in epochs[0])


def test_iteration_in_a_loader() -> None:
    examples = [Example(i, [7] * (1 + i % 5), [8, 2]) for i in range(23)]
    sampler = BucketBatchSampler([len(e) for e in examples], 4)
    loader: Any = DataLoader(
        examples,  # type: ignore[arg-type]
        batch_sampler=sampler,
        collate_fn=lambda batch: collate(batch, 0),
    )
    assert len(loader) == 6
    assert sum(len(batch["input_ids"]) for batch in loader) == 23


@pytest.mark.parametrize(("size", "tokens"), [(0, None), (-1, None), (4, 0), (0, 0)])
def test_limits_below_one(size: int, tokens: int | None) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        BucketBatchSampler([1, 2], size, tokens)


def padding(lengths: list[int], batches: list[list[int]]) -> float:
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths) / padded


@pytest.mark.skipif(not (REAL / "NTREX-128").is_dir(), reason=f"no NTREX-128 in {REAL}")
@pytest.mark.parametrize("count", [400, 1500])
@pytest.mark.parametrize(("size", "tokens"), [(8, None), (32, None), (64, 2048)])
def test_little_padding_on_real_text(count: int, size: int, tokens: int | None) -> None:
    config = DataConfig(name="ntrex", path=str(REAL), train_pairs=count)
    train = load_corpora(config, parse_pair("en-es"), ["train"]).train
    assert train
    # About the tokens of Gemma: 12 of the template, 1.4 a word.
    words = [len(p.source.split()) + len(p.target.split()) for p in train.pairs]
    lengths = [12 + round(1.4 * count) for count in words]
    for epoch in range(2):
        assert padding(lengths, BucketBatchSampler(lengths, size, tokens).planned(epoch)) < 0.1


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_as_many_batches_in_every_epoch(epoch: int) -> None:
    lengths = [3 + i * i % 37 for i in range(200)]
    sampler = BucketBatchSampler(lengths, 16, max_tokens=150)
    assert len(sampler.planned(epoch)) == len(sampler)
    assert Counter(map(len, sampler.planned(epoch))) == Counter(map(len, sampler.planned(0)))
