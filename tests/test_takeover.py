"""``overwrite=true``: the old run is whole until the new one is."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_record import record
from test_rundir import HASH, OTHER, config, done, interrupted

from mt_lottery.benchmark.cell_files import read_cell
from mt_lottery.benchmark.plan import Cell
from mt_lottery.errors import ConfigError, RecordError
from mt_lottery.paper.find.sides import is_run
from mt_lottery.runs import Run, load_tuned
from mt_lottery.runs.folder.preparing import STATE
from mt_lottery.runs.folder.record import NAME, read_record
from mt_lottery.runs.folder.takeover import (
    NEW,
    OLD,
    SWAP,
    discard_unbegun,
    done_in,
    place,
    settle,
    swap,
)
from mt_lottery.system.atomic import DiskError, sweep

SAID: list[str] = []


def begin(folder: Path, **changes: Any) -> tuple[Path, bool]:
    return place(folder, config(**changes), OTHER, SAID.append)


def old_run(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    done(folder)
    for name in ("adapter/adapter_model.safetensors", "fairseq2/train/log", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    (folder / "adapter" / "thesis.tex").write_text("years")
    return folder


def finish(new: Path) -> None:
    for name in ("model/model.safetensors", "fairseq2/train/other", "tickets.csv"):
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text("new")
    record(config_hash=OTHER).write(new)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and NEW not in str(p) and p.name != ".lock"
    }


def test_the_old_run_is_whole_until_the_new_one_is(tmp_path: Path) -> None:
    before = tree(old_run(tmp_path))
    new, resume = begin(tmp_path, overwrite=True)
    assert new == tmp_path / NEW and not resume and tree(tmp_path) == before
    finish(new)
    assert tree(tmp_path) == before
    swap(tmp_path)
    assert json.loads((tmp_path / NAME).read_text())["config_hash"] == OTHER
    assert {k for k in tree(tmp_path) if k not in (NAME, "config.yaml")} == {
        "model/model.safetensors", "fairseq2/train/other", "tickets.csv",
        "notes.txt", "adapter/thesis.tex",
    }  # fmt: skip
    assert not [p for p in os.listdir(tmp_path) if "mt_lottery" in p]


@pytest.mark.parametrize("again", [{"overwrite": True}, {"resume": True}])
def test_a_new_run_that_was_interrupted(tmp_path: Path, again: dict[str, Any]) -> None:
    before = tree(old_run(tmp_path))
    new, _ = begin(tmp_path, overwrite=True)
    (new / "checkpoints" / "checkpoint-20").mkdir(parents=True)
    discard_unbegun(new)
    assert begin(tmp_path, **again) == (new, True)
    assert (new / "checkpoints" / "checkpoint-20").is_dir() and tree(tmp_path) == before
    # another configuration begins anew
    assert place(tmp_path, config(overwrite=True), "c" * 64, SAID.append) == (new, False)
    assert not (new / "checkpoints").exists() and tree(tmp_path) == before
    discard_unbegun(new)
    assert not new.exists()


def test_an_interrupted_run_outlives_the_mistakes_of_one_that_replaces_it(tmp_path: Path) -> None:
    before = tree(interrupted(tmp_path))
    new, resume = begin(tmp_path, overwrite=True)
    assert new.name == NEW and not resume and tree(tmp_path) == before
    assert (tmp_path / "checkpoints" / "checkpoint-20").is_dir()
    discard_unbegun(new)
    assert place(tmp_path, config(resume=True), HASH, SAID.append) == (tmp_path, True)


def test_an_empty_folder_needs_no_other(tmp_path: Path) -> None:
    assert begin(tmp_path, overwrite=True) == (tmp_path, False)


@pytest.mark.parametrize("name", [NAME, STATE])
@pytest.mark.parametrize("content", ["{}", "[]", "", '{"artist": "x"}', "\0"])
def test_a_record_json_of_somebody_else(tmp_path: Path, name: str, content: str) -> None:
    """A file of this name alone does not make a folder ours."""
    (tmp_path / name).write_text(content)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("precious")
    before = tree(tmp_path)
    for changes in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(RecordError, match="is no run directory of mt-lottery, but holds"):
            begin(tmp_path, **changes)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("where", ["direct", "link", "unfinished"])
def test_an_input_is_never_replaced(tmp_path: Path, where: str) -> None:
    import dataclasses

    run = tmp_path / "run"
    run.mkdir()
    interrupted(run) if where == "unfinished" else old_run(run)
    (run / "tickets.csv").write_text("token_id\n3\n")
    (tmp_path / "link").symlink_to(run)
    given = (tmp_path / "link" if where == "link" else run) / "tickets.csv"
    plain = config(overwrite=where != "unfinished")
    wanted = dataclasses.replace(
        plain, data=dataclasses.replace(plain.data, path=str(given))
    )  # fmt: skip
    before = tree(run)
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    with pytest.raises(ConfigError, match=r"`data\.path` is .*would be replaced with its `tick"):
        place(run, wanted, OTHER, SAID.append)
    # beside what a run replaces, it may lie there
    mine = dataclasses.replace(plain, data=dataclasses.replace(plain.data, path=str(run)))
    place(run, mine, OTHER, SAID.append)
    assert where == "unfinished" or tree(run).items() >= before.items()


def test_a_checkpoint_that_the_user_keeps_in_a_finished_run(tmp_path: Path) -> None:
    kept = old_run(tmp_path) / "checkpoints" / "best" / "weights"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    new, _ = begin(tmp_path, overwrite=True)
    finish(new)
    swap(tmp_path)
    assert kept.read_text() == "mine" and done_in(tmp_path, OTHER) is not None


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    run = old_run(tmp_path / "run")
    shutil.move(run / "adapter", tmp_path / "big")
    (run / "adapter").symlink_to(tmp_path / "big")
    new, _ = begin(run, overwrite=True)
    finish(new)
    swap(run)
    assert not os.path.lexists(run / "adapter")
    assert (tmp_path / "big" / "adapter_model.safetensors").read_text() == "old"


def killed_in_swap(folder: Path, after: int) -> int:
    """Swap in a process of its own that dies at its n-th change of the disk; its exit status."""
    child = os.fork()
    if child == 0:
        calls = 0

        def counting(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **more: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls > after:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **more)

            return call

        for name in ("rename", "replace", "unlink", "rmdir"):
            setattr(os, name, counting(getattr(os, name)))
        try:
            swap(folder)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.slow
def test_a_kill_at_any_moment_of_the_swap(tmp_path: Path) -> None:
    expected = None
    for after in range(60):
        run = old_run(tmp_path / "run")
        before = tree(run)
        new, _ = begin(run, overwrite=True)
        finish(new)
        status = killed_in_swap(run, after)
        settle(run)
        sweep(run)
        if (new / NAME).is_file():  # done, and can still take its place
            assert tree(run) == before
            swap(run)
        found = tree(run)
        assert json.loads(found[NAME])["config_hash"] == OTHER
        assert found["adapter/thesis.tex"] == b"years" and found["notes.txt"] == b"old"
        expected = expected or set(found)
        assert set(found) == expected
        settle(run)
        assert not (run / OLD).exists() and not (run / SWAP).exists()
        shutil.rmtree(run)
        if status == 0:
            return
        assert status == signal.SIGKILL
    raise AssertionError("it was killed each time")


@pytest.mark.parametrize("after", range(9))
def test_a_rename_that_fails_gives_the_old_run_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    before = tree(old_run(tmp_path))
    new, _ = begin(tmp_path, overwrite=True)
    finish(new)
    real, calls = os.rename, 0

    def failing(*paths: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == after + 1:
            raise OSError(16, "Device or resource busy")
        real(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing)
        with pytest.raises(DiskError, match="cannot take the old one's place: Device or resource"):
            swap(tmp_path)
    assert tree(tmp_path) == before
    swap(tmp_path)
    assert json.loads((tmp_path / NAME).read_text())["config_hash"] == OTHER


@pytest.mark.parametrize("journal", ["", "{}", '{"out": ["../x"], "in": [], "keep": []}'])
def test_a_damaged_journal(tmp_path: Path, journal: str) -> None:
    before = tree(old_run(tmp_path))
    (tmp_path / SWAP).write_text(journal)
    with pytest.raises(RecordError, match=r"swap\.json: damaged"):
        settle(tmp_path)
    (tmp_path / SWAP).unlink()
    assert tree(tmp_path) == before


def test_what_reads_a_run_says_what_finishes_a_swap(tmp_path: Path) -> None:
    run = old_run(tmp_path / "run")
    finish(begin(run, overwrite=True)[0])
    (run / SWAP).write_text(json.dumps({"out": [NAME], "in": [NAME], "keep": []}))
    (run / OLD).mkdir()
    os.rename(run / NAME, run / OLD / NAME)
    for read in (read_record, load_tuned, lambda folder: Run(folder).merge(tmp_path / "merged")):
        with pytest.raises(RecordError, match="when it was cut short; nothing is lost"):
            read(run)
    with pytest.raises(RecordError, match="The same mt-train command"):
        read_cell(run, Cell("runs", "lora", "en-ro", 0))
    assert is_run(str(run))
    assert settle(run) and not settle(run)
    assert done_in(run, OTHER) is not None and done_in(run, HASH) is None
