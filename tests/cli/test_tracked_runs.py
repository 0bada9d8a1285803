"""Runs with real trackers, without a network: what they wrote is read back."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Models, hypotheses, record, small

pytestmark = pytest.mark.slow

KEYS = {
    "COMET_API_KEY": "c0metsecretc0metsecret",
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "HF_TOKEN": "hf_notforanyone",
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys that must not show anywhere; offline, but for what a test says."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def need(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -e '.[trackers]'")


def contents_of(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, those in archives too."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path)] = path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                found |= {f"{path}/{n}": archive.read(n) for n in archive.namelist()}
    return found


def no_secret_in(folder: Path, *texts: str) -> None:
    held = contents_of(folder)
    assert held
    for name, content in held.items():
        for secret in KEYS.values():
            assert secret.encode() not in content, name
    for text in texts:
        assert not any(secret in text for secret in KEYS.values())


class Archive:
    """A Comet offline archive."""

    def __init__(self, folder: Path) -> None:
        (path,) = folder.glob("*.zip")
        with zipfile.ZipFile(path) as archive:
            lines = archive.read("messages.json").decode().splitlines()
            self.about = json.loads(archive.read("experiment.json"))
            self.messages: list[dict[str, Any]] = [json.loads(line) for line in lines]
            self.files = {
                m["payload"]["additional_params"]["fileName"]: archive.read(
                    Path(m["payload"]["file_path"]).name
                ).decode("utf-8", "replace")
                for m in self.of("file_upload")
            }

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["type"] == kind]

    def others(self) -> dict[str, Any]:
        return {m["payload"]["key"]: m["payload"]["value"] for m in self.of("log_other")}

    def parameters(self) -> dict[str, Any]:
        found = [
            m["payload"].get("param") or m["payload"]["params"] for m in self.of("parameter_msg")
        ]
        return {p["paramName"]: p["paramValue"] for p in found}

    def metrics(self) -> dict[str, list[tuple[int | None, float]]]:
        found: dict[str, list[tuple[int | None, float]]] = {}
        for message in self.of("metric_msg"):
            metric = message["payload"]["metric"]
            pair = (metric.get("step"), float(metric["metricValue"]))
            found.setdefault(metric["metricName"], []).append(pair)
        return found


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (run / "train_log.jsonl").read_text().splitlines()]


def events_of(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """Tag → step and value, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found: dict[str, list[tuple[int, Any]]] = {}
    for file in folder.glob("events.out.tfevents.*"):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.HasField("tensor"):
                    content = tensor_util.make_ndarray(value.tensor).ravel().tolist()
                    if content:  # those of the hparams plugin are empty
                        found.setdefault(value.tag, []).append((event.step, content[0]))
    return found


def leveldb_records(content: bytes, header: int) -> Iterator[bytes]:
    """Records of a log in LevelDB's format (wandb's file is one after seven bytes)."""
    place, held = header, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:  # a block's end has no room for a record's head
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", content[place : place + 7])
        held += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield held
            held = b""


