"""``hypotheses.jsonl`` and ``tickets.csv``, whatever the text in them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from mt_lottery.errors import RecordError
from mt_lottery.pipeline.rundir import (
    read_hypotheses,
    read_tickets,
    write_hypotheses,
    write_tickets,
)
from mt_lottery.translate.decoding import Hypothesis
from mt_lottery.tuner.base import ChosenRows
from mt_lottery.tuner.ks_lottery import read_rows_file

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
    with pytest.raises(RecordError, match=r"hypotheses\.jsonl: cannot be read"):
        read_hypotheses(path)
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"hypotheses\.jsonl: cannot be read"):
        read_hypotheses(path)


class Tokens:
    """Names for ids, as a tokenizer gives them."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
        return [AWKWARD[i] if i < len(AWKWARD) else None for i in ids]


def test_tickets_csv_of_a_test(tmp_path: Path) -> None:
    size = len(AWKWARD) + 3
    statistic = torch.linspace(0.01, 0.9, size, dtype=torch.float64)
    statistic[[3, 4]] = float(statistic[5])  # a tie: by token id
    statistic[0] = 0.0  # did not move and was not chosen: not listed
    pvalue = 1 - statistic
    chosen = ChosenRows(
        torch.tensor([size - 1, 9]), "ks", alpha=0.5, correction="none", tau=0.1,
        statistic=statistic, pvalue=pvalue,
    )  # fmt: skip
    path = tmp_path / "tickets.csv"
    write_tickets(path, chosen, Tokens(), Counter({9: 4}))
    rows = read_tickets(path)
    assert list(rows[0]) == [
        *("token_id", "token", "statistic", "pvalue", "selected", "train_frequency"),
    ]
    assert path.read_text("utf-8").startswith("token_id,token,statistic,")
    ids = [int(r["token_id"]) for r in rows]
    assert sorted(ids) == list(range(1, size))
    expected = sorted(range(1, size), key=lambda i: (-float(statistic[i]), i))
    assert ids == expected
    for row in rows:
        i = int(row["token_id"])
        assert row["token"] == (AWKWARD[i] if i < len(AWKWARD) else "")
        assert float(row["statistic"]) == float(statistic[i])  # every digit
        assert float(row["pvalue"]) == float(pvalue[i])
        assert row["selected"] == ("true" if i in (9, size - 1) else "false")
        assert row["train_frequency"] == ("4" if i == 9 else "0")
    # the file serves as tuner.rows_file: its selected rows
    assert read_rows_file(path, size).sort().values.tolist() == [9, size - 1]


def test_a_selected_row_that_did_not_move_is_listed(tmp_path: Path) -> None:
    zero = torch.zeros(5, dtype=torch.float64)
    chosen = ChosenRows(torch.tensor([2]), "ks", statistic=zero, pvalue=zero + 1)
    write_tickets(tmp_path / "t.csv", chosen, Tokens(), Counter())
    assert [r["token_id"] for r in read_tickets(tmp_path / "t.csv")] == ["2"]


def test_tickets_csv_without_a_test(tmp_path: Path) -> None:
    chosen = ChosenRows(torch.tensor([7, 2]), "random")
    write_tickets(tmp_path / "t.csv", chosen, Tokens(), Counter({2: 1}))
    rows = read_tickets(tmp_path / "t.csv")
    assert [(r["token_id"], r["statistic"], r["pvalue"], r["selected"]) for r in rows] == [
        ("7", "", "", "true"),
        ("2", "", "", "true"),
    ]


def test_tickets_csv_of_a_measure_without_p(tmp_path: Path) -> None:
    statistic = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    chosen = ChosenRows(torch.tensor([1]), "l2", statistic=statistic)
    write_tickets(tmp_path / "t.csv", chosen, Tokens(), Counter())
    rows = read_tickets(tmp_path / "t.csv")
    assert [(r["token_id"], r["statistic"], r["pvalue"]) for r in rows] == [
        ("1", "2.0", ""),
        ("2", "1.0", ""),
        ("0", "0.5", ""),
    ]
