"""Gradients of rows over a few pairs: against finite differences, and autograd's dense ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import IGNORE, Example
from mt_lottery.errors import TrainingError
from mt_lottery.registry import CRITERIA
from mt_lottery.training.row_gradients import gradient_norms, sample

pytestmark = pytest.mark.slow

EXAMPLES = tiny.examples(6)
EVERY = torch.arange(tiny.VOCAB)


def norms(
    model: Any, examples: Sequence[Example], rows: Tensor = EVERY, tied: bool = False, **more: Any
) -> Tensor:
    config = TrainConfig(**more)
    return gradient_norms(model, config, examples, rows, pad_id=tiny.PAD, seed=0, tied=tied)


def dense(model: Any, examples: Sequence[Example]) -> Tensor:
    """The same from autograd's gradient of the whole table, [V]."""
    table = model.get_input_embeddings().weight
    total = torch.zeros(len(table), dtype=torch.float64)
    for example in examples:
        table.requires_grad_(True)
        loss = tiny.plain_loss(model, *tiny.batch([example])) / len(example.target_ids)
        (gradient,) = torch.autograd.grad(loss, [table])
        total += gradient.double().norm(dim=1)
    table.requires_grad_(False)
    return total


# the norms of Llama and Gemma compute in float32, whatever the model: larger steps, less exact
@pytest.mark.parametrize(
    ("kind", "tied", "step", "room"),
    [
        *(("gpt2", False, 1e-4, 1e-6), ("gpt2", True, 1e-4, 1e-6)),
        *(("llama", False, 3e-3, 2e-3), ("gemma3", True, 3e-3, 2e-3)),
    ],
)
def test_equals_finite_differences_of_the_input_table(
    kind: str, tied: bool, step: float, room: float
) -> None:
    model = tiny.model(kind, tied=tied, dtype=torch.float64)
    # the input table alone is moved: a head of its own keeps the values
    moved = tiny.untied(model, kind) if tied else tiny.clone(model)
    table = moved.get_input_embeddings().weight
    example = EXAMPLES[0]
    rows = torch.tensor([tiny.BOS, example.prompt_ids[1], example.target_ids[0], tiny.EOS])
    rows = rows.unique()
    numeric = torch.zeros(len(rows), tiny.DIM, dtype=torch.float64)
    with torch.no_grad():
        for i, row in enumerate(rows.tolist()):
            for j in range(tiny.DIM):
                start, values = float(table[row, j]), []
                for sign in (1, -1):
                    table[row, j] = start + sign * step
                    values.append(float(tiny.plain_loss(moved, *tiny.batch([example]))))
                table[row, j] = start
                numeric[i, j] = (values[0] - values[1]) / (2 * step)
    expected = numeric.norm(dim=1) / len(example.target_ids)
    found = norms(model, [example], rows)
    assert torch.allclose(found, expected, rtol=room, atol=1e-8)
    assert found.dtype is torch.float64 and float(found[rows == tiny.BOS]) > 0
    assert float(found[rows == tiny.EOS]) == 0  # it ends its input: nothing looks at it


@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen2", "gpt2"])
def test_equals_autograds_dense_gradient(kind: str) -> None:
    untied = tiny.model(kind, tied=False)
    assert torch.allclose(norms(untied, EXAMPLES), dense(untied, EXAMPLES), rtol=1e-4, atol=1e-6)
    both = tiny.model(kind, tied=True)
    through_input = dense(tiny.untied(both, kind), EXAMPLES)
    assert torch.allclose(norms(both, EXAMPLES), through_input, rtol=1e-4, atol=1e-6)
    whole = dense(both, EXAMPLES)
    assert torch.allclose(norms(both, EXAMPLES, tied=True), whole, rtol=1e-4, atol=1e-6)
    assert bool((whole > 0).all()) and not torch.allclose(whole, through_input, rtol=1e-2)


