"""Every parameter tested: its kind, its rows, and SciPy's word for them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import ks_2samp

from mt_lottery.errors import ModelError, TuningError
from mt_lottery.paper.find.tables import open_model
from mt_lottery.paper.layers.figure import draw_layers
from mt_lottery.paper.layers.parameters import KINDS, compare_layers, kind_of, write_layers

pytestmark = pytest.mark.slow

ARCHITECTURES: dict[str, dict[str, Any]] = {
    kind: {}
    for kind in (
        "Llama", "Mistral", "Gemma", "Gemma2", "Gemma3Text", "Qwen2", "Qwen3", "GPT2", "GPTNeoX",
        "GPTJ", "OPT", "Bloom", "Phi", "Phi3", "Falcon", "StableLm", "Olmo2", "Cohere", "Mixtral",
        "GPTBigCode", "Starcoder2", "Granite", "SmolLM3",
    )
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_parameter_has_a_kind(name: str) -> None:
    """Names as transformers has them, without weights."""
    import transformers as t

    settings = getattr(t, f"{name}Config", None)
    if settings is None:
        pytest.skip("not in this transformers")
    config = settings()
    for key, value in {
        "num_hidden_layers": 2, "n_layer": 2, "vocab_size": 64, "pad_token_id": 0,
        "tie_word_embeddings": False, "layer_types": None,
    }.items():  # fmt: skip
        if hasattr(config, key):
            try:
                setattr(config, key, value)
            except (ValueError, NotImplementedError, AttributeError):
                continue
    if name in ("Gemma2", "Gemma3Text", "Qwen2", "Qwen3", "Cohere", "SmolLM3"):
        config = settings(num_hidden_layers=2, vocab_size=64, pad_token_id=0)
    config.tie_word_embeddings = False
    with torch.device("meta"):
        model: Any = t.AutoModelForCausalLM.from_config(config)
    kinds: dict[str, set[int | None]] = {}
    for parameter, _ in model.named_parameters():
        kind, layer = kind_of(parameter)
        assert kind in KINDS and kind != "other", parameter
        kinds.setdefault(kind, set()).add(layer)
    table = next(n for n, m in model.named_modules() if m is model.get_input_embeddings())
    assert kind_of(f"{table}.weight") == ("embeddings", None)
    head = next(n for n, m in model.named_modules() if m is model.get_output_embeddings())
    assert kind_of(f"{head}.weight") == ("head", None)
    fused = "attention qkv" in kinds
    parts = {"attention qkv"} if fused else {"attention q", "attention k", "attention v"}
    for kind in {*parts, "attention o", "mlp"}:
        assert kinds[kind] == {0, 1}, (kind, kinds)
    assert "attention" not in kinds
    assert {0, 1} <= kinds["norms"] or name == "Olmo"


def saved(model: Any, folder: Path, **settings: Any) -> Path:
    model.save_pretrained(folder, **settings)
    return folder


def noisy(model: Any, share: float = 0.5) -> Any:
    """A copy where each second row of each parameter has moved."""
    generator = torch.Generator().manual_seed(3)
    made = tiny.clone(model)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * share
            noise.reshape(-1, parameter.shape[-1])[1::2] = 0
            parameter += noise.to(parameter.dtype)
    return made


def rows(tensor: torch.Tensor, columns: bool) -> np.ndarray[Any, Any]:
    values = tensor.double()
    if values.ndim < 2:
        return values.reshape(1, -1).numpy()
    values = values.T if columns else values.reshape(-1, values.shape[-1])
    return values.numpy()


@pytest.mark.parametrize("shard", ["1GB", "4KB"])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("llama", torch.float32), ("gemma3", torch.bfloat16), ("gpt2", torch.float32)],
)
def test_each_parameter_equals_scipy(
    kind: str, dtype: torch.dtype, shard: str, tmp_path: Path
) -> None:
    model = tiny.model(kind, dtype=dtype)
    saved(model, tmp_path / "before", max_shard_size=shard)
    saved(noisy(model), tmp_path / "after", max_shard_size=shard)
    one, other = open_model(tmp_path / "before"), open_model(tmp_path / "after")
    assert (len(set(one.files.values())) > 1) is (shard == "4KB")
    found = compare_layers(one, other, alpha=0.3)
    stored = [
        {
            k: v
            for f in sorted((tmp_path / side).glob("*.safetensors"))
            for k, v in load_file(f).items()
        }
        for side in ("before", "after")
    ]
    assert {p.name for p in found.parameters} == set(stored[0])
    for each in found.parameters:
        columns = kind == "gpt2" and any(c in each.name for c in ("c_attn.w", "c_proj.w", "c_fc.w"))
        x, y = (rows(side[each.name], columns) for side in stored)
        tests = [ks_2samp(a, b) for a, b in zip(x, y, strict=True)]
        statistic = np.array([t.statistic for t in tests])
        rejected = sum(t.pvalue <= 0.3 for t in tests)
        change = each.change
        assert (change.rows, change.dimension) == x.shape
        assert change.rejected == rejected and change.share == rejected / len(x)
        assert change.changed == (statistic > 0).sum()
        most = [max(Counter(row).values()) / len(row) for row in x.tolist()]
        assert change.tied == sum(
            t.pvalue <= 0.3 and 0 < t.statistic <= m + 1e-9
            for t, m in zip(tests, most, strict=True)
        )
        assert change.largest == pytest.approx(statistic.max(), abs=1e-12)
        assert change.median == pytest.approx(np.median(statistic), abs=1e-12)
    for group in found.groups():
        mine = [
            p.change for p in found.parameters if (p.kind, p.layer) == (group.kind, group.layer)
        ]
        assert group.rows == sum(c.rows for c in mine)
        assert group.rejected == sum(c.rejected for c in mine)
    assert any(g.rejected for g in found.groups())
    written = write_layers(found, tmp_path / "out") + draw_layers(
        found, tmp_path / "out" / "layers"
    )
    assert all(path.stat().st_size > 500 for path in written)


def test_what_the_folders_do_not_share(tmp_path: Path) -> None:
    model = tiny.model("llama")
    saved(model, tmp_path / "before")
    saved(model, tmp_path / "after")
    file = tmp_path / "after" / "model.safetensors"
    state = load_file(file)
    del state["model.norm.weight"]
    state["model.extra.weight"] = torch.zeros(2, 2)
    state["lm_head.weight"] = torch.zeros(70, 16)
    state["model.layers.0.mlp.up_proj.weight"] = torch.zeros(24, 16, dtype=torch.int8)
    save_file(state, file)
    found = compare_layers(open_model(tmp_path / "before"), open_model(tmp_path / "after"))
    assert found.only_before == ["model.norm.weight"]
    assert found.only_after == ["model.extra.weight"]
    assert found.unequal == {"lm_head.weight": "[64, 16] and [70, 16]"}
    assert found.skipped == {"model.layers.0.mlp.up_proj.weight": "stored as I8"}
    assert all(p.change.largest == 0 for p in found.parameters) and len(found.parameters) == 18


def test_a_head_of_its_own_is_compared_with_the_tied_table(tmp_path: Path) -> None:
    model = tiny.model("gemma3", tied=True)
    saved(model, tmp_path / "before")
    other = tiny.untied(model, "gemma3")
    with torch.no_grad():
        other.get_input_embeddings().weight[5] += 3
        other.get_output_embeddings().weight[9] += 3
    saved(other, tmp_path / "after")
    found = compare_layers(open_model(tmp_path / "before"), open_model(tmp_path / "after"))
    changes = {p.name: p.change for p in found.parameters}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert (changes[name].rows, changes[name].changed, changes[name].rejected) == (64, 1, 1)
    assert found.only_after == found.only_before == []


def test_mistakes(tmp_path: Path) -> None:
    model = tiny.model("llama")
    saved(model, tmp_path / "before")
    with torch.no_grad():
        model.model.norm.weight[3] = float("nan")
    saved(model, tmp_path / "nan")
    one, other = open_model(tmp_path / "before"), open_model(tmp_path / "nan")
    with pytest.raises(TuningError, match=r"nan: model.norm.weight holds a NaN"):
        compare_layers(one, other)
    with torch.no_grad():
        model.model.norm.weight[3] = float("-inf")
    saved(model, tmp_path / "inf")
    with pytest.raises(TuningError, match=r"inf: model.norm.weight holds an infinity"):
        compare_layers(one, open_model(tmp_path / "inf"))
    with pytest.raises(TuningError, match="alpha must be a number in"):
        compare_layers(one, one, 1.5)
    saved(tiny.model("gpt2", tied=True), tmp_path / "gpt2")
    with pytest.raises(ModelError, match="no parameter in common"):
        compare_layers(one, open_model(tmp_path / "gpt2"))
