"""Run directories: who may use one, and the configuration that it keeps."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from test_record import record

from mt_lottery.api.pairs import pair_settings
from mt_lottery.config import RunConfig
from mt_lottery.config.compose import compose, compose_saved
from mt_lottery.config.stored import allowing
from mt_lottery.errors import RecordError
from mt_lottery.languages import parse_pair
from mt_lottery.runs.folder.preparing import (
    CONFIG,
    OURS,
    STATE,
    default_folder,
    finished,
    locked,
    prepare,
    tidy,
)
from mt_lottery.runs.folder.record import NAME
from mt_lottery.system.atomic import DiskError
from mt_lottery.system.values import cache_folder

HASH, OTHER = "a" * 64, "b" * 64


def config(**changes: Any) -> RunConfig:
    return dataclasses.replace(compose(["recipe=embed", "lang=en-ro"]), **changes)


def interrupted(folder: Path, config_hash: str = HASH) -> Path:
    """A run that died after its first checkpoint."""
    prepare_new(folder, config_hash)
    (folder / "checkpoints" / "checkpoint-20").mkdir(parents=True)
    (folder / "train_log.jsonl").write_text('{"step": 1}\n')
    return folder


def prepare_new(folder: Path, config_hash: str = HASH) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    assert prepare(folder, config(), config_hash) is False


def done(folder: Path, config_hash: str = HASH) -> Path:
    prepare_new(folder, config_hash)
    record(config_hash=config_hash).write(folder)
    tidy(folder)
    return folder


def test_default_folder() -> None:
    assert default_folder(config(seed=3)) == Path("runs/en-ro/embed/seed-3")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert finished(tmp_path, HASH, overwrite=False) is None
    prepare_new(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {CONFIG, STATE}
    assert json.loads((tmp_path / STATE).read_text())["status"] == "running"


def test_the_same_run_is_found(tmp_path: Path) -> None:
    found = finished(done(tmp_path), HASH, overwrite=False)
    assert found is not None
    assert found.config_hash == HASH
    assert {p.name for p in tmp_path.iterdir()} == {CONFIG, NAME}  # tidy


def test_a_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    done(tmp_path)
    with pytest.raises(RecordError) as caught:
        finished(tmp_path, OTHER, overwrite=False)
    for part in (str(tmp_path), HASH[:12], "out_dir", "overwrite=True"):
        assert part in str(caught.value)
    assert (tmp_path / NAME).exists()


def test_overwrite_replaces_what_a_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    done(tmp_path)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    assert finished(tmp_path, OTHER, overwrite=True) is None
    assert prepare(tmp_path, config(overwrite=True), OTHER) is False
    assert {p.name for p in tmp_path.iterdir()} == {CONFIG, STATE, "notes.txt"}
    assert compose_saved(tmp_path / CONFIG).overwrite is False


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["model", "config.yaml", "adapter", "checkpoints"])
def test_a_folder_of_somebody_else_is_never_emptied(
    tmp_path: Path, name: str, overwrite: bool
) -> None:
    """``out_dir=.`` in a project with a folder ``model``."""
    precious = tmp_path / name if "." in name else tmp_path / name / "weights.bin"
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("precious")
    with pytest.raises(RecordError, match=f"no run directory of mt-lottery, but holds {name}"):
        prepare(tmp_path, config(overwrite=overwrite), HASH)
    assert precious.read_text() == "precious"


def test_an_interrupted_run_is_neither_lost_nor_taken_for_done(tmp_path: Path) -> None:
    interrupted(tmp_path)
    assert finished(tmp_path, HASH, overwrite=False) is None
    with pytest.raises(RecordError, match=r"resume=True continues it, overwrite=True starts anew"):
        prepare(tmp_path, config(), HASH)
    assert (tmp_path / "checkpoints" / "checkpoint-20").is_dir()


def test_resume_keeps_the_checkpoint_and_the_log(tmp_path: Path) -> None:
    interrupted(tmp_path)
    assert prepare(tmp_path, config(resume=True), HASH) is True
    assert (tmp_path / "checkpoints" / "checkpoint-20").is_dir()
    assert (tmp_path / "train_log.jsonl").read_text() == '{"step": 1}\n'
    assert compose_saved(tmp_path / CONFIG).resume is False


def test_resume_of_another_configuration_is_refused(tmp_path: Path) -> None:
    interrupted(tmp_path, OTHER)
    for resume in (True, False):  # it would not go on either way
        with pytest.raises(RecordError, match="interrupted run of another configuration"):
            prepare(tmp_path, config(resume=resume), HASH)
    assert (tmp_path / "checkpoints" / "checkpoint-20").is_dir()


@pytest.mark.parametrize("config_hash", [HASH, OTHER])
def test_overwrite_of_an_interrupted_run(tmp_path: Path, config_hash: str) -> None:
    interrupted(tmp_path, config_hash)
    assert prepare(tmp_path, config(overwrite=True), HASH) is False
    assert not (tmp_path / "checkpoints").exists()
    assert not (tmp_path / "train_log.jsonl").exists()


def test_a_run_that_died_before_its_first_checkpoint_starts_anew(tmp_path: Path) -> None:
    prepare_new(tmp_path, OTHER)
    prepare_new(tmp_path, HASH)
    assert json.loads((tmp_path / STATE).read_text())["config_hash"] == HASH


def test_resume_where_nothing_stands_starts_anew(tmp_path: Path) -> None:
    assert prepare(tmp_path, config(resume=True), HASH) is False


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_state_can_be_overwritten_as_it_says(tmp_path: Path, content: bytes) -> None:
    interrupted(tmp_path)
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(RecordError, match=r"\.run\.json: .* overwrite=True starts anew"):
        prepare(tmp_path, config(resume=True), HASH)
    assert prepare(tmp_path, config(overwrite=True), HASH) is False


@pytest.mark.parametrize("after", range(8))
def test_a_kill_while_the_old_run_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Wherever it dies, nothing is taken for a finished run without its files."""
    done(tmp_path)
    for name in OURS:
        if not (tmp_path / name).exists() and name != STATE:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
    calls = 0
    unlink = Path.unlink

    def dying(path: Path, missing_ok: bool = False) -> None:
        nonlocal calls
        if path.parent == tmp_path:
            calls += 1
            if calls > after:
                raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", dying)
        try:
            prepare(tmp_path, config(overwrite=True), OTHER)
        except KeyboardInterrupt:
            pass
        else:
            assert calls <= after
    if (tmp_path / NAME).exists():
        assert all((tmp_path / name).exists() for name in OURS)
    # and the next attempt works
    assert prepare(tmp_path, config(overwrite=True), OTHER) is False


