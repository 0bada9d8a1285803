"""Folders that the user names: what is replaced, and what never is."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt_lottery.errors import RecordError
from mt_lottery.system import replacing
from mt_lottery.system.atomic import DiskError
from mt_lottery.system.replacing import MARKER, check_new_files, check_replaceable, written_folder


def write(folder: Path, content: str = "new") -> Path:
    with written_folder(folder, marked=True) as staging:
        (staging / "deep").mkdir()
        (staging / "deep" / "weights").write_text(content)
        (staging / "config.json").write_text("{}")
    return folder


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "work"


def test_ours_and_empty_ones_are_replaced(elsewhere: Path) -> None:
    out = write(elsewhere / "out", "old")
    Path("empty").mkdir()
    for folder in ("out", "empty"):
        with pytest.raises(RecordError, match=f"^{folder} exists; give another folder, or over"):
            check_replaceable(folder, overwrite=False)
        assert check_replaceable(folder, overwrite=True) == elsewhere / folder
        write(elsewhere / folder)
        assert (elsewhere / folder / "deep" / "weights").read_text() == "new"
    (out / ".DS_Store").write_text("x")  # a file browser's
    check_replaceable("out", overwrite=True)
    assert {p.name for p in elsewhere.iterdir()} == {"out", "empty"}


@pytest.mark.parametrize("name", ["thesis.tex", "deep/thesis.tex", ".hidden", "empty/"])
def test_a_file_of_the_users_in_a_folder_of_ours(elsewhere: Path, name: str) -> None:
    out = write(elsewhere / "out")
    if name.endswith("/"):
        (out / name).mkdir()
    else:
        (out / name).write_text("years of work")
    with pytest.raises(RecordError, match=f"holds {name.rstrip('/')}, which mt-lottery did not"):
        check_replaceable("out", overwrite=True)


def test_a_file_of_ours_that_was_changed(elsewhere: Path) -> None:
    out = write(elsewhere / "out")
    (out / "deep" / "weights").write_text("trained further")
    with pytest.raises(RecordError, match=r"deep/weights has been changed since mt-lottery"):
        check_replaceable("out", overwrite=True)
    out = write(elsewhere / "two")
    os.utime(out / "config.json", (1, 1))  # as long as before
    with pytest.raises(RecordError, match=r"config\.json has been changed"):
        check_replaceable("two", overwrite=True)


@pytest.mark.parametrize("marker", [None, "", "{", "[]", '{"files": {}}', '{"written_by": "me"}'])
def test_a_folder_of_somebody_else(elsewhere: Path, marker: str | None) -> None:
    Path("mine").mkdir()
    Path("mine/model.safetensors").write_text("precious")
    if marker is not None:
        Path("mine", MARKER).write_text(marker)
    before = tree(elsewhere)
    with pytest.raises(RecordError, match=r"^mine was not written by mt-lottery .*model\.safe"):
        check_replaceable("mine", overwrite=True)
    assert tree(elsewhere) == before


def test_what_holds_or_is_held_by_something_that_is_needed(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write(elsewhere / "out")
    (elsewhere / "link").symlink_to(out)
    cases = {
        "is the run": (out, out), "holds the run": (out, out / "deep"),
        "is inside the run": (out, elsewhere), "is the run ": (out, elsewhere / "link"),
        "holds the run ": (out, elsewhere / "link" / "deep"),
    }  # fmt: skip
    for relation, (target, read) in cases.items():
        with pytest.raises(RecordError, match=f"out {relation}".rstrip()):
            check_replaceable(target, overwrite=True, inputs={"the run": read, "none": None})
    with pytest.raises(RecordError, match="link is a link to "):
        check_replaceable("link", overwrite=True)
    Path("dangling").symlink_to("nowhere")
    with pytest.raises(RecordError, match="dangling is a link to "):
        check_replaceable("dangling", overwrite=False)
    monkeypatch.chdir(out / "deep")
    for given in ("..", str(out), "../../out", "."):
        with pytest.raises(RecordError):
            check_replaceable(given, overwrite=True)
    monkeypatch.setenv("HOME", str(out))
    monkeypatch.chdir(elsewhere)
    with pytest.raises(RecordError, match="~ is your home folder"):
        check_replaceable("~", overwrite=True)
    for given in ("/", "/proc", "/tmp"):
        with pytest.raises((RecordError, DiskError)):
            check_replaceable(given, overwrite=True)
    assert (out / "deep" / "weights").read_text() == "new"


def test_what_cannot_be_written_is_said_first(elsewhere: Path) -> None:
    Path("file").write_text("x")
    for given in ("file", "file/below", "n" * 256, "/proc/x"):
        with pytest.raises((RecordError, DiskError), match=given[:5]):
            check_replaceable(given, overwrite=True)
    Path("loop").symlink_to("loop")
    for given in ("loop", "loop/out"):
        with pytest.raises((RecordError, DiskError)):
            check_replaceable(given, overwrite=True)
    longest = elsewhere / ("ü" * 127)
    check_replaceable(longest, overwrite=False)
    write(longest)
    assert {p.name for p in elsewhere.iterdir()} == {"file", "loop", longest.name}


def test_a_failure_leaves_the_old_one(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write(elsewhere / "out", "old")
    before = tree(elsewhere)
    with pytest.raises(DiskError, match="out cannot be written: No space left on device"):  # noqa: SIM117
        with written_folder(out, marked=True) as staging:
            (staging / "config.json").write_text("half")
            raise RuntimeError("[enforce fail] . PytorchStreamWriter failed writing file") from (
                OSError(errno.ENOSPC, "No space left on device")
            )
    assert tree(elsewhere) == before
    monkeypatch.setattr(replacing, "_exchange", lambda *_: False)
    rename, calls = os.rename, 0

    def failing(*paths: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:  # the old one has been moved aside
            raise OSError(errno.EBUSY, "Device or resource busy")
        rename(*paths)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(DiskError, match="Device or resource busy"):
        write(out)
    assert tree(elsewhere) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from mt_lottery.system import replacing
calls = 0
def counting(name):
    real = getattr(os, name)
    def call(*arguments, **more):
        global calls
        calls += 1
        if calls > int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **more)
    setattr(os, name, call)
for name in ("rename", "replace", "fsync", "unlink", "rmdir", "mkdir"):
    counting(name)
if sys.argv[3] == "no":
    replacing._exchange = lambda *_: False
with replacing.written_folder(Path(sys.argv[1]), marked=True) as staging:
    (staging / "config.json").write_text("new")
"""


