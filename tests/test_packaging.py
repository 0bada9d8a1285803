"""The wheel: one top-level package, with the recipes and the corpus in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import mt_lottery

ROOT = Path(mt_lottery.__file__).parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "pyproject.toml").is_file(),
        reason="needs the checkout, not an installed package",
    ),
]


def command(*arguments: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        arguments,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--wheel", "--no-isolation", "--outdir", str(folder))
    command(sys.executable, "-m", "build", *options, str(ROOT), cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_nothing_else_at_the_top(names: set[str]) -> None:
    info = f"mt_lottery-{mt_lottery.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"mt_lottery", info}


def test_every_source_recipe_and_line_of_text_is_in_it(names: set[str]) -> None:
    for path in sorted((ROOT / "mt_lottery").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    recipes = sorted((ROOT / "recipes").rglob("*.yaml"))
    assert len(recipes) > 10
    for path in recipes:
        assert f"mt_lottery/{path.relative_to(ROOT).as_posix()}" in names
    assert "mt_lottery/data/mini/README.md" in names
    assert "mt_lottery/data/mini/train.ro.txt" in names


def test_no_litter(names: set[str]) -> None:
    for name in names:
        assert "__pycache__" not in name
        assert not name.endswith((".pyc", ".nbi", ".nbc"))
        assert not name.startswith(("mt_lottery/tests", "mt_lottery/benchmarks"))


def test_metadata(wheel: Path, names: set[str]) -> None:
    (info,) = {n.split("/")[0] for n in names if ".dist-info/" in n}
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
        commands = archive.read(f"{info}/entry_points.txt").decode()
    assert metadata["Version"] == mt_lottery.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert f"{info}/licenses/LICENSE" in names
    assert {"demo", "test", "comet", "hub", "all"} <= set(metadata.get_all("Provides-Extra") or [])
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for script, target in declared.items():
        assert f"{script} = {target}" in commands


INSTALLED = """
import sys
sys.path.insert(0, {target!r})
from pathlib import Path
import mt_lottery
from mt_lottery.config.compose import compose
from mt_lottery.config.recipe_files import recipes_folder
from mt_lottery.data.corpora import load_corpora
from mt_lottery.languages import parse_pair
target = Path({target!r})
assert Path(mt_lottery.__file__).parent == target / "mt_lottery", mt_lottery.__file__
assert recipes_folder() == target / "mt_lottery" / "recipes", recipes_folder()
config = compose(["recipe=frequency", "preset=paper", "lang=en-no"])
print(config.recipe, config.train.epochs)
print(len(load_corpora(config.data, parse_pair(config.lang)).test.pairs) >= 80)
"""


def test_it_works_installed_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "site packages", tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = ("--no-deps", "--no-index", "--no-compile", "--quiet", "--target", str(target))
    command(sys.executable, "-m", "pip", "install", *options, str(wheel), cwd=elsewhere)
    code = INSTALLED.format(target=str(target))
    assert command(sys.executable, "-c", code, cwd=elsewhere) == "frequency 5\nTrue\n"
    shown = command(
        *(sys.executable, "-m", "mt_lottery.cli.train", "--help", "all"),
        cwd=elsewhere,
        PYTHONPATH=str(target),
    )
    assert "recipe=…  beft, dora, embed, eos_bias, few_shot" in shown


def test_the_checkout_works_from_another_folder(tmp_path: Path) -> None:
    code = "from mt_lottery.config.recipe_files import recipes_folder; print(recipes_folder())"
    found = command(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT)).strip()
    assert Path(found) == ROOT / "recipes"


def test_a_broken_installation_says_so(tmp_path: Path) -> None:
    package = tmp_path / "mt_lottery"
    shutil.copytree(ROOT / "mt_lottery", package, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "from mt_lottery.config.recipe_files import recipes_folder\n"
        "from mt_lottery.errors import ConfigError\n"
        "try:\n    recipes_folder()\nexcept ConfigError as error:\n    print(error)\n"
    )
    shown = command(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert shown == f"No recipes at {package / 'recipes'}: the installation is incomplete.\n"
