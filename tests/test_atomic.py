"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mt_lottery.cli.shared import guarded
from mt_lottery.system.atomic import DiskError, share, sweep, write_bytes, write_text, writing
from mt_lottery.system.diskfault import disk_error


def test_atomic_write(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    write_text(path, "ș\n")
    assert path.read_bytes() == "ș\n".encode()
    write_bytes(path, b"\x00new")
    assert path.read_bytes() == b"\x00new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_safetensors_wrote_can_be_shared(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    file = tmp_path / "deep" / "weights.safetensors"
    file.parent.mkdir()
    save_file({"a": torch.zeros(1)}, file)
    file.chmod(0o600)  # what newer versions of safetensors do
    share(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["replace", "fsync"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device. The disk is"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error."),
        (KeyboardInterrupt(), ""),
    ],
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
    message: str,
    old: bytes | None,
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)

    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, step, failing)
    if isinstance(error, OSError):
        with pytest.raises(DiskError) as caught:
            write_bytes(path, b"new" * 1000)
        assert str(caught.value).startswith(f"{path} cannot be written: {message}")
    else:
        with pytest.raises(KeyboardInterrupt):
            write_bytes(path, b"new" * 1000)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_real_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """The kernel cuts the write short: half the bytes reach the disk, none the file."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from mt_lottery.system.atomic import DiskError, share, write_bytes\n"
        "try:\n    write_bytes(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except DiskError as error:\n    print(error)\n"
    )
    limited = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    said = f"{path} cannot be written: File too large. "
    assert limited.stdout.startswith(said), limited.stderr
    assert "ulimit -f" in limited.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's always full device")
def test_a_full_disk_elsewhere_is_a_users_error(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        with open("/dev/full", "wb", buffering=0) as file:
            return file.write(b"x")

    assert guarded(command) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: No space left on device. The disk is full: make room first.")
    assert "resume=true" in said


def test_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "below", tmp_path):
        with pytest.raises(DiskError, match="cannot be written: "):
            write_text(path, "y")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}.*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from mt_lottery.system import atomic
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_bytes(Path(sys.argv[1]), b"x" * 1000)
"""


def test_what_a_kill_left_goes_with_the_next_write_and_nothing_else(tmp_path: Path) -> None:
    mine = {".cell.json.swp", ".cell.json.backup_1", ".probe.safetensors.notes", ".x.mt_lottery"}
    for name in mine:
        (tmp_path / name).write_text("mine")
    for name in ("cell.json", "n" * 255):  # the second sweeps what the first left
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / name)], check=False)
        (left,) = {p.name for p in tmp_path.iterdir()} - mine
        assert left.startswith(f".{name[:200]}") and left.endswith(".mt_lottery")
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == mine


def test_what_another_process_writes_is_never_swept(tmp_path: Path) -> None:
    code = KILLED.replace(
        "lambda _: os.kill(os.getpid(), signal.SIGKILL)",
        "lambda _: (print(flush=True), sys.stdin.read())",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "file")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    process.communicate()
    assert (tmp_path / "file").read_bytes() == b"x" * 1000
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_earlier_versions_left_private_files(tmp_path: Path) -> None:
    old = tmp_path / ".cell.json.ab12_9zz"
    old.write_text("x")
    old.chmod(0o600)
    os.utime(old, (1, 1))
    fresh, mine = tmp_path / ".cell.json.ab12_9zy", tmp_path / ".cell.json.ab12_9zx"
    for path, mode in ((fresh, 0o600), (mine, 0o644)):
        path.write_text("x")
        path.chmod(mode)
    os.utime(mine, (1, 1))
    sweep(tmp_path)
    users = {tmp_path / f".cell.json.{name}" for name in ("20260131", "original")}
    for path in users:
        path.write_text("x")
        path.chmod(0o600)
        os.utime(path, (1, 1))
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {fresh, mine, *users}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", "size=256k", "mt_lottery_test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(made, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _with_torch(path: Path) -> None:
    import torch

    torch.save(torch.zeros(1 << 18), path)


def _with_safetensors(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1 << 18)}, path)


def _with_python(path: Path) -> None:
    path.write_bytes(b"x" * (1 << 20))


@pytest.mark.parametrize("write", [_with_torch, _with_safetensors, _with_python])
def test_a_full_disk_whoever_reports_it(
    small_disk: Path, write: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_disk / "weights"
    with (
        pytest.raises(DiskError, match=r"weights cannot be written: No space left.* Kept\.$"),
        writing(path, "Kept."),
    ):
        write(path)

    def command() -> int:  # where nobody thought of it
        write(path)
        return 0

    assert guarded(command) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said and "resume=true" in said
    assert "Traceback" not in said and "bug" not in said


@pytest.mark.parametrize("write", [_with_torch, _with_safetensors])
def test_a_quota_or_a_limit_on_files(write: Callable[[Path], None], tmp_path: Path) -> None:
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, kept[1]))
    try:
        with pytest.raises(DiskError, match="w cannot be written: "), writing(tmp_path / "w"):
            write(tmp_path / "w")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)


def test_a_bug_is_no_fault_of_the_disk() -> None:
    for error in (RuntimeError("shapes differ"), KeyError("x"), FileNotFoundError(2, "no")):
        assert disk_error(error) is None
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            _ = {}["a bug"]
    except KeyError as error:
        assert disk_error(error) is None
    quota = OSError(errno.EDQUOT, "Disk quota exceeded", "a/b")
    assert str(disk_error(quota)).startswith("a/b: Disk quota exceeded. Make room")
