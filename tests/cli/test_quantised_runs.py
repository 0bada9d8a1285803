"""Runs and tickets on a base folder that arrives quantised in 4 bits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import Commands, Ended, Models, record, small

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers as tf

    folder = tmp_path_factory.mktemp("four") / "bits"
    made: Any = tf.AutoModelForCausalLM.from_pretrained(
        models.untied,
        dtype=torch.float32,
        quantization_config=tf.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    )
    made.save_pretrained(folder)
    for file in models.untied.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def train(commands: Commands, base: Path, recipe: str, *more: str) -> Ended:
    return commands.train(*small(base, recipe, f"out_dir={recipe}", "train.lr=0.02", *more))


def test_adapters_learn_after_the_original_was_translated(commands: Commands, base: Path) -> None:
    ended = train(commands, base, "lora")
    assert ended.code == 0, ended.err
    adapter = load_file("lora/adapter/adapter_model.safetensors")
    second = [t for name, t in adapter.items() if "lora_B" in name]
    assert second and all(float(t.abs().max()) > 0 for t in second)
    assert record(Path("lora"))["scores"]
    merged = commands.call("ticket", "merge", "lora", "plain").mistake()
    assert "weights are quantised (bitsandbytes, 4 bits)" in merged
    assert not Path("plain").exists()


@pytest.mark.parametrize("recipe", ["full", "layer", "qlora"])
def test_what_would_train_the_weights_is_refused_before_loading(
    recipe: str, commands: Commands, base: Path
) -> None:
    ended = train(commands, base, recipe)
    told = ended.mistake()
    assert "arrive quantised (bitsandbytes, 4 bits)" in told and "Allowed: lora, prefix" in told
    assert "Loading" not in ended.out + ended.err and not Path(recipe, "record.json").exists()


def test_tickets_of_a_quantised_base(commands: Commands, base: Path) -> None:
    ended = train(commands, base, "ks_lottery", "probe.lr=0.02", "baseline=false")
    assert ended.code == 0, ended.err
    assert record(Path("ks_lottery"))["tickets"]["count"] == 18
    run = "ks_lottery"
    for arguments in (("show", run), ("find", run), ("explain", run),
                      ("certify", run, "--alphas", "0,1"),
                      ("layers", str(base), str(base))):  # fmt: skip
        called = commands.call("ticket", *arguments)
        assert called.code == 0, (arguments, called.err[-900:])
    for command in (("merge", run, "x"), ("transfer", run, "x"),
                    ("transfer", str(base), str(base), "x")):  # fmt: skip
        told = commands.call("ticket", *command).mistake()
        assert "quantised" in told or "nothing" in told, told
        assert not Path("x").exists()
