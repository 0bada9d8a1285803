"""``mtl.find_ticket(model, selector="gradient", examples=…)``: for a loop of one's own."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch

import mt_lottery as mtl
from mt_lottery.config import TrainConfig
from mt_lottery.errors import ArgumentError, TuningError
from mt_lottery.training.row_gradients import gradient_norms, sample

pytestmark = pytest.mark.slow

PAIRS = tiny.examples(9)


def as_trainer_takes_it(padded: bool = False) -> list[dict[str, Any]]:
    more = [tiny.PAD] * 3 if padded else []
    return [
        {
            "input_ids": [*each.prompt_ids, *each.target_ids, *more],
            "labels": [*[-100] * len(each.prompt_ids), *each.target_ids, *[-100] * len(more)],
        }
        for each in PAIRS
    ]


def find(model: Any, examples: Any, **more: Any) -> mtl.Ticket:
    return mtl.find_ticket(model, rows=5, selector="gradient", examples=examples, **more)


@pytest.mark.parametrize("tied", [False, True])
def test_it_is_the_ranking_of_a_run(tied: bool) -> None:
    model = tiny.model("gemma3", tied=tied).train()
    embedding = model.get_input_embeddings()
    before = [p.clone() for p in model.parameters()]
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    found = find(model, as_trainer_takes_it(), pairs=4, seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.get_input_embeddings() is embedding
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    rows, drawn = torch.arange(tiny.VOCAB), sample(PAIRS, 4, seed=2)
    norms = gradient_norms(model, TrainConfig(), drawn, rows, pad_id=0, seed=0, tied=False)
    assert found.rows.tolist() == norms.argsort(descending=True, stable=True)[:5].tolist()
    assert found.statistic is not None and torch.equal(found.statistic, norms[found.rows])
    assert (found.selector, found.alpha, found.pvalue) == ("gradient", None, None)
    assert find(model, as_trainer_takes_it(padded=True), pairs=4, seed=2) == found
    assert len(mtl.get_ticket_model(model, mtl.TicketConfig(found)).rows) == 5


def test_tensors_and_names_do_too() -> None:
    model, given = tiny.model(), as_trainer_takes_it()
    tensors = [{k: torch.tensor(v) for k, v in each.items()} for each in given]
    named = find(model, tensors, tokenizer=tiny.tokenizer())
    assert named == find(model, iter(given)) and named.tokens is not None
    assert all(named.tokens)


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (("a", "b"), r"examples\[1\]: tuple; allowed: objects with `input_ids`"),
        ({"input_ids": [5, 6], "labels": [5]}, "as many token ids each"),
        ({"input_ids": [[5, 6]], "labels": [[5, 6]]}, "as many token ids each"),
        ({"input_ids": "ab", "labels": "ab"}, "no list of token ids"),
        ({"input_ids": [5, 6], "labels": [-100, -100]}, "no label but -100"),
        ({"input_ids": [5, 6, 7], "labels": [-100, 6, 8]}, "without a gap"),
        ({"input_ids": [5, 6, 7, 8], "labels": [-100, 6, -100, 8]}, "without a gap"),
        ({"input_ids": [5, 99], "labels": [-100, 99]}, "outside the vocabulary of 64 rows"),
    ],
)
def test_an_example_that_cannot_be_used_is_named(example: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        find(tiny.model(), [*as_trainer_takes_it()[:1], example])


def test_what_does_not_go_together() -> None:
    model = tiny.model()
    with pytest.raises(ArgumentError, match="needs a model in memory, not str"):
        find("runs/en-ro", as_trainer_takes_it())
    with pytest.raises(ArgumentError, match="examples is empty"):
        find(model, [])
    for wrong in ({"selector": "ks"}, {"selector": "gradient", "tuned": model}):
        with pytest.raises(TuningError, match="selector='gradient'"):
            mtl.find_ticket(model, rows=1, examples=as_trainer_takes_it(), **wrong)
