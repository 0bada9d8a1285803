"""``mtl.bench``: a leaderboard in a notebook, from a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import mt_lottery as mtl

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from tiny_runs import make_models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("bench")
    models = make_models(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_LOTTERY_CACHE", str(folder / "cache"))
        yield mtl.bench(
            ["random", "frequency"], "es", preset="smoke", model=models.untied,
            out=folder / "board", translate=dict(max_new_tokens=4), metrics=["chrf"],
            settings={"random:tuner.tickets": 4, "frequency:tuner.tickets": 4},
        )  # fmt: skip


def test_a_leaderboard_of_the_command_lines_cells(board: Any) -> None:
    assert next(board._rows())["label"] == "Original model"
    assert board.failed == [] and board.page.is_file()
    settings = json.loads((board.folder / "bench.json").read_text("utf-8"))
    text = json.dumps(settings)
    assert "translate.max_new_tokens" in text and "random:tuner.tickets" in text
    frame = board.to_pandas()
    assert {"none", "random", "frequency"} == set(frame["method"])
    again = mtl.Leaderboard(board.folder)
    assert str(again) == str(board)
    # its table has the names that `mt-bench compare --against` takes, its pages the labels too
    assert all(f"│ {row['method']} " in str(board) for row in board._rows())
    assert all(
        row["label"] in (board.folder / "leaderboard.md").read_text() for row in board._rows()
    )


def test_a_leaderboard_in_a_notebook(board: Any) -> None:
    shown = board._repr_html_()
    assert (shown.startswith("<table>") and "<strong>" in shown) or "<span>" in shown
    assert "<script" not in shown


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"recipes": ["lor"], "langs": "ro"}, "Did you mean 'lora'"),
        ({"recipes": ["lora"], "langs": []}, "langs is empty"),
        ({"recipes": ["lora"], "langs": "ro", "trian": {"epochs": 1}}, "train"),
        ({"recipes": ["lora"], "langs": "ro", "tune": -1}, "tune must be at least 0"),
        ({"recipes": ["lora"], "langs": "ro", "seeds": [-1]}, "seeds"),
    ],
)
def test_what_cannot_be_benchmarked(call: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(mtl.MTLotteryError, match=message):
        mtl.bench(**call, out=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_folder_without_a_leaderboard(tmp_path: Path) -> None:
    with pytest.raises(mtl.MTLotteryError, match=r"leaderboard\.json"):
        mtl.Leaderboard(tmp_path)