HOLD = """
import sys
from pathlib import Path
from mt_lottery.runs.folder.preparing import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    process = hold(folder)
    try:
        for _ in range(2):  # a refused attempt must not break the lock
            with pytest.raises(RecordError, match="another run is working in this"):
                locked(folder).__enter__()
    finally:
        process.communicate("")
    with locked(folder), locked(tmp_path / "other"):
        pass


@pytest.mark.slow
def test_a_baseline_waits_for_the_other_process(tmp_path: Path) -> None:
    process = hold(tmp_path)
    began = time.monotonic()
    threading.Timer(0.5, process.communicate, [""]).start()
    said: list[str] = []
    with locked(tmp_path, wait=said.append):
        assert time.monotonic() - began > 0.4
    assert said == [f"Another run is making what this one needs ({tmp_path}): waiting for it."]
    with locked(tmp_path, wait=said.append):  # nothing to say where it is free
        assert len(said) == 1
    process.wait()


@pytest.mark.slow
def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    process = hold(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with locked(tmp_path):
        pass


def test_the_lock_goes_when_a_run_fails(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locked(tmp_path):
            _ = 1 / 0


def test_an_out_dir_that_cannot_be_made(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for folder in (file, file / "run"):
        with pytest.raises(DiskError) as caught, locked(folder):
            pass
        assert str(caught.value).startswith(f"out_dir={folder}: cannot be written: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DiskError, match="Permission denied"), locked(tmp_path / "run"):
        pass
    tmp_path.chmod(0o700)


def test_a_read_only_file_system() -> None:
    with (
        pytest.raises(DiskError, match=r"out_dir=/proc/run: cannot be written: "),
        locked(Path("/proc/run")),
    ):
        pass


@pytest.mark.parametrize("cache", ["/proc/cache", None])
def test_a_cache_that_cannot_be_written(cache: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setenv("MT_LOTTERY_CACHE", cache or "")
    there = cache_folder()
    said = f". MT_LOTTERY_CACHE={there}{'' if cache else ' (the default)'} must be a folder with "
    with pytest.raises(DiskError) as held, locked(there / "probes" / "key"):
        pass
    assert str(held.value).startswith(f"{there}/probes/key cannot be written: ")
    with pytest.raises(DiskError) as kept:
        pair_settings("train", [("a", "b")], parse_pair("en-ro"))
    assert str(kept.value).startswith(f"{there}/pairs/")
    for told in (held, kept):
        assert said in str(told.value) and "out_dir" not in str(told.value)


def test_the_saved_configuration_works_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = tmp_path / "my plug'ins"
    (plugins / "recipe").mkdir(parents=True)
    (plugins / "recipe" / "mine_saved.yaml").write_text("tuner: {name: random}\n")
    (tmp_path / "a=b").mkdir()
    monkeypatch.chdir(tmp_path)
    made = compose(
        [
            *("recipe=mine_saved", "lang=en-ro", 'user_dir="my plug\'ins"', "data.path='a=b'"),
            *("model=hf", "model.name_or_path=org/on-the-hub"),
        ]
    )
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    prepare(run_dir, made, HASH)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with allowing(user_dir=plugins):
        again = compose_saved(run_dir / CONFIG)
    assert again.user_dir == str(plugins)
    assert again.data.path == str(tmp_path / "a=b")
    assert again.model.name_or_path == "org/on-the-hub"  # no path: left as it is
    assert again.tuner == made.tuner
