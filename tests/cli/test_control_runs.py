"""Runs of the controls: what they say, keep, record, and refuse."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import DIMENSION, Commands, Models, contents, hypotheses, record, small

import mt_lottery as mtl
from mt_lottery.benchmark.plan import depends_on_seed
from mt_lottery.config import counted
from mt_lottery.config.compose import compose
from mt_lottery.runs import context
from mt_lottery.runs.planning.plan import make_plan

pytestmark = pytest.mark.slow

CONTROLS = ("first_line_stop", "forced_prefix", "few_shot_bm25")
MORE = ("baseline=false", "translate.max_new_tokens=48")


def run(commands: Commands, models: Models, recipe: str, out: str, *more: str) -> dict[str, Any]:
    given = small(models.untied, recipe, f"out_dir={out}", *MORE, *more)
    ended = commands.train(*given)
    assert ended.code == 0, ended.err
    return record(Path(out))


def translated(monkeypatch: pytest.MonkeyPatch, commands: Commands, out: str) -> list[str]:
    sources = [line["source"] for line in hypotheses(Path(out))]
    data = io.TextIOWrapper(io.BytesIO("\n".join(sources).encode()))
    monkeypatch.setattr(sys, "stdin", data)
    said = commands.call("translate", "--run", out)
    assert said.code == 0, said.err
    return said.out.split("\n")[:-1]


@pytest.mark.parametrize("recipe", CONTROLS)
def test_a_control_translates_again_as_it_was_scored(
    recipe: str, commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(commands, models, recipe, "run")
    assert found["method"] == recipe and found["trainable_parameters"] == 0
    lines = [line["first_line"] for line in hypotheses(Path("run"))]
    assert translated(monkeypatch, commands, "run") == lines
    with pytest.warns(UserWarning, match=r"The model alone does not do that; mtl\.Run\('run'\)"):
        model, _ = mtl.load_tuned("run", "cpu")
    assert not any(p.requires_grad for p in model.parameters())
    before = contents(Path("run"))
    said = commands.call("ticket", "merge", "run", "plain").mistake()
    tuner = recipe.removesuffix("_bm25")
    assert said.startswith(f"A run of {tuner} cannot be merged: It ")
    assert "the original one: translate with mt-translate" in said
    assert contents(Path("run")) == before and not Path("plain").exists()
    again = commands.train(*small(models.untied, recipe, "out_dir=run", *MORE))
    assert again.code == 0 and contents(Path("run")) == before


def test_a_line_is_the_originals_first_line(commands: Commands, models: Models) -> None:
    plain = run(commands, models, "none", "plain", "data.test_pairs=80")
    found = run(commands, models, "first_line_stop", "run", "data.test_pairs=80")
    mine, theirs = hypotheses(Path("run")), hypotheses(Path("plain"))
    assert [m["hypothesis"] for m in mine] == [t["first_line"] for t in theirs]
    assert sum(m["tokens"] < t["tokens"] for m, t in zip(mine, theirs, strict=True)) > 1
    scores = found["scores"]["chrf"]
    assert scores["raw"] == scores["first_line"] == plain["scores"]["chrf"]["first_line"]
    assert scores["raw"] != plain["scores"]["chrf"]["raw"]
    assert (
        found["data"]["train"] is None
        and found["generation"]["stopped"] <= (plain["generation"]["stopped"])
    )


def test_the_prefix_that_does_best_on_dev(commands: Commands, models: Models) -> None:
    found = run(commands, models, "forced_prefix", "run", "tuner.candidates=3")
    choice = found["forced_prefix"]
    assert choice["metric"] == "chrf first line, dev" and choice["dev"]["pairs"] == 4
    tried = choice["tried"]
    # every target begins with a blank, which is a token of this small vocabulary
    assert [len(one["token_ids"]) for one in tried] == [1, 2, 2, 2]
    best = max(tried, key=lambda one: one["score"])
    assert {k: choice[k] for k in best} == best and choice["seconds"] > 0
    kept = json.loads(Path("run/control/forced_prefix.json").read_text())
    assert kept == {"token_ids": best["token_ids"]}
    start = best["text"].removeprefix(" ")
    assert all(line["hypothesis"].startswith(start) for line in hypotheses(Path("run")))
    assert all(line["tokens"] >= len(best["token_ids"]) for line in hypotheses(Path("run")))
    # the choice is what a run on dev with that prefix would score
    other = run(commands, models, "forced_prefix", "other", "tuner.candidates=3", "seed=5")
    assert other["forced_prefix"] | {"seconds": 0} == choice | {"seconds": 0}
    assert hypotheses(Path("other")) == hypotheses(Path("run"))


def test_examples_are_those_of_each_sentence(commands: Commands, models: Models) -> None:
    found = run(commands, models, "few_shot_bm25", "run", "tuner.shots=2")
    assert found["few_shot"] == {
        "retrieve": "bm25",
        "shots": 2,
        "pool": 24,
        "shortened": 0,
        "bare": 0,
    }
    done = mtl.Run("run", "cpu")
    sources = [line["source"] for line in hypotheses(Path("run"))]
    prompts = [done.prompt(source) for source in sources]
    assert len({p.rsplit("\n\n", 1)[0] for p in prompts}) > 1
    known = [pair.source for pair in done.plan.corpora.train.pairs]  # type: ignore[union-attr]
    assert known[3] not in done.prompt(known[3]).rsplit("\n\n", 1)[0]
    # 512 positions: so many examples do not fit, and the farthest are left out
    many = run(commands, models, "few_shot_bm25", "many", "tuner.shots=20")
    assert many["few_shot"]["shortened"] == len(sources) == 6 and not many["few_shot"]["bare"]
    shown = mtl.Run("many", "cpu").prompt(sources[0])  # the one that was decoded
    assert 2 < shown.count("English: ") < 21
    assert len(done.original.tokenizer(shown)["input_ids"]) <= 512 - 48


def test_rows_of_the_prompt(commands: Commands, models: Models) -> None:
    """Those that any two prompts share; the run opens, and translates, as it was scored."""
    found = run(commands, models, "prompt_rows", "run")
    opened = mtl.Run("run")
    one, other = opened.text.prompts(["Where?", "12 beds & 3"], opened.original.tokenizer)
    shared = {*one} & {*other}
    assert {int(i) for i in opened.ticket.rows} <= shared
    assert found["tickets"]["count"] == len(opened.ticket.rows) > 5
    assert found["trainable_parameters"] == found["tickets"]["count"] * DIMENSION
    lines = hypotheses(Path("run"))
    said = opened.translate([line["source"] for line in lines])
    assert said == [line["first_line"] for line in lines]
    listed = commands.call("bench", "list", "controls", "--model", str(models.untied))
    assert "which the tokenizer decides" in listed.out + listed.err


def test_only_that_recipe_asks_for_a_prompt_of_no_text(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin's template may know the sentences of its text alone."""

    def refuse(*_: object) -> None:
        raise KeyError("a")

    monkeypatch.setattr(context, "prompt_ids", refuse)
    run(commands, models, "frequency", "run")
    failed = commands.train(*small(models.untied, "prompt_rows", "out_dir=other", *MORE))
    assert failed.code == 1 and "KeyError" in failed.err


