"""``record.json``: written whole, read strictly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mt_lottery.errors import RecordError
from mt_lottery.runs.folder.record import Record, read_record
from mt_lottery.runs.folder.sections import (
    CostRecord,
    DataRecord,
    GenerationRecord,
    ModelRecord,
    SplitRecord,
    TicketRecord,
)


def record(**changes: Any) -> Record:
    content: dict[str, Any] = {
        "method": "ks_lottery",
        "lang": "en-ro",
        "seed": 0,
        "model": ModelRecord("gemma3_270m", "ab" * 32, None, 268098176, 262144, 640, True),
        "trainable_parameters": 11520,
        "tickets": TicketRecord(18, 0.25, "none", 0.0625, "ks", "input"),
        "data": DataRecord(
            SplitRecord("mini", 344, "cd" * 32, 1), SplitRecord("mini", 82, "ef" * 32), "plain", 2
        ),
        "scores": {
            "chrf": {
                "raw": {"score": 12.5, "ci95": [11.0, 13.5]},
                "first_line": {"score": 14.0, "ci95": [13.0, 15.0]},
                "signature": "nrefs:1|case:mixed",
                "column": "chrF++ — ș",
            }
        },
        "generation": GenerationRecord(0.97, 0.0, 0.03, None, 1.02, 1, 128),
        "cost": CostRecord(10.0, 20.5, 86, 512.25, 30.0, 2_000_000_000, 46_080),
        "environment": {"mt_lottery": "0.1.0", "torch": "2.13.0"},
        "config_hash": "0123456789abcdef",
        "baseline": "runs/en-ro/none/seed-0",
    }
    return Record(**(content | changes))


def _parts(made: Record) -> list[Any]:
    """The objects in a record: one of each kind."""
    return [made.model, made.tickets, made.data, made.data.test, made.generation, made.cost]


def on_disk(folder: Path, **changes: Any) -> Path:
    """A ``record.json`` with changes at dotted paths (``__`` for a dot); ``...`` deletes."""
    content = json.loads(json.dumps(record().to_dict()))
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = content
        for key in parents:
            node = node[key]
        if value is ...:
            del node[last]
        else:
            node[last] = value
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "record.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tickets": None, "method": "none", "trainable_parameters": 0},
        {"tickets": TicketRecord(18, None, None, None, "random", "tied")},
        {"data": DataRecord(None, SplitRecord("flores101", 48, "0" * 64), "alpaca")},
        {
            "data": DataRecord(
                SplitRecord("lego_mt", 900, "0" * 64, 2, 10_000, 935, {"empty": 0, "ratio": 35}),
                SplitRecord("flores101", 48, "0" * 64),
                "plain",
            )
        },
        {"tuning": {"trials": 3, "metric": "chrf", "chosen": {"train.lr": 0.01}}},
        {"tuning": {"chosen": {"tuner.target_modules": ["q"], "tuner.options": {"r": {"a": 1}}}}},
        {"generation": GenerationRecord(0, 0.0, 0.0, None, None, 1, 128)},
        {"baseline": None, "environment": {}},
        {"extra": {"site": {"host": "a"}, "tags": ["x"]}},
    ],
)
def test_round_trip(tmp_path: Path, changes: dict[str, Any]) -> None:
    made = record(**changes)
    made.write(tmp_path)
    assert read_record(tmp_path) == made
    assert read_record(tmp_path / "record.json") == made
    assert read_record(str(tmp_path)) == made


def test_the_file_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    """DESIGN §2.4."""
    record().write(tmp_path)
    text = (tmp_path / "record.json").read_text("utf-8")
    content = json.loads(text)
    assert list(content)[:2] == ["schema", "status"]
    assert (content["schema"], content["status"]) == (1, "done")
    assert set(content) >= {
        *("method", "lang", "seed", "model", "trainable_parameters", "tickets", "data", "scores"),
        *("generation", "tuning", "cost", "environment", "config_hash"),
    }
    assert set(content["tickets"]) == {"count", "alpha", "correction", "tau", "selector", "scope"}
    assert set(content["generation"]) == {
        *("stopped", "empty", "truncated", "off_target", "length_ratio", "beam_size"),
        "max_new_tokens",
    }
    assert set(content["cost"]) == {
        *("probe_seconds", "train_seconds", "train_steps", "train_tokens_per_second"),
        *("decode_seconds", "peak_memory_bytes", "adapter_bytes"),
    }
    assert set(content["data"]["train"]) >= {"name", "pairs", "sha256"}
    assert content["tuning"] is None
    assert "chrF++ — ș" in text  # readable, not \\u escapes
    assert text.endswith("}\n")


def test_another_programs_keys_are_kept(tmp_path: Path) -> None:
    folder = on_disk(tmp_path, site={"host": "a"}, extra={"note": 1})
    found = read_record(folder)
    assert found.extra == {"site": {"host": "a"}, "extra": {"note": 1}}
    before = json.loads((folder / "record.json").read_text("utf-8"))
    found.write(folder)
    assert json.loads((folder / "record.json").read_text("utf-8")) == before


def test_keys_with_a_default_may_be_missing(tmp_path: Path) -> None:
    """What schema 1's first writers did not know yet is no damage."""
    later = {
        f"data__{split}__{key}": ...
        for split in ("train", "test")
        for key in ("records", "available", "filters", "dropped")
    }
    folder = on_disk(tmp_path, baseline=..., tuning=..., data__overlap=..., **later)
    found = read_record(folder)
    assert found.data.train is not None
    assert (found.data.train.records, found.data.train.available, found.data.train.filters) == (
        *(None, None),
        None,
    )
    assert (found.baseline, found.tuning, found.data.overlap, found.data.test.dropped) == (
        *(None, None, 0),
        0,
    )


