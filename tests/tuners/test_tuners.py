"""Which rows each method takes, on contexts made by hand, and what it says when it cannot."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.registry import TUNERS, register_selector
from mt_lottery.ticket.ks import ks_test
from mt_lottery.tuners.base import Probe, TuningContext
from mt_lottery.tuners.none import NoTuner
from mt_lottery.tuners.rows.base import CountedRowsConfig, RowsConfig
from mt_lottery.tuners.rows.embed import EmbedTuner, probe_rows
from mt_lottery.tuners.rows.frequency import FrequencyConfig, FrequencyTuner
from mt_lottery.tuners.rows.ks_lottery import (
    KSLotteryConfig,
    KSLotteryTuner,
    KSTransferTuner,
)
from mt_lottery.tuners.rows.random import RandomSeenTuner, RandomTuner
from mt_lottery.tuners.rows.rows_file import read_rows_file

pytestmark = pytest.mark.slow

SEEN = torch.tensor([3, 7, 10, 11, 12, 20, 41])
COUNTS = Counter({7: 5, 3: 2, 20: 5, 41: 9, 12: 1})
SHIFT = {10: 3.0, 41: 1.0, 3: 0.4, 20: 0.15}  # how far the probe moved; the rest stayed


def context(tied: bool = False, seed: int = 0, dtype: torch.dtype = torch.float32) -> TuningContext:
    """A model, the counts above, and a probe that moved four rows."""
    model = tiny.model(tied=tied, dtype=dtype)
    values = model.get_input_embeddings().weight.detach()[SEEN].float()
    for place, token in enumerate(SEEN.tolist()):
        values[place] += SHIFT.get(token, 0.0)
    return TuningContext(
        model, tiny.tokenizer(), seed, COUNTS, SEEN, Probe(SEEN, values, seconds=1.0)
    )


def lottery(cls: Any = KSLotteryTuner, **settings: Any) -> Any:
    config = KSLotteryConfig("ks_lottery", **settings)
    assert list(config.problems()) == []
    return cls(config)


def apply(tuner: Any, where: TuningContext) -> list[int]:
    parameters = tuner.apply(where)
    embedding = where.model.get_input_embeddings()
    assert parameters == ([embedding.rows] if tuner.trains else [])
    assert tuner.trainable_parameters(where) == embedding.rows.numel()
    trained = [p for p in where.model.parameters() if p.requires_grad]
    assert trained == parameters
    return list(embedding.token_ids.tolist())


# -- baselines


def test_random_rows_depend_on_the_seed_alone() -> None:
    made = {
        (seed, own): apply(RandomTuner(CountedRowsConfig("random", tickets=6, seed=own)), c)
        for seed, own in ((0, None), (1, None), (5, 0), (5, 1))
        for c in [context(seed=seed)]
    }
    assert made[0, None] == made[5, 0] and made[1, None] == made[5, 1]
    assert made[0, None] != made[1, None]
    for rows in made.values():
        assert len(set(rows)) == 6 and all(0 <= r < tiny.VOCAB for r in rows)
    tuner, where = RandomTuner(CountedRowsConfig("random", tickets=6)), context()
    before = torch.random.get_rng_state()
    apply(tuner, where)
    assert torch.equal(torch.random.get_rng_state(), before)  # a stream of its own
    assert tuner.chosen is not None and tuner.chosen.rows.tolist() == made[0, None]
    assert tuner.chosen.selector == "random" and tuner.chosen.alpha is None


def test_random_rows_are_uniform() -> None:
    counts, where = torch.zeros(tiny.VOCAB), context()
    for seed in range(400):
        config = CountedRowsConfig("random", tickets=16, seed=seed)
        counts[RandomTuner(config).rows(where)] += 1
    expected = 400 * 16 / tiny.VOCAB
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert chi2 < 130  # 63 degrees of freedom


def test_random_seen_draws_from_the_text() -> None:
    rows = apply(RandomSeenTuner(CountedRowsConfig("random_seen", tickets=5)), context())
    assert sorted(rows) == sorted(COUNTS)
    configs = [CountedRowsConfig("random_seen", tickets=3, seed=seed) for seed in range(3)]
    made = {tuple(apply(RandomSeenTuner(config), context())) for config in configs}
    assert len(made) > 1 and all(set(rows) <= set(COUNTS) for rows in made)
    with pytest.raises(TuningError, match="tickets` is 6, but there are only 5 rows whose tokens"):
        RandomSeenTuner(CountedRowsConfig("random_seen", tickets=6)).apply(context())
    with pytest.raises(TuningError, match="is 65, but there are only 64 rows in the vocabulary"):
        RandomTuner(CountedRowsConfig("random", tickets=65)).apply(context())


def test_frequency_breaks_ties_by_token_id() -> None:
    tuner = FrequencyTuner(FrequencyConfig("frequency", tickets=4))
    assert apply(tuner, context()) == [41, 7, 20, 3]
    assert tuner.chosen is not None and tuner.chosen.rows.tolist() == [41, 7, 20, 3]
    with pytest.raises(TuningError, match="only 5 different tokens in the training text"):
        FrequencyTuner(FrequencyConfig("frequency", tickets=18)).apply(context())


def test_none_changes_nothing() -> None:
    where = context()
    ids = tiny.ids()
    before = where.model(ids).logits
    tuner = NoTuner(None)
    assert tuner.apply(where) == [] and tuner.trainable_parameters(where) == 0
    assert torch.equal(where.model(ids).logits, before)


def test_embed_puts_the_probe_in() -> None:
    where = context()
    tuner = EmbedTuner(RowsConfig("embed"))
    assert tuner.probe == "embed" and tuner.probe_section == "train"
    assert tuner.apply(where) == []
    assert torch.equal(where.model.get_input_embeddings().rows, where.probe.values)  # type: ignore[union-attr]
    assert tuner.trainable_parameters(where) == tiny.VOCAB * tiny.DIM
    assert probe_rows(where, "input").tolist() == SEEN.tolist()
    assert probe_rows(where, "tied").tolist() == list(range(tiny.VOCAB))
    where.probe = None
    with pytest.raises(TuningError, match="embed needs an embedding-tuned probe"):
        EmbedTuner(RowsConfig("embed")).rows(where)


# -- the ticket


def test_ticket_by_count_has_the_most_changed_rows() -> None:
    tuner, where = lottery(tickets=3), context()
    table = where.table.clone()
    assert tuner.probe == "embed" and tuner.probe_section == "probe"
    assert apply(tuner, where) == [10, 41, 3]
    chosen = tuner.chosen
    after = table.clone()
    assert where.probe is not None
    after[SEEN] = where.probe.values
    whole = ks_test(table, after)  # over all V rows
    assert torch.equal(chosen.scores.statistic, whole.statistic)
    assert torch.equal(chosen.scores.pvalue, whole.pvalue)
    assert chosen.alpha == float(whole.pvalue[3]) and chosen.correction == "none"
    assert 0 < chosen.tau <= float(whole.statistic[20])
    # partial tuning starts from the original model
    assert torch.equal(where.model.get_input_embeddings().rows, table[[10, 41, 3]])


def test_the_default_is_eighteen_rows() -> None:
    config = KSLotteryConfig("ks_lottery")
    assert list(config.problems()) == [] and config.tickets == 18
    config = KSLotteryConfig("ks_lottery", alpha=0.05)
    assert list(config.problems()) == [] and config.tickets is None
    config = KSLotteryConfig("ks_lottery", alpha=0.05, tickets=3, selector="kss")
    one, two = config.problems()
    assert one == "`tuner.tickets` and `tuner.alpha` each choose the rows: give one of them."
    assert "Unknown selector 'kss'. Did you mean 'ks'?" in two


@pytest.mark.parametrize("correction", ["none", "bonferroni", "bh"])
def test_ticket_by_alpha(correction: str) -> None:
    tuner, where = lottery(alpha=0.05, correction=correction), context()
    rows = apply(tuner, where)
    adjusted = tuner.chosen.scores.adjusted(correction)
    assert set(rows) == set((adjusted <= 0.05).nonzero().flatten().tolist())
    assert rows[0] == 10 and tuner.chosen.alpha == 0.05
    assert tuner.chosen.correction == correction


def test_every_row_at_alpha_one() -> None:
    tuner = lottery(alpha=1.0)
    assert sorted(apply(tuner, context())) == list(range(tiny.VOCAB))
    assert tuner.chosen.tau == 0.0


def test_nothing_rejects() -> None:
    where = context()
    with pytest.raises(TuningError) as caught:
        lottery(alpha=0.0).apply(where)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "No row of the vocabulary rejects at tuner.alpha=0: there is nothing to tune. "
        "The five smallest nominal p-values:"
    )
    assert len(lines) == 7
    for line, token in zip(lines[1:5], (10, 41, 3, 20), strict=True):
        assert re.fullmatch(rf"  'w{token}' \(id {token}\): D = [01]\.\d{{4}}, p = [\de.-]+", line)
    assert lines[5].endswith("D = 0.0000, p = 1")
    assert "Raise tuner.alpha" in lines[6] and "tuner.tickets=18" in lines[6]
    with pytest.raises(TuningError, match=r"p-values, corrected \(bonferroni\):"):
        lottery(alpha=0.0, correction="bonferroni").apply(where)


def test_more_rows_than_changed() -> None:
    assert len(apply(lottery(tickets=4), context())) == 4
    with pytest.raises(TuningError, match="rows = 5, but only 4 of 64 rows changed"):
        lottery(tickets=5).apply(context())


def test_a_selector_without_p_values(registered: None) -> None:
    @register_selector("negative")
    def negative(before: Tensor, after: Tensor) -> Tensor:
        return (after - before).abs().mean(dim=1) - 10  # below 0, all of them

    tuner = lottery(tickets=2, selector="negative")
    assert apply(tuner, context()) == [10, 41]
    assert tuner.chosen.pvalue is None and tuner.chosen.alpha is None and tuner.chosen.tau is None
    with pytest.raises(TuningError, match="rows = 8, but only 4 of 64 rows can be chosen"):
        lottery(tickets=8, selector="negative").apply(context())
    with pytest.raises(TuningError, match="'negative' has no p-values: choose by number"):
        lottery(alpha=0.5, selector="negative").apply(context())


def test_a_missing_probe() -> None:
    where = context()
    where.probe = None
    with pytest.raises(TuningError, match="ks_lottery needs an embedding-tuned probe"):
        lottery(tickets=2).apply(where)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_transfer_copies_the_probe(dtype: torch.dtype) -> None:
    where = context(dtype=dtype)
    tuner = lottery(KSTransferTuner, tickets=2)
    assert apply(tuner, where) == [10, 41]
    embedding = where.model.get_input_embeddings()
    assert where.probe is not None and embedding.rows.dtype is torch.float32
    assert torch.equal(embedding.rows, where.probe.values[[2, 6]])
    # all rows: the touched ones from the probe, the others as they were
    where = context(dtype=dtype)
    table = where.table.float().clone()
    apply(lottery(KSTransferTuner, alpha=1.0), where)
    embedding = where.model.get_input_embeddings()
    assert where.probe is not None
    table[SEEN] = where.probe.values
    assert torch.equal(embedding.rows[torch.argsort(embedding.token_ids)], table)


def test_transfer_of_all_changed_rows_is_the_probe() -> None:
    ids = torch.cat([tiny.ids(), SEEN[None].repeat(2, 1)], dim=1)
    one, other = context(), context()
    lottery(KSTransferTuner, tickets=4).apply(one)
    EmbedTuner(RowsConfig("embed")).apply(other)
    assert torch.equal(one.model(ids).logits, other.model(ids).logits)


@pytest.mark.parametrize(
    "tuner",
    [
        lambda: RandomTuner(CountedRowsConfig("random", scope="tied", tickets=2)),
        lambda: EmbedTuner(RowsConfig("embed", scope="tied")),
        lambda: lottery(tickets=2, scope="tied"),
        lambda: lottery(KSTransferTuner, tickets=2, scope="tied"),
    ],
)
def test_tied_scope_needs_a_tied_model(tuner: Any) -> None:
    where = context()
    embedding = where.model.get_input_embeddings()
    with pytest.raises(TuningError, match=r"`tuner.scope` is tied, but .* allowed for it: input"):
        tuner().apply(where)
    assert where.model.get_input_embeddings() is embedding
    where = context(tied=True)
    ids, head = tiny.ids(), where.model.get_output_embeddings()
    made = tuner()
    made.apply(where)
    assert made.scope == "tied" and where.model.get_output_embeddings() is not head
    where.model.get_input_embeddings().rows.data.add_(1.0)
    assert where.model(ids).logits.isfinite().all()


def test_input_scope_leaves_the_head_of_a_tied_model() -> None:
    where = context(tied=True)
    head, weight = where.model.get_output_embeddings(), where.table.clone()
    lottery(KSTransferTuner, tickets=4).apply(where)
    assert where.model.get_output_embeddings() is head
    assert torch.equal(head.weight, weight)


# -- rows from a file


def test_rows_file_of_ids(tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("# the ticket\n41\n\n 7  # a full stop\n10\n")
    tuner, where = lottery(rows_file=str(file)), context()
    assert tuner.probe is None  # nothing to look for: no probe is trained
    where.probe = None
    assert apply(tuner, where) == [41, 7, 10]
    assert tuner.chosen.selector == "file" and tuner.chosen.statistic is None
    tuner, where = lottery(KSTransferTuner, rows_file=str(file)), context()
    assert tuner.probe == "embed" and apply(tuner, where) == [41, 7, 10]
    assert where.probe is not None
    assert torch.equal(where.model.get_input_embeddings().rows, where.probe.values[[6, 1, 2]])
    assert tuner.chosen.statistic is not None


def test_rows_file_of_tickets(tmp_path: Path) -> None:
    tuner, where = lottery(tickets=3), context()
    apply(tuner, where)
    file = tmp_path / "tickets.csv"
    tuner.chosen.named(where.tokenizer, where.counts).save(file)
    assert len(file.read_text().splitlines()) == 5  # four rows changed, three are selected
    assert read_rows_file(file, tiny.VOCAB).tolist() == [10, 41, 3]
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))  # Excel's
    assert read_rows_file(file, tiny.VOCAB).tolist() == [10, 41, 3]
    file.write_text('token_id,token,selected\n5,"a\nb",true\n6,"""",false\n7,c,true\n')
    assert read_rows_file(file, tiny.VOCAB).tolist() == [5, 7]
    file.write_text("token_id\n8\n9\n")
    assert read_rows_file(file, tiny.VOCAB).tolist() == [8, 9]


