"""Folders with signs of Hydra's or Slurm's in their names: used as they are, or refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mt_lottery import registry
from mt_lottery.benchmark.asking import Asked, ask
from mt_lottery.benchmark.plan import Bench
from mt_lottery.config.compose import compose
from mt_lottery.errors import ConfigError, on_command_line

NAMES = ['q"uo', "back\\s", 'b\\"o\\', "it's", "a,b", "[x] {y}", 'ü "é', "$HOME", "#x=1", "~", '"']


@pytest.mark.parametrize("name", NAMES)
def test_any_folder_is_used_as_it_is(name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path / name, ["lora"], ["en-ro"], [0], {"tracker": "tensorboard"})
    (cell,) = bench.cells()
    config = bench.config(cell)
    assert config.out_dir == f"{tmp_path}/{name}/runs/lora/en-ro/seed-0"
    assert config.tracking.group == name


@pytest.mark.parametrize("name", ["${oc.env:HOME}", "\\${lang}"])
@pytest.mark.parametrize("option", ["out", "model", "user_dir"])
def test_no_folder_is_taken_for_a_setting(option: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    given = {option: folder if option == "out" else str(folder)}
    with on_command_line(), pytest.raises(ConfigError) as caught:
        ask(Asked(["lora"], "ro", **given))  # type: ignore[arg-type]
    (problem,) = caught.value.problems
    named = f"--{option.replace('_', '-')}: the path {folder} holds `${{`"
    assert problem.startswith(named) and problem.endswith("Allowed: a path without `${`.")


@pytest.mark.parametrize("name", ["a\\b", 'q"uo', "a\\b, c"])
def test_recipes_of_any_folder_are_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "plugin_folders", lambda: [tmp_path / name])
    recipes = tmp_path / name / "recipe"
    recipes.mkdir(parents=True)
    (recipes / "of_a_folder.yaml").write_text("defaults: [lora, _self_]\ntuner: {name: lora, r: 3}")
    config = compose(["recipe=of_a_folder", "lang=en-ro"])
    assert dataclasses.asdict(config)["tuner"]["r"] == 3


@pytest.mark.parametrize("name", ["per%j", "back\\slash", "line\nbreak"])
def test_what_slurm_reads_as_its_own_is_refused(name: str, tmp_path: Path) -> None:
    link = tmp_path / "link"  # what counts is where it leads
    (tmp_path / name).mkdir()
    link.symlink_to(tmp_path / name)
    with on_command_line(), pytest.raises(ConfigError) as caught:
        ask(Asked(["lora"], "ro", out=link / "out", executor="slurm", jobs=0))
    (_, problem) = caught.value.problems
    path = str(tmp_path / name / "out")
    shown = repr(path) if "\n" in path else path
    assert problem.startswith(f"--out: the path {shown} cannot be used with --executor slurm")
    with pytest.raises(ConfigError, match="jobs must be at least 1") as caught:
        ask(Asked(["lora"], "ro", out=link / "out", jobs=0))
    assert len(caught.value.problems) == 1  # on this machine it can
