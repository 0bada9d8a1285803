"""``train.sharding=fsdp`` under torchrun: the run that one process does, by a model in parts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from launch import run
from test_several_processes import assert_same_run
from tiny_runs import Commands, Models, record, small

from mt_lottery.config.compose import compose
from mt_lottery.errors import on_command_line
from mt_lottery.registry import TUNERS
from mt_lottery.runs import Run
from mt_lottery.runs.planning.sharding import problems_with_sharding

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
RECIPES = ("random", "ks_lottery", "grad_lottery", "lora", "prompt")
DIVIDED = "train.sharding=fsdp"


def _widen(model: Path, folder: Path) -> Path:
    """A model's folder, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    shutil.copytree(model, folder)
    wide: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    wide.save_pretrained(folder)
    return folder


def test_divided_runs_are_those_of_one_process(commands: Commands, models: Models) -> None:
    uneven = ("train.batch_size=7", "probe.batch_size=7")  # 24 pairs: 7, 7, 7 and 3
    cases: dict[str, list[Any]] = {
        recipe: small(models.untied, recipe, *uneven) for recipe in RECIPES
    }
    tied = _widen(models.tied, Path("tied"))  # in float32 both ways give the same numbers
    cases["of_a_layer"] = small(tied, "layer", "tuner.module=layers.1.mlp", "train.accumulate=3")
    cases["both_tables"] = small(tied, "ks_lottery", "tuner.scope=tied")
    cases["all_of_it"] = small(tied, "full", "train.gradient_checkpointing=true")
    cases["searched"] = small(models.untied, "full", "tune=1", "translate.beam_size=2")
    listed = [
        *([*map(str, case), DIVIDED, f"out_dir=two/{name}"] for name, case in cases.items()),
        # bfloat16: equal but for its rounding
        [*map(str, small(models.tied, "full", DIVIDED, "out_dir=two/half"))],
    ]
    Path("cases").write_text(json.dumps(listed))
    done = run(HERE / "ddp_commands.py", "cases", MT_LOTTERY_CACHE=str(commands.cache))
    assert done.returncode == 0, done.stderr
    assert json.loads(Path("cases.out").read_text()) == [[None, None]] * len(listed)

    shutil.move("cache", "their-cache")
    for name, case in cases.items():
        ended = commands.train(*case, f"out_dir=one/{name}")
        assert ended.code == 0, ended.err
        assert_same_run(Path("two", name), Path("one", name))
    assert record(Path("two/half"))["status"] == "done"
    # one process opens such a run as any
    again = commands.train(*cases["random"], "out_dir=two/random")
    assert again.code == 0 and "holds this very run, finished" in again.err
    for name in ("random", "lora", "all_of_it"):
        opened = Run(Path("two", name), "cpu")
        lines = opened.hypotheses
        found = opened.translate([line["source"] for line in lines])
        assert found == [line["first_line"] for line in lines]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "allowed: none. With engine=fairseq2 data_parallelism=fsdp divides the model."),
        (["data_parallelism=fsdp"], "allowed: none, as data_parallelism=fsdp divides the model."),
    ],
)
def test_the_other_engine_has_a_setting_of_its_own(more: list[str], said: str) -> None:
    config = compose(["recipe=random", "lang=en-ro", "engine=fairseq2", DIVIDED, *more])
    with on_command_line():
        (mistake,) = problems_with_sharding(config, TUNERS.get("random")(config.tuner))
    assert mistake == f"`train.sharding` is fsdp, which engine=transformers alone has; {said}"


@pytest.mark.parametrize(
    ("recipe", "more", "said"),
    [
        ("random", [], "this is one process. Start it with torchrun"),
        ("qlora", [], "but its weights are in 4 bits"),
        ("dora", [], "allowed for peft: none"),
        ("full", ["train.optimizer=sparse_adam"], "allowed for full with it: adamw, sgd"),
        ("random", ["model.device_map=auto"], "which is for translating"),
        ("random", ["probe.sharding=fsdp"], "a run has one model"),
        ("random", ["train.kernels=liger"], "`train.kernels` is liger"),
    ],
)
def test_what_cannot_be_divided_is_refused(
    recipe: str, more: list[str], said: str, commands: Commands, models: Models
) -> None:
    mistake = commands.train(*small(models.untied, recipe, DIVIDED, *more)).mistake()
    assert said in " ".join(mistake.split()) and "`train.sharding` is fsdp" in mistake
