"""Runs of tiny instruct models: asked in their own chat template, stopped at the end of a turn."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from card_code import translated
from chat_models import make_chat_model
from tiny_runs import SMALL, Commands

import mt_lottery as mtl
from mt_lottery.errors import RecordError

sys.path.insert(0, str(Path(__file__).parents[1] / "ticket_model"))
from hub_server import hub

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chat_model("gemma3", tmp_path_factory.mktemp("models") / "gemma-tiny-it")


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its name says nothing, and it stops at ``</s>`` alone, whatever ends a turn."""
    folder = make_chat_model("tower", tmp_path_factory.mktemp("models") / "tower")
    settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
    settings["eos_token_id"] = settings["eos_token_id"][0]
    (folder / "generation_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def train(commands: Commands, recipe: str, model: Path, out: str, *more: object) -> Any:
    return commands.train(
        f"recipe={recipe}", "lang=en-es", "model=hf", f"model.name_or_path={model}", *SMALL,
        f"out_dir={out}", "train.epochs=1", "train.lr=0.05", "baseline=false", *more,
    )  # fmt: skip


def by_the_card(folder: Path, sentences: list[str]) -> list[str]:
    text = (folder / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(MESSAGES.*?|from.*?MESSAGES.*?)```", text, re.DOTALL)
    assert "apply_chat_template" in code
    return translated(code, folder, sentences)


def test_from_training_to_a_merged_folder(commands: Commands, gemma: Path, tmp_path: Path) -> None:
    ended = train(commands, "lora", gemma, "run", "data.system=You translate.")
    assert ended.code == 0, ended.err
    assert "data.template=chat: an instruct model (its name says 'gemma-tiny-it')" in ended.err
    run = mtl.Run(commands.folder / "run")
    asked = run.record.extra["prompt"]
    assert run.record.data.template == "chat" and asked["end"] == "<end_of_turn>"
    assert asked["text"].startswith("<bos><start_of_turn>user\nYou translate.\n\nTranslate the")
    assert run.prompt("Hello.") == asked["text"].replace("{source}", "Hello.")
    said = [str(line["hypothesis"]) for line in run.hypotheses]
    sentences = [str(line["source"]) for line in run.hypotheses]
    first = [text.strip().partition("\n")[0].rstrip() for text in said]
    assert run.translate(sentences) == first
    assert by_the_card(run.folder / "adapter", sentences) == first
    run.merge(tmp_path / "merged")
    assert by_the_card(tmp_path / "merged", sentences) == first


def test_all_tokens_that_end_a_turn_stop(commands: Commands, tower: Path, tmp_path: Path) -> None:
    assert train(commands, "full", tower, "plain").code == 0
    assert mtl.read_record(commands.folder / "plain").data.template == "plain"
    assert train(commands, "full", tower, "run", "data.template=chat").code == 0
    run = mtl.Run(commands.folder / "run")
    model, tokenizer = run.tuned.model, run.tuned.tokenizer
    ids = tokenizer.convert_tokens_to_ids(["<|im_end|>", "</s>"])
    assert model.generation_config.eos_token_id == ids
    run.merge(tmp_path / "merged")
    kept = json.loads((tmp_path / "merged" / "generation_config.json").read_text("utf-8"))
    assert kept["eos_token_id"] == ids
    trained = json.loads((run.folder / "model" / "generation_config.json").read_text("utf-8"))
    assert trained["eos_token_id"] == ids


@pytest.mark.parametrize(
    "recipe", ["few_shot", "few_shot tuner.retrieve=bm25", "eos_bias", "ks_lottery", "none"]
)
def test_other_recipes(recipe: str, commands: Commands, gemma: Path) -> None:
    more = ["tuner.tickets=9", "probe.epochs=1"] if recipe == "ks_lottery" else []
    recipe, _, setting = recipe.partition(" ")
    more += f"tuner.shots=2 {setting}".split() if recipe == "few_shot" else []
    ended = train(commands, recipe, gemma, recipe, *more)
    assert ended.code == 0, ended.err
    run = mtl.Run(commands.folder / recipe)
    sentences = [str(line["source"]) for line in run.hypotheses]
    said = [str(line["hypothesis"]).strip().partition("\n")[0].rstrip() for line in run.hypotheses]
    assert run.translate(sentences) == said
    prompt = run.prompt("Hello.")
    assert prompt.count("<bos>") == 1
    assert prompt.count("<start_of_turn>model\n") == (3 if recipe == "few_shot" else 1)
    if recipe == "eos_bias":
        end = run.tuned.tokenizer.convert_tokens_to_ids("<end_of_turn>")
        assert run.record.extra["eos_bias"]["token_id"] == end


def test_a_prompt_of_ones_own(commands: Commands, tower: Path) -> None:
    ended = train(
        commands, "lora", tower, "run", r"data.prompt=Übersetze ({source_code}, {{so}}): {source}\n"
    )
    assert ended.code == 0, ended.err
    run = mtl.Run(commands.folder / "run")
    assert run.record.data.template == "prompt"
    assert run.prompt("Hello.") == "Übersetze (en, {so}): Hello.\n"
    card = (run.folder / "adapter" / "README.md").read_text("utf-8")
    assert "Übersetze (en, {so}): {sentence}\n" in card


def test_what_is_refused(commands: Commands, tower: Path, gemma: Path, tmp_path: Path) -> None:
    for setting, said in [
        ("data.prompt=Say {sauce}", "unknown field '{sauce}'. Did you mean 'source'?"),
        ("data.prompt=Say it", "`data.prompt` has no {source}"),
        ("data.prompt={source", "`data.prompt`: expected '}'"),
        ("data.prompt={source!r}", "may hold a name only"),
        ("data.template=prompt", "`data.prompt` is not given"),
        ("data.system=Be kind.", "nothing says that this is an instruct model"),
    ]:
        assert said in train(commands, "lora", tower, "run", setting).mistake()
    assert (
        "give one of them"
        in train(
            commands, "lora", tower, "run", "data.template=alpaca", "data.prompt={source}"
        ).mistake()
    )
    bare = tmp_path / "bare-Instruct"
    shutil.copytree(tower, bare)
    (bare / "chat_template.jinja").unlink()
    assert (
        "the tokenizer has no chat template"
        in train(commands, "lora", bare, "run", "data.template=chat").mistake()
    )
    assert train(commands, "lora", bare, "run").code == 0  # the name alone does not make a chat
    assert mtl.read_record(commands.folder / "run").data.template == "plain"


def test_a_template_that_changed_is_another_prompt(
    commands: Commands, gemma: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "gemma-tiny-it"
    shutil.copytree(gemma, copy)
    assert train(commands, "lora", copy, "run").code == 0
    template = copy / "chat_template.jinja"
    text = template.read_text("utf-8")
    template.write_text(text.replace("model", "machine"), "utf-8")
    with pytest.raises(RecordError, match="chat template has changed"):
        mtl.Run(commands.folder / "run").translate(["Hello."])
    assert "other" in train(commands, "lora", copy, "run").mistake()


def test_the_pages_python(tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "instruct-models.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    pairs = [(f"The cat {i} sleeps.", f"Pisica {i} doarme.") for i in range(24)]
    monkeypatch.chdir(tmp_path)
    names = {"mtl": mtl, "base": tower, "pairs": pairs}
    exec(code, names)
    run: Any = names["run"]
    assert run.prompt("The cat sleeps.") == "Translate to Romanian: The cat sleeps.\n"


def test_models_of_the_hub(tmp_path: Path) -> None:
    """Two small files tell, before anything else of the model is there."""
    stops = json.dumps({"eos_token_id": [5, 6]}).encode()
    settings = json.dumps({"chat_template": "{{ messages }}"}).encode()
    code = (
        "from mt_lottery.config import ModelConfig\n"
        "from mt_lottery.model.folder.instruct import says_chat\n"
        "print(says_chat(ModelConfig('hf', 'me/model')))"
    )
    said = []
    with hub() as (address, files):
        environment = os.environ | {
            "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "NO_PROXY": "*",
            "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        files["config.json"] = b"{}"
        texts = {"generation_config.json": stops, "tokenizer_config.json": settings}
        for name, content in texts.items():
            files[name] = content
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True,
                timeout=120, check=True,
            )  # fmt: skip
            said.append(done.stdout.strip())
    assert said == ["None", "its generation_config.json stops at 2 tokens"]