@pytest.mark.parametrize(
    "text",
    [
        "token_id,selected\n5,True\n6,False\n",  # pandas
        '"token_id","selected"\n5,TRUE\n6,FALSE\n',  # R
        '"","token_id","selected"\n"1",5,TRUE\n"2",6,FALSE\n',  # R, with row names
        "token_id, selected\n5, true\n6, false\n",
        "Token_ID,Selected\n5,true\n6,false\n",
    ],
)
def test_rows_file_as_other_programs_write_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(text)
    assert read_rows_file(tmp_path / "rows.csv", tiny.VOCAB).tolist() == [5]


HEAD = "token_id,token,statistic,pvalue,selected,train_frequency\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5\nseven\n", "line 2: 'seven' is no token id (0 or above)"),
        ("5\n\n-3\n", "line 3: '-3' is no token id"),
        ("5 6\n", "line 1: '5 6' is no token id"),
        ("1.5\n", "line 1: '1.5' is no token id"),
        ("٣\n", "line 1: '٣' is no token id"),
        ("5\n64\n", "line 2: token id 64 is outside the vocabulary: ids go from 0 to 63"),
        (f"{10**30}\n", "line 1: token id 1000000000000000000000000000000 is outside"),
        ("5\n6\n# x\n5\n", "line 4: token id 5 is given more than once (first in line 1)"),
        ("", "no token id in it; nothing to tune"),
        ("# nothing\n", "no token id in it; nothing to tune"),
        (HEAD, "no token id in it; nothing to tune"),
        (HEAD + "5,a,0.5,0.1,false,1\n", "no token id in it; nothing to tune"),
        (HEAD + "x,a,0.5,0.1,true,1\n", "line 2: 'x' is no token id"),
        (HEAD + "5,a,1,1,true,1\n99,b,1,1,true,1\n", "line 3: token id 99 is outside"),
        (HEAD + "5,a,1,1,true,1\n5,b,1,1,true,1\n", "line 3: token id 5 is given more than once"),
        (
            "token_id,token,selected\n5,x,yes\n",
            "line 2: `selected` must be true or false, not 'yes'",
        ),
        ("token_id,selected\n5,true\n6,\n", "line 3: `selected` must be true or false, not ''"),
        # cut in the middle of a line, of a row that is chosen or not
        (HEAD + "5,a,1,1,true,1\n35", "line 3: 1 cell, but the header names 6 columns"),
        (HEAD + "5,a,1,1,true,1\n35,b,0.5,0.1", "line 3: 4 cells, but the header names 6"),
        (HEAD + "5,a,1,1,true,1\nx,b,0,1,false,1\n", "line 3: 'x' is no token id"),
        (HEAD + "5,a,1,1,true,1\n5,b,0,1,false,1\n", "line 3: token id 5 is given more than"),
        ("token_id;selected\n5;true\n", "no column token_id. Its columns: token_id;selected"),
        ("token_ids\n5\n", "no column token_id"),
        ("9" * 5000, "line 1: token id"),
        ('token_id,token\n5,"' + "x" * 200_000 + '"\n', "line 2: damaged"),
    ],
)
def test_rows_file_errors_give_the_file_and_the_line(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "rows.txt"
    file.write_text(text, "utf-8")
    with pytest.raises(TuningError) as caught:
        lottery(rows_file=str(file)).apply(context())
    assert str(caught.value).startswith(f"tuner.rows_file={file}")
    assert message in str(caught.value)


def test_rows_file_of_another_vocabulary(tmp_path: Path) -> None:
    file = tmp_path / "tickets.csv"
    file.write_text("token_id,token,selected\n5,w5,true\n6,w6,true\n7,w9,true\n8,w1,false\n")
    assert apply(lottery(rows_file=str(file)), context()) == [5, 6, 7]
    file.write_text("token_id,token,selected\n5,w4,true\n6,w5,true\n7,w7,true\n")
    with pytest.raises(
        TuningError, match=r"of another vocabulary: .* token id 5 for one \('w4' in"
    ):
        lottery(rows_file=str(file)).apply(context())


def test_rows_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TuningError, match="none: no such file"):
        read_rows_file(tmp_path / "none", 64)
    with pytest.raises(TuningError, match="a folder, not a file"):
        read_rows_file(tmp_path, 64)
    (tmp_path / "rows").write_bytes(b"\xff\xfe5")
    with pytest.raises(TuningError, match=r"rows: UTF-16; it must be UTF-8"):
        read_rows_file(tmp_path / "rows", 64)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(TuningError, match="fifo: a named pipe, not a file"):  # and not waited for
        read_rows_file(tmp_path / "fifo", 64)


