"""Every YAML in ``recipes/``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from mt_lottery.benchmark.recipes import PEFT_FAMILY
from mt_lottery.config.compose import compose
from mt_lottery.config.recipe_files import GROUPS, recipes_folder
from mt_lottery.registry import CORPORA, MODELS, TUNERS

FOLDER = recipes_folder()
FILES = {g: sorted(p.stem for p in (FOLDER / g).glob("*.yaml")) for g in GROUPS}


#: Recipes that are not called as their tuner is, and that tuner.
VARIANTS = {"few_shot_bm25": "few_shot"}
#: Recipes of tuner=peft: methods of PEFT under names that are no tuner's.
OF_PEFT = {n for n in FILES["recipe"] if n not in {*TUNERS._builtins, *VARIANTS}}


def read(group: str, name: str) -> dict[str, Any]:
    content = yaml.safe_load((FOLDER / group / f"{name}.yaml").read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def presets(name: str) -> list[str]:
    content = read("recipe", name)
    found = sorted(content.get("presets") or {})
    for parent in content.get("defaults", []):
        if parent != "_self_":
            found += presets(parent)
    return found


def test_no_yaml_is_left_out_here() -> None:
    expected = {FOLDER / "config.yaml"} | {
        FOLDER / g / f"{n}.yaml" for g, names in FILES.items() for n in names
    }
    assert set(FOLDER.rglob("*.y*ml")) == expected


def test_every_method_has_a_recipe_and_every_corpus_a_yaml() -> None:
    assert FILES["recipe"] == sorted({*TUNERS._builtins, *VARIANTS, *OF_PEFT})
    assert {*PEFT_FAMILY} == {*OF_PEFT, "none", "lora", "ks_lottery"}
    assert FILES["data"] == sorted(CORPORA._builtins)
    assert set(MODELS._builtins) <= set(FILES["model"])


@pytest.mark.parametrize("name", FILES["recipe"])
def test_recipe(name: str) -> None:
    config = compose([f"recipe={name}", "lang=en-ro"])
    assert config.recipe == name
    tuner = VARIANTS.get(name, name)
    assert config.tuner.name == ("peft" if name in OF_PEFT else tuner)


@pytest.mark.parametrize(("name", "preset"), [(n, p) for n in FILES["recipe"] for p in presets(n)])
def test_preset(name: str, preset: str) -> None:
    plain = compose([f"recipe={name}", "lang=en-ro"])
    config = compose([f"recipe={name}", "lang=en-ro", f"preset={preset}"])
    assert config.preset == preset
    changed = {f.name for f in dataclasses.fields(config)
               if getattr(config, f.name) != getattr(plain, f.name)}  # fmt: skip
    assert changed - {"preset"}, "a preset that changes nothing"
    # what is given by hand beats the preset
    assert compose(
        [f"recipe={name}", "lang=en-ro", f"preset={preset}", "train.lr=0.5"]
    ).train.lr == (0.5)


def test_the_papers_schedule() -> None:
    """Full and embedding tuning lr 2e-5, 3 epochs; partial tuning lr 1e-2, 5 epochs."""
    for name, section, lr, epochs in (
        ("full", "train", 2e-5, 3),
        ("embed", "train", 2e-5, 3),
        ("ks_lottery", "train", 1e-2, 5),
        ("ks_lottery", "probe", 2e-5, 3),
        ("ks_transfer", "probe", 2e-5, 3),
        ("random", "train", 1e-2, 5),
        ("random_seen", "train", 1e-2, 5),
        ("frequency", "train", 1e-2, 5),
        ("grad_lottery", "train", 1e-2, 5),
    ):
        config = compose([f"recipe={name}", "preset=paper", "lang=en-ro"])
        schedule = getattr(config, section)
        assert (schedule.lr, schedule.epochs) == (lr, epochs), (name, section)


@pytest.mark.parametrize("name", FILES["model"])
def test_model(name: str) -> None:
    config = compose(["recipe=none", "lang=en-ro", f"model={name}"])
    assert config.model.name in MODELS.names()
    assert config.model.name_or_path == read("model", name).get("name_or_path")


@pytest.mark.parametrize("name", FILES["data"])
def test_data(name: str) -> None:
    assert compose(["recipe=none", "lang=en-ro", f"data={name}"]).data.name == name


def values(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return [v for k, x in node.items() for v in (k, *values(x))]
    return [v for x in node for v in values(x)] if isinstance(node, list) else [node]


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_yaml_says_what_it_is_and_quotes_no(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("# ")
    content = yaml.safe_load(text)
    options = content.get("tuner", {}).pop("options", {}) if isinstance(content, dict) else {}
    # `no` (Norwegian) unquoted is False: no recipe sets a truth value but PEFT's `use_…: true`
    assert not [v for v in values(content) if v is False or v is True]
    assert not [v for v in values(options) if v is False]


@pytest.mark.parametrize("name", FILES["recipe"])
def test_a_recipe_overrides_only_what_differs(name: str) -> None:
    """A line that repeats the default is one more to keep in step (house rule 8)."""
    config = dataclasses.asdict(compose(["recipe=none", "lang=en-ro"]))
    content = read("recipe", name)
    for section in ("train", "probe", "translate"):
        for key, value in content.get(section, {}).items():
            assert config[section][key] != value, f"{section}.{key}"
