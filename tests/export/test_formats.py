"""The table of formats: what each takes, and how a wrong option is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from mt_lottery.errors import ArgumentError
from mt_lottery.runs.export.checked import why_different
from mt_lottery.runs.export.formats import FORMATS, Exported, Options, chosen

NONE: dict[str, Any] = {"engine": None, "base": None, "dtype": None}


def test_every_format_has_a_module_and_knows_its_options() -> None:
    for form in FORMATS.values():
        assert importlib.util.find_spec(f"mt_lottery.runs.export.{form.module}")
        assert set(form.needs) <= set(form.takes) <= set(NONE)


def test_the_first_engine_is_the_default() -> None:
    assert chosen("lora", **NONE)[1] == Options(engine="peft")
    assert chosen("merged", **NONE | {"dtype": "float32"})[1] == Options(dtype="float32")


@pytest.mark.parametrize(
    ("format", "given", "said"),
    [
        ("lore", {}, r"Unknown format 'lore'. Did you mean 'lora'\? Known: .*lora, merged"),
        ("merged", {"engine": "vllm"}, "format=merged takes no engine; formats that do: lora."),
        ("lora", {"dtype": "float32"}, "format=lora takes no dtype; formats that do: .*merged"),
        ("lora", {"engine": "vlm"}, "engine=vlm: allowed: peft, vllm, sglang. Did you mean 'vllm'"),
        ("merged", {"dtype": "int8"}, "dtype=int8: allowed: float32, bfloat16, float16"),
    ],
)
def test_a_wrong_option_is_refused_in_one_message(
    format: str, given: dict[str, str], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        chosen(format, **NONE | given)


def test_what_was_written_is_said_in_lines() -> None:
    done = Exported("lora", Path("out"), 57_600, "loads in PEFT over b.", "peft", 8, 7, ("More.",))
    assert str(done).splitlines() == [
        "out: loads in PEFT over b. 57.6 kB.",
        "7 of 8 test sentences are translated word for word as in the run.",
        "More.",
    ]


def test_rounding_is_not_blamed_where_most_sentences_differ() -> None:
    said = [why_different(8, same, "Rounding.") for same in (8, 7, 4, 3, 0)]
    assert said[:3] == ["", "Rounding.", "Rounding."] and said[3] == said[4]
    assert said[4].startswith("Fewer than half are the same, which rounding alone seldom explains")
    assert why_different(0, 0, "Rounding.") == ""
