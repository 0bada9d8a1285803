"""The controls and the paper's other arms: what each changes, and what it leaves alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from test_peft_methods import context, fit, logits, tuner

from mt_lottery.errors import RecordError, TuningError
from mt_lottery.tuners.base import Probe, TuningContext
from mt_lottery.tuners.rows.frequency import count_file

pytestmark = pytest.mark.slow

# -- eos_bias


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_eos_bias_moves_one_logit(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny.model(kind, tied=True, dtype=dtype)
    start = logits(model)
    where, control = context(model), tuner("eos_bias")
    (bias,) = control.apply(where)
    assert bias.dtype is torch.float32 and control.trainable_parameters(where) == 1
    assert torch.equal(logits(where.model), start)
    fit(where.model, tmp_path)
    moved = float(bias.detach())
    assert moved != 0
    tuned = logits(where.model)
    difference = tuned.float() - start.float()
    others = [i for i in range(tiny.VOCAB) if i != tiny.EOS]
    assert torch.equal(tuned[..., others], start[..., others])
    room = 1e-5 if dtype is torch.float32 else 0.05
    assert torch.allclose(difference[..., tiny.EOS], torch.full((2, 7), moved), atol=room)

    control.save(where, tmp_path)
    assert control.details(where) == {"eos_bias": {"token_id": tiny.EOS, "bias": moved}}
    again = tuner("eos_bias").restore(tiny.model(kind, tied=True, dtype=dtype), tmp_path)
    assert torch.equal(logits(again), tuned)
    assert not any(p.requires_grad for p in again.parameters())


def test_eos_bias_gradient_is_that_of_the_logit() -> None:
    where = context(tiny.model())
    (bias,) = tuner("eos_bias").apply(where)
    ids = tiny.ids(2, 7)
    found = where.model(input_ids=ids, labels=torch.where(ids > 40, tiny.EOS, ids))
    found.loss.backward()
    step = 1e-2
    values = []
    for sign in (1, -1):
        bias.data.fill_(sign * step)
        values.append(
            float(where.model(input_ids=ids, labels=torch.where(ids > 40, tiny.EOS, ids)).loss)
        )
    assert float(bias.grad) == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-3)


# -- few_shot


def test_few_shot_leads_with_training_pairs(tmp_path: Path) -> None:
    where = context(tiny.model(), seed=3)
    where.examples = [(f"w{i} in", f" w{i} out") for i in range(5, 15)]
    control = tuner("few_shot", shots=3)
    assert control.apply(where) == [] and control.trainable_parameters(where) == 0
    blocks = control.lead.split("\n\n")
    assert len(blocks) == 4 and blocks[-1] == ""
    assert len(set(blocks[:3])) == 3
    assert all(tuple(b.replace(" in ", " in| ").split("|")) in where.examples for b in blocks[:3])
    leads = {}
    for seed in (3, 3, 4):
        other = tuner("few_shot", shots=3, seed=seed)
        other.apply(where)
        leads.setdefault(seed, set()).add(other.lead)
    assert leads[3] == {control.lead} and leads[4] != leads[3]
    control.save(where, tmp_path)
    again = tuner("few_shot", shots=3)
    again.restore(where.model, tmp_path)
    assert again.lead == control.lead
    with pytest.raises(TuningError, match="shots=11, but there are only 10 training pairs"):
        tuner("few_shot", shots=11).apply(where)


@pytest.mark.parametrize("name", ["eos_bias", "few_shot"])
def test_a_control_that_is_missing_on_disk(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"missing or damaged|no such file"):
        tuner(name).restore(tiny.model(), tmp_path)


# -- rows


SEEN = torch.tensor([1, 2, 3, 5, 7, 10, 11, 12, 20, 41])
MOVED = {10: 3.0, 41: 1.0, 3: 0.4}
INPUTS = Counter({1: 9, 2: 9, 3: 4, 5: 5, 7: 40, 10: 30, 11: 8, 12: 1, 20: 28, 41: 2})


def probed(seed: int = 0, tied: bool = False) -> TuningContext:
    model = tiny.model(tied=tied)
    values = model.get_input_embeddings().weight.detach()[SEEN].clone()
    for place, token in enumerate(SEEN.tolist()):
        values[place] += MOVED.get(token, 0.0)
        values[place, ::2] += MOVED.get(token, 0.0) / 4  # one shift would leave a softmax alone
    counts = Counter({k: v for k, v in INPUTS.items() if k > 2})
    return TuningContext(
        model, tiny.tokenizer(), seed, counts, SEEN, Probe(SEEN, values, 1.0), input_counts=INPUTS
    )


def rows_of(made: Any, where: TuningContext) -> list[int]:
    made.apply(where)
    found: list[int] = where.model.get_input_embeddings().token_ids.tolist()
    return found


def test_ks_freeze_trains_all_that_occurs_but_the_ticket() -> None:
    where, made = probed(), tuner("ks_freeze", tickets=2)
    assert sorted(rows_of(made, where)) == [1, 2, 3, 5, 7, 11, 12, 20]
    assert made.chosen.rows.tolist() == [10, 41] and made.details(where) == {"frozen_tickets": True}
    assert made.trainable_parameters(where) == (tiny.VOCAB - 2) * tiny.DIM
    assert tuner("ks_freeze", tickets=2).count(tiny.model()) == (tiny.VOCAB - 2) * tiny.DIM
    embedding = where.model.get_input_embeddings()  # from the original values, not the probe's
    assert torch.equal(embedding.rows.detach(), where.table[embedding.token_ids])
    every = probed()
    every.seen = torch.tensor([10, 41])
    with pytest.raises(TuningError, match=r"in the ticket of 2: nothing is left to tune"):
        tuner("ks_freeze", tickets=2).apply(every)


def test_frequency_matched_takes_other_rows_that_are_as_frequent() -> None:
    made = tuner("frequency_matched", tickets=3)
    assert rows_of(made, probed()) == [20, 12, 5]  # for 10 (30), 41 (2), 3 (4)
    assert made.chosen.selector == "frequency_matched" and made.chosen.alpha is None
    where = probed()
    where.input_counts = Counter({10: 5, 41: 5, 3: 5, 5: 5, 7: 5, 11: 5, 12: 5})
    drawn = {tuple(rows_of(tuner("frequency_matched", tickets=3, seed=s), where_again(where)))
             for s in range(20)}  # fmt: skip
    assert len(drawn) > 5 and all(set(d).isdisjoint({10, 41, 3}) for d in drawn)
    where.input_counts = Counter({10: 5, 41: 5, 3: 5, 5: 5})
    with pytest.raises(
        TuningError, match="only 1 token that can be trained beside the ticket's 3:"
    ):
        tuner("frequency_matched", tickets=3).apply(where_again(where))
    where = probed()
    where.followed = torch.tensor([2, 3, 5, 7, 10, 11, 41])  # 20 and 12 only ever end an input
    assert rows_of(tuner("frequency_matched", tickets=3), where) == [7, 5, 11]


def test_frequency_matched_leaves_out_the_prompts_rows_where_asked() -> None:
    made = tuner("frequency_matched", tickets=3, outside_prompt=True)
    assert made.reads_prompt and not tuner("frequency_matched", tickets=3).reads_prompt
    where = probed()
    where.prompt_ids = torch.tensor([3, 12, 20])  # 3 is the ticket's as well
    assert rows_of(made, where) == [7, 5, 11]  # for 10 (30), 41 (2), 3 (4)
    where = probed()
    where.prompt_ids = torch.tensor([1, 2, 5, 7, 12, 20])
    said = "that can be trained beside the ticket's 3 and 6 tokens of the prompt: too few"
    with pytest.raises(TuningError, match=said):
        tuner("frequency_matched", tickets=3, outside_prompt=True).apply(where)


def where_again(where: TuningContext) -> TuningContext:
    fresh = probed()
    fresh.input_counts = where.input_counts
    return fresh


@pytest.mark.parametrize("selector", ["ratio", "absolute", "cos"])
def test_rows_that_did_not_move_are_never_chosen(selector: str) -> None:
    """A row that is as before scores 1 by ``ratio``, and 0 is more than a change downwards."""
    where = probed()
    assert where.probe is not None
    where.probe.values[SEEN.tolist().index(10)] = where.table[10] - 1
    options = {} if selector == "cos" else {"reduction": "signed"}
    made = tuner("ks_lottery", tickets=3, selector=selector, **options)
    assert sorted(rows_of(made, where)) == [3, 10, 41]
    more = tuner("ks_lottery", tickets=4, selector=selector, **options)
    with pytest.raises(TuningError, match="only 3 of"):
        more.apply(where_again(where))


@pytest.mark.parametrize(
    ("selector", "first"),
    [("cos", None), ("absolute", 10), ("kl", None), ("frequency", 7), ("relative", None)],
)
def test_selectors_choose_the_rows_of_partial_tuning(selector: str, first: int | None) -> None:
    where, made = probed(), tuner("ks_lottery", tickets=3, selector=selector)
    assert list(made.config.problems()) == []
    rows = rows_of(made, where)
    assert first is None or rows[0] == first
    if selector != "frequency":
        assert sorted(rows) == [3, 10, 41]
    assert made.chosen.selector == selector and made.chosen.alpha is None


def test_random_selector_draws_from_the_whole_vocabulary_and_needs_no_probe() -> None:
    made = tuner("ks_lottery", tickets=5, selector="random", selector_seed=1)
    assert made.probe is None and tuner("ks_lottery", selector="cos").probe == "embed"
    where = probed()
    where.probe = None
    rows = rows_of(made, where)
    assert len(set(rows)) == 5 and not set(rows) <= set(SEEN.tolist())
    # transfer copies from the probe, whatever chose the rows
    assert tuner("ks_transfer", selector="random").probe == "embed"


def test_frequency_of_a_monolingual_file(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("w9 w9 w8\n\nw9 w8 w7 </s>\n" * 700, "utf-8")  # more than a block of lines
    assert count_file(str(file), tiny.tokenizer()) == Counter({9: 2100, 8: 1400, 7: 700})
    made = tuner("frequency", tickets=2, corpus=str(file))
    assert rows_of(made, probed()) == [9, 8]
    with pytest.raises(TuningError, match=r"only 3 different tokens in .*text.txt"):
        tuner("frequency", tickets=4, corpus=str(file)).apply(probed())
    with pytest.raises(TuningError, match=r"tuner.corpus=.*none.txt: no such file"):
        tuner("frequency", corpus=str(tmp_path / "none.txt")).apply(probed())
    file.write_bytes(b"w9\nw9\n\xff\xfe\n")
    with pytest.raises(TuningError, match=r"tuner.corpus=.*text.txt.*not UTF-8"):
        tuner("frequency", corpus=str(file)).apply(probed())


# -- layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("module", ["layers.1", "layers.0.mlp", "norm", "q_proj.weight"])
def test_layer_trains_one_module(module: str, dtype: torch.dtype, tmp_path: Path) -> None:
    name = f"layers.1.self_attn.{module}" if module == "q_proj.weight" else module
    model = tiny.model("llama", dtype=dtype)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    where, made = context(model), tuner("layer", module=name)
    made.apply(where)
    from mt_lottery.config import TrainConfig
    from mt_lottery.training.trainer import train

    train(
        model,
        TrainConfig(epochs=1, batch_size=4, lr=0.05),
        tiny.examples(12),
        pad_id=tiny.PAD,
        seed=0,
        folder=tmp_path / "checkpoints",
        log=tmp_path / "log.jsonl",
        title="test",
        autocast=made.autocast,
    )
    made.finish(model)
    inside = [n for n in before if f".{name}." in f".{n}."]
    assert inside
    for parameter_name, parameter in model.named_parameters():
        assert parameter.dtype is dtype
        changed = not torch.equal(parameter, before[parameter_name])
        assert changed == (parameter_name in inside), parameter_name
    assert made.details(where)["layer"]["module"].endswith(name)
    assert tuner("layer", module=name).count(tiny.model()) == sum(before[n].numel() for n in inside)


def test_layer_of_a_tied_head_says_that_both_tables_move() -> None:
    where, made = context(tiny.model(tied=True)), tuner("layer", module="lm_head")
    (table,) = made.apply(where)
    assert table is where.model.get_input_embeddings().weight
    assert made.details(where) == {"layer": {"module": "lm_head", "tied_tables_both": True}}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("layers.7", "no part of that name. Did you mean 'layers.1'"),
        ("q_proj", "2 parts of that name"),
        ("act_fn", "2 parts of that name"),
        ("rotary_emb", "has no weights to tune"),
    ],
)
def test_layer_that_is_not_there(module: str, message: str) -> None:
    with pytest.raises(TuningError, match=message):
        tuner("layer", module=module).apply(context(tiny.model()))
