"""A distant pair on the real small model: one trained row, and Ukrainian comes out in Cyrillic."""

from __future__ import annotations

import json

from test_real_model import World, pytestmark, record, world

__all__ = ["pytestmark", "world"]


def test_english_to_ukrainian_is_written_in_cyrillic(world: World) -> None:
    few = ("data.train_pairs=96", "data.test_pairs=4", "translate.max_new_tokens=32")
    out, _ = world.run("mt-train", "recipe=one_row", "lang=en-uk", *few)
    tuned = record(world, "runs/en-uk/one_row/seed-0")
    assert tuned["status"] == "done" and tuned["trainable_parameters"] == 640
    assert tuned["data"]["train"]["pairs"] == 96 and "Чи можна ще склеїти" in out
    lines = (world.folder / "runs/en-uk/one_row/seed-0/hypotheses.jsonl").read_text("utf-8")
    written = "".join(json.loads(line)["first_line"] for line in lines.splitlines())
    cyrillic = sum("\u0400" <= letter <= "\u04ff" for letter in written)
    assert cyrillic > sum(map(str.isalpha, written)) / 2, written
