"""``hypotheses.jsonl`` and ``tickets.csv``, whatever the text in them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from mt_lottery.decoding.translation import Hypothesis
from mt_lottery.errors import RecordError
from mt_lottery.runs.folder.files import read_hypotheses, write_hypotheses
from mt_lottery.ticket.level import RowScores
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.rows.rows_file import read_rows_file

AWKWARD = [
    *(
        "plain",
        'a "quoted" one',
        "comma, semi; tab\t",
        "line\nbreak",
        "\r",
        "\r\n",
        "",
        " ",
        "\x00",
    ),
    *("▁ș", "\u2028", "\x85", "😀", "=1+1", "token_id,", "'", "\\n", "<0x0A>"),
]


def test_hypotheses_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "hypotheses.jsonl"
    outputs = [Hypothesis(text, i, i % 2 == 0) for i, text in enumerate(AWKWARD)]
    write_hypotheses(path, AWKWARD, AWKWARD[::-1], outputs)
    found = read_hypotheses(path)
    assert [f["source"] for f in found] == AWKWARD
    assert [f["reference"] for f in found] == AWKWARD[::-1]
    assert [f["hypothesis"] for f in found] == AWKWARD
    assert [f["tokens"] for f in found] == list(range(len(AWKWARD)))
    assert [f["first_line"] for f in found] == [o.first_line for o in outputs]
    assert found[0]["stopped"] is True
    assert set(found[0]) == {
        *("source", "reference", "hypothesis", "first_line", "stopped", "tokens"),
    }
    assert path.read_bytes().count(b"\n") == len(AWKWARD)
    with pytest.raises(ValueError, match="shorter"):
        write_hypotheses(path, AWKWARD, AWKWARD[1:], outputs)


@pytest.mark.parametrize("content", [b'{"source": ', b"\xff\n"])
def test_damaged_hypotheses(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hypotheses.jsonl"
    with pytest.raises(RecordError, match=r"hypotheses\.jsonl: no such file"):
        read_hypotheses(path)
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"hypotheses\.jsonl: line 1: "):
        read_hypotheses(path)


SENTENCE = {
    **{"source": "a", "reference": "b", "hypothesis": "c", "first_line": "c"},
    **{"stopped": True, "tokens": 3},
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"source": None}, "`source` must be text, not None"),
        ({"hypothesis": 3}, "`hypothesis` must be text, not 3"),
        ({"stopped": 1}, "`stopped` must be true or false, not 1"),
        ({"tokens": True}, "`tokens` must be a whole number ≥ 0, not True"),
        ({"tokens": -1}, "`tokens` must be a whole number ≥ 0, not -1"),
        ({"tokens": 2.5}, "`tokens` must be a whole number"),
        ("first_line", "`first_line` must be text, but is missing"),
    ],
)
def test_a_wrong_field_of_a_hypothesis(tmp_path: Path, change: Any, why: str) -> None:
    path = tmp_path / "hypotheses.jsonl"
    line = {k: v for k, v in SENTENCE.items() if k != change}
    line |= change if isinstance(change, dict) else {}
    path.write_text(f"{json.dumps(SENTENCE)}\n{json.dumps(line)}\n")
    with pytest.raises(RecordError, match=f"hypotheses.jsonl: line 2: damaged: {why}"):
        read_hypotheses(path)


def test_fewer_hypotheses_than_the_record_says(tmp_path: Path) -> None:
    path = tmp_path / "hypotheses.jsonl"
    path.write_text(f"{json.dumps(SENTENCE)}\n" * 2)
    assert len(read_hypotheses(path, 2)) == 2
    with pytest.raises(RecordError, match="2 sentences, but the run's record says 3"):
        read_hypotheses(path, 3)


HEADER = "token_id,token,statistic,pvalue,selected,train_frequency"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("x,a,0.5,0.5,true,1", "'x' is no token id"),
        ("-1,a,0.5,0.5,true,1", "'-1' is no token id"),
        ("٣,a,0.5,0.5,true,1", "'٣' is no token id"),
        ("1_0,a,0.5,0.5,true,1", "'1_0' is no token id"),
        (f"{'9' * 5000},a,0.5,0.5,true,1", "is no token id"),
        ("10,a,0.5,0.5,true,1", "token id 10 is outside the vocabulary of 10 rows"),
        ("7,a,0.5,0.5,true,1", "token id 7 is there twice .first in line 2"),
        ("1,a,nan,0.5,true,1", "`statistic` must be a number from 0 to 1, not 'nan'"),
        ("1,a,-0.5,0.5,true,1", "`statistic` must be a number from 0 to 1"),
        ("1,a,inf,,true,1", "`statistic` must be a number, not 'inf'"),
        ("1,a,0.5,1.5,true,1", "`pvalue` must be a number from 0 to 1, not '1.5'"),
        ("1,a,0.5,٠.٥,true,1", "`pvalue` must be a number from 0 to 1"),
        ("1,a,0.5,0.5,yes,1", "`selected` must be true or false, not 'yes'"),
        ("1,a,0.5,0.5,true,-1", "`train_frequency` must be a whole number"),
        ("1,a,0.5", "3 cells, but the header names 6 columns"),
        ('1,"a,0.5,0.5,true,1', "damaged: unexpected end of data"),
    ],
)
def test_a_damaged_row_of_tickets(tmp_path: Path, row: str, why: str) -> None:
    path = tmp_path / "tickets.csv"
    path.write_text(f"{HEADER}\n7,b,0.5,0.5,true,1\n{row}\n", "utf-8")
    with pytest.raises(RecordError, match=f"tickets.csv: line 3: .*{why}"):
        Ticket.load(path, 10)


def test_tickets_that_another_program_wrote(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    header = ",".join(f'"{name}"' for name in HEADER.split(","))
    path.write_text(f"{header}\n7,b,0.5,0.5,TRUE,1\n8,c,0.5,0.5,False,1\n")
    assert list(Ticket.load(path)) == [7] and read_rows_file(path, 10).tolist() == [7]


@pytest.mark.parametrize("column", HEADER.split(","))
def test_tickets_without_a_column(tmp_path: Path, column: str) -> None:
    path = tmp_path / "tickets.csv"
    path.write_text(HEADER.replace(column, "other", 1) + "\n1,a,0.5,0.5,true,1\n")
    with pytest.raises(RecordError, match=f"tickets.csv: line 1: no column {column}"):
        Ticket.load(path)


class Tokens:
    """Names for ids, as a tokenizer gives them."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
        return [AWKWARD[i] if i < len(AWKWARD) else None for i in ids]


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tickets_csv_of_a_test(tmp_path: Path) -> None:
    size = len(AWKWARD) + 3
    statistic = torch.linspace(0.01, 0.9, size, dtype=torch.float64)
    statistic[[3, 4]] = float(statistic[5])  # a tie: by token id
    statistic[0] = 0.0  # did not move and was not chosen: not listed
    pvalue = 1 - statistic
    chosen = Ticket(
        torch.tensor([size - 1, 9]), "ks", alpha=0.5, correction="none", tau=0.1,
        scores=RowScores(statistic, pvalue),
    )  # fmt: skip
    path = tmp_path / "tickets.csv"
    chosen.named(Tokens(), Counter({9: 4})).save(path)
    assert path.read_text("utf-8").startswith(
        "token_id,token,statistic,pvalue,selected,train_frequency\n"
    )
    found = Ticket.load(path, size)
    ids = found.listed()
    assert sorted(ids) == list(range(1, size))
    expected = sorted(range(1, size), key=lambda i: (-float(statistic[i]), i))
    assert ids == expected
    for row in found.lines():
        i = row["token_id"]
        assert row["token"] == (AWKWARD[i] if i < len(AWKWARD) else f"[no token {i}]")
        assert row["statistic"] == float(statistic[i])  # every digit
        assert row["pvalue"] == float(pvalue[i])
        assert row["selected"] == (i in (9, size - 1))
        assert row["train_frequency"] == (4 if i == 9 else 0)
    # the file serves as tuner.rows_file: its selected rows
    assert read_rows_file(path, size).sort().values.tolist() == [9, size - 1]


