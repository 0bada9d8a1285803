"""Options of PEFT's methods: checked against PEFT's own classes, and the recipes that set them."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import re
from pathlib import Path
from typing import Any, Literal

import peft
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from mt_lottery.benchmark.recipes import PEFT_FAMILY, groups
from mt_lottery.config.compose import compose, compose_saved, compose_settings, to_yaml
from mt_lottery.config.recipe_files import recipe_files
from mt_lottery.errors import ConfigError
from mt_lottery.registry import TUNERS
from mt_lottery.runs.planning.chosen import with_settings
from mt_lottery.runs.search import candidates
from mt_lottery.tuners.adapters.options import (
    OURS,
    SINCE,
    described,
    fields_of,
    fits,
    methods,
    problems_of,
)

pytestmark = pytest.mark.slow

FAMILY = [name for name in PEFT_FAMILY if name not in ("none", "lora", "ks_lottery")]


def composed(*arguments: str) -> Any:
    return compose(["recipe=peft", "lang=en-es", *arguments])


def problems(*arguments: str) -> str:
    config = composed(*arguments).tuner
    return "\n".join(TUNERS.get("peft")(config).problems_with_settings())


@pytest.mark.parametrize("method", sorted(methods()))
def test_defaults_of_every_class_fit_what_they_are_declared_to_be(method: str) -> None:
    config = methods()[method]
    kinds = fields_of(config)
    for field in dataclasses.fields(config):
        if field.init and field.default is not dataclasses.MISSING and field.name not in OURS:
            told = getattr(field.default, "value", field.default)
            # some of PEFT's defaults are None where its annotation does not say so
            assert told is None or fits(told, kinds[field.name]), field.name
            assert described(kinds[field.name])


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()))
def test_a_value_fits_its_own_type_and_no_other(value: Any) -> None:
    own = type(value)
    assert (
        fits(value, own | None) and fits([value], list[own]) and fits({"x": value}, dict[str, own])
    )
    for other in {int, str, bool, list, dict} - {own}:
        assert not fits(value, other)
    assert fits(value, float) == (own in (int, float))
    assert fits(value, Any) and not fits(value, list[own])
    assert fits(value, Literal["a", 1]) == (value in ("a", 1) and own in (str, int))


def test_options_are_pefts() -> None:
    assert problems("tuner.method=oft", "tuner.options.oft_block_size=16") == ""
    assert problems("tuner.method=OFT") == ""
    assert "OFTConfig of PEFT" in (said := problems("tuner.method=oft", "tuner.options.coff=true"))
    assert "Did you mean 'coft'?" in said and "oft_block_size" in said
    assert "a whole number, not 'x'" in problems("tuner.method=oft", "tuner.options.r=x")
    assert "true or false, not 3" in problems("tuner.method=oft", "tuner.options.coft=3")
    said = problems("tuner.method=oft", "tuner.options.bias=some")
    assert "`tuner.options.bias` must be none or all or oft_only, not 'some'." in said
    said = problems("tuner.method=miss", "tuner.options.target_modules=[q_proj]")
    assert "write tuner.target_modules=[…]" in said
    assert "set by the run itself" in problems("tuner.options.task_type=SEQ_CLS")
    # what PEFT itself refuses, before there is a model
    said = problems("tuner.method=oft", "tuner.options.r=4", "tuner.options.oft_block_size=8")
    assert said.startswith("tuner.method=oft: PEFT says: ") and "oft_block_size" in said
    assert "collect beforehand" in problems("tuner.options.init_lora_weights=eva")
    assert problems("tuner.options.init_lora_weights=pissa") == ""
    assert "pissa is the exact one" in problems("tuner.options.init_lora_weights=pissa_niter_16")
    said = problems("tuner.method=oft", "tuner.options.a=1", "tuner.options.b=2")
    assert len(said.splitlines()) == 2  # all of it at once
    assert "Unknown method of PEFT 'oftt'. Did you mean 'oft'?" in problems("tuner.method=oftt")


def test_a_method_of_a_later_peft_is_named_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from peft import mapping

    have = {k: v for k, v in mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items() if k != "TINYLORA"}
    monkeypatch.setattr(mapping, "PEFT_TYPE_TO_CONFIG_MAPPING", have)
    monkeypatch.setattr(peft, "__version__", "0.18.0")
    said = "PEFT has since 0.19; installed is 0.18.0: pip install -U 'peft>=0.19'."
    assert said in problems("tuner.method=tinylora")


@pytest.mark.parametrize("method", sorted(SINCE))
def test_the_versions_are_right_for_the_installed_one(method: str) -> None:
    assert (method in methods()) == (Version(peft.__version__) >= Version(SINCE[method]))


# -- as settings


def test_options_on_the_command_line_and_in_yaml(tmp_path: Path) -> None:
    config = composed(
        "tuner.method=lora", "tuner.options.r=4", "tuner.options.use_dora=true",
        "tuner.options.rank_pattern={layers.0.q_proj: 2}", "tuner.options.alpha_pattern.v_proj=3",
        "tuner.options.lora_dropout=1e-1",
    )  # fmt: skip
    assert config.tuner.options == {
        **{"r": 4, "use_dora": True, "lora_dropout": 0.1},
        **{"rank_pattern": {"layers.0.q_proj": 2}, "alpha_pattern": {"v_proj": 3}},
    }
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert compose_saved(tmp_path).tuner == config.tuner
    # beside what the recipe sets
    changed = compose(["recipe=dora", "lang=en-es", "tuner.options.r=2"]).tuner.options
    assert changed == {"use_dora": True, "r": 2, "lora_alpha": 16}
    assert composed("tuner.options={r: 2}").tuner.options == {"r": 2}


def test_mistakes_around_options() -> None:
    with pytest.raises(ConfigError, match=re.escape("An option of the method is tuner.options.r=")):
        compose(["recipe=oft", "lang=en-es", "tuner.r=8"])
    with pytest.raises(ConfigError, match=r"'tuner.options' is a section, not a value"):
        composed("tuner.options=8")
    for wrong in ("tuner.options=null", "tuner.options=[1]"):
        with pytest.raises(ConfigError, match=r"'tuner.options' is a section, not a value"):
            composed(wrong)
    with pytest.raises(ConfigError, match=r"`tuner.options.1` cannot be 2"):
        composed("tuner.options={1: 2}")
    with pytest.raises(ConfigError, match=r"`tuner.options.x` is '.*': "):
        compose_settings({"recipe": "peft", "lang": "en-es", "tuner.options.x": "a\0"})
    with pytest.raises(ConfigError, match=r"`tuner.options.x` cannot be datetime"):
        compose_settings(
            {"recipe": "peft", "lang": "en-es", "tuner.options": {"x": datetime.date(2026, 1, 1)}}
        )
    with pytest.raises(ConfigError, match=r"Unknown key 'tuner.optoins.r'"):
        composed("tuner.optoins.r=8")
    with pytest.raises(ConfigError, match=r"Unknown key 'train\.lr\.x'"):
        composed("train.lr.x=8")


def test_a_search_sets_options_of_the_recipe() -> None:
    config = compose(["recipe=rslora", "lang=en-es"])
    tuner = TUNERS.get("peft")(config.tuner)
    assert tuner.search_space["tuner.options.r"] == [16, 32, 64]
    first, *others = candidates(config, tuner.search_space, 6)
    assert first == {"train.lr": config.train.lr, "train.epochs": 2, "tuner.options.r": 32}
    assert {other["tuner.options.r"] for other in others} > {32}
    changed = with_settings(config, {"tuner.options.r": 64})
    assert changed.tuner.options == {**config.tuner.options, "r": 64}
    assert config.tuner.options["r"] == 32
    with pytest.raises(ConfigError, match=r"no key 'tuner.method.r'"):
        with_settings(config, {"tuner.method.r": 1})


# -- the recipes


@pytest.mark.parametrize("recipe", FAMILY)
def test_recipes_of_the_family(recipe: str) -> None:
    config = compose([f"recipe={recipe}", "lang=en-es"])
    assert config.tuner.name == "peft"
    tuner = TUNERS.get("peft")(config.tuner)
    if config.tuner.method in methods():
        assert list(tuner.problems_with_settings()) == []
    space = tuner.search_space
    assert config.train.lr in space["train.lr"]
    for settings in candidates(config, space, 99):
        tried = with_settings(config, settings).tuner
        if tried.method in methods():
            assert problems_of(tried.method, tried.options) == []


def test_the_group_has_every_recipe_of_the_tuner() -> None:
    own = [
        name for name in recipe_files()
        if compose([f"recipe={name}", "lang=en-es"]).tuner.name == "peft"
    ]  # fmt: skip
    assert set(FAMILY) == {*own} - {"peft"}
    assert not {*FAMILY, "peft"} & {*groups()["all"][1]}


def test_the_page_says_what_is_trained_and_merged() -> None:
    """On Gemma-3-270M's shape, without its weights."""
    import torch
    import transformers

    from mt_lottery.tuners.recipes import tuner_of

    page = (Path(__file__).parents[2] / "docs" / "peft.md").read_text("utf-8")
    said = {
        row[1]: (int(row[2].replace(",", "")), row[3])
        for row in re.finditer(r"^\| `(\w+)` \| .* \| ([\d,]+) \| (yes|no) \|$", page, re.M)
    }
    assert list(said) == FAMILY
    shape = transformers.Gemma3TextConfig(
        vocab_size=262_144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18,
        num_attention_heads=4, num_key_value_heads=1, head_dim=256, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.Gemma3ForCausalLM(shape)
    assert sum(p.numel() for p in model.parameters()) == 268_098_176
    for recipe, (trained, _) in said.items():
        tuner = tuner_of(recipe)
        if tuner.method in methods():
            assert tuner.count(copy.deepcopy(model)) == trained, recipe
    # tests/tuners/test_every_peft_method.py shows that the others of them merge
    assert [recipe for recipe, (_, merged) in said.items() if merged == "no"] == ["beft"]
