"""What ``load_tuned`` hands out saves as what it is, or refuses and says what does."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import Commands, Models, small

import mt_lottery as mtl
from mt_lottery.errors import ModelError

pytestmark = pytest.mark.slow

IDS = torch.tensor([[0, 41, 17, 5, 7, 23]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize(
    ("recipe", "kind", "more"),
    [
        ("random_seen", "tied", ()), ("random_seen", "tied", ("tuner.scope=tied",)),
        ("random_seen", "untied", ()), ("eos_bias", "untied", ()), ("lora", "tied", ()),
        ("prefix", "untied", ()), ("prompt", "untied", ()), ("full", "tied", ()),
    ],
)  # fmt: skip
def test_saved_as_what_it_is_or_refused(
    recipe: str, kind: str, more: tuple[str, ...], commands: Commands, models: Models
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = getattr(models, kind)
    settings = ("model.dtype=float32", "train.lr=0.02", "baseline=false", *more)
    ended = commands.train(*small(base, recipe, "out_dir=run", *settings))
    assert ended.code == 0, ended.err
    model, _ = mtl.load_tuned("run")
    expected = logits(model)
    assert torch.equal(logits(copy.deepcopy(model)), expected)
    assert torch.equal(logits(pickle.loads(pickle.dumps(model))), expected)
    if recipe == "full":
        model.save_pretrained("saved")
        again: Any = AutoModelForCausalLM.from_pretrained("saved", dtype=torch.float32)
    elif recipe in ("lora", "prefix", "prompt"):
        model.save_pretrained("saved")
        plain: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        assert not torch.equal(logits(plain), expected)
        again = PeftModel.from_pretrained(plain, "saved")
    else:
        way = "mt-ticket merge run" if recipe != "eos_bias" else "mtl.load_tuned"
        for handed_out in (model, copy.deepcopy(model)):
            with pytest.raises(ModelError, match=f"save_pretrained: .*{way}"):
                handed_out.save_pretrained("saved")
            with pytest.raises(ModelError, match="push_to_hub: "):
                handed_out.push_to_hub("somebody/something")
        assert not Path("saved").exists()
        if recipe == "eos_bias":
            return
        assert commands.call("ticket", "merge", "run", "saved").code == 0
        again = AutoModelForCausalLM.from_pretrained("saved", dtype=torch.float32)
    assert torch.allclose(logits(again.eval()), expected, atol=1e-6)
