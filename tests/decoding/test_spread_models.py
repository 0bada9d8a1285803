"""Models spread over places (``model.device_map``): what they translate is what a whole one does.

Without a GPU the places are the machine's memory and its disk: the layers that are left on disk
are read for each token, and their weights have no memory of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from mt_lottery.decoding.translation import translate
from mt_lottery.errors import ModelError
from mt_lottery.model.hf import load_folder
from mt_lottery.model.loading import check_inside
from mt_lottery.tuners.rows.module import attach

pytestmark = pytest.mark.slow

PROMPTS = [[2, 5, 6, 7, 30], [2, 5, 10], [2, 5, 41, 42, 43, 44, 45, 46], [2, 5, 42]]


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp(request.param)
    tiny.model(request.param, tied=request.param == "gemma3").save_pretrained(made)
    tiny.tokenizer().save_pretrained(made)
    return made


def loaded(folder: Path, device_map: Any) -> Any:
    return load_folder(folder, name="m", dtype="auto", device="cpu", device_map=device_map)


def with_a_layer_on_disk() -> dict[str, str]:
    parts = ("embed_tokens", "rotary_emb", "norm", "layers.0")
    return {"lm_head": "cpu", "model.layers.1": "disk", **{f"model.{p}": "cpu" for p in parts}}


@pytest.mark.parametrize("beam_size", [1, 2])
@pytest.mark.parametrize("rows", [False, True])
def test_it_translates_as_a_whole_one(folder: Path, beam_size: int, rows: bool) -> None:
    found = []
    for device_map in (None, "auto", with_a_layer_on_disk()):
        made = loaded(folder, device_map)
        if device_map is not None and device_map != "auto":
            outside = {n for n, p in made.model.named_parameters() if p.is_meta}
            assert outside and all(".layers.1." in name for name in outside)
        if rows:  # a tuned run's
            values = torch.randn(3, tiny.DIM, generator=torch.Generator().manual_seed(1))
            attach(made.model, torch.tensor([5, 10, 41]), values, tied=False)
        outputs = translate(
            made.model, made.tokenizer, PROMPTS, beam_size=beam_size, max_new_tokens=9,
            eos_ids=tiny.EOS, pad_id=tiny.PAD,
        )  # fmt: skip
        found.append((outputs, made.info))
    assert found[0] == found[1] == found[2]
    assert len({output.text for output in found[0][0]}) > 1


def test_what_has_no_room_is_refused(folder: Path) -> None:
    made = loaded(folder, with_a_layer_on_disk())
    with pytest.raises(ModelError, match=r"model\.layers\.1\.\S+, …\) found no room on the GPUs"):
        check_inside(made.model, "full")
    places = {**with_a_layer_on_disk(), "model.embed_tokens": "disk", "lm_head": "disk"}
    with pytest.raises(ModelError, match="no device has room for the embedding table"):
        loaded(folder, places)
