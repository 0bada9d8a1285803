"""``mt-ticket merge``: a plain transformers folder says what the run said."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Models, contents, hypotheses, small

pytestmark = pytest.mark.slow

MERGED = ("full", "layer", "embed", "ks_lottery", "ks_transfer", "random", "lora", "qlora")


def translated(folder: Path, sources: list[str]) -> list[str]:
    """By transformers alone: nothing of mt-lottery or PEFT."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    found = []
    for source in sources:
        prompt = f"Translate English to Spanish.\nEnglish: {source}\nSpanish:"
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
            eos_token_id=1, pad_token_id=2,
        )  # fmt: skip
        text = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        found.append(text.removeprefix(" "))
    return found


@pytest.mark.parametrize("recipe", MERGED)
@pytest.mark.parametrize("kind", ["untied", "tied"])
def test_merged_models_say_what_the_run_said(
    kind: str, recipe: str, commands: Commands, models: Models
) -> None:
    more = ["model.dtype=float32", "train.lr=0.02", "probe.lr=0.02", "baseline=false"]
    ended = commands.train(*small(getattr(models, kind), recipe, "out_dir=run", *more))
    assert ended.code == 0, ended.err
    merged = commands.call("ticket", "merge", "run", "plain")
    assert merged.code == 0, merged.err
    said = hypotheses(Path("run"))
    assert f"{len(said)} of {len(said)} test sentences" in merged.out
    assert translated(Path("plain"), [x["source"] for x in said]) == [x["hypothesis"] for x in said]
    assert contents(Path("plain")) == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", ".mt_lottery.json", "README.md",
    }  # fmt: skip
    assert Path("plain/model.safetensors").stat().st_mode & 0o044 == 0o044  # others may read it
    config = json.loads(Path("plain/config.json").read_text())
    own_head = kind == "untied" or recipe in ("embed", "ks_lottery", "ks_transfer", "random")
    assert config["tie_word_embeddings"] is (not own_head)
    assert "quantization_config" not in config
    # transformers 4.57 looks for these, 5.x for rope_parameters
    assert config["rope_theta"] > 0 and "rope_parameters" in config
    tokenizer = json.loads(Path("plain/tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_rows_of_both_tables_stay_one(commands: Commands, models: Models) -> None:
    more = ["tuner.scope=tied", "model.dtype=float32", "train.lr=0.02", "baseline=false"]
    ended = commands.train(*small(models.tied, "frequency", "out_dir=run", *more))
    assert ended.code == 0, ended.err
    assert commands.call("ticket", "merge", "run", "plain").code == 0
    assert json.loads(Path("plain/config.json").read_text())["tie_word_embeddings"] is True
    said = hypotheses(Path("run"))
    assert translated(Path("plain"), [x["source"] for x in said]) == [x["hypothesis"] for x in said]


def test_float32_rows_do_not_widen_a_bfloat16_model(commands: Commands, models: Models) -> None:
    from safetensors import safe_open

    ended = commands.train(*small(models.tied, "random_seen", "out_dir=run", "baseline=false"))
    assert ended.code == 0, ended.err
    assert commands.call("ticket", "merge", "run", "plain").code == 0
    with safe_open("plain/model.safetensors", "pt") as file:
        assert {str(file.get_tensor(k).dtype) for k in file.keys()} == {"torch.bfloat16"}  # noqa: SIM118


def test_dtype_and_what_stands_in_the_way(commands: Commands, models: Models) -> None:
    from safetensors import safe_open

    ended = commands.train(*small(models.tied, "lora", "out_dir=run", "baseline=false"))
    assert ended.code == 0, ended.err
    assert commands.call("ticket", "merge", "run", "plain", "--dtype", "float32").code == 0
    with safe_open("plain/model.safetensors", "pt") as file:
        assert {str(file.get_tensor(k).dtype) for k in file.keys()} == {"torch.float32"}  # noqa: SIM118
    before = contents(Path("plain"))
    said = commands.call("ticket", "merge", "run", "plain").mistake()
    assert said.startswith("plain exists") and contents(Path("plain")) == before
    assert commands.call("ticket", "merge", "run", "plain", "--overwrite").code == 0
    with safe_open("plain/model.safetensors", "pt") as file:
        assert {str(file.get_tensor(k).dtype) for k in file.keys()} == {"torch.bfloat16"}  # noqa: SIM118


@pytest.mark.parametrize("recipe", ["none", "prefix", "prompt", "eos_bias", "few_shot"])
def test_what_a_plain_model_cannot_hold(recipe: str, commands: Commands, models: Models) -> None:
    ended = commands.train(*small(models.untied, recipe, "out_dir=run", "baseline=false"))
    assert ended.code == 0, ended.err
    said = commands.call("ticket", "merge", "run", "plain").mistake()
    assert said.startswith(f"A run of {recipe} cannot be merged")
    assert not Path("plain").exists()


def test_only_what_merge_wrote_is_replaced(commands: Commands, models: Models) -> None:
    shutil.copytree(models.untied, "base")
    ended = commands.train(*small(Path("base"), "lora", "out_dir=run", "baseline=false"))
    assert ended.code == 0, ended.err
    Path("thesis").mkdir()
    Path("thesis/thesis.tex").write_text("years")
    Path("run/link").symlink_to(Path("base").resolve())
    (commands.folder / "run" / "deep").mkdir()
    before = contents(commands.folder)
    asked = "thesis run base . .. run/link / ~ run/adapter run/deep"
    for out in asked.split():
        said = commands.call("ticket", "merge", "run", out, "--overwrite").mistake()
        assert said.startswith(f"{out} "), said
        assert contents(commands.folder) == before
    assert "give another name" in commands.call("ticket", "merge", "run", "run/model").mistake()
    os.chdir("run/deep")
    for out in ("..", "../..", "../../base"):
        assert commands.call("ticket", "merge", "../../run", out, "--overwrite").code == 2
    os.chdir(commands.folder)
    assert contents(commands.folder) == before
    assert commands.call("ticket", "merge", "run", "plain").code == 0
    Path("plain/thesis.tex").write_text("years")
    said = commands.call("ticket", "merge", "run", "plain", "--overwrite").mistake()
    assert "plain holds thesis.tex, which mt-lottery did not write" in said
    assert Path("plain/thesis.tex").read_text() == "years"


def test_no_run(commands: Commands) -> None:
    assert "no such file" in commands.call("ticket", "merge", "nowhere", "plain").mistake().lower()


def test_an_adapter_over_four_bits_says_so(commands: Commands, models: Models) -> None:
    for recipe in ("lora", "qlora"):
        made = commands.train(*small(models.untied, recipe, "baseline=false", f"out_dir={recipe}"))
        assert made.code == 0, made.err
        ended = commands.call("ticket", "export", recipe, f"out-{recipe}", "--format", "lora")
        assert ended.code == 0, ended.err
        text = " ".join((ended.out + ended.err).split())
        assert ("trained over that model read in 4 bits" in text) is (recipe == "qlora"), text