@pytest.mark.slow
@pytest.mark.parametrize("swaps", ["yes", "no"])
def test_a_kill_at_any_moment_leaves_either(elsewhere: Path, swaps: str) -> None:
    seen = set()
    for after in range(40):
        out = elsewhere / "out"
        shutil.rmtree(out, ignore_errors=True)
        write(out, "old")
        call = [sys.executable, "-c", KILLED, str(out), str(after), swaps]
        killed = subprocess.run(call, capture_output=True, check=False).returncode
        # looked at by the next start
        check_replaceable(out, overwrite=True)
        with written_folder(elsewhere / "other"):
            pass
        content = (out / "config.json").read_text()
        assert content == "new" or (out / "deep" / "weights").read_text() == "old"
        seen.add(content)
        assert {p.name for p in elsewhere.iterdir()} == {"out", "other"}
        if killed == 0:
            break
        assert killed == -signal.SIGKILL
    assert killed == 0 and seen == {"new", "{}"}


def test_only_its_own_is_given_back_after_a_kill(elsewhere: Path) -> None:
    asides = {
        elsewhere / f".{name}.0123abcd.mt_lottery-old" for name in ("model", "model.v2", "a*")
    }
    for aside in asides:
        (aside / "weights").mkdir(parents=True)
    for given in ("model", "mode", "*", "."):
        with contextlib.suppress(RecordError):
            check_replaceable(given, overwrite=True)
    assert {p.name for p in elsewhere.iterdir()} == {
        "model", ".model.v2.0123abcd.mt_lottery-old", ".a*.0123abcd.mt_lottery-old"
    }  # fmt: skip


def test_a_file_put_there_while_the_work_was_done(elsewhere: Path) -> None:
    out = write(elsewhere / "out", "old")
    with pytest.raises(RecordError, match=r"holds thesis\.tex"):  # noqa: SIM117
        with written_folder(out, marked=True):
            (out / "thesis.tex").write_text("precious")
    assert (out / "thesis.tex").read_text() == "precious"
    assert (out / "deep" / "weights").read_text() == "old"


def test_files_that_the_user_names(elsewhere: Path) -> None:
    Path("there.csv").write_text("mine")
    Path("link.csv").symlink_to("nowhere")
    for name in ("there.csv", "link.csv"):
        with pytest.raises(RecordError, match=f"{name} exists; give another name, or overwrite"):
            check_new_files([Path("new.csv"), Path(name)], overwrite=False)
        check_new_files([Path(name)], overwrite=True)
    Path("folder").mkdir()
    with pytest.raises(RecordError, match="folder is a folder"):
        check_new_files([Path("folder")], overwrite=True)
    with pytest.raises(RecordError, match="/dev/null is no regular file"):
        check_new_files([Path("/dev/null")], overwrite=True)
    with pytest.raises(DiskError, match="below cannot be written: Not a directory"):
        check_new_files([Path("there.csv/below")], overwrite=True)
    # a result folder of the command's own is rendered again
    check_new_files([Path("there.csv")], overwrite=False, own=Path("there.csv"))
    assert {p.name for p in elsewhere.iterdir()} == {"there.csv", "link.csv", "folder"}