def test_what_the_hash_counts(models: Models, commands: Commands) -> None:
    def hashed(recipe: str, *more: str) -> str:
        given = [str(a) for a in small(models.untied, recipe, *more)]
        return make_plan(compose(given), lambda _: None).config_hash

    assert counted(compose(["recipe=few_shot", "lang=en-ro"]).tuner) == {
        "name": "few_shot", "shots": 5, "seed": None,  # as before there was `retrieve`
    }  # fmt: skip
    assert len({hashed("few_shot"), hashed("few_shot_bm25"), hashed("few_shot", "seed=1")}) == 3
    assert hashed("forced_prefix") != hashed("forced_prefix", "data.dev_pairs=3")
    assert hashed("first_line_stop", "data.dev_pairs=3", "seed=4") == hashed("first_line_stop")
    assert hashed("one_row") != hashed("one_row", "tuner.token=bos")


def test_the_group(commands: Commands) -> None:
    listed = json.loads(commands.call("bench", "list", "--json").out)
    found = {x["method"]: x for x in listed}
    members = {name for name, x in found.items() if "controls" in x["groups"]}
    assert members >= {*CONTROLS, "none", "few_shot", "eos_bias", "one_row", "prompt_rows"}
    assert not found["few_shot_bm25"]["in_all"]
    assert [depends_on_seed(r) for r in (*CONTROLS, "few_shot", "one_row", "none")] == [
        *(False, False, False, True, True, False)
    ]
    for recipe in ("first_line_stop", "forced_prefix", "one_row", "prompt_rows"):
        assert found[recipe]["in_all"] and found[recipe]["what"]


def test_mistakes(models: Models, commands: Commands) -> None:
    def said(recipe: str, *more: object) -> str:
        return commands.train(*small(models.untied, recipe, "baseline=false", *more)).mistake()

    assert "more than the 2 tokens" in said("forced_prefix", "translate.max_new_tokens=2")
    assert "must be one of random, bm25" in said("few_shot", "tuner.retrieve=bm52")
    message = said("one_row", 'tuner.token="two words"')
    assert "which this tokenizer reads as" in message and "Allowed: newline, bos, eos" in message
    assert not Path("runs").exists() or not list(Path("runs").rglob("record.json"))
