"""The commands that use argparse name the nearest choice and option."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize(
    ("module", "arguments", "hint"),
    [
        ("ticket", ["shwo", "run"], "Did you mean 'show'?"),
        ("ticket", ["find", "a", "b", "--selctor", "ks"], "Did you mean '--selector'?"),
        ("ticket", ["find", "a", "b", "--rows", "18"], "The number of rows is --top K."),
        ("ticket", ["compare", "a", "b", "--rows", "18"], "The number of rows is --top K."),
        ("ticket", ["certifyy"], "Did you mean 'certify'?"),
        ("bench", ["all", "--langs", "ro", "--preset", "smal"], "Did you mean 'small'?"),
        ("bench", ["all", "--langs", "ro", "--executor", "slrum"], "Did you mean 'slurm'?"),
        ("bench", ["all", "--langs", "ro", "--seedz", "1"], "Did you mean '--seeds'?"),
        ("bench", ["all", "--langs", "ro", "--dryrun"], "Did you mean '--dry-run'?"),
        ("bench", ["list", "--mdoel", "x"], "Did you mean '--model'?"),
        ("translate", ["--run", "x", "--beam_size", "3"], "Did you mean '--beam-size'?"),
    ],
)
def test_hint(
    module: str, arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = importlib.import_module(f"mt_lottery.cli.{module}").command
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    assert ended.value.code == 2
    assert hint in capsys.readouterr().err
