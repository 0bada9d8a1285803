"""Teacher-forced predictions and the checks of a certificate, on random models."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torch import Tensor

from mt_lottery.data.prompts.templates import get_template
from mt_lottery.data.text import Pair
from mt_lottery.errors import ConfigError, DataError, ModelError
from mt_lottery.languages import parse_pair
from mt_lottery.paper.certify.check import (
    alphas_to_check,
    compare,
    permuted,
    transferred,
    violation_rate,
)
from mt_lottery.paper.certify.predictions import Positions, cut, make_positions, predict, rows_in
from mt_lottery.ticket.certify_levels import certify_levels
from mt_lottery.tuners.base import Probe
from mt_lottery.tuners.rows.ks_lottery import score_probe

pytestmark = pytest.mark.slow

KINDS = ("llama", "gemma3", "gemma2", "cohere", "gpt2")


def one_by_one(model: Any, positions: Positions) -> tuple[Tensor, Tensor]:
    """Margins and predictions by transformers alone: each sentence by itself, all its logits."""
    margins, tokens = [], []
    for example in positions.examples:
        ids = torch.tensor([[*example.prompt_ids, *example.target_ids]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0].float()
        start = len(example.prompt_ids) - 1
        for row in logits[start : start + len(example.target_ids)].softmax(-1):
            first, second = row.sort(descending=True).values[:2].tolist()
            margins.append(first - second)
            tokens.append(int(row.argmax()))
    return torch.tensor(margins), torch.tensor(tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_as_transformers_says(kind: str) -> None:
    model = tiny.model(kind, tied=kind == "gemma3")
    positions = cut(tiny.examples(40), 3)
    # 200 logits at a time: positions of one batch in several chunks
    found = predict(model, positions, tiny.PAD, chunk_logits=200)
    margins, tokens = one_by_one(model, positions)
    torch.testing.assert_close(found.margins, margins, atol=2e-5, rtol=1e-4)
    assert found.tokens.tolist() == tokens.tolist()
    assert found.accuracy(positions.references) == float(
        (tokens == positions.references).double().mean()
    )


def test_more_tokens_than_the_model_has_positions() -> None:
    pairs = tiny.examples(3)
    longest = max(map(len, pairs))
    model = tiny.model("gpt2")
    model.config.n_positions = longest
    assert predict(model, cut(pairs, 20), tiny.PAD).margins.shape
    model.config.n_positions = longest - 1
    with pytest.raises(ModelError, match=rf"{longest} tokens.* {longest - 1} positions.*posit"):
        predict(model, cut(pairs, 20), tiny.PAD)


def test_positions() -> None:
    pairs = [Pair("w3 w4", "w5 w6 w7"), Pair("w8", "w9")]
    tokenizer, template, pair = tiny.tokenizer(), get_template("plain"), parse_pair("en-es")
    found = make_positions(pairs, template, pair, tokenizer, 2)
    assert found.references.tolist() == [5, 6, 9, tiny.EOS]  # the end counts where it is reached
    assert found.sentence.tolist() == [0, 0, 1, 1]
    whole = make_positions(pairs, template, pair, tokenizer, 20)
    assert whole.references.tolist() == [5, 6, 7, tiny.EOS, 9, tiny.EOS]
    assert {5, 6, 9} <= set(found.tokens.tolist()) and 7 not in found.tokens
    with pytest.raises(ConfigError, match=r"^positions is 0"):
        make_positions(pairs, template, pair, tokenizer, 0)
    with pytest.raises(DataError, match="no test sentence"):
        make_positions([], template, pair, tokenizer, 20)


def probe_of(model: Any, positions: Positions, seed: int, size: float = 1.0) -> Probe:
    """Rows that a tuning moved: those of the text, some more than others."""
    generator = torch.Generator().manual_seed(seed)
    ids = positions.tokens
    table = model.get_input_embeddings().weight.detach()
    step = size * torch.rand(len(ids), 1, generator=generator)
    return Probe(ids, table[ids] + step * torch.randn(len(ids), tiny.DIM, generator=generator), 0.0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**4),
    count=st.integers(1, 6),
    tau=st.sampled_from(["estimated", "analytic"]),
    margin=st.sampled_from(["embed", "original"]),
)
def test_random_models(seed: int, count: int, tau: str, margin: str) -> None:
    """§2.7 on models: what certify reports, from the forward passes on."""
    model = tiny.model("llama", seed=seed)
    positions = cut(tiny.examples(12, seed), count)
    probe = probe_of(model, positions, seed)
    original = predict(model, positions, tiny.PAD)
    with rows_in(model, probe.token_ids, probe.values, "input") as tuned:
        embed = predict(tuned, positions, tiny.PAD)
    again = predict(model, positions, tiny.PAD)
    assert torch.equal(again.margins, original.margins)  # the original is back
    scores = score_probe("ks", model.get_input_embeddings().weight, probe)
    assert scores.pvalue is not None
    levels = certify_levels(
        (embed if margin == "embed" else original).margins,
        embed.tokens,
        positions.references,
        statistic=scores.statistic,
        pvalue=scores.pvalue,
        dimension=tiny.DIM,
        alphas=[0, 0.05, 0.5, 0.9, 0.999, 1],
        tau=tau,
    )
    found = [level.certification.certified_accuracy for level in levels]
    assert found == sorted(found) and found[-1] <= embed.accuracy(positions.references)
    if (tau, margin) == ("estimated", "embed"):
        right = embed.tokens == positions.references
        assert torch.equal(levels[-1].certification.certified, right & (embed.margins > 0))
    # with every row in the ticket, transfer is the embed-tuned model, bit for bit
    rows, values = transferred((scores.pvalue <= 1).nonzero().flatten(), probe)
    with rows_in(model, rows, values, "input") as moved:
        assert torch.equal(predict(moved, positions, tiny.PAD).margins, embed.margins)


def test_transfer_takes_the_ticket_only() -> None:
    probe = Probe(torch.tensor([2, 5, 9]), torch.arange(6.0).view(3, 2), 0.0)
    ids, values = transferred(torch.tensor([9, 2, 7]), probe)  # 7 was never trained
    assert ids.tolist() == [2, 9]
    assert values.tolist() == [[0.0, 1.0], [4.0, 5.0]]


def test_the_permutation_keeps_every_distance_at_zero() -> None:
    model = tiny.model("llama")
    positions = cut(tiny.examples(12), 4)
    probe = probe_of(model, positions, 1)
    table = model.get_input_embeddings().weight.detach()
    ids = torch.arange(tiny.VOCAB)
    ticket = torch.tensor([4, 7, 60])
    values, largest = permuted(table, probe, ticket, ids)
    tuned = table.clone()
    tuned[probe.token_ids] = probe.values
    assert largest == 0.0
    assert not tuned[tiny.PAD].any()  # a row of zeros is its own permutation
    for row in ids[1:].tolist():
        assert ks_2samp(tuned[row].numpy(), values[row].numpy()).statistic == 0
        assert torch.equal(tuned[row], values[row]) == (row in ticket)
    # a row's order is its own, whatever the ticket
    other, _ = permuted(table, probe, torch.tensor([5]), ids)
    assert torch.equal(other[10], values[10]) and not torch.equal(other[4], values[4])


def test_the_permutation_breaks_what_is_certified() -> None:
    """The certificate of the permuted model is the same; its predictions are not."""
    model = tiny.model("llama", seed=5)
    positions = cut(tiny.examples(60, 5), 4)
    probe = probe_of(model, positions, 5, size=0.02)
    with rows_in(model, probe.token_ids, probe.values, "input") as tuned:
        embed = predict(tuned, positions, tiny.PAD)
    certified = embed.margins / 2 > 0.005
    table = model.get_input_embeddings().weight.detach()
    values, largest = permuted(table, probe, torch.tensor([3]), positions.tokens)
    with rows_in(model, positions.tokens, values, "input") as control:
        broken = predict(control, positions, tiny.PAD)
    found = compare(
        0.5, "permuted", certified, embed.tokens, broken.tokens, positions.references,
        positions.sentence, rows=1, largest_distance=largest,
    )  # fmt: skip
    rows, moved = transferred(torch.tensor([3]), probe)
    with rows_in(model, rows, moved, "input") as part:
        copied = predict(part, positions, tiny.PAD)
    kept = compare(
        0.5, "transfer", certified, embed.tokens, copied.tokens, positions.references,
        positions.sentence, rows=1,
    )  # fmt: skip
    assert found.certified == kept.certified > 100
    assert found.rate is not None and kept.rate is not None
    assert found.rate > 0.7 > 0.2 > kept.rate


def test_rate_by_hand() -> None:
    sentence = torch.tensor([0, 0, 1, 1, 2, 2])
    certified = torch.tensor([1, 1, 1, 0, 1, 0]).bool()
    reference = torch.tensor([7, 7, 7, 7, 7, 7])
    predicted = torch.tensor([8, 7, 7, 8, 7, 7])
    found = compare(0.1, "transfer", certified, reference, predicted, predicted, sentence, rows=2)
    assert (found.certified, found.certified_sentences, found.changed) == (4, 3, 1)
    assert (found.rate, found.others, found.others_changed) == (0.25, 2, 1)
    assert (found.others_rate, found.accuracy) == (0.5, 1.0)
    # all three draws from sentences 1 and 2: none changed; all from sentence 0: half
    assert found.ci95 == (0.0, 0.5)


def test_interval_is_clustered() -> None:
    """Ten positions that stand or fall together say as much as one."""
    changed = torch.arange(40) % 4 == 0
    once = violation_rate(torch.ones(40).bool(), changed, torch.arange(40))
    tenfold = violation_rate(
        torch.ones(400).bool(),
        changed.repeat_interleave(10),
        torch.arange(40).repeat_interleave(10),
    )
    assert once == tenfold
    assert once[0] == 0.25 and once[1] is not None
    low, high = once[1]
    # the binomial's 95% interval of 10 in 40 is about ±13 points
    assert low == pytest.approx(0.125, abs=0.03) and high == pytest.approx(0.4, abs=0.04)
    apart = violation_rate(torch.ones(400).bool(), changed.repeat_interleave(10), torch.arange(400))
    assert apart[1] is not None and apart[1][1] - apart[1][0] < (high - low) / 2


def test_nothing_certified_and_nothing_changed() -> None:
    none, some = torch.zeros(3).bool(), torch.ones(3).bool()
    assert violation_rate(none, none, torch.arange(3)) == (None, None)
    assert violation_rate(some, none, torch.arange(3)) == (0.0, None)
    assert violation_rate(some, some, torch.arange(3)) == (1.0, None)
    # one sentence alone, or several that say the same, leave nothing to be resampled
    five = torch.ones(5).bool()
    assert violation_rate(five, torch.arange(5) == 0, torch.zeros(5).long()) == (0.2, None)
    ten, two = torch.ones(10).bool(), torch.arange(10) // 5
    assert violation_rate(ten, torch.arange(10) % 5 == 0, two) == (0.2, None)


def test_alphas_to_check() -> None:
    statistic = torch.tensor([0.5, 0.4, 0.4, 0.2, 0.0], dtype=torch.float64)
    pvalue = torch.tensor([0.2, 0.6, 0.6, 0.9, 1.0], dtype=torch.float64)
    # 2 rows: the third has the same p; 18 rows have not changed; 0.05 has no row
    assert alphas_to_check(statistic, pvalue, [], sizes=(1, 2, 18)) == [0.05, 0.2, 0.6]
    # 0.3 has the ticket of 0.2
    assert alphas_to_check(statistic, pvalue, [0.3], sizes=(1, 2, 18)) == [0.05, 0.3, 0.6]
    assert alphas_to_check(statistic, pvalue, [0.6, 0.7], sizes=(3,)) == [0.05, 0.6, 0.7]
