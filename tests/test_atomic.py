"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mt_lottery.atomic import DiskError, share, write_bytes, write_text
from mt_lottery.cli.shared import guarded


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
        "from mt_lottery.atomic import DiskError, share, write_bytes\n"
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
    assert limited.stdout == f"{path} cannot be written: File too large.\n", limited.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's always full device")
def test_a_full_disk_elsewhere_is_a_users_error(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        with open("/dev/full", "wb", buffering=0) as file:
            return file.write(b"x")

    assert guarded(command) == 2
    assert capsys.readouterr().err == "error: the disk is full.\n"


def test_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "below", tmp_path):
        with pytest.raises(DiskError, match="cannot be written: "):
            write_text(path, "y")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}.*"))
