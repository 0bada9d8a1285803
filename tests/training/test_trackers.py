"""A tracker never stops or slows a run, and sees no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mt_lottery.config import TrackingConfig
from mt_lottery.registry import TRACKERS, register_tracker
from mt_lottery.system.secrets import without_secrets
from mt_lottery.tracking import given_up, reachable, trackers
from mt_lottery.tracking.content import run_report, step_values
from mt_lottery.tracking.remote import RemoteTracker, start_of

pytestmark = pytest.mark.slow

TRACKING = vars(TrackingConfig(deadline=2.0))


def config(*names: str, **tracking: Any) -> dict[str, Any]:
    about = {"recipe": "lora", "lang": "en-ro", "seed": 3}
    return {"tracker": list(names), "tracking": TRACKING | tracking, **about}


@pytest.fixture
def registered_tracker(registered: None) -> Iterator[Callable[[type], None]]:
    def add(kind: type) -> None:
        register_tracker("under_test")(kind)

    TRACKERS.names()  # entry points first
    yield add


def test_calls_come_in_order_and_at_once(registered_tracker: Any, tmp_path: Path) -> None:
    seen: list[Any] = []
    main = threading.get_ident()

    class Slow(trackers.Tracker):
        def log(self, step: int, values: dict[str, float]) -> None:
            time.sleep(0.02)
            assert threading.get_ident() != main
            seen.append((step, values["loss"]))

        def finish(self, record: dict[str, Any] | None) -> None:
            seen.append(record)

        def messages(self) -> list[str]:
            return [f"kept in {self.run_dir}"]

    registered_tracker(Slow)
    said: list[str] = []
    begun = trackers.begin(config("under_test", "none"), str(tmp_path), said.append)
    assert [t.name for t in begun] == ["under_test"]
    values = {"loss": 0.0}
    began = time.monotonic()
    for step in range(20):
        values["loss"] = step / 2  # the caller goes on with its own dictionary
        begun[0].log(step, values)
    assert time.monotonic() - began < 0.2  # 20 · 0.02 s would be 0.4
    trackers.end(begun, {"status": "done"}, 5.0)
    assert seen == [*((i, i / 2) for i in range(20)), {"status": "done"}]
    assert said == [f"kept in {tmp_path}"]


@pytest.mark.parametrize("where", ["__init__", "log", "finish"])
@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_a_tracker_that_fails_is_one_warning(
    registered_tracker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, how: str
) -> None:
    monkeypatch.setenv("FAKE_API_KEY", "sesame-open-1234")
    over = threading.Event()

    def fail(*_: Any, **__: Any) -> None:
        if how == "hangs":
            over.wait(30)
        raise RuntimeError("no route to https://me:pass@host with sesame-open-1234\nmore")

    registered_tracker(type("Broken", (trackers.Tracker,), {where: fail}))
    said: list[str] = []
    began = time.monotonic()
    begun = trackers.begin(config("under_test"), str(tmp_path), said.append)
    for step in range(100):
        begun[0].log(step, {"loss": 1.0})
    assert time.monotonic() - began < 0.5
    trackers.end(begun, {"status": "done"}, 0.5)
    assert time.monotonic() - began < 1.5
    over.set()
    begun[0]._thread.join(5)
    (warning,) = said
    assert warning.startswith("Warning: tracker=under_test: ")
    assert "sesame" not in warning and "pass" not in warning and "\n" not in warning
    reason = "not done after 0.5 s (tracking.deadline)" if how == "hangs" else "no route to https"
    assert reason in warning


class Stub(RemoteTracker):
    """A client's process of our own: what is tested is how the run's side treats it."""

    code = ""

    def __init__(self, config: dict[str, Any], run_dir: str) -> None:
        popen = subprocess.Popen

        def instead(command: list[str], **settings: Any) -> Any:
            assert command[1:3] == ["-m", "mt_lottery.tracking.client_process"]
            self.pid = popen([sys.executable, "-c", self.code], **settings)
            return self.pid

        subprocess.Popen = instead  # type: ignore[assignment, misc]
        try:
            super().__init__(config, run_dir)
        finally:
            subprocess.Popen = popen  # type: ignore[misc]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(60)", "no answer in 1 s (tracking.deadline)"),
        ("raise SystemExit(7)", "its process ended with code 7"),
        ('print(\'{"error": "bad key"}\', flush=True)', "bad key"),
        (
            "print('{\"started\": true}', flush=True)\nimport time; time.sleep(60)",
            "no answer in 1 s",
        ),
        ("print('{\"started\": true}', flush=True)\nimport os; os._exit(9)", "code"),
    ],
)
def test_a_process_that_fails_is_ended(
    registered_tracker: Any, tmp_path: Path, code: str, said: str
) -> None:
    made: list[Any] = []

    class This(Stub):
        def __init__(self, *arguments: Any) -> None:
            made.append(self)
            super().__init__(*arguments)

    This.code = code
    registered_tracker(This)
    lines: list[str] = []
    begun = trackers.begin(config("under_test", deadline=1.0), str(tmp_path), lines.append)
    time.sleep(0.3)
    for step in range(5):
        begun[0].log(step, {"loss": 1.0})
    trackers.end(begun, None, 6.0)
    assert len(lines) == 1 and said in lines[0], lines
    assert made[0].pid.wait(5) is not None  # no process is left


def test_secrets_are_found_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_API_KEY", "abcdefgh12345678")
    monkeypatch.setenv("LONGER_TOKEN", "abcdefgh12345678-and-more")
    monkeypatch.setenv("SOME_SECRET", "true")  # too short: it stands in any text
    monkeypatch.setenv("NOT_SO", "en-ro-corpus")
    found = without_secrets(
        {
            "a abcdefgh12345678 b": ["x abcdefgh12345678-and-more y", 1, None, True],
            "url": "https://me:hunter2@host/x?y",
            "same": "true en-ro-corpus ratio 1:2 a@b",
        }
    )
    assert found == {
        "a *** b": ["x *** y", 1, None, True],
        "url": "https://***@host/x?y",
        "same": "true en-ro-corpus ratio 1:2 a@b",
    }


def test_what_a_client_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    about = config("comet", group="bench", project="p")
    about["model"] = {"name_or_path": "https://hf_0123456789@hub/x", "revision": None}
    start = start_of(about, str(tmp_path), "comet")
    assert start["name"] == "lora en-ro seed 3" and start["project"] == "p"
    assert start["tags"] == ["lora", "en-ro", "bench"]
    assert start["parameters"]["model.name_or_path"] == "https://***@hub/x"
    assert not any(key.startswith("tracking.") for key in start["parameters"])
    assert start["folder"] == str(tmp_path / "trackers" / "comet")
    assert step_values({"loss": 1, "lr": 2, "dev_loss": float("nan"), "seconds": 3}) == {
        "train/loss": 1.0, "train/learning_rate": 2.0, "train/seconds": 3.0,
    }  # fmt: skip


def test_the_report_of_a_run(tmp_path: Path) -> None:
    rows = ["token_id,token,statistic,pvalue,selected,train_frequency"]
    rows += ['7,"a,""b",0.5,0.25,true,3', '9,"\r",0.4,0.5,false,0', '4,"\r",0.3,0.5,true,1']
    (tmp_path / "tickets.csv").write_bytes("\n".join(rows).encode() + b"\n")
    lines = [
        {"source": f"s{i}", "reference": "r", "hypothesis": "a\nb", "first_line": "a",
         "stopped": True, "tokens": 3}
        for i in range(50)
    ]  # fmt: skip
    text = "".join(json.dumps(x) + "\n" for x in lines)
    (tmp_path / "hypotheses.jsonl").write_text(text)
    (tmp_path / "adapter").mkdir()
    both = {"score": 20.5, "ci95": [19, 22]}
    record = {
        "method": "ks_lottery", "lang": "en-ro", "config_hash": "ab",
        "model": {"name": "m", "sha256": None, "revision": "c0ffee"},
        "scores": {"chrf": {"raw": both, "first_line": both, "signature": "nrefs:1"}},
        "generation": {"stopped": 0.5, "off_target": None}, "cost": {"train_seconds": 3.5},
        "trainable_parameters": 36, "environment": {"torch": "2"},
        "tickets": {"count": 2, "alpha": 0.5, "correction": None, "tau": 0.1,
                    "selector": "ks", "scope": "input"},
    }  # fmt: skip
    report = run_report(record, tmp_path, TRACKING | {"adapter": True})
    assert report.tables["ticket"] == (
        ["token_id", "token", "statistic", "pvalue", "train_frequency"],
        [[7, 'a,"b', 0.5, 0.25, 3], [4, "\\r", 0.3, 0.5, 1]],
    )
    shown = report.tables["translations"][1]
    assert len(shown) == 20 and len({tuple(row) for row in shown}) == 20
    assert shown[0][0] == "s0" and int(shown[-1][0][1:]) >= 45  # from all over the test set
    assert report.numbers["scores/chrf/first_line_high"] == 22.0
    assert "generation/off_target" not in report.numbers
    assert report.numbers["tickets/count"] == 2 and report.texts["signature/chrf"] == "nrefs:1"
    assert report.artifact == str(tmp_path / "adapter")
    assert run_report(record, tmp_path, TRACKING).artifact is None
    assert "translations" not in run_report(record, tmp_path, TRACKING | {"samples": 0}).tables
    json.dumps(report.clean(), allow_nan=False)


def test_clients_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    """The end of the pipe is the end of the run: the client closes, and its process goes."""
    pytest.importorskip("tensorboard")
    start = start_of(config("tensorboard"), str(tmp_path), "tensorboard")
    Path(start["folder"]).mkdir(parents=True)
    lines = [json.dumps({"start": start}), json.dumps({"step": 1, "values": {"train/loss": 2.0}})]
    done = subprocess.run(
        [sys.executable, "-m", "mt_lottery.tracking.client_process", "tensorboard"],
        input="".join(x + "\n" for x in lines), capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0 and '"started": true' in done.stdout
    assert list(Path(start["folder"]).glob("events.out.tfevents.*"))


def test_a_time_out_is_remembered_by_the_rest_of_a_benchmark(
    registered_tracker: Any, tmp_path: Path
) -> None:
    made: list[Any] = []

    class Silent(trackers.Tracker):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

        def start(self) -> None:
            raise trackers.TrackerTimeout("no answer")

    registered_tracker(Silent)

    def run() -> list[str]:
        said: list[str] = []
        trackers.end(trackers.begin(config("under_test"), str(tmp_path), said.append), None, 5.0)
        return said

    with given_up.shared(tmp_path):
        assert "Warning" in run()[0] and len(made) == 1
        assert "left out" in run()[0] and len(made) == 1
        code = (
            "from mt_lottery.tracking import given_up\n"
            "assert given_up.known('under_test') and not given_up.known('other')"
        )  # a worker's process knows it too
        subprocess.run([sys.executable, "-c", code], check=True)
    assert not list(tmp_path.iterdir())
    assert "Warning" in run()[0] and "Warning" in run()[0]  # runs of their own each try


def test_one_that_has_not_started_costs_no_second_deadline(
    registered_tracker: Any, tmp_path: Path
) -> None:
    class Never(Stub):
        code = "import time; time.sleep(60)"

    registered_tracker(Never)
    said: list[str] = []
    began = time.monotonic()
    begun = trackers.begin(config("under_test", deadline=2.0), str(tmp_path), said.append)
    assert time.monotonic() - began < 1.0
    time.sleep(max(0.0, 1.8 - (time.monotonic() - began)))  # the run itself
    trackers.end(begun, None, 2.0)
    assert time.monotonic() - began < 3.5 and len(said) == 1


def test_no_process_outlives_a_run(registered_tracker: Any, tmp_path: Path) -> None:
    """Nor what a client has started in a session of its own."""
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen(['sleep', '61.5'], start_new_session=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
        "time.sleep(60)"
    )
    registered_tracker(type("Hangs", (Stub,), {"code": code}))
    begun = trackers.begin(config("under_test", deadline=2.0), str(tmp_path), print)
    trackers.end(begun, None, 2.0)
    gone(int((tmp_path / "pid").read_text()))


def gone(pid: int) -> None:
    over = time.monotonic() + 10
    while time.monotonic() < over:
        try:
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return  # only its entry is left
        except OSError:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} is still there")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_killed_run_leaves_no_client_that_is_starting(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "from mt_lottery.tracking import client_process as t, clients as c\n"
        "class Busy:\n"
        "    def __init__(self, start):\n"
        "        p = subprocess.Popen(['sleep', '62.5'], start_new_session=True)\n"
        f"        open({str(tmp_path / 'pids')!r}, 'w').write(f'{{p.pid}} {{t.os.getpid()}}')\n"
        "        time.sleep(60)\n"
        "c.CLIENTS['busy'] = Busy\n"
        "t.ALONE = 0.5\n"
        "sys.argv = ['x', 'busy']\n"
        "t.main()\n"
    )
    parent = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', {code!r}], stdin=subprocess.PIPE,"
        " start_new_session=True)\n"
        'p.stdin.write(b\'{"start": {"deadline": 60}}\\n\'); p.stdin.flush()\n'
        "time.sleep(60)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", parent])
    over = time.monotonic() + 60
    while not (tmp_path / "pids").exists() or " " not in (tmp_path / "pids").read_text():
        assert time.monotonic() < over
        time.sleep(0.1)
    run.kill()
    run.wait()
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        gone(pid)


def test_a_server_that_cannot_be_reached_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    began = time.monotonic()
    with pytest.raises(reachable.Unreachable, match=r"127\.0\.0\.1 cannot be reached"):
        reachable.require("http://127.0.0.1:9/clientlib/")
    with pytest.raises(reachable.Unreachable, match="nowhere"):
        reachable.require("https://nowhere.invalid")
    assert time.monotonic() - began < 20
    reachable.require("file:///tmp/mlruns")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reachable.require(f"http://127.0.0.1:{port}")
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{port}")
        reachable.require("https://nowhere.invalid")  # the proxy knows
