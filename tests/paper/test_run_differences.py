"""What sets two runs apart is named, whatever it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mt_lottery.paper.compare.runs import TicketRun, differences
from mt_lottery.paper.compare.settings_apart import in_what
from mt_lottery.runs.folder.record import Record, read_record

RESULTS = Path(__file__).parents[2] / "benchmarks/results/small_en-ro_es_ca_no/records.json"


@pytest.fixture
def content() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text())["ks_lottery/en-ro/seed-0"]
    return found


def changed(content: dict[str, Any], folder: Path, *keys: str, value: Any = None) -> Record:
    node = content = json.loads(json.dumps(content))
    for key in keys[:-1]:
        node = node[key]
    if keys:
        node[keys[-1]] = value
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text(json.dumps(content))
    return read_record(folder)


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (("model", "sha256"), "0" * 64, ("model",)),
        (("model", "name"), "/models/another", ("model",)),
        (("lang",), "en-es", ("language",)),
        (("method",), "ks_transfer", ("method",)),
        (("seed",), 3, ("seed",)),
        (("data", "template"), "alpaca", ("template",)),
        (("data", "train", "name"), "files", ("corpus",)),
        (("data", "train", "pairs"), 7, ("amount",)),
        (("data", "train", "sha256"), "0" * 64, ("text",)),
        (("tickets", "count"), 400, ("rows",)),
        (("config_hash",), "another", ("settings",)),
    ],
)
def test_what_differs_is_named(
    keys: tuple[str, ...], value: Any, named: tuple[str, ...], content: dict[str, Any],
    tmp_path: Path,
) -> None:  # fmt: skip
    first = changed(content, tmp_path / "first")
    assert differences(first, changed(content, tmp_path / "x", *keys, value=value)) == named
    assert differences(first, changed(content, tmp_path / "y")) == ()


def test_the_settings_that_differ_are_named(content: dict[str, Any], tmp_path: Path) -> None:
    def run(name: str, *keys: str, value: Any = None, **settings: dict[str, Any]) -> TicketRun:
        record = changed(content, tmp_path / name, *keys, value=value)
        train = {"lr": 0.01, "epochs": 2, "batch_size": 8, "schedule": "linear", "warmup_steps": 0}
        found = {"lang": record.lang, "out_dir": name, "train": train | settings.get("train", {}),
                 "data": settings.get("data", {})}  # fmt: skip
        (tmp_path / name / "config.yaml").write_text(json.dumps(found))
        return TicketRun(tmp_path / name)

    first = run("first")
    other = run("other", "config_hash", value="x", train={"lr": 0.5, "epochs": 3})
    assert in_what(first, other) == ("settings (train.lr, train.epochs)",)
    assert in_what(first, run("same")) == ()
    many = {"lr": 1, "epochs": 1, "batch_size": 1, "schedule": "constant", "warmup_steps": 9}
    [said] = in_what(first, run("many", "config_hash", value="x", train=many))
    assert said == "settings (train.lr, train.epochs, train.batch_size, train.schedule and 1 more)"
    # another language does not hide it
    spanish = run("es", "lang", value="en-es", train={"lr": 0.5})
    assert in_what(first, spanish)[0] == "language"
    hashed = TicketRun(spanish.folder)
    hashed.record = dataclasses.replace(spanish.record, config_hash="x")
    assert in_what(first, hashed) == ("language", "settings (train.lr)")
    # of the data, only the prompt's own words are in no other facet
    asked = [run(name, "config_hash", value=name, data={"prompt": name, "path": name})
             for name in ("one", "two")]  # fmt: skip
    assert in_what(*asked) == ("settings (data.prompt)",)
