"""Runs of models that see pictures too: their language model is tuned, all of it is loaded."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from card_code import translated
from tiny_runs import SMALL, Commands, Models

import mt_lottery as mtl

sys.path.insert(0, str(Path(__file__).parents[1] / "tuners"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["llava", "qwen2_vl"])
def folder(
    request: pytest.FixtureRequest, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A random model in a folder, as ``save_pretrained`` writes it."""
    import transformers as t

    made = tmp_path_factory.mktemp("models") / request.param
    tokenizer = t.AutoTokenizer.from_pretrained(models.untied)
    text = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": len(tokenizer) + 5,
        "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
    }  # fmt: skip
    first = len(tokenizer)
    config: Any
    if request.param == "llava":
        vision = {
            "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
        }  # fmt: skip
        config = t.LlavaConfig(
            vision_config=vision, text_config={**text, "model_type": "llama"},
            image_token_index=first,
        )  # fmt: skip
    else:
        rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
        vision = {
            "depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2,
            "patch_size": 14,
        }  # fmt: skip
        config = t.Qwen2VLConfig(
            text_config={**text, "model_type": "qwen2_vl_text", "rope_parameters": rope},
            vision_config=vision, image_token_id=first, video_token_id=first + 1,
            vision_start_token_id=first + 2, vision_end_token_id=first + 3,
        )  # fmt: skip
    t.AutoModelForImageTextToText.from_config(config).save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


def by_the_card(folder: Path, sentences: list[str]) -> list[str]:
    text = (folder / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n((?:from|import)[^`]*TEMPLATE[^`]*)```", text)
    assert "AutoModelForImageTextToText.from_pretrained" in code
    return translated(code, folder, sentences)


@pytest.mark.parametrize("recipe", ["lora", "random_seen"])
def test_others_load_what_was_learnt(
    recipe: str, folder: Path, commands: Commands, tmp_path: Path
) -> None:
    more = ["tuner.tickets=9"] if recipe == "random_seen" else []
    ended = commands.train(
        f"recipe={recipe}", "lang=en-es", "model=hf", f"model.name_or_path={folder}", *SMALL,
        "out_dir=run", "train.epochs=1", "train.lr=0.05", "baseline=false", *more,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    run = mtl.Run(commands.folder / "run")
    sentences = [str(line["source"]) for line in run.hypotheses]
    said = run.translate(sentences)
    assert by_the_card(run.folder / "adapter", sentences) == said
    run.merge(tmp_path / "merged")
    assert by_the_card(tmp_path / "merged", sentences) == said
    towers = sum(p.numel() for n, p in run.original.model.named_parameters() if "vis" in n)
    assert towers and run.record.model.parameters < sum(
        p.numel() for p in run.original.model.parameters()
    )
