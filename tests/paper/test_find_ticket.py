"""``mtl.find_ticket``: one answer, in whatever form the two models are given."""

from __future__ import annotations

import doctest
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy.stats import ks_2samp
from torch import Tensor, nn

import mt_lottery as mtl
from mt_lottery.errors import (
    ArgumentError,
    ConfigError,
    KeywordError,
    ModelError,
    RegistryError,
    TuningError,
)
from mt_lottery.paper.find import ticket as find_module
from mt_lottery.runs.outcome import peak_memory, start_peak
from mt_lottery.tuners.rows.module import attach

NAME = "model.embed_tokens.weight"


def tuned_from(model: Any, moved: list[int], seed: int) -> Any:
    """The same model with some rows moved."""
    other = tiny.model("llama", dtype=model.dtype)
    other.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        table = other.get_input_embeddings().weight
        noise = torch.randn(len(moved), table.shape[1], generator=generator)
        table[moved] += (0.5 * noise).to(table.dtype)
    return other


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moved=st.sets(st.integers(0, 63), min_size=2, max_size=20),
    seed=st.integers(0, 99),
    half=st.booleans(),
)
def test_every_form_gives_scipys_answer(
    moved: set[int], seed: int, half: bool, tmp_path: Path
) -> None:
    dtype = torch.bfloat16 if half else torch.float32
    one = tiny.model("llama", dtype=dtype)
    other = tuned_from(one, sorted(moved), seed)
    forms: dict[str, tuple[Any, Any]] = {}
    for place, model in enumerate((one, other)):
        folder = tmp_path / str(place)
        model.save_pretrained(folder)
        save_file({NAME: model.state_dict()[NAME].clone()}, tmp_path / f"{place}.safetensors")
    forms["folders"] = (tmp_path / "0", str(tmp_path / "1"))
    forms["files"] = (tmp_path / "0.safetensors", tmp_path / "1.safetensors")
    forms["models"] = (one, nn.DataParallel(other))
    forms["state dicts"] = (one.state_dict(), other.state_dict())
    tables = tuple(m.get_input_embeddings().weight for m in (one, other))
    forms["tensors"] = tables
    forms["mixed"] = (tmp_path / "0", tables[1])
    before, after = (t.detach().float().numpy() for t in tables)
    tests = [ks_2samp(x, y) for x, y in zip(before, after, strict=True)]
    distance = np.array([t.statistic for t in tests])
    order = np.argsort(-distance, kind="stable")
    count = min(3, int((distance > 0).sum()))
    for name, pair in forms.items():
        ticket = mtl.find_ticket(*pair, rows=count, echo=lambda _: None)
        assert list(ticket) == order[:count].tolist(), name
        assert ticket.statistic is not None and ticket.pvalue is not None
        assert np.allclose(ticket.statistic, distance[order[:count]], rtol=0, atol=1e-12)
        wanted = [tests[i].pvalue for i in ticket]
        assert np.allclose(ticket.pvalue, wanted, rtol=1e-9, atol=0)
        assert ticket.dimension == 16 and ticket.alpha == float(ticket.pvalue[-1])
        assert ticket == mtl.find_ticket(*tables, rows=count)


def tables() -> tuple[Tensor, Tensor]:
    before = torch.arange(32.0).repeat(8, 1)
    return before, before + torch.tensor([0.0, 9, 0, 32, 1, 0, 20, 0])[:, None]


def test_by_alpha_and_by_other_measures() -> None:
    before, after = tables()
    ticket = mtl.find_ticket(before, after, alpha=0.05, correction="bh")
    rejected = mtl.select("ks", before, after, alpha=0.05, correction="bh")
    assert torch.equal(ticket.rows, rejected) and ticket.level == mtl.Level(0.05, "bh")
    cos = mtl.find_ticket(before, after, rows=2, selector="cos")
    moved = torch.tensor([1, 3, 4, 6])
    expected = moved[mtl.select("cos", before[moved], after[moved], rows=2)]
    assert torch.equal(cos.rows, expected) and cos.alpha is None and cos.pvalue is None
    one, two = (mtl.find_ticket(before, after, rows=3, selector="random", seed=s) for s in (1, 2))
    assert one.rows.tolist() != two.rows.tolist()
    assert mtl.find_ticket(before, after, rows=1, tokenizer=tiny.tokenizer()).tokens == ["w3"]


def test_a_model_with_token_rows_is_what_it_computes() -> None:
    model = tiny.model("llama")
    table = model.get_input_embeddings().weight.detach().clone()
    attach(model, torch.tensor([9, 4]), table[[9, 4]] + 1, tied=False)
    assert sorted(mtl.find_ticket(table, model, rows=2)) == [4, 9]


