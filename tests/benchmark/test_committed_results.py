"""The committed leaderboards are rendered from a fresh clone, and are the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest_cli import Commands

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/leaderboard.json"))


def test_there_are_some() -> None:
    assert {"methods_en-es", "small_en-ro_es_ca_no"} <= {folder.name for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_committed_leaderboard_is_rendered_again(
    folder: Path, tmp_path: Path, commands: Commands
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("leaderboard.json", "records.json"):
        shutil.copy(folder / name, copy)
    ended = commands.call("bench", "report", str(copy))
    assert ended.code == 0, ended.err
    for kind in ("md", "csv", "tex", "json", "html"):
        name = f"leaderboard.{kind}"
        assert (copy / name).read_text() == (folder / name).read_text(), name
    board = json.loads((folder / "leaderboard.json").read_text())
    records = json.loads((folder / "records.json").read_text())
    none = next(r for r in board["blocks"][0]["rows"] if r["method"] == "none")
    for lang in board["languages"]:
        own = records[f"none/{lang}/seed-0"]["scores"][board["metric"]["key"]]["raw"]["score"]
        assert none["cells"][lang]["raw"]["score"] == pytest.approx(own)
    for path in folder.iterdir():
        for place in ("/work/", "/root/", "/home/", "/tmp/"):
            assert place not in path.read_text(), path


def test_a_damaged_one(tmp_path: Path, commands: Commands) -> None:
    path = tmp_path / "copy" / "leaderboard.json"
    path.parent.mkdir()
    for text in ("", "{", "[]", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "blocks": 3}'):
        path.write_text(text)
        assert str(path) in commands.call("bench", "report", str(path.parent)).mistake()
