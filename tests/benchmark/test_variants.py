"""Several variants of one method in a benchmark: a cell, a folder and settings of its own each."""

from __future__ import annotations

from pathlib import Path

import pytest

from mt_lottery.benchmark.plan import Bench, Cell, Variant, probe_group
from mt_lottery.errors import ConfigError

VARIANTS = {
    "ks_transfer": [
        Variant("ks-5", {"tuner.tickets": "5", "tuner.selector": "ks"}),
        Variant("random-5", {"tuner.tickets": "5", "tuner.selector_seed": "{seed}",
                             "tuner.selector": "random"}),
    ]
}  # fmt: skip


def bench(tmp_path: Path, **overrides: str) -> Bench:
    return Bench(
        tmp_path, ["none", "ks_transfer", "embed"], ["en-ro", "en-es"], [0, 7], overrides,
        variants=VARIANTS,
    )  # fmt: skip


def test_a_cell_a_variant_pair_and_seed(tmp_path: Path) -> None:
    cells = bench(tmp_path).cells()
    assert len(cells) == len(set(cells)) == 2 * (1 + 2 * 2 + 2)
    folders = [cell.folder for cell in cells]
    assert len(set(folders)) == len(folders)
    assert folders[:2] == ["runs/none/en-ro/seed-0", "runs/none/en-es/seed-0"]
    assert "runs/ks_transfer/en-es/random-5/seed-7" in folders
    assert "runs/embed/en-es/seed-7" in folders
    (cell,) = [c for c in cells if c.folder == "runs/ks_transfer/en-es/ks-5/seed-7"]
    assert str(cell) == "ks_transfer ks-5 en-es seed 7"


def test_a_variant_has_its_own_settings_and_shares_the_probe(tmp_path: Path) -> None:
    made = bench(tmp_path, **{"ks_transfer:tuner.selector": "cos"})
    first = Cell("runs", "ks_transfer", "en-es", 7, "ks-5")
    other = Cell("runs", "ks_transfer", "en-es", 7, "random-5")
    tuner = made.config(first).tuner
    assert (tuner.tickets, tuner.selector, tuner.selector_seed) == (5, "ks", 0)  # type: ignore[attr-defined]
    tuner = made.config(other).tuner
    assert (tuner.selector, tuner.selector_seed) == ("random", 7)  # type: ignore[attr-defined]
    assert made.config(first).out_dir == str(tmp_path.resolve() / first.folder)
    assert probe_group(made, first) == probe_group(made, other) is not None
    assert probe_group(made, Cell("runs", "embed", "en-es", 7)) == probe_group(made, first)
    assert probe_group(made, Cell("runs", "embed", "en-es", 0)) != probe_group(made, first)


def test_a_mistake_in_a_variant(tmp_path: Path) -> None:
    wrong = {"ks_transfer": [Variant("no", {"tuner.ticket": "5"})]}
    made = Bench(tmp_path, ["ks_transfer"], ["en-es"], [0], variants=wrong)
    with pytest.raises(ConfigError, match=r"tuner\.tickets"):
        made.config(made.cells()[0])