def test_the_ticket_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mt_lottery.cli.ticket import main

    one = tiny.model("llama")
    other = tuned_from(one, [5, 6, 7], 0)
    for name, model in (("one", one), ("other", other)):
        model.save_pretrained(tmp_path / name)
        tiny.tokenizer().save_pretrained(tmp_path / name)
    folders = [str(tmp_path / name) for name in ("one", "other")]
    ours = mtl.find_ticket(*folders, rows=2).save(tmp_path / "ours.csv")
    call = ["mt-ticket", "find", *folders, "--top", "2", "--out", str(tmp_path / "theirs.csv")]
    monkeypatch.setattr(sys, "argv", call)
    assert main() == 0
    assert ours.read_bytes() == (tmp_path / "theirs.csv").read_bytes()
    loaded = mtl.Ticket.load(ours, vocab_size=64)
    assert loaded == mtl.find_ticket(*folders, rows=2)
    assert loaded.tokens == [f"w{i}" for i in loaded]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TuningError, "Give either alpha or rows.*neither"),
        ({"rows": 2, "alpha": 0.1}, TuningError, "either alpha or rows"),
        ({"rows": 0}, TuningError, "rows must be a whole number"),
        ({"alpha": 2}, TuningError, r"alpha must be a number in \[0, 1\], got 2"),
        ({"alpha": 0.5, "correction": "bhh"}, TuningError, "Did you mean 'bh'"),
        ({"rows": 2, "selector": "kos"}, RegistryError, "Did you mean"),
        ({"rows": 2, "reduction": "signed"}, TuningError, "reduction=signed: selector 'ks' has"),
        ({"rows": 2, "selector": "frequency"}, TuningError, "selector=frequency counts tokens"),
        ({"row": 2}, KeywordError, "Unknown argument 'row'. Did you mean 'rows'"),
        ({"rows": 5}, TuningError, "rows=5, but only 4 of 8 rows differ.*rows=1 to 4"),
        ({"alpha": 0.0}, TuningError, "No row of the vocabulary rejects at alpha=0.*\n  id 3: D"),
        ({"alpha": 0.5, "selector": "cos"}, TuningError, "no p-values.*rows=18"),
    ],
)
def test_mistakes(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mtl.find_ticket(*tables(), **arguments)


def test_what_is_no_model(tmp_path: Path) -> None:
    before, after = tables()
    with pytest.raises(ArgumentError, match="the second model: int; allowed: a model with"):
        mtl.find_ticket(before, 3, rows=1)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"\[32\], of torch.float32; allowed: \[V, d\]"):
        mtl.find_ticket(before[0], after, rows=1)
    with pytest.raises(ModelError, match=r"of torch.int64; allowed"):
        mtl.find_ticket(before.long(), after, rows=1)
    with pytest.raises(ModelError, match="rows of 32 coordinates, the second model of 16"):
        mtl.find_ticket(before, after[:, :16], rows=1)
    with pytest.raises(ModelError, match=r"8 rows of vocabulary.*shared_rows=True compares"):
        mtl.find_ticket(before, after[:5], rows=1)
    assert list(mtl.find_ticket(before, after[:5], rows=1, shared_rows=True)) == [3]
    two = {"a.embed_tokens.weight": before, "b.embed_tokens.weight": before}
    with pytest.raises(ModelError, match=r"cannot be told.*a\.embed_tokens\.weight, b\."):
        mtl.find_ticket(two, after, rows=1)
    with pytest.raises(ModelError, match="cannot be told"):
        mtl.find_ticket({"mlp.weight": before}, after, rows=1)
    with pytest.raises(ConfigError, match="is one model; allowed: two"):
        mtl.find_ticket(before, rows=1)
    with pytest.raises(ModelError, match="no such folder"):
        mtl.find_ticket(tmp_path / "none", after, rows=1)
    for value, what in ((torch.nan, "a NaN"), (torch.inf, "an infinity"), (-torch.inf, "an inf")):
        after[3, 4] = value
        with pytest.raises(TuningError, match=rf"the second model: row 3 .* holds {what}"):
            mtl.find_ticket(before, after, rows=1)


def test_a_model_of_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its hub id, as huggingface_hub keeps it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    one = tiny.model("llama")
    place = tmp_path / "hub/models--mt--tiny"
    one.save_pretrained(place / "snapshots/0123abc")
    (place / "refs").mkdir()
    (place / "refs/main").write_text("0123abc")
    tuned_from(one, [3, 5], 0).save_pretrained(tmp_path / "tuned")
    ticket = mtl.find_ticket("mt/tiny", tmp_path / "tuned", rows=2, echo=lambda _: None)
    assert sorted(ticket) == [3, 5]


def test_nothing_but_the_table_is_read(tmp_path: Path) -> None:
    """A layer of 4 GB (a hole in the file) beside the table: no memory for it."""
    model = tiny.model("llama")
    table = model.get_input_embeddings().weight.detach()
    for name, values in (("one", table), ("other", table + torch.eye(64, 16))):
        model.config.save_pretrained(tmp_path / name)
        huge = 4 << 30
        raw = values.numpy().tobytes()
        header = {
            NAME: {"dtype": "F32", "shape": [64, 16], "data_offsets": [0, len(raw)]},
            "model.layers.0.mlp.up_proj.weight": {
                "dtype": "F32", "shape": [huge // 64, 16],
                "data_offsets": [len(raw), len(raw) + huge],
            },
        }  # fmt: skip
        text = json.dumps(header).encode()
        with (tmp_path / name / "model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + raw)
            file.truncate(8 + len(text) + len(raw) + huge)
    start_peak("cpu")
    before = peak_memory("cpu")
    ticket = mtl.find_ticket(tmp_path / "one", tmp_path / "other", rows=16, echo=lambda _: None)
    assert sorted(ticket) == list(range(16))
    assert peak_memory("cpu") - before < 1 << 30


def test_the_examples_of_the_docstring() -> None:
    ran = doctest.testmod(find_module, extraglobs={"torch": torch})
    assert ran.attempted and not ran.failed
