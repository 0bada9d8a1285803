"""A ticket from the choice to its file and back, and as a reader sees it."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mt_lottery as mtl
from mt_lottery.errors import TuningError
from mt_lottery.ticket.level import CORRECTIONS, Level, RowScores, correct
from mt_lottery.ticket.selection import find_ticket, ticket_of
from mt_lottery.ticket.ticket import Ticket

TOKENS = st.text(min_size=1, max_size=6).filter(str.isprintable)


class Words:
    """A tokenizer's names for ids."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.words[i] for i in ids]


@st.composite
def tickets(draw: Any) -> Ticket:
    """A ticket of a test, or of a measure without one, over a few rows."""
    size = draw(st.integers(1, 12))
    statistic = torch.tensor(
        draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=size, max_size=size)),
        dtype=torch.float64,
    )
    tested = draw(st.booleans())
    scores = RowScores(statistic, 1 - statistic if tested else None)
    most = scores.eligible()
    if tested and (most == 0 or draw(st.booleans())):
        choice: dict[str, Any] = {"alpha": 1.0, "correction": draw(st.sampled_from(CORRECTIONS))}
    else:
        choice = {"rows": draw(st.integers(1, most))}
    ticket = ticket_of(scores, **choice)
    words = draw(st.lists(TOKENS, min_size=size, max_size=size))
    counts = draw(st.none() | st.just(dict.fromkeys(range(0, size, 2), 3)))
    return ticket.named(Words(words) if draw(st.booleans()) else None, counts)


@settings(max_examples=80, deadline=None)
@given(ticket=tickets())
def test_what_is_saved_is_loaded(ticket: Ticket) -> None:
    assert ticket.scores is not None
    size = len(ticket.scores.statistic)
    with TemporaryDirectory() as folder:
        path = ticket.save(Path(folder) / "tickets.csv")
        found = Ticket.load(path, size)
        again = found.save(Path(folder) / "again.csv")
        assert again.read_bytes() == path.read_bytes()
    assert sorted(found) == sorted(ticket)
    assert found.listed() == ticket.listed()
    moved = [i for i in ticket if ticket.scores.statistic[i] > 0]
    assert list(found)[: len(moved)] == moved  # those that did not move come last, by id
    for name in ("tokens", "statistic", "pvalue"):
        one, other = getattr(ticket, name), getattr(found, name)
        assert (one is None) == (other is None), name
        assert one is None or sorted(one) == sorted(other)
    assert (found.counts is None) == (ticket.counts is None)
    if list(found) == list(ticket):
        assert found == ticket and hash(found) == hash(ticket)


def test_rows_that_a_signed_measure_chose_keep_their_order(tmp_path: Path) -> None:
    scores = RowScores(torch.tensor([-0.25, -torch.inf, 0.5, -0.125], dtype=torch.float64))
    ticket = ticket_of(scores, rows=3)
    assert list(ticket) == ticket.listed() == [2, 3, 0]  # by score, not by id
    assert Ticket.load(ticket.save(tmp_path / "tickets.csv")) == ticket
    fewer = ticket_of(scores, rows=1)
    assert list(fewer) == [2] and fewer.listed() == [2, 3, 0]  # they changed, downwards
    found = Ticket.load(fewer.save(tmp_path / "fewer.csv"))
    assert list(found) == [2] and found.listed() == [2, 3, 0]


def test_rows_of_a_file_that_the_measure_never_chooses(tmp_path: Path) -> None:
    scores = RowScores(torch.tensor([-torch.inf, 0.5, -torch.inf], dtype=torch.float64))
    ticket = Ticket(torch.tensor([2, 1]), "absolute", scores=scores)
    file = ticket.save(tmp_path / "tickets.csv")
    assert "inf" not in file.read_text()
    found = Ticket.load(file)
    assert list(found) == [1, 2] and found.scores is not None
    assert torch.equal(found.scores.statistic, scores.statistic)
    assert "—" in str(found)