def test_every_built_in_tuner_is_registered() -> None:
    names = {"none", "full", "embed", "random", "random_seen", "frequency"}
    names |= {"ks_lottery", "ks_transfer"}
    assert names <= set(TUNERS.names())
    assert all(isinstance(TUNERS.get(name), type) for name in names)


def test_a_transfer_without_the_prompts_line_break_says_so() -> None:
    """Whether copied rows stop hangs on that row (docs/the-probe.md)."""

    class Words:
        def decode(self, ids: list[int], **settings: bool) -> str:
            return {41: " \n", 20: "\n\n"}.get(ids[0], "x")

    def remarks(tickets: int, *prompt: int) -> list[str]:
        where = context()
        where.tokenizer, where.prompt_ids = Words(), torch.tensor(prompt)
        tuner = lottery(KSTransferTuner, tickets=tickets)
        tuner.apply(where)
        return [*tuner.remarks()]

    assert remarks(2, 5, 10, 41) == [] == remarks(2, 20, 41)  # the ticket is 10 and 41
    assert remarks(2, 5, 10) == []  # a prompt of one line
    (said,) = remarks(1, 5, 10, 41, 20)
    assert said.startswith("The row of the prompt's line break (token 41, 20) is not among the ")
    assert "tuner.rows_file copies rows that you choose." in said
