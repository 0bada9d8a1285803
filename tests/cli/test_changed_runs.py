"""A run directory in which anything has changed translates as it did, or is refused."""

from __future__ import annotations

import io
import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
import yaml
from tiny_runs import Commands, Models, small

import mt_lottery as mtl
from mt_lottery.errors import RecordError

pytestmark = pytest.mark.slow

FEW = ("baseline=false", "data.train_pairs=8", "data.test_pairs=2", "translate.max_new_tokens=4")
METHODS = {
    "ks_lottery": "adapter/adapter_model.safetensors",
    "lora": "adapter/adapter_model.safetensors",
    "full": "model/model.safetensors",
    "eos_bias": "control/eos_bias.json",
    "few_shot": "control/few_shot.txt",
}


def translated(commands: Commands, folder: Path) -> tiny_runs.Ended:
    """What a run's model makes of one sentence."""
    kept = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(b"The house is small.\n"), "utf-8")
    try:
        return commands.call("translate", "--run", folder, "--device", "cpu")
    finally:
        sys.stdin = kept


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, models: Models) -> dict[str, Path]:
    """One finished run a method, made when first asked for."""
    return {"": tmp_path_factory.mktemp("runs")}


def run_of(method: str, runs: dict[str, Path], commands: Commands, models: Models) -> Path:
    """A copy of the method's run, which a test may change."""
    if method not in runs:
        runs[method] = runs[""] / method
        base = models.untied if method == "full" else models.tied
        more = ["tuner.shots=1"] if method == "few_shot" else []
        ended = commands.train(*small(base, method, f"out_dir={runs[method]}", *FEW, *more))
        assert ended.code == 0, ended.err
    shutil.copytree(runs[method], "run")
    return Path("run")


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_changed(
    method: str, runs: dict[str, Path], commands: Commands, models: Models
) -> None:
    folder = run_of(method, runs, commands, models)
    good = translated(commands, folder)
    assert good.code == 0, good.err
    chance = random.Random(method)
    for name in sorted(json.loads((folder / "record.json").read_text())["integrity"]["files"]):
        file = folder / name
        content = file.read_bytes()
        place = chance.randrange(len(content))
        flipped = bytearray(content)
        flipped[place] ^= 1 << chance.randrange(8)
        for changed in (bytes(flipped), content[:place], content + b"\n"):
            file.write_bytes(changed)
            assert str(file) in translated(commands, folder).mistake()
        file.unlink()
        assert str(file) in translated(commands, folder).mistake()
        file.write_bytes(content)
    # people write in model cards, and move what they own
    for card in folder.rglob("README.md"):
        card.write_text("mine")
    folder.rename("moved")
    assert translated(commands, Path("moved")).out == good.out


CHANGES: dict[str, tuple[str, Any]] = {
    "data.template": ("lora", "alpaca"),
    "lang": ("lora", "en-ca"),
    "translate.max_new_tokens": ("lora", 3),
    "translate.beam_size": ("lora", 2),
    "tuner.r": ("lora", 4),
    "tuner.lora_alpha": ("lora", 32.0),
    "tuner.target_modules": ("lora", ["q_proj"]),
    "tuner.scope": ("ks_lottery", "tied"),
    "tuner.name": ("lora", "none"),
}


@pytest.mark.parametrize("key", CHANGES)
def test_settings_that_changed(
    key: str, runs: dict[str, Path], commands: Commands, models: Models
) -> None:
    method, value = CHANGES[key]
    folder = run_of(method, runs, commands, models)
    content = yaml.safe_load((folder / "config.yaml").read_text())
    section, _, name = key.rpartition(".")
    (content[section] if section else content)[name] = value
    if key == "tuner.name":
        content["tuner"] = {"name": value}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    message = translated(commands, folder).mistake()
    if key != "tuner.name":
        assert f"`{key}` is {json.dumps(value)}, but it was " in message
    assert str(folder / "config.yaml") in message


def test_a_base_model_that_moved(runs: dict[str, Path], commands: Commands, models: Models) -> None:
    folder = run_of("lora", runs, commands, models)
    good = translated(commands, folder)
    shutil.copytree(models.tied, "elsewhere")
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace(str(models.tied), "elsewhere"))
    again = translated(commands, folder)
    assert again.code == 0 and again.out == good.out, again.err


@pytest.mark.parametrize("method", ["ks_lottery", "lora"])
def test_a_run_of_an_earlier_version(
    method: str, runs: dict[str, Path], commands: Commands, models: Models
) -> None:
    folder = run_of(method, runs, commands, models)
    good = translated(commands, folder)
    content = json.loads((folder / "record.json").read_text())
    del content["integrity"]
    (folder / "record.json").write_text(json.dumps(content))
    again = translated(commands, folder)
    assert again.code == 0 and again.out == good.out, again.err
    if method == "lora":  # what has no hash is held against the run's settings
        file = folder / "adapter/adapter_config.json"
        adapter = json.loads(file.read_text())
        changes = {"lora_alpha": 32, "r": 4, "use_rslora": True, "peft_type": "LOHA"}
        for key, value in changes.items():
            file.write_text(json.dumps(adapter | {key: value}))
            assert str(file) in translated(commands, folder).mistake()


def test_tickets_that_changed(runs: dict[str, Path], commands: Commands, models: Models) -> None:
    folder = run_of("ks_lottery", runs, commands, models)
    file, good = folder / "tickets.csv", (folder / "tickets.csv").read_text()
    lines = good.splitlines()
    last = max(place for place, line in enumerate(lines) if ",true," in line)
    assert last < len(lines) - 2 and len(mtl.Run(folder).ticket) == last
    flipped = list(lines)
    flipped[2], flipped[-1] = lines[2].replace("true", "false"), lines[-1].replace("false", "true")
    cut, swapped = lines[: last + 2], "\n".join([*flipped, ""])
    for text in ("\n".join([*cut, ""]), swapped):
        file.write_text(text)
        with pytest.raises(RecordError, match=r"tickets\.csv: damaged or changed since .* SHA-256"):
            _ = mtl.Run(folder).ticket
    assert translated(commands, folder).code == 0  # which does not read it
    # of an earlier version
    content = json.loads((folder / "record.json").read_text())
    del content["integrity"]["tables"]
    (folder / "record.json").write_text(json.dumps(content))
    token_id = lines[2].partition(",")[0]
    with pytest.raises(
        RecordError, match=f"token id {token_id} is not selected, but has a larger D"
    ):
        _ = mtl.Run(folder).ticket
    file.write_text(good)
    assert len(mtl.Run(folder).ticket) == last
