"""Whole runs: ``python -m mt_lottery.fairseq2`` and ``mt-train engine=fairseq2``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq2_there import MISSING
from launch import run
from safetensors.torch import load_file
from tiny_runs import Commands, Models, hypotheses, record, small

from mt_lottery.errors import ConfigError
from mt_lottery.training.train_log import TrainLog

pytestmark = pytest.mark.slow

DATASET = ("train_pairs=24", "test_pairs=6", "dev_pairs=4")


def recipe(models: Models, *more: str) -> list[str]:
    """Arguments of the recipe: the same run as ``small``."""
    return [
        *("--no-rich", "--config", "lang=en-es", "model.family=mt_lottery/hf"),
        f"model.config_overrides.name_or_path={models.untied}",
        *(f"dataset.config_overrides.{setting}" for setting in DATASET),
        *("translate.max_new_tokens=8", "metrics=[chrf]", *more),
    ]


def module(commands: Commands, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """``python -m mt_lottery.fairseq2``."""
    return subprocess.run(
        [sys.executable, "-m", "mt_lottery.fairseq2", *arguments],
        env=commands.environment() | {"PYTHONPATH": os.pathsep.join(sys.path)} | more,
        capture_output=True,
        text=True,
    )


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "train_log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def assert_same_run(ours: Path, theirs: Path, room: float = 1e-5) -> None:
    """Same tickets and rows, adapter and texts."""
    assert losses(ours) == pytest.approx(losses(theirs), abs=room)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (ours / "adapter" / name).is_file()
    one, other = (load_file(d / "adapter/adapter_model.safetensors") for d in (ours, theirs))
    assert one.keys() == other.keys()
    for key, value in other.items():
        torch.testing.assert_close(one[key], value, rtol=1e-4, atol=room)
    assert hypotheses(ours) == hypotheses(theirs)
    for key in ("scores", "generation", "tickets", "trainable_parameters", "data", "model"):
        assert record(ours)[key] == record(theirs)[key], key


def test_the_recipe_and_the_front_door_do_the_same(commands: Commands, models: Models) -> None:
    marker = "MARKER-of-a-secret"
    done = module(commands, "out", *recipe(models), COMET_API_KEY=marker, MY_SETTING=marker)
    assert done.returncode == 0, done.stderr[-3000:]
    for path in filter(Path.is_file, [*Path("out").rglob("*"), *commands.cache.rglob("*")]):
        assert marker.encode() not in path.read_bytes(), path
    assert marker not in done.stdout + done.stderr
    assert "Environment Variables - " in Path("out/fairseq2/logs/rank_0.log").read_text()
    found = record(Path("out"))
    assert found["status"] == "done" and found["method"] == "ks_lottery"
    assert found["environment"]["engine"] == "fairseq2"
    assert found["environment"]["fairseq2"] == "0.8.1"
    assert found["tickets"]["count"] == 18 and found["cost"]["probe_seconds"] > 0
    assert not Path("out/checkpoints").exists()
    # again: it stands there
    again = module(commands, "out", *recipe(models))
    assert again.returncode == 0 and "finished; it is left alone" in again.stderr

    same = small(models.untied, "ks_lottery", "engine=fairseq2", "out_dir=door")
    ended = commands.train(*same)
    assert ended.code == 0, ended.err
    assert "INFO" not in ended.err and "Warning" not in ended.err
    assert "Embedding-tuned probe: found" in ended.err  # the recipe's
    assert record(Path("door"))["config_hash"] == found["config_hash"]
    assert_same_run(Path("door"), Path("out"), room=0)

    ended = commands.train(*small(models.untied, "ks_lottery", "out_dir=plain"))
    assert ended.code == 0, ended.err
    assert "Embedding-tuned probe: found" not in ended.err  # of another engine
    assert record(Path("plain"))["config_hash"] != found["config_hash"]
    assert "engine" not in record(Path("plain"))["environment"]
    assert_same_run(Path("door"), Path("plain"))

    check_loads(models)


def check_loads(models: Models) -> None:
    """PEFT loads the adapter; its logits are those of ``load_tuned``."""
    import peft
    from transformers import AutoModelForCausalLM

    import mt_lottery as mtl

    base = AutoModelForCausalLM.from_pretrained(models.untied)
    theirs = peft.PeftModel.from_pretrained(base, "out/adapter").eval()
    ours, _ = mtl.load_tuned("out")
    ids = torch.arange(3, 90).view(3, 29)
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids).logits)


def test_every_kind_of_method(commands: Commands, models: Models) -> None:
    for method in ("none", "full", "embed", "random", "frequency", "lora"):
        for engine in ("transformers", "fairseq2"):
            ended = commands.train(
                *small(models.untied, method, f"engine={engine}", f"out_dir={engine}/{method}"),
                "train.epochs=1",
            )
            assert ended.code == 0, ended.err
        one, other = (Path(engine, method) for engine in ("fairseq2", "transformers"))
        assert losses(one) == pytest.approx(losses(other), abs=1e-4)
        assert hypotheses(one) == hypotheses(other)
        if method == "none":  # nothing is trained: it is the same run
            assert record(one)["config_hash"] == record(other)["config_hash"]


def test_a_run_cut_short_goes_on(commands: Commands, models: Models) -> None:
    arguments = small(
        models.untied, "random", "engine=fairseq2", "baseline=false", "train.epochs=4",
        "train.save_steps=2", "out_dir=run",
    )  # fmt: skip
    Path("plugins").mkdir()
    Path("plugins/cut.py").write_text(
        "import os, signal\n"
        "from mt_lottery.registry import register_tracker\n"
        "from mt_lottery.tracking.trackers import Tracker\n"
        "@register_tracker('cut')\n"
        "class Cut(Tracker):\n"
        "    def log(self, step, values):\n"
        "        if step == 9:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = commands.process("mt-train", *arguments, "user_dir=plugins", "tracker=cut")
    assert ended.code == -9, ended.err
    assert not Path("run/record.json").exists()
    assert "resume=true" in commands.train(*arguments).mistake()
    assert commands.train(*arguments, "resume=true").code == 0
    assert "from step " in Path("run/fairseq2/train/logs/rank_0.log").read_text()
    assert commands.train(*arguments[:-1], "out_dir=whole").code == 0
    assert_same_run(Path("run"), Path("whole"), room=0)


def test_a_new_run_in_place_of_an_old_one(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, it leaves the old one; resumed, it takes its place."""
    arguments = small(models.untied, "random", "engine=fairseq2", "baseline=false", "seed=1")
    assert commands.train(*arguments[:-1], "out_dir=run").code == 0
    assert commands.train(*arguments, "out_dir=whole").code == 0
    old = record(Path("run")), hypotheses(Path("run"))
    with monkeypatch.context() as patch:
        real = TrainLog.step

        def step(self: TrainLog, at: int, *numbers: float, **more: float) -> None:
            real(self, at, *numbers, **more)  # type: ignore[arg-type]
            if at == 3:
                signal.raise_signal(signal.SIGTERM)

        patch.setattr(TrainLog, "step", step)
        ended = commands.train(*arguments, "out_dir=run", "overwrite=true")
    assert ended.code == 143 and "after step 3" in ended.err and "resume=true" in ended.err
    assert (record(Path("run")), hypotheses(Path("run"))) == old
    ended = commands.train(*arguments, "out_dir=run", "resume=true")
    assert ended.code == 0, ended.err
    assert record(Path("run"))["seed"] == 1
    assert "from step 3" in Path("run/fairseq2/train/logs/rank_0.log").read_text()
    assert not [p for p in Path("run").rglob("*") if p.name.startswith(".mt_lottery")]
    assert not Path("run/checkpoints").exists()
    assert_same_run(Path("run"), Path("whole"), room=0)


