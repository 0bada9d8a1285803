"""What CONTRIBUTING lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from test_layering import ORDER

from mt_lottery import plugin
from mt_lottery.registry import REGISTRIES

TOP = Path(__file__).parents[1]
TEXT = (TOP / "CONTRIBUTING.md").read_text("utf-8")


def test_the_rooms_are_all_there_in_their_order() -> None:
    section = TEXT.partition("## The rooms\n")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == ORDER


def test_every_kind_has_an_example_and_a_contract() -> None:
    section = TEXT.partition("## The other kinds\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| `(\w+)\.py`.*\| (`.*`) \|$", section, re.MULTILINE)
    assert {kind for kind, _, _ in rows} == set(REGISTRIES)
    for kind, file, contract in rows:
        assert kind == file and (TOP / "examples" / "plugins" / f"{file}.py").is_file()
        assert set(re.findall(r"`(\w+)`", contract)) <= set(plugin.__all__)


def test_the_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"`((?:mt_lottery|examples|docs|tests)/[\w./]*)`", TEXT))
    assert len(named) > 4
    assert not [name for name in named if not (TOP / name).exists()]


def test_names_of_test_modules_are_unique() -> None:
    """pytest imports them by their base names."""
    names = [file.name for file in (TOP / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