def test_a_ticket_carries_the_test() -> None:
    statistic = torch.tensor([0.0, 0.5, 1.0, 0.25])
    pvalue = torch.tensor([1.0, 0.01, 0.001, 0.04], dtype=torch.float64)
    scores = RowScores(statistic.double(), pvalue)
    ticket = ticket_of(scores, alpha=0.05, correction="bh")
    assert ticket.level == Level(0.05, "bh") and len(ticket) == 2 and list(ticket) == [2, 1]
    assert ticket.tau == 0.25  # the largest distance that does not reject
    adjusted = correct(pvalue, "bh")
    assert ticket.adjusted is not None and torch.equal(ticket.adjusted, adjusted[ticket.rows])
    assert scores.adjusted("bh") is scores.adjusted("bh")  # computed once
    with pytest.raises(TuningError, match="alpha must be a number"):
        Ticket(ticket.rows, "ks", alpha=2.0)
    with pytest.raises(TuningError, match="without p-values"):
        RowScores(statistic).adjusted("bh")


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), float("inf"), True, "0.1", None])
def test_no_level(alpha: Any) -> None:
    with pytest.raises(TuningError, match=r"alpha must be a number in \[0, 1\], got"):
        Level(alpha)
    with pytest.raises(TuningError, match="Did you mean 'bonferroni'"):
        Level(0.5, "bonferoni")


def test_equality() -> None:
    scores = RowScores(torch.tensor([0.5, 0.0, 1.0]), torch.tensor([0.2, 1.0, 0.01]))
    one, other = ticket_of(scores, rows=2), ticket_of(scores, rows=1)
    assert one == ticket_of(scores, rows=2) and one != other and one != "a ticket"
    assert one != Ticket(one.rows, "random")
    assert Ticket(one.rows, "random") == Ticket(one.rows, "frequency")


def test_for_a_reader() -> None:
    scores = RowScores(torch.tensor([0.5, 0.0, 1.0]), torch.tensor([0.2, 1.0, 0.01]))
    ticket = ticket_of(scores, rows=1).named(Words(["Ġ<b>", "Ġb", "Ġc&"]), {2: 7})
    text = str(ticket)
    assert "▁c&" in text and "7" in text and "KS distance D" in text
    assert "Ticket: 1 row, selector ks, α = 0.01 (correction: none), τ = 0.5000 estimated." in text
    assert repr(ticket).startswith("<Ticket: 1 row")
    by_number = ticket_of(scores, rows=1, correction="bonferroni")  # p is nominal: uncorrected
    assert "α = 0.01 (implied by their number)" in by_number.summary()
    by_level = ticket_of(scores, alpha=0.05, correction="bonferroni")
    assert "α = 0.05 (correction: bonferroni)" in by_level.summary()
    page = ticket._repr_html_()
    for cell in ("•", "▁c&amp;", "2", "1.0000", "0.01", "7", "▁&lt;b&gt;"):
        assert f"<span>{cell}</span>" in page
    assert "<b>" not in page
    assert "score" not in str(Ticket(torch.tensor([1]), "random"))


def test_names_of_the_version_before(tmp_path: Path) -> None:
    from mt_lottery.tuners import base

    statistic = torch.tensor([0.0, 1.0])
    with pytest.warns(DeprecationWarning, match=r"mt_lottery\.plugin"):
        chosen_rows = base.ChosenRows
    with pytest.warns(DeprecationWarning, match="Ticket"):
        made = chosen_rows(torch.tensor([1]), "l2", statistic=statistic)
    assert isinstance(made, Ticket) and made.statistic is not None and list(made) == [1]
    assert Ticket.load(made.named(None).save(tmp_path / "t.csv")) == Ticket(
        torch.tensor([1]), "l2", scores=RowScores(statistic.double())
    )
    with pytest.warns(DeprecationWarning, match="ticket_of"):
        assert list(find_ticket(RowScores(statistic), count=1)) == [1]
    before = torch.zeros(2, 3)
    assert mtl.select("ks", before, before + statistic[:, None], count=1).tolist() == [1]
    with pytest.raises(TuningError, match="earlier name of rows"):
        mtl.select("ks", before, before + statistic[:, None], count=1, rows=1)
    with pytest.raises(AttributeError, match="nothing"):
        _ = base.nothing


@pytest.mark.parametrize("module", ["ticket.level", "ticket.ticket"])
def test_the_examples_of_the_docstrings(module: str) -> None:
    ran = doctest.testmod(importlib.import_module(f"mt_lottery.{module}"))
    assert ran.attempted and not ran.failed
