"""A benchmark on the real small model: LoRA and QLoRA train, merge, and stand in one table."""

from __future__ import annotations

import json

from test_real_model import World, pytestmark, world

__all__ = ["pytestmark", "world"]

SMALL = ("data.train_pairs=48", "data.test_pairs=6", "data.dev_pairs=6", "train.epochs=2",
         "translate.max_new_tokens=32")  # fmt: skip


def test_lora_qlora_and_prefix_beside_the_original(world: World) -> None:
    out, said = world.run(
        "mt-bench", "none", "eos_bias", "lora", "qlora", "prefix", "--langs", "es",
        "--preset", "smoke", "--out", "bench", *SMALL,
    )  # fmt: skip
    board = json.loads((world.folder / "bench/leaderboard.json").read_text("utf-8"))
    rows = {row["method"]: row for row in board["blocks"][0]["rows"]}
    assert list(rows) == ["none", "eos_bias", "qlora", "lora", "prefix"]
    counts = {m: r["trainable_parameters"] for m, r in rows.items()}
    assert counts["prefix"] == 92_160 and counts["eos_bias"] == 1
    assert counts["qlora"] == 4 * counts["lora"] > 0  # rank 32 against 8
    assert all(row["cells"]["en-es"]["state"] == "done" for row in rows.values())
    assert "qlora" in out and "FAILED" not in out and "[5/5]" in said
    record = json.loads((world.folder / "bench/runs/qlora/en-es/seed-0/record.json").read_text())
    quantised = record["quantization"]
    assert quantised["method"] == "nf4" and quantised["layers"] == 18 * 7
    # the embedding table stays in bfloat16; the rest is at half a byte a weight
    assert quantised["base_bytes"] < 2 * 167_772_160 + 0.7 * 100_000_000
    first, last = losses(world, "lora")
    assert last < first
    merged, _ = world.run("mt-ticket", "merge", "bench/runs/qlora/en-es/seed-0", "merged")
    assert "of 6 test sentences" in merged


def losses(world: World, method: str) -> tuple[float, float]:
    """Mean loss of the first and of the last three steps."""
    path = world.folder / f"bench/runs/{method}/en-es/seed-0/train_log.jsonl"
    found = [json.loads(line).get("loss") for line in path.read_text("utf-8").splitlines()]
    values = [x for x in found if x is not None]
    return sum(values[:3]) / 3, sum(values[-3:]) / 3