def test_a_selected_row_that_did_not_move_is_listed(tmp_path: Path) -> None:
    zero = torch.zeros(5, dtype=torch.float64)
    chosen = Ticket(torch.tensor([2]), "ks", scores=RowScores(zero, zero + 1))
    chosen.named(Tokens(), Counter()).save(tmp_path / "t.csv")
    assert [r["token_id"] for r in lines(tmp_path / "t.csv")] == ["2"]
    assert Ticket.load(tmp_path / "t.csv").listed() == [2]


def test_tickets_csv_without_a_test(tmp_path: Path) -> None:
    chosen = Ticket(torch.tensor([7, 2]), "random")
    chosen.named(Tokens(), Counter({2: 1})).save(tmp_path / "t.csv")
    rows = lines(tmp_path / "t.csv")
    assert [(r["token_id"], r["statistic"], r["pvalue"], r["selected"]) for r in rows] == [
        ("7", "", "", "true"),
        ("2", "", "", "true"),
    ]


def test_tickets_csv_of_a_measure_without_p(tmp_path: Path) -> None:
    statistic = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    chosen = Ticket(torch.tensor([1]), "l2", scores=RowScores(statistic))
    chosen.named(Tokens(), Counter()).save(tmp_path / "t.csv")
    rows = lines(tmp_path / "t.csv")
    assert [(r["token_id"], r["statistic"], r["pvalue"]) for r in rows] == [
        ("1", "2.0", ""),
        ("2", "1.0", ""),
        ("0", "0.5", ""),
    ]
