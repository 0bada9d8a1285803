"""``mt-bench --joint``: one run for all languages beside one run for each, on tiny models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Ended, Models, hypotheses, record

from mt_lottery.benchmark.board.collect import collect
from mt_lottery.benchmark.executors.runner import DONE, Status, estimate
from mt_lottery.benchmark.page.side_by_side import sentences
from mt_lottery.benchmark.plan import Cell

pytestmark = pytest.mark.slow

SMALL = (
    *("--preset", "smoke", "metrics=[chrf]", "translate.max_new_tokens=8"),
    *("data.train_pairs=16", "data.test_pairs=6", "data.dev_pairs=4", "eos_bias:train.lr=0.5"),
)
CELL = Path("out/runs/eos_bias/en-ro+en-es/seed-0")


def bench(commands: Commands, models: Models, *arguments: object) -> Ended:
    return commands.call(
        *("bench", "eos_bias", "few_shot", *SMALL, "--model", models.untied),
        *("--out", "out", "--joint", *arguments),
    )


def test_how_long_a_joint_cell_may_take() -> None:
    single = [Status(Cell("runs", "lora", f"en-{lang}", 0)) for lang in ("ro", "es", "ca")]
    joint = [Status(Cell("runs", "lora", lang, 0)) for lang in ("en-ro,en-es,en-ca", "en-ro,en-es")]
    other = Status(Cell("runs", "embed", "en-ro,en-es", 0))
    for status, seconds in zip(single[:2], (10.0, 20.0), strict=True):
        status.state, status.seconds = DONE, seconds
    estimate([*single, *joint, other])
    assert [status.estimate for status in (single[2], *joint, other)] == [15, 45, 30, None]
    joint[1].state, joint[1].seconds = DONE, 22.0
    another = Status(Cell("runs", "lora", "en-ro,en-es", 1))
    estimate([*single, *joint, another])
    assert another.estimate == 22


def rows() -> dict[str, Any]:
    board = json.loads(Path("out/leaderboard.json").read_text())
    assert board["languages"] == ["en-ro", "en-es"]
    return {row["method"]: row for block in board["blocks"] for row in block["rows"]}


def test_the_joint_run_is_beside_those_of_each_language(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ended = bench(commands, models, "--langs", "ro,es")
    assert ended.code == 0, ended.err
    found = rows()
    assert [*found] == ["none", "few_shot", "eos_bias", "eos_bias+joint"]
    row, run = found["eos_bias+joint"], record(CELL)
    assert row["label"] == "EOS bias (joint)" and row["trainable_parameters"] == 1
    for lang, own in run["directions"].items():
        cell = row["cells"][lang]
        raw = own["scores"]["chrf"]["raw"]
        assert cell["raw"]["score"] == pytest.approx(raw["score"])
        assert cell["raw"]["ci95"] == pytest.approx(raw["ci95"])
        assert cell["stopped"] == own["generation"]["stopped"]
        alone = record(Path(f"out/runs/eos_bias/{lang}/seed-0"))
        assert own["test"] == alone["data"]["test"] and own["train"] == alone["data"]["train"]
    # what its cells cost together is what it cost
    cells = row["cells"].values()
    for key in ("train_seconds", "decode_seconds"):
        assert sum(cell[key] for cell in cells) == pytest.approx(run["cost"][key])
    assert row["average"]["raw"]["score"] == pytest.approx(run["scores"]["chrf"]["raw"]["score"])
    assert row["average"]["raw"]["ci95"] == pytest.approx(run["scores"]["chrf"]["raw"]["ci95"])
    # on the page each language has its own of the joint run's sentences
    for lang, shown in sentences(collect(Path("out"))).items():
        wanted = [line["hypothesis"] for line in hypotheses(CELL) if line["lang"] == lang]
        outputs = [next(iter(row["outputs"].values())) for row in shown]
        assert [each["eos_bias+joint"]["hypothesis"] for each in outputs] == wanted
    said = commands.call("bench", "compare", "out", "--against", "eos_bias")
    assert said.code == 0 and "eos_bias+joint" in said.out
    again = bench(commands, models, "--langs", "ro,es")
    assert again.code == 0 and "7 done, 0 to do" in again.err

    # a direction whose text is gone is a failure of the joint run, not of the others
    shutil.copytree("out", "damaged")
    path = Path("damaged") / CELL.relative_to("out") / "record.json"
    content = json.loads(path.read_text())
    del content["directions"]["en-es"]["scores"]["chrf"]
    path.write_text(json.dumps(content))
    ended = commands.call("bench", "report", "damaged")
    board = json.loads(Path("damaged/leaderboard.json").read_text())
    states = {
        row["method"]: [cell["state"] for cell in row["cells"].values()]
        for row in board["blocks"][0]["rows"]
    }
    assert states["eos_bias"] == ["done", "done"]
    assert states["eos_bias+joint"] == ["failed", "failed"]
    assert "record.directions.en-es: record.scores: empty" in ended.err + ended.out


def test_one_language_cannot_be_joined(commands: Commands, models: Models) -> None:
    said = bench(commands, models, "--langs", "ro").mistake()
    assert "--joint: en-ro alone; give several languages." in said
    said = bench(commands, models, "--langs", "ro,es", "test_lang=en-ca").mistake()
    assert "test_lang=en-ca: mt-bench tests each cell in the direction that it trains" in said
