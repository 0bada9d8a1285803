"""``mt-ticket layers``: what the command prints and writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from pairs import changed
from tiny_runs import Commands, Models, small

pytestmark = pytest.mark.slow


def shift(model: object) -> None:
    layers = model.model.layers  # type: ignore[attr-defined]
    layers[1].self_attn.v_proj.weight[:4] += 5
    layers[0].mlp.up_proj.weight[3] += 5
    model.model.embed_tokens.weight[:60] += 5  # type: ignore[attr-defined]


def test_what_moved_is_found(commands: Commands, models: Models) -> None:
    after = changed(models.untied, Path("after"), shift, shard="30KB")
    ended = commands.call("ticket", "layers", models.untied, after, "--out", "found")
    assert ended.code == 0, ended.err
    with Path("found/layers.csv").open(newline="") as file:
        lines = {r["name"]: r for r in csv.DictReader(file)}
    rejecting = {n: (r["rejected"], r["rows"]) for n, r in lines.items() if r["rejected"] != "0"}
    assert rejecting == {
        "model.embed_tokens.weight": ("60", "600"),
        "model.layers.0.mlp.up_proj.weight": ("1", "64"),
        "model.layers.1.self_attn.v_proj.weight": ("4", "16"),
    }
    assert len(lines) == 21 and lines["model.embed_tokens.weight"]["shape"] == "600x32"
    content = json.loads(Path("found/layers.json").read_text())
    groups = {(g["layer"], g["kind"]): g["share"] for g in content["groups"] if g["rejected"]}
    assert groups == {(1, "attention v"): 0.25, (0, "mlp"): 1 / 160, (None, "embeddings"): 0.1}
    assert Path("found/layers.png").stat().st_size > 1000 and Path("found/layers.svg").is_file()
    printed = " ".join(ended.out.split())
    for text in ("25.0", "0.6", "10.0", "10.00%", "1.0000", "nominal"):
        assert text in printed, text


def test_a_run_of_full_and_others(commands: Commands, models: Models) -> None:
    more = ("baseline=false", "train.epochs=1", "train.lr=0.01", "data.test_pairs=2")
    for recipe in ("full", "embed"):
        ended = commands.train(*small(models.tied, recipe, f"out_dir={recipe}", *more))
        assert ended.code == 0, ended.err
    ended = commands.call("ticket", "layers", models.tied, "full", "--out", "f", "--no-plot")
    assert ended.code == 0, ended.err
    content = json.loads(Path("f/layers.json").read_text())
    assert all(p["changed"] for p in content["parameters"] if p["kind"] != "norms")
    assert not Path("f/layers.png").exists() and not content["only_after"]
    said = commands.call("ticket", "layers", models.tied, "embed").mistake()
    assert "mt-ticket merge embed FOLDER" in said
    assert commands.call("ticket", "merge", "embed", "merged").code == 0
    ended = commands.call("ticket", "layers", models.tied, "merged", "--out", "m", "--no-plot")
    assert ended.code == 0, ended.err
    changes = {
        p["name"]: p["changed"] for p in json.loads(Path("m/layers.json").read_text())["parameters"]
    }
    moved = {name for name, number in changes.items() if number}
    assert moved == {"model.embed_tokens.weight"} and changes["lm_head.weight"] == 0


def test_unequal_models_are_named(commands: Commands, models: Models) -> None:
    def grow(model: object) -> None:
        model.resize_token_embeddings(608, mean_resizing=False)  # type: ignore[attr-defined]

    after = changed(models.untied, Path("after"), grow, dtype=torch.bfloat16)
    ended = commands.call("ticket", "layers", models.untied, after)
    assert ended.code == 0, ended.err
    said = " ".join(ended.out.split())
    assert "2 parameters of unequal shape: lm_head.weight: [600, 32] and [608, 32]" in said
    ended = commands.call("ticket", "layers", models.untied, models.tied)
    assert "parameters only in" in ended.out
    assert "no such folder" in commands.call("ticket", "layers", models.untied, "no").mistake()


def test_two_models_that_are_not_one_are_reported(commands: Commands, models: Models) -> None:
    def another(model: object) -> None:
        model.model.embed_tokens.weight.normal_()  # type: ignore[attr-defined]

    for change, says in ((shift, False), (another, True)):
        after = changed(models.untied, Path(change.__name__), change)
        ended = commands.call("ticket", "layers", models.untied, after)
        note = f"Note: {models.untied} and {after} look like two models, not like one before"
        assert ended.code == 0 and (note in " ".join(ended.err.split())) is says, ended.err
