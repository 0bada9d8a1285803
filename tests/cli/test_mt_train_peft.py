"""``recipe=peft`` and the recipes of its methods, by the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tiny_runs import Commands, Models, hypotheses, record, small

from mt_lottery.runs import Run

pytestmark = pytest.mark.slow

STRONG = ("model.dtype=float32", "train.lr=0.05", "baseline=false")


@pytest.mark.parametrize("recipe", ["dora", "oft"])
def test_a_run_is_opened_translated_with_and_merged(
    recipe: str, commands: Commands, models: Models
) -> None:
    ended = commands.train(*small(models.tied, recipe, "out_dir=run", *STRONG))
    assert ended.code == 0, ended.err
    found = record(Path("run"))
    assert found["method"] == recipe
    assert found["peft"]["method"] == {"dora": "lora"}.get(recipe, recipe)
    said = hypotheses(Path("run"))
    again = Run("run", "cpu").translate([line["source"] for line in said])
    assert again == [line["first_line"] for line in said]
    exported = commands.call("ticket", "export", "run", "served", "--format", "lora")
    assert exported.code == 0, exported.err
    kind = json.loads(Path("served/adapter_config.json").read_text())["peft_type"]
    assert kind == found["peft"]["method"].upper()
    vllm = ("--format", "lora", "--engine", "vllm")
    refused = commands.call("ticket", "export", "run", "vllm", *vllm).mistake()
    assert {"dora": "alone, not use_dora=True", "oft": "of the kind OFT"}[recipe] in refused
    merged = commands.call("ticket", "merge", "run", "plain")
    assert merged.code == 0 and f"{len(said)} of {len(said)} test sentences" in merged.out


FOLDER = Path(__file__).parents[2] / "recipes" / "recipe"
FAMILY = {p.stem for p in FOLDER.glob("*.yaml") if "name: peft" in p.read_text("utf-8")} - {"peft"}


@pytest.mark.parametrize("recipe", sorted(FAMILY - {"dora", "oft"}))
def test_every_recipe_runs(recipe: str, commands: Commands, models: Models) -> None:
    fitting = {"fourierft": ["tuner.options.n_frequency=64"], "tinylora": ["tuner.options.u=4"]}
    given = [*STRONG, *fitting.get(recipe, ()), "data.train_pairs=8", "out_dir=run"]
    ended = commands.train(*small(models.tied, recipe, *given))
    assert ended.code == 0, ended.err
    found = record(Path("run"))
    assert found["status"] == "done" and found["trainable_parameters"] > 0
    assert found["cost"]["adapter_bytes"] > 0 and hypotheses(Path("run"))


def test_a_run_that_cannot_be_merged(commands: Commands, models: Models) -> None:
    assert commands.train(*small(models.untied, "beft", "out_dir=run", *STRONG)).code == 0
    said = commands.call("ticket", "merge", "run", "plain").mistake()
    assert "PEFT cannot merge beft into this model: Base layer has no bias" in said
    assert "mt-translate" in said and not Path("plain").exists()
    # an option that was changed since is noticed
    config = Path("run/adapter/adapter_config.json")
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"init_weights": False}))
    assert "adapter_config.json" in commands.call("ticket", "merge", "run", "plain").mistake()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tuner.method=oftt"], r"`tuner.method`: Unknown method of PEFT 'oftt'. Did you mean 'of"),
        (["tuner.method=xlora"], r"`tuner.method` is xlora: it mixes LoRA adapters that must"),
        (["tuner.method=adalora"], r"adalora: it gives parameters to some layers"),
        (["tuner.options.rank=8"], r"LoraConfig of PEFT .* has no option 'rank'\. Did you mean 'r"),
        (["tuner.options.r=many"], r"`tuner.options.r` must be a whole number, not 'many'"),
        (["tuner.options.r=0"], r"tuner.method=lora|cannot put lora.*positive integer"),
        (["tuner.target_modules=[q_prj]"], r"no layer named 'q_prj'.*Did you mean 'q_proj'"),
        (["tuner.r=8"], r"An option of the method is tuner.options.r="),
        (
            ["tuner.method=prefix_tuning", "train.gradient_checkpointing=true"],
            r"allowed for tuner.method=prefix_tuning: false",
        ),
    ],
)
def test_mistakes(arguments: list[str], message: str, commands: Commands, models: Models) -> None:
    said = commands.train(*small(models.untied, "peft", "out_dir=run", *arguments)).mistake()
    assert re.search(message, said.replace("\n", " ")), said
    assert not Path("run/adapter").exists()


def test_help_shows_the_options_of_the_recipe(commands: Commands) -> None:
    shown = commands.call("train", "recipe=dora", "--help").out
    for line in ("tuner.options.… […]", "tuner.options.use_dora [true]", "tuner.options.r [8]"):
        assert f"  {line}\n" in shown