def test_a_file_imports_nothing_and_sigterm_leaves_a_checkpoint(
    commands: Commands, models: Models
) -> None:
    Path("plugins").mkdir()
    Path("plugins/cut.py").write_text(
        "import os, signal\n"
        "from pathlib import Path\n"
        "from mt_lottery.registry import register_tracker\n"
        "from mt_lottery.tracking.trackers import Tracker\n"
        "Path('imported').touch()\n"
        "@register_tracker('cut')\n"
        "class Cut(Tracker):\n"
        "    def log(self, step, values):\n"
        "        if step == 3:\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    Path("run.yaml").write_text(
        "user_dir: plugins\n"
        "model: {config_overrides: {_set_: {trust_remote_code: true}}}\n"
        "tuner: {name: random}\n"
        "baseline: false\n"
    )
    arguments = [*recipe(models), "--config-file", "run.yaml"]
    done = module(commands, "out", *arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "asks to import the plugins in plugins (`user_dir`)" in done.stderr
    assert "--config model.config_overrides.trust_remote_code=true" in done.stderr
    assert not Path("imported").exists() and not Path("out/record.json").exists()

    allowed = ["--config", "user_dir=plugins", "model.config_overrides.trust_remote_code=false"]
    done = module(commands, "out", *arguments, *allowed, "tracker=cut")
    assert done.returncode == 143, done.stderr[-3000:]
    assert "Traceback" not in done.stderr and "Interrupted after step 3" in done.stderr
    assert Path("imported").exists() and not Path("out/record.json").exists()
    done = module(commands, "out", *arguments, *allowed)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "from step 3" in Path("out/fairseq2/train/logs/rank_0.log").read_text()
    assert record(Path("out"))["status"] == "done"


def test_mistakes(commands: Commands, models: Models) -> None:
    wrong = recipe(models, "train.lr=-1", "tuner.config.tickts=3", "dataset.family=mt_lottery/min")
    done = module(commands, "out", *wrong)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "3 settings are not valid" in done.stderr
    for part in ("`train.lr` must be > 0", "Did you mean 'tuner.tickets'?", "Did you mean 'mini'?"):
        assert part in done.stderr
    assert not Path("out/record.json").exists()


def test_what_fairseq2s_reader_refuses(commands: Commands) -> None:
    Path("stored.yaml").write_text("gangs: 3\nlang:\n  from: en\n")
    wrong = ["trainer.grad_check=maybe", "trainer.fp16_loss_scale=[1,2,3]", "common.seed=x"]
    asked = ["out", "--no-rich", "--config-file", "stored.yaml", "--config", *wrong]
    done = module(commands, *asked)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "5 settings are not valid" in done.stderr
    for part in (
        "`gangs`: Unknown key 'gangs'. Did you mean 'gang'? Known: baseline,",
        "`lang` must be text, not a mapping.",
        "`trainer.grad_check` must be true or false, not 'maybe'.",
        "`trainer.fp16_loss_scale` must be a list of 2, not [1, 2, 3].",
        "`common.seed` must be a whole number, not 'x'.",
    ):
        assert part in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "stored.yaml does not point to a configuration file."),
        ("", "stored.yaml is empty."),
        ("a: [1\n", "stored.yaml is not a valid YAML file. while parsing a flow sequence"),
        ("- 1\n", "stored.yaml holds no mapping of keys to values."),
        ("trainer: {data_parallelism: dpp}", "must be one of ddp, fsdp, not 'dpp'."),
        ("trainer: 3", "`trainer` must be a mapping of data_parallelism, fsdp,"),
        ("trainer: {max_grad_norm: much}", "must be a number or null, not 'much'."),
        ("trainer: {fsdp: {version: v3}}", "`trainer.fsdp.version` must be one of v1, v2"),
    ],
)
def test_a_file_that_fairseq2_cannot_read(
    text: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fairseq2.composition import _register_library
    from fairseq2.recipe import cli
    from fairseq2.recipe.component import ComponentManager, _StandardComponentManager
    from fairseq2.recipe.internal.config import (
        _RecipeConfigStructurer,
        _StandardRecipeConfigStructurer,
    )
    from fairseq2.runtime.dependency import DependencyContainer

    from mt_lottery.fairseq2.configuration import explained
    from mt_lottery.fairseq2.recipe import LotteryConfig

    container = DependencyContainer()
    _register_library(container, no_progress=True)
    container.register_type(ComponentManager, _StandardComponentManager, singleton=True)
    container.register_type(_RecipeConfigStructurer, _StandardRecipeConfigStructurer)
    container.register_type(cli._RecipeConfigLoader)
    file = tmp_path / "stored.yaml"
    if text is not None:
        file.write_text(text)
    with explained(), pytest.raises(ConfigError) as caught:
        container.resolve(cli._RecipeConfigLoader).load(LotteryConfig, file, None)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_two_processes_with_fsdp2(commands: Commands, models: Models) -> None:
    cache = {"MT_LOTTERY_CACHE": str(commands.cache)}
    done = run("-m", "mt_lottery.fairseq2", "two", *recipe(models, "trainer.data_parallelism=fsdp"),
               **cache)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    shutil.rmtree(commands.cache)
    door = small(models.untied, "ks_lottery", "engine=fairseq2", "out_dir=door", "baseline=false")
    done = run("-m", "mt_lottery.cli.train", *door, "data_parallelism=fsdp", **cache)
    assert done.returncode == 0, done.stderr[-3000:]
    shutil.rmtree(commands.cache)
    ended = commands.train(*door[:-2], "out_dir=one")
    assert ended.code == 0, ended.err
    for name in ("two", "door"):
        assert_same_run(Path(name), Path("one"))
        assert record(Path(name))["config_hash"] == record(Path("one"))["config_hash"]
        assert record(Path(name))["environment"]["processes"] == "2"


@pytest.mark.without_fairseq2
def test_what_the_transformers_engine_cannot_do(commands: Commands, models: Models) -> None:
    arguments = small(models.untied, "random", "data_parallelism=fsdp", "out_dir=out")
    told = commands.train(*arguments).mistake()
    assert "`data_parallelism` is fsdp, which engine=fairseq2 alone has" in told
    assert "With engine=transformers train.sharding=fsdp divides the model." in told
    told = commands.train(*arguments, "train.sharding=fsdp").mistake()
    assert "allowed: ddp, as train.sharding=fsdp divides the model." in told
    told = commands.train(*small(models.untied, "random", "engine=fairseq")).mistake()
    assert "Did you mean 'fairseq2'?" in told
    assert not Path("out").exists()


@pytest.mark.without_fairseq2
@pytest.mark.skipif(MISSING is None, reason="fairseq2 is installed")
def test_where_fairseq2_is_not_installed(commands: Commands, models: Models) -> None:
    told = commands.train(*small(models.untied, "random", "engine=fairseq2")).mistake()
    assert "`engine`: The engine 'fairseq2' needs fairseq2==0.8.1, not installed here" in told
    done = module(commands, "out", *recipe(models))
    assert done.returncode == 2 and "needs fairseq2==0.8.1" in done.stderr
    assert done.stderr.count("\n") == 1 and not Path("out").exists()


def test_no_libsndfile(monkeypatch: pytest.MonkeyPatch) -> None:
    from mt_lottery.config import RunConfig
    from mt_lottery.registry import ENGINES

    def broken(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("fairseq2"):
            raise OSError("libsndfile.so.1: cannot open shared object file")
        return real(name, *rest, **more)

    import builtins

    real = builtins.__import__
    engine = ENGINES.get("fairseq2")(RunConfig(engine="fairseq2"))
    monkeypatch.setattr(builtins, "__import__", broken)
    (told,) = engine.problems()
    assert "It needs libsndfile: apt install libsndfile1" in told
