"""What may be given as rows, and what is refused, with which words."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import peft
import pytest
import torch

import mt_lottery as mtl
from mt_lottery.errors import ArgumentError, KeywordError

pytestmark = pytest.mark.slow

TICKETS = "token_id,token,selected\n17,a,true\n4,b,true\n9,c,false\n"


@pytest.mark.parametrize(
    "rows",
    [
        [17, 4],
        (17, 4),
        torch.tensor([17, 4]),
        torch.tensor([17, 4], dtype=torch.int32),
        np.array([17, 4], dtype=np.uint16),
        [np.int64(17), torch.tensor(4)],
        iter([17, 4]),
        SimpleNamespace(rows=torch.tensor([17, 4])),
    ],
)
def test_rows_as_one_has_them(rows: Any) -> None:
    config = mtl.TicketConfig(rows=rows)
    assert config.rows == [17, 4]
    assert config.scope == "input"
    assert config.to_dict()["rows"] == [17, 4]


def test_rows_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_text(TICKETS)
    (tmp_path / "ids.txt").write_text("17  # a\n4\n")
    for path in (tmp_path / "tickets.csv", tmp_path, str(tmp_path / "ids.txt")):
        assert mtl.TicketConfig(rows=path).rows == [17, 4]
    with pytest.raises(ArgumentError, match=r"^rows=.*no\.csv"):
        mtl.TicketConfig(rows=tmp_path / "no.csv")
    (tmp_path / "ids.txt").write_text("17\nx\n")
    with pytest.raises(ArgumentError, match=r"^rows=.*line 2: 'x' is no token id"):
        mtl.TicketConfig(rows=tmp_path / "ids.txt")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "the ticket is empty"),
        ([5, 5], "5 is given more than once"),
        ([5, -1], "-1 is no token id"),
        ([5, 1.5], "1.5 is no token id"),
        ([5, True], "True is no token id"),
        ([2**31], "2147483648 is no token id"),
        (torch.tensor([0.5]), "0.5 is no token id"),
        (torch.tensor([True, False]), r"mask\.nonzero\(\)\.flatten\(\)"),
        (torch.zeros(2, 3), "not of 2 dimensions"),
        (18, r"find_ticket\(base, tuned, rows=18\)\.rows"),
        (None, "NoneType; allowed: a ticket"),
        (["a"], "'a' is no token id"),
    ],
)
def test_what_is_no_row(rows: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:  # as PEFT's configurations
        mtl.TicketConfig(rows=rows)
    assert isinstance(caught.value, mtl.MTLotteryError)


def test_another_scope() -> None:
    with pytest.raises(ArgumentError, match=r"scope='boht'; allowed: .* Did you mean 'both'\?"):
        mtl.TicketConfig(rows=[1], scope="boht")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="'tied' of a recipe is 'both' here"):
        mtl.TicketConfig(rows=[1], scope="tied")  # type: ignore[arg-type]


def test_a_config_is_read_back_as_peft_does(tmp_path: Path) -> None:
    config = mtl.TicketConfig(rows=[17, 4], scope="both", base_model_name_or_path="base")
    config.save_pretrained(str(tmp_path))
    assert mtl.TicketConfig.from_pretrained(str(tmp_path)) == config
    assert peft.PeftConfig.from_pretrained(str(tmp_path)) == config
    assert mtl.TicketConfig(**config.to_dict()) == config
    assert peft.get_peft_config(config.to_dict()) == config
    assert peft.get_peft_config({"peft_type": "TICKET", "rows": [1]}).rows == [1]
    changed = dataclasses.replace(config, rows=[3])
    assert changed.rows == [3] and changed.scope == "both" and changed.task_type == "TICKET"
    with pytest.raises(ArgumentError, match=r"peft_type='LORA'; allowed of a ticket: 'TICKET'"):
        mtl.TicketConfig(rows=[1], peft_type="LORA")
    with pytest.raises(ArgumentError, match=r"task_type='SEQ_CLS'; allowed"):
        mtl.TicketConfig(rows=[1], task_type="SEQ_CLS")
    with pytest.raises(KeywordError, match=r"Did you mean 'task_type'"):
        mtl.TicketConfig(rows=[1], tsk_type="CAUSAL_LM")  # type: ignore[call-arg]


def test_keywords_are_checked() -> None:
    with pytest.raises(TypeError, match=r"Unknown argument 'row'\. Did you mean 'rows'\?"):
        mtl.TicketConfig(row=[1])  # type: ignore[call-arg]
    with pytest.raises(KeywordError, match="Did you mean 'peft_config'"):
        mtl.get_ticket_model(None, config=None)  # type: ignore[call-arg]
    with pytest.raises(
        KeywordError, match="missing a required argument: 'rows'; its arguments: rows, "
    ):
        mtl.TicketConfig()  # type: ignore[call-arg]
