"""A damaged file of a benchmark's folder: its path and reason, and the other cells go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest_cli import Commands
from given_cells import bench, cell, scores

from mt_lottery.benchmark.board.collect import collect
from mt_lottery.benchmark.executors.worker import Answer

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = bench(tmp_path_factory.mktemp("given") / "out", "en-ro")
    for method, own in scores().items():
        cell(out, method, 0, own, own)
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def text(content: str | bytes) -> Change:
    def change(path: Path) -> None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def keyed(*keys: str, value: Any) -> Change:
    """One value of a JSON file replaced."""

    def change(path: Path) -> None:
        content = node = json.loads(path.read_text())
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value
        path.write_text(json.dumps(content))

    return change


def lines(change: Callable[[list[str]], list[str]]) -> Change:
    def changed(path: Path) -> None:
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))

    return changed


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DEEP = "[" * 100_000 + "]" * 100_000
ANY = [text(""), text("{"), text("[]"), text("null"), text(DEEP), text(b"\xff\xfe"), folder]
CELL = [
    *(("record.json", change) for change in ANY),
    ("record.json", keyed("scores", "chrf", "raw", "score", value=float("nan"))),
    ("record.json", keyed("scores", "chrf", "raw", "score", value=True)),
    ("record.json", keyed("scores", "chrf", "raw", "ci95", value=[1])),
    ("record.json", keyed("scores", "chrf", "raw", "ci95", value=["a", None])),
    ("record.json", keyed("scores", "chrf", "signature", value=["x"])),
    ("record.json", keyed("scores", "comet", "shown_times", value="many")),
    ("record.json", keyed("scores", "comet", "column", value={})),
    ("record.json", keyed("scores", "chrf", value=3)),
    ("record.json", keyed("scores", value={})),
    ("record.json", keyed("generation", "stopped", value="all")),
    ("record.json", keyed("cost", value=[])),
    ("record.json", keyed("data", "test", "pairs", value=0)),
    ("record.json", keyed("data", "test", "pairs", value=10**12)),
    ("record.json", keyed("lang", value="en-es")),
    ("record.json", keyed("method", value="full")),
    ("record.json", keyed("seed", value=7)),
    ("record.json", keyed("tuning", value={"chosen": 3})),
    ("record.json", keyed("environment", value={"torch": 2})),
    ("record.json", text('{"schema": 1, "status": "done", "seed": 1e999}')),
    *(("sentence_scores.jsonl", change) for change in ANY),
    ("sentence_scores.jsonl", lines(lambda x: x[:-1])),
    ("sentence_scores.jsonl", lines(lambda x: [*x[:-1], x[-1][: len(x[-1]) // 2]])),
    ("sentence_scores.jsonl", lines(lambda x: [*x[:-1], '{"chrf": {"raw": [1]}}\n'])),
    ("sentence_scores.jsonl", lines(lambda x: ['{"chrf": 1, "comet": 2}\n' for _ in x])),
    ("sentence_scores.jsonl", lines(lambda x: [y.replace("[", "[NaN,", 1) for y in x])),
    (
        "sentence_scores.jsonl",
        lines(lambda x: ['{"chrf": {"raw": [1, 2], "first_line": [1, 2]}}\n' for _ in x]),
    ),
    *(("hypotheses.jsonl", change) for change in ANY),
    ("hypotheses.jsonl", lines(lambda x: x[1:])),
    ("hypotheses.jsonl", lines(lambda x: ['{"source": "s"}\n', *x[1:]])),
    ("hypotheses.jsonl", lines(lambda x: [y.replace("true", '"true"') for y in x])),
]


@pytest.mark.parametrize(("name", "change"), CELL)
def test_a_damaged_file_is_its_cells_failure(name: str, change: Change, out: Path) -> None:
    path = out / "runs" / "lora" / "en-ro" / "seed-0" / name
    change(path)
    found = collect(out)
    [(failed, reason)] = found.failures.items()
    assert failed.recipe == "lora" and str(path.parent) in reason and name[-5:] in reason
    assert {x.recipe for x in found.records} == {"none", "eos_bias"}


@pytest.mark.parametrize("name", ["record.json", "sentence_scores.jsonl", "hypotheses.jsonl"])
def test_a_damaged_cell_does_not_stop_the_others(name: str, out: Path, commands: Commands) -> None:
    path = out / "runs" / "lora" / "en-ro" / "seed-0" / name
    path.write_text("{")
    ended = commands.call("bench", "report", str(out))
    assert ended.code == 0, ended.err
    board = json.loads((out / "leaderboard.json").read_text())
    cells = {r["method"]: r["cells"]["en-ro"] for r in board["blocks"][0]["rows"]}
    assert cells["lora"]["state"] == "failed" and str(path) in cells["lora"]["reason"]
    assert cells["none"]["state"] == cells["eos_bias"]["state"] == "done"
    assert "FAILED" in ended.out and (out / "leaderboard.html").is_file()
    left_out = f"FAILED, and left out: lora en-ro seed 0: {path}: "
    assert left_out in ended.err
    for more in ((), ("--json",)):
        ended = commands.call("bench", "compare", str(out), "--against", "none", *more)
        assert ended.code == 0 and ended.err.startswith(left_out) and "left out" not in ended.out


def test_a_reason_of_any_length_fits_a_table() -> None:
    answer = Answer("failed", "x" * 10**6 + "\n" * 10**4, 1.0)
    assert answer.reason is not None and len(answer.reason) < 1100
    assert Answer("failed", "short\nlonger", 1.0).reason == "short\nlonger"


@pytest.mark.parametrize(
    "change",
    [
        text("{"), text("[]"), text(DEEP), text(b"\xff"),
        text('{"state": "failed", "reason": 3, "seconds": 1}'),
        text('{"state": "odd", "reason": null, "seconds": 1}'),
        text('{"state": "failed", "reason": "x", "seconds": NaN}'),
    ],
)  # fmt: skip
def test_a_damaged_state(change: Change, out: Path, commands: Commands) -> None:
    place = out / "runs" / "lora" / "en-ro" / "seed-0"
    change(place / "cell.json")
    assert commands.call("bench", "report", str(out)).code == 0
    board = json.loads((out / "leaderboard.json").read_text())
    rows = {r["method"]: r["cells"]["en-ro"]["state"] for r in board["blocks"][0]["rows"]}
    assert rows["lora"] == "done"  # it says when a cell failed; this one has its record
    (place / "record.json").unlink()
    assert commands.call("bench", "report", str(out)).code == 0
    board = json.loads((out / "leaderboard.json").read_text())
    cells = {r["method"]: r["cells"]["en-ro"] for r in board["blocks"][0]["rows"]}
    assert cells["lora"]["state"] == "failed"
    assert str(place / "cell.json") in cells["lora"]["reason"]


@pytest.mark.parametrize(
    "change",
    [
        *ANY,
        text('{"schema": 2}'), text('{"schema": 1}'),
        keyed("settings", value=[]), keyed("settings", "overrides", value={"a": 1}),
        keyed("settings", "tune", value="many"), keyed("settings", "command", value=3),
        keyed("asked", value="all"), keyed("asked", "seeds", value=["x"]),
        keyed("asked", "langs", value=[3]), keyed("asked", "methods", value={}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [["report"], ["compare", "--against", "none"]])
def test_a_damaged_bench_file(
    command: list[str], change: Change, out: Path, commands: Commands
) -> None:
    change(out / "bench.json")
    ended = commands.call("bench", command[0], str(out), *command[1:])
    assert str(out / "bench.json") in ended.mistake()


def test_all_cells_damaged(out: Path, commands: Commands) -> None:
    for path in out.glob("*/*/*/*/record.json"):
        path.write_text("{")
    for command in (["report", str(out)], ["compare", str(out), "--against", "none"]):
        said = commands.call("bench", *command).mistake()
        assert "no cell is finished" in said and "lora/en-ro/seed-0/record.json: damaged" in said


def test_odd_folders_are_no_cells(out: Path, commands: Commands) -> None:
    for name in ("seed-٣", "seed-x", "seed-" + "9" * 200, "seed-"):
        shutil.copytree(out / "runs/lora/en-ro/seed-0", out / "runs/lora/en-ro" / name)
    assert commands.call("bench", "report", str(out)).code == 0
    assert json.loads((out / "leaderboard.json").read_text())["seeds"] == [0]