def test_half_precision_is_near() -> None:
    exact = norms(tiny.model("gemma3", tied=True), EXAMPLES)
    rough = norms(tiny.model("gemma3", tied=True, dtype=torch.bfloat16), EXAMPLES)
    reached = exact > 0
    assert torch.equal(reached, rough > 0)
    assert float((rough / exact)[reached].log().abs().max()) < 0.1


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(len(EXAMPLES))), longest=st.integers(0, 5))
def test_neither_order_nor_padding_matters(order: list[int], longest: int) -> None:
    model = tiny.model("gemma3", tied=True)
    mixed = norms(model, [EXAMPLES[i] for i in order])
    assert torch.allclose(mixed, norms(model, EXAMPLES), rtol=1e-12)
    # in a batch with a pair that has no label, padded to the longer of the two
    first = EXAMPLES[order[0]]
    inputs, labels = tiny.batch([first, EXAMPLES[longest]])
    labels[1] = IGNORE
    untied = tiny.untied(model, "gemma3")
    table = untied.get_input_embeddings().weight.requires_grad_(True)
    loss = tiny.plain_loss(untied, inputs, labels) / len(first.target_ids)
    (gradient,) = torch.autograd.grad(loss, [table])
    assert torch.allclose(
        norms(model, [first]), gradient.norm(dim=1).double(), rtol=1e-4, atol=1e-6
    )


def test_pairs_add_up_and_only_the_rows_asked_for_count() -> None:
    model = tiny.model()
    apart = [norms(model, [example]) for example in EXAMPLES]
    assert torch.equal(norms(model, EXAMPLES), torch.stack(apart).sum(0))
    seen = tiny.seen(EXAMPLES)
    assert torch.equal(norms(model, EXAMPLES, seen), norms(model, EXAMPLES)[seen])
    rest = [i for i in range(tiny.VOCAB) if i not in seen.tolist()]
    assert not norms(model, EXAMPLES)[rest].any()


def test_the_criterion_is_the_trainings() -> None:
    smoothed = norms(tiny.model(), EXAMPLES, criterion="label_smoothed_cross_entropy")
    assert not torch.allclose(smoothed, norms(tiny.model(), EXAMPLES), rtol=1e-3)


@pytest.mark.parametrize("tied", [False, True])
def test_the_model_is_left_as_it_was(tied: bool) -> None:
    model = tiny.model("gemma3", tied=True).requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modules = dict(model.named_modules())
    norms(model, EXAMPLES, tied=tied)
    assert dict(model.named_modules()) == modules
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_a_gradient_that_is_not_finite_names_the_pair() -> None:
    def breaks(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        zero = (logits - logits.detach()).square().sum()
        return zero.sqrt() if tiny.EOS in labels and len(labels) == size else logits.sum() * 0

    size = len(EXAMPLES[3].target_ids)
    first = next(e.index for e in EXAMPLES if len(e.target_ids) == size)
    CRITERIA.register("breaks")(breaks)
    model = tiny.model()
    try:
        with pytest.raises(TrainingError, match=rf"pair {first} .* not finite in torch.float32"):
            norms(model, EXAMPLES, criterion="breaks")
    finally:
        CRITERIA._forget("breaks")
    assert norms(model, EXAMPLES).isfinite().all()  # the rows are out of the model again


def test_a_sample_is_drawn_by_the_seed() -> None:
    drawn = [e.index for e in sample(EXAMPLES, 3, seed=0)]
    assert len(set(drawn)) == 3 and drawn == sorted(drawn)
    assert drawn == [e.index for e in sample(EXAMPLES, 3, seed=0)]
    assert any(drawn != [e.index for e in sample(EXAMPLES, 3, seed)] for seed in range(1, 5))
    assert set(drawn) < {e.index for e in sample(EXAMPLES, 4, seed=0)}  # more pairs: those too
    assert sample(EXAMPLES, 99, seed=0) == EXAMPLES
