"""``mt-train`` and what opens its runs, on the device, end to end."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from launch import run
from tiny_runs import Commands, Models, contents, hypotheses, record, small
from training import fit, log_of

import mt_lottery as mtl
from mt_lottery.config import ModelConfig
from mt_lottery.model.loading import load
from mt_lottery.registry import TUNERS
from mt_lottery.runs import Run
from mt_lottery.runs.decode import decode
from mt_lottery.tuners.base import TuningContext

pytestmark = pytest.mark.slow

PEFTS = ("lora", "prefix", "prompt")
RECIPES = (
    *("ks_lottery", "none", *PEFTS, "full", "embed", "ks_transfer", "eos_bias", "random_seen"),
    *("few_shot", "grad_lottery"),
)
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes"
)


def trained(commands: Commands, *arguments: object) -> dict[str, Any]:
    ended = commands.train(*arguments)
    assert ended.code == 0, ended.err
    return record(Path("run"))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("model", ["untied", "tied"])
def test_a_run_from_the_command_line(
    device: str, recipe: str, model: str, commands: Commands, models: Models
) -> None:
    folder = getattr(models, model)
    made = trained(commands, *small(folder, recipe, f"device={device}", "out_dir=run"))
    assert made["status"] == "done" and made["environment"]["device"].startswith(device)
    if device == "cuda":
        assert torch.cuda.get_device_name() in made["environment"]["device"]
        # of the device: a process with PyTorch and CUDA in it takes a gigabyte
        assert 0 < made["cost"]["peak_memory_bytes"] < 1 << 29
    lines = hypotheses(Path("run"))
    again = Run("run", device)
    sources = [line["source"] for line in lines]
    found = decode(again.config, again.tuned, sources, again.tuner, quiet=True)
    assert [h.text for h in found] == [line["hypothesis"] for line in lines]
    assert {p.device.type for p in again.tuned.model.parameters()} == {device}


@pytest.mark.parametrize("recipe", ["none", "random"])
def test_a_run_gives_the_cpus_translations(
    device: str, recipe: str, commands: Commands, models: Models
) -> None:
    found = []
    for place in ("cpu", device):
        arguments = small(models.untied, recipe, f"device={place}", "train.optimizer=sgd")
        ended = commands.train(*arguments, f"out_dir=runs-{place}", "overwrite=true")
        assert ended.code == 0, ended.err
        found.append(Path(f"runs-{place}"))
    assert hypotheses(found[0]) == hypotheses(found[1])
    assert record(found[0])["scores"] == record(found[1])["scores"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("recipe", ["ks_lottery", "lora", "full"])
def test_half_bases(
    device: str, dtype: str, recipe: str, commands: Commands, models: Models
) -> None:
    arguments = small(models.untied, recipe, f"device={device}", f"model.dtype={dtype}")
    made = trained(commands, *arguments, "out_dir=run")
    losses = [line["loss"] for line in log_of(Path("run")) if "loss" in line]
    assert losses[-1] < losses[0] and made["status"] == "done"


@needs_bitsandbytes
@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit"])
def test_qlora_after_the_original_models_translations(
    device: str, optimizer: str, commands: Commands, models: Models
) -> None:
    """4 bits train although an evaluation came first, and the run opens again."""
    arguments = small(models.untied, "qlora", f"device={device}", f"train.optimizer={optimizer}")
    made = trained(commands, *arguments, "train.lr=3e-3", "out_dir=run")
    assert made["quantization"]["layers"] > 0
    losses = [line["loss"] for line in log_of(Path("run")) if "loss" in line]
    assert losses[-1] < losses[0]
    mtl.load_tuned("run", device=device)


@needs_bitsandbytes
def test_weights_that_arrive_in_4_bits(device: str, tmp_path: Path) -> None:
    import transformers

    wide = {"hidden_size": 64, "intermediate_size": 64, "head_dim": 32}
    tiny.model("llama", **wide).save_pretrained(tmp_path / "plain")
    settings = {"load_in_4bit": True, "bnb_4bit_compute_dtype": torch.bfloat16}
    quantised: Any = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "plain",
        quantization_config=transformers.BitsAndBytesConfig(**settings),
        device_map={"": device},
        dtype=torch.bfloat16,
    )
    quantised.save_pretrained(tmp_path / "bits")
    tiny.tokenizer().save_pretrained(tmp_path / "bits")
    del quantised
    loaded = load(ModelConfig("hf", name_or_path=str(tmp_path / "bits")), device)
    with torch.no_grad():
        loaded.model(input_ids=tiny.ids().to(device))
    for name in ("lora", "frequency"):
        context = TuningContext(loaded.model, loaded.tokenizer, 0)
        context.counts.update(range(4, 24))
        tuner = TUNERS.get(name)(TUNERS.dataclass_of(name)(name))
        parameters = tuner.apply(context)
        before = [p.detach().clone() for p in parameters]
        fit(context.model, tmp_path / name)
        assert any(not torch.equal(a, b) for a, b in zip(parameters, before, strict=True))
        loaded = load(ModelConfig("hf", name_or_path=str(tmp_path / "bits")), device)


@pytest.mark.gpu
@pytest.mark.parametrize("processes", [1, 2])
def test_under_torchrun(processes: int, commands: Commands, models: Models) -> None:
    if torch.cuda.device_count() < processes:
        pytest.skip(f"needs {processes} GPUs")
    for recipe in ("ks_lottery", "lora"):
        arguments = small(models.untied, recipe, "train.optimizer=sgd")
        cache = {"MT_LOTTERY_CACHE": str(commands.cache)}
        done = run(
            *("-m", "mt_lottery.cli.train"), *arguments, f"out_dir=two/{recipe}",
            processes=processes, **cache,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert commands.train(*arguments, f"out_dir=one/{recipe}").code == 0
        assert contents(Path("two", recipe)) == contents(Path("one", recipe))
        assert record(Path("two", recipe))["environment"]["device"].startswith("cuda:0")
        assert hypotheses(Path("two", recipe)) == hypotheses(Path("one", recipe))
