"""Every command of docs/your-own-text.md is one: its settings are known and fit."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from mt_lottery.config.compose import compose
from mt_lottery.registry import CORPORA

PAGE = Path(__file__).parents[2] / "docs/your-own-text.md"
COMMANDS = [
    line.strip() for line in PAGE.read_text("utf-8").splitlines() if line.startswith("    mt-train")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page(command: str) -> None:
    assert compose(shlex.split(command)[1:]).lang


def test_the_page_has_every_corpus_and_the_settings_of_hub() -> None:
    text = PAGE.read_text("utf-8")
    used = {word for command in COMMANDS for word in command.split()}
    for name in CORPORA._builtins.keys() - {"mini"}:
        assert {f"data={name}", f"data.test={name}"} & used, name
    for key in ("config", "source_field", "source_lang_field", "max_records", "revision"):
        assert f"`data.{key}=" in text