def test_a_whole_number_serves_as_a_float(tmp_path: Path) -> None:
    found = read_record(on_disk(tmp_path, generation__stopped=1, tickets__alpha=0))
    assert isinstance(found.generation.stopped, float)
    assert found.tickets is not None
    assert isinstance(found.tickets.alpha, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2; this version of mt-lottery reads schema 1."),
        ({"schema": "1"}, "schema '1'; this version"),
        ({"schema": ...}, "schema None; this version"),
        ({"status": "running"}, "status 'running', not 'done'."),
        ({"status": ...}, "status None, not 'done'."),
        ({"seed": ...}, "damaged: record.seed: missing."),
        ({"config_hash": ...}, "damaged: record.config_hash: missing."),
        ({"model__sha256": ...}, "damaged: record.model.sha256: missing."),
        ({"data__test__pairs": ..., "data__test__pair": 3}, "missing. Did you mean 'pair'?"),
        ({"generation__stopped": ...}, "damaged: record.generation.stopped: missing."),
        ({"seed": "0"}, "damaged: record.seed: expected int, not '0'."),
        ({"seed": 0.0}, "damaged: record.seed: expected int, not 0.0."),
        ({"seed": True}, "damaged: record.seed: expected int, not True."),
        ({"seed": None}, "damaged: record.seed: expected int, not None."),
        ({"method": 3}, "damaged: record.method: expected str, not 3."),
        ({"model": "x"}, "damaged: record.model: expected an object, not 'x'."),
        ({"model__tied_embeddings": 1}, "record.model.tied_embeddings: expected bool, not 1."),
        ({"data__test": None}, "damaged: record.data.test: expected an object, not None."),
        ({"tickets": []}, "damaged: record.tickets: expected an object, not []."),
        ({"tickets__alpha": "x"}, "damaged: record.tickets.alpha: expected float, not 'x'."),
        ({"cost__train_seconds": True}, "record.cost.train_seconds: expected float, not True."),
        ({"scores": []}, "damaged: record.scores: expected dict, not []."),
        ({"scores": {}}, "damaged: record.scores: empty."),
        ({"scores__chrf": 12.5}, "damaged: record.scores.chrf.raw.score: expected float"),
        ({"scores__chrf__raw": ...}, "damaged: record.scores.chrf.raw.score: expected float"),
        ({"scores__chrf__first_line__score": "x"}, "record.scores.chrf.first_line.score: expected"),
        ({"scores__chrf__raw__ci95": [1.0]}, "record.scores.chrf.raw.ci95: expected two bounds"),
        ({"scores__chrf__raw__ci95": None}, "record.scores.chrf.raw.ci95: expected list, not"),
        ({"scores__chrf__raw__ci95": [1, "x"]}, "record.scores.chrf.raw.ci95[1]: expected float"),
        ({"scores__chrf__raw__ci95": [2, 1]}, "record.scores.chrf.raw.ci95: expected two bounds"),
        ({"scores__chrf__signature": 1}, "record.scores.chrf.signature: expected str, not 1."),
        ({"seed": -1}, "damaged: record.seed: expected a number at least 0, not -1."),
        ({"data__test__pairs": -3}, "record.data.test.pairs: expected a number at least 0"),
        ({"data__test__filters": {"a": "b"}}, "record.data.test.filters.a: expected int, not 'b'"),
        ({"environment": {"a": None}}, "record.environment.a: expected str, not None."),
        ({"generation__stopped": 1.5}, "record.generation.stopped: expected a number from 0 to 1"),
        ({"tickets__alpha": -0.1}, "record.tickets.alpha: expected a number from 0 to 1"),
        ({"cost__train_seconds": -1.0}, "record.cost.train_seconds: expected a number at least 0"),
        ({"tuning": {"trials": 1}}, "record.tuning.chosen: expected dict, not None."),
        ({"tuning": {"chosen": ["train.lr"]}}, "record.tuning.chosen: expected dict, not ['train"),
        ({"schema": True}, "schema True; this version"),
    ],
)
def test_a_foreign_or_damaged_record(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = on_disk(tmp_path / "run", **changes)
    with pytest.raises(RecordError) as caught:
        read_record(folder)
    assert str(caught.value).startswith(f"{folder / 'record.json'}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged: "),
        (b'{"schema": 1, "status": "do', "damaged: "),
        (b"[]", "damaged: it must hold an object {…}, not []."),
        (b"null", "damaged: it must hold an object {…}, not None."),
        (b'{"schema": 1, "status": "\xff"}', "line 1: not UTF-8"),
        (b'{"a": ' + b"[" * 200_000, "nested more than 100 deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a whole number of 5,000 digits"),
        (b'{"schema": 1, "schema": 1}', "the key 'schema' twice"),
        (b'{"schema": 1, "status": "done", "seed": NaN}', "damaged: NaN is no number"),
        (b'{"schema": 1, "x": -Infinity}', "damaged: -Infinity is no number"),
    ],
)
def test_a_file_that_is_no_record(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_record(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'record.json'}: ")
    assert message in str(caught.value)


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"record\.json: no such file; the run is not finished"):
        read_record(tmp_path)
    with pytest.raises(RecordError, match="nowhere: no such file"):
        read_record(tmp_path / "nowhere")
    for folder in ("runs/en-ro/lora/seed-0", "runs/en-ro/lora/.mt_lottery.new"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "record.json").write_text("{}")
    for folder in ("lora", ""):
        with pytest.raises(RecordError, match=r"Finished runs in it: [^,]*seed-0[.]$"):
            read_record(tmp_path / "runs" / "en-ro" / folder)
    with pytest.raises(RecordError, match=r"no such file or folder\. Did you mean 'seed-0'"):
        read_record(tmp_path / "runs" / "en-ro" / "lora" / "seed0")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path, bad: float) -> None:
    made = record(cost=CostRecord(train_seconds=bad))
    with pytest.raises(RecordError, match="not written, a number in it is not finite"):
        made.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [Record, *(type(each) for each in _parts(record()))])
def test_nothing_is_written_that_is_not_of_its_type(kind: type, tmp_path: Path) -> None:
    """Each field of each object in turn gets a value of no field's type; so no record that was
    written is refused when it is read."""
    for field in dataclasses.fields(kind):
        made = record()
        one = next(each for each in (made, *_parts(made)) if type(each) is kind)
        setattr(one, field.name, {3})
        with pytest.raises(RecordError, match=r"record\.json: not written: "):
            made.write(tmp_path)
        assert not list(tmp_path.iterdir())
