"""``data.train_templates=[…]``: trained in several wordings, asked in one."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from tiny_runs import Commands, Models, record, small

from mt_lottery.data.prompts.batches import encode_prompts
from mt_lottery.data.prompts.templates import get_template
from mt_lottery.languages import parse_pair
from mt_lottery.reading import read_yaml
from mt_lottery.runs.finished import Run

pytestmark = pytest.mark.slow

OWN = r'"{source_language}: {source}\n{target_language}:"'
TWO = f"data.train_templates=[plain,{OWN}]"
PLUGIN = """
from mt_lottery.plugin import register_template


@register_template("both")
class Both:
    def prompt(self, source, pair):
        labels = f"{pair.source.name}: {source}\\n{pair.target.name}:"
        whole = f"Translate {pair.source.name} to {pair.target.name}.\\n" + labels
        return labels if len(source) % 2 else whole

    def target(self, target):
        return " " + target
"""
WEIGHTS = "adapter/adapter_model.safetensors"


def test_it_trains_what_a_template_of_both_trains(commands: Commands, models: Models) -> None:
    Path("plugins").mkdir()
    Path("plugins/both.py").write_text(PLUGIN)
    asks = {
        "one": ("data.template=plain",),
        "several": ("data.template=plain", TWO),
        "plugin": ("data.template=both", "user_dir=plugins"),
    }
    for out, more in asks.items():
        ended = commands.train(*small(models.untied, "ks_lottery", "tuner.tickets=4", *more,
                                      f"out_dir={out}"))  # fmt: skip
        assert ended.code == 0, ended.err
        said = "Training pairs by wording of the prompt: plain 10, '{source_language}: {source}"
        assert (said in ended.err) is (out == "several")
        assert "probe: found" not in ended.err  # another text, another probe
    files = [*(f"{WEIGHTS} tickets.csv".split())]
    one, some, plugin = ([(Path(o) / f).read_bytes() for f in files] for o in asks)
    assert some == plugin != one
    assert len({record(Path(o))["config_hash"] for o in asks}) == 3
    stored = read_yaml(Path("several/config.yaml"), ValueError)["data"]["train_templates"]
    assert stored == ["plain", "{source_language}: {source}\n{target_language}:"]
    card = Path("several/adapter/README.md").read_text()
    assert "trained with several wordings of the prompt, in turn: plain, '{source_lang" in card
    compared = commands.call("ticket", "compare", "one", "several", "--no-plot")
    assert "(data.train_templates)" in compared.out, compared.out + compared.err


def test_it_is_found_again_and_asked_in_its_own_wording(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = small(models.untied, "lora", TWO, "out_dir=run")
    assert commands.train(*given).code == 0
    assert "left alone" in commands.train(*given).err
    other = commands.train(*small(models.untied, "lora", "data.train_templates=[alpaca]",
                                  "out_dir=run"))  # fmt: skip
    assert "another configuration (data.train_templates: " in other.mistake()
    lines = [json.loads(line) for line in Path("run/hypotheses.jsonl").read_text().splitlines()]
    source = "".join(each["source"] + "\n" for each in lines)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source.encode())))
    ended = commands.call("translate", "--run", "run")
    assert ended.out.splitlines() == [each["first_line"] for each in lines]
    asked = Run("run").text.prompts(["A b."], Run("run").original.tokenizer)
    plain = encode_prompts(["A b."], get_template("plain"), parse_pair("en-es"),
                           Run("run").original.tokenizer)  # fmt: skip
    assert asked == plain
    again = commands.train("config=run/config.yaml", "out_dir=again")
    assert again.code == 0, again.err
    assert record(Path("again"))["config_hash"] == record(Path("run"))["config_hash"]
    assert Path("again/hypotheses.jsonl").read_bytes() == Path("run/hypotheses.jsonl").read_bytes()


def test_what_trains_nothing_does_not_look_at_it(commands: Commands, models: Models) -> None:
    for recipe in ("none", "few_shot"):
        ended = commands.train(*small(models.untied, recipe, TWO, f"out_dir={recipe}"))
        assert ended.code == 0, ended.err
        assert "data.train_templates has no effect: " in ended.err
        plain = commands.train(*small(models.untied, recipe, f"out_dir={recipe}-plain"))
        assert plain.code == 0
        hashes = {record(Path(o))["config_hash"] for o in (recipe, f"{recipe}-plain")}
        assert len(hashes) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[]", "`data.train_templates` is empty: name a template, or leave it out (null)."),
        ("[plan]", "`data.train_templates`: Unknown template 'plan'. Did you mean 'plain'?"),
        ('["Say {sauce}:"]', "`data.train_templates`: unknown field '{sauce}'."),
        ('["Say this:"]', "`data.train_templates` has no {source}, the sentence's place"),
        ("plain,alpaca", "For a list write data.train_templates=[…]"),
        ("[plain,chat]", "has chat, and the run is asked in data.template=plain"),
        ('["{source} api_key=sk-abcdefghijklmnopqrstuvwxyz123456"]', "looks like a key"),
    ],
)
def test_mistakes(commands: Commands, models: Models, given: str, said: str) -> None:
    ended = commands.train(*small(models.untied, "lora", f"data.train_templates={given}"))
    assert said in ended.mistake()
    assert not Path("runs").exists()