def test_comet_and_tensorboard_hold_the_whole_run(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("comet_ml", "tensorboard")
    monkeypatch.setenv("COMET_OFFLINE", "1")
    given = [
        *small(models.untied, "ks_lottery", "baseline=false", "out_dir=run", "tuner.tickets=5"),
        *("tracker=[comet,tensorboard]", "tracking.adapter=true", "tracking.deadline=60"),
        "tracking.samples=4",
    ]
    ended = commands.train(*given)
    assert ended.code == 0, ended.err
    again = commands.train(*given)
    assert "left alone, and nothing is sent to comet, tensorboard (overwrite=true" in again.err
    run = Path("run")
    made, log = record(run), log_of(run)
    no_secret_in(run, ended.out, ended.err)
    # one line says how to upload, and the archive that it names is there
    (line,) = [x for x in ended.err.splitlines() if "comet upload" in x]
    assert Path(line.split("comet upload ")[1]).is_file()

    archive = Archive(run / "trackers" / "comet")
    assert archive.about["project_name"] == "mt-lottery"
    assert archive.others()["Name"] == "ks_lottery en-es seed 0"
    assert archive.others()["signature/chrf"] == made["scores"]["chrf"]["signature"]
    assert archive.others()["config_hash"] == made["config_hash"]
    parameters = archive.parameters()
    assert parameters["tuner.tickets"] == 5 and parameters["lang"] == "en-es"
    metrics = archive.metrics()
    steps = [x for x in log if "loss" in x]
    assert metrics["train/loss"] == [(x["step"], pytest.approx(x["loss"])) for x in steps]
    for name in ("train/learning_rate", "train/tokens_per_second", "train/memory_bytes"):
        assert len(metrics[name]) == len(steps) and all(v >= 0 for _, v in metrics[name])
    assert metrics["train/memory_bytes"][0][1] > 10**7
    score = made["scores"]["chrf"]["raw"]
    assert metrics["scores/chrf/raw"][0][1] == pytest.approx(score["score"])
    assert metrics["scores/chrf/raw_low"][0][1] == pytest.approx(score["ci95"][0])
    assert len(archive.files["ticket.csv"].strip().splitlines()) == 1 + 5
    assert "statistic" in archive.files["ticket.csv"].splitlines()[0]
    assert hypotheses(run)[0]["source"] in archive.files["translations.csv"]
    assert any(name.endswith("adapter_model.safetensors") for name in archive.files)
    # the client says nothing by itself: no arguments, output, source, packages or machine
    kinds = {m["type"] for m in archive.messages}
    assert kinds == {"log_other", "parameter_msg", "metric_msg", "file_upload"}

    events = events_of(run / "trackers" / "tensorboard")
    assert events["train/loss"] == [(x["step"], pytest.approx(x["loss"], rel=1e-5)) for x in steps]
    assert events["scores/chrf/raw"][0][1] == pytest.approx(score["score"], rel=1e-5)
    ((_, table),) = events["ticket"]
    assert table.decode().count("\n") == 1 + 5
    assert b"| tuner.tickets | 5 |" in events["config"][0][1]
    assert hypotheses(run)[0]["reference"] in events["translations"][0][1].decode()

    # neither changes what is done
    plain = commands.train(
        *small(models.untied, "ks_lottery", "baseline=false", "out_dir=plain", "tuner.tickets=5")
    )
    assert plain.code == 0, plain.err
    assert record(Path("plain"))["config_hash"] == made["config_hash"]
    assert hypotheses(Path("plain")) == hypotheses(run) and not Path("plain/trackers").exists()


def test_wandb_and_mlflow_offline(commands: Commands, models: Models) -> None:
    need("wandb", "mlflow")
    ended = commands.train(
        *small(models.untied, "eos_bias", "baseline=false", "out_dir=run"),
        *("tracker=[mlflow,wandb]", "tracking.offline=true", "tracking.deadline=90"),
    )
    assert ended.code == 0, ended.err
    run, log = Path("run"), log_of(Path("run"))
    no_secret_in(run, ended.out, ended.err)
    losses = [x["loss"] for x in log if "loss" in x]
    (file,) = run.rglob("metrics/train/loss")
    assert [float(x.split()[1]) for x in file.read_text().splitlines()] == pytest.approx(losses)
    (file,) = run.rglob("params/train.lr")
    assert float(file.read_text()) > 0
    (table,) = run.rglob("artifacts/translations.json")
    assert json.loads(table.read_text())["data"][0][0] == hypotheses(run)[0]["source"]
    assert "wandb sync" in ended.err
    from wandb.proto import wandb_internal_pb2

    (path,) = (p for p in run.rglob("run-*.wandb") if "latest-run" not in p.parts)
    seen = []
    for data in leveldb_records(path.read_bytes(), header=7):
        message = wandb_internal_pb2.Record()
        message.ParseFromString(data)
        for item in message.history.item:
            if "train/loss" in (item.key, *item.nested_key):
                seen.append(float(item.value_json))
    assert seen == pytest.approx(losses)


def test_without_a_network_a_key_costs_a_warning_and_no_time(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("comet_ml")
    monkeypatch.setenv("COMET_URL_OVERRIDE", "http://127.0.0.1:9/clientlib/")
    monkeypatch.delenv("COMET_OFFLINE", raising=False)
    began = time.monotonic()
    arguments = small(models.untied, "eos_bias", "baseline=false", "out_dir=run")
    ended = commands.train(*arguments, "tracker=comet", "tracking.deadline=4")
    took = time.monotonic() - began
    assert ended.code == 0, ended.err
    assert ended.err.count("Warning: tracker=comet") == 1
    assert record(Path("run"))["status"] == "done"
    cost = record(Path("run"))["cost"]
    assert took < 4 + 30 + cost["train_seconds"]  # Comet alone would try for longer
    no_secret_in(Path("run"), ended.out, ended.err)


def test_a_tracker_that_is_not_installed_is_named_before_any_work(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    version = importlib.metadata.version

    def without(name: str) -> str:
        if name in ("comet-ml", "wandb"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    said = commands.train(
        *small(models.untied, "lora", "out_dir=run"), "tracker=[comet,wandb]"
    ).mistake()
    assert "pip install 'comet-ml>=3.49' (or the extra 'mt-lottery[comet]')" in said
    assert "'mt-lottery[wandb]'" in said and not Path("run").exists()
    bench = ("bench", "lora", "--langs", "es", "--model", models.untied, "--out", "out")
    said = commands.call(*bench, "tracker=comet").mistake()
    assert "'mt-lottery[comet]'" in said and not Path("out").exists()


def test_a_benchmark_is_an_experiment_a_cell_and_one_for_the_leaderboard(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("comet_ml", "tensorboard")
    monkeypatch.setenv("COMET_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    arguments = (
        *("bench", "eos_bias", "--langs", "es", "--preset", "smoke", "--model", models.untied),
        *("--out", "my bench", "metrics=[chrf]", "translate.max_new_tokens=8"),
        *("data.train_pairs=16", "data.test_pairs=6", "data.dev_pairs=4"),
    )
    ended = commands.call(*arguments, "tracker=[comet,tensorboard]", "tracking.deadline=60")
    assert ended.code == 0, ended.err
    out = Path("my bench")
    cells = sorted(out.glob("runs/*/*/*/trackers/comet"))
    assert len(cells) == 2
    archives = [Archive(cell) for cell in cells]
    whole = Archive(out / "trackers" / "comet")
    assert {a.about["project_name"] for a in (*archives, whole)} == {"mt-lottery"}
    assert all(a.others()["group"] == "my bench" for a in (*archives, whole))
    assert {a.others()["Name"] for a in archives} == {
        "eos_bias en-es seed 0", "none en-es seed 0"
    }  # fmt: skip
    assert whole.others()["Name"] == "leaderboard my bench"
    board = json.loads((out / "leaderboard.json").read_text())
    row = board["blocks"][0]["rows"][1]
    raw = row["average"]["raw"]["score"]
    assert whole.metrics()["recipe_settings/eos_bias/raw"][0][1] == pytest.approx(raw)
    assert whole.files["leaderboard.md"] == (out / "leaderboard.md").read_text()
    assert whole.files["leaderboard.csv"] == (out / "leaderboard.csv").read_text()
    assert len(whole.files["averages.csv"].splitlines()) == 3
    assert "leaderboard.html" not in whole.files  # it holds the test set's text
    events = events_of(out / "trackers" / "tensorboard")
    assert b"eos_bias" in events["averages"][0][1]
    no_secret_in(out, ended.out, ended.err)
    assert "comet upload" in ended.err and "/*/*/*/*/trackers/comet/*.zip" in ended.err
    # where results are shown is no other benchmark
    again = commands.call(*arguments)
    assert again.code == 0 and "2 cells, 2 done, 0 to do" in again.err


def test_the_modules_of_the_clients_are_not_imported_by_a_run() -> None:
    import subprocess

    code = (
        "import sys, mt_lottery.tracking.trackers, mt_lottery.tracking.remote as r\n"
        "import mt_lottery.tracking.clients\n"
        "assert not {'comet_ml', 'wandb', 'mlflow', 'tensorboard', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
