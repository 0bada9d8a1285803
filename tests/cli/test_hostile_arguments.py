"""What cannot be meant ends with exit 2 and one message, whichever command is given it."""

from __future__ import annotations

import errno
import importlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_runs import Commands, Ended, Models, small

import mt_lottery
from mt_lottery.cli.shared import guarded

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of ks_lottery."""
    folder = tmp_path_factory.mktemp("hostile")
    made = Commands(folder, lambda: ("", ""))
    old = os.environ.get("MT_LOTTERY_CACHE")
    os.environ["MT_LOTTERY_CACHE"] = str(folder / "cache")
    try:
        short = ("train.epochs=1", "probe.epochs=1", "tuner.tickets=4", "baseline=false")
        out = folder / "run"
        assert made.train(*small(models.untied, "ks_lottery", f"out_dir={out}", *short)).code == 0
        yield out
    finally:
        os.environ.pop("MT_LOTTERY_CACHE")
        if old is not None:
            os.environ["MT_LOTTERY_CACHE"] = old


def refused(commands: Commands, module: str, *arguments: object) -> str:
    """The message with which a command refuses, argparse's included."""
    try:
        ended = commands.call(module, *arguments)
    except SystemExit as error:
        ended = Ended(int(error.code or 0), *commands._capture())
    assert ended.code == 2, (ended.code, ended.out, ended.err)
    assert "Traceback" not in ended.err and "bug in mt-lottery" not in ended.err, ended.err
    assert len(ended.err) < 3000, ended.err
    return ended.err


@pytest.mark.parametrize(
    "command",
    [
        ("translate", "--run", "r"),
        ("ticket", "show", "r"),
        ("ticket", "find", "r"),
        ("ticket", "compare", "r", "r"),
        ("ticket", "certify", "r"),
        ("ticket", "explain", "r"),
        ("ticket", "merge", "r", "--out", "m"),
        ("ticket", "export", "r", "m", "--format", "lora"),
        ("ticket", "transfer", "r", "--out", "m"),
        ("train", "recipe=none", "lang=en-es"),
    ],
)
def test_a_device_that_is_not_there(commands: Commands, command: tuple[str, ...]) -> None:
    module, *arguments = command
    for device in ("nosuch", "cuda:٣", "cuda:99", "cuda:-1", "mps", "meta", ""):
        asked = [f'device="{device}"'] if module == "train" else ["--device", device]
        said = refused(commands, module, *arguments, *asked)
        assert "device" in said and "cpu" in said


NUMBERS = {
    "--top": ("ticket", "show", "r"),
    "--show": ("ticket", "find", "r"),
    "--seed": ("ticket", "find", "r"),
    "--alpha": ("ticket", "find", "r"),
    "--alphas": ("ticket", "compare", "r", "r"),
    "--at": ("ticket", "compare", "r", "r"),
    "--positions": ("ticket", "certify", "r"),
    "--sentences": ("ticket", "certify", "r"),
    "--suggest": ("ticket", "certify", "r"),
    "--controls": ("ticket", "explain", "r"),
    "--batch-size": ("translate", "--run", "r"),
    "--beam-size": ("translate", "--run", "r"),
    "--max-new-tokens": ("translate", "--run", "r"),
    "--jobs": ("bench", "lora", "--langs", "ro"),
    "--tune": ("bench", "lora", "--langs", "ro"),
    "--seeds": ("bench", "lora", "--langs", "ro"),
    "--tickets": ("bench", "list"),
    "--sizes": ("ticket", "sweep", "lang=en-ro"),
}


@pytest.mark.parametrize("option", NUMBERS)
def test_what_is_no_number_on_any_option(commands: Commands, option: str) -> None:
    module, *arguments = NUMBERS[option]
    for text in ("٣", "1_0", "9" * 5000, "nan", "inf", "x", "", "1e999", " 1"):
        assert option in refused(commands, module, *arguments, f"{option}={text}")


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("seed=1e400", "seed"),
        ("seed=٣", "must be a whole number"),
        ("train.lr=٠.١", "must be a number"),
        (f"seed={'9' * 5000}", "thousands of digits"),
        (f"train.epochs={'9' * 400}", "≤ 100,000"),
        ("train.epochs=1000000000", "≤ 100,000, not 1,000,000,000"),
        ("translate.beam_size=100000000000", "≤ 1,000"),
        ("translate.max_new_tokens=1000000000", "≤ 1,000,000"),
        ("data.train_pairs=100000000000000000000", "≤ 1,000,000,000"),
        ("data.max_length=1000000000000000", "≤ 10,000,000"),
        ("tuner.tickets=1000000000000", "tuner.tickets"),
        ("tuner.alpha=nan", "tuner.alpha"),
        ("train.lr=inf", "train.lr"),
        ("train.lr=-0", "> 0"),
        (f"out_dir={'a' * 300}", "300 bytes"),
        ("out_dir=~nosuchuser/x", "nosuchuser"),
        ("data.path=~/x/" + "b" * 256, "256 bytes"),
        (f"lang={'e' * 300}-ro", "lang"),
        ("user_dir=/dev/null", "user_dir"),
        ("metrics=" + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("tracking.name=a\udcffb", "not UTF-8"),
    ],
)
def test_settings_that_cannot_be(commands: Commands, setting: str, allowed: str) -> None:
    given = ["recipe=ks_lottery", "lang=en-es", setting]
    given = given[:1] + given[2:] if setting.startswith("lang=") else given
    assert allowed in refused(commands, "train", *given)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("translate", "--run"),
        ("ticket", "show"),
        ("ticket", "find"),
        ("ticket", "certify"),
        ("ticket", "explain"),
        ("ticket", "compare", "x"),
        ("ticket", "layers", "x"),
        ("bench", "report"),
        ("bench", "compare", "--against", "none"),
        ("train", "recipe=none", "lang=en-es", "config="),
    ],
)
def test_places_that_cannot_be(commands: Commands, command: tuple[str, ...]) -> None:
    Path("loop").symlink_to("loop")
    os.mkfifo("fifo")
    module, *arguments = command
    for place in ("a" * 300, "loop", "fifo", "/dev/zero", "~nosuchuser/x", "a\udcffb", "a\nb"):
        last = arguments[-1]
        more = [*arguments[:-1], f'{last}"{place}"'] if last.endswith("=") else [*arguments, place]
        refused(commands, module, *more)


FILES = ["record.json", "config.yaml", "tickets.csv", "hypotheses.jsonl"]
DAMAGE = {
    "empty": b"",
    "cut": None,
    "deep": b'{"a": ' + b"[" * 100_000,
    "digits": b'{"seed": ' + b"9" * 5000 + b"}",
    "bytes": b"\xff\xfe\x00\x80",
    "list": b"[1]\n",
}


@pytest.mark.parametrize("how", [*DAMAGE, "folder", "fifo", "loop"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_a_run(commands: Commands, run: Path, name: str, how: str) -> None:
    shutil.copytree(run, "r")
    file = Path("r") / name
    content = file.read_bytes()
    file.unlink()
    if how == "folder":
        file.mkdir()
    elif how == "fifo":
        os.mkfifo(file)
    elif how == "loop":
        file.symlink_to(name)
    else:
        damaged = DAMAGE[how]
        file.write_bytes(content[: len(content) // 2] if damaged is None else damaged)
    reader = {
        "tickets.csv": ("ticket", "compare", "r", str(run)),
        "hypotheses.jsonl": ("ticket", "explain", "r"),
    }.get(name, ("translate", "--run", "r"))
    said = refused(commands, *reader)
    assert f"r/{name}" in said, said


def test_a_configuration_that_was_cut_short(commands: Commands, run: Path) -> None:
    """Defaults in place of what is missing would change the translation in silence."""
    shutil.copytree(run, "r")
    text = (run / "config.yaml").read_text("utf-8")
    for key in ("translate:", "metrics:", "  beam_size"):
        Path("r/config.yaml").write_text(text[: text.index(f"\n{key}") + 1], "utf-8")
        assert "r/config.yaml: damaged" in refused(commands, "translate", "--run", "r")


class Latin(io.TextIOWrapper):
    """Standard output as ``PYTHONIOENCODING=latin-1`` makes it."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="latin-1", errors="strict")

    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode("latin-1")


@pytest.mark.parametrize(
    "command",
    [
        ("ticket", "show", "RUN"),
        ("ticket", "show", "RUN/tickets.csv"),
        ("ticket", "compare", "RUN", "COPY"),
        ("bench", "list"),
        ("train", "--help"),
        ("bench", "--help"),
        ("ticket", "--help"),
        ("translate", "--help"),
    ],
)
def test_standard_output_that_is_not_utf8(
    commands: Commands, run: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, "copy")
    module, *given = command
    given = [g.replace("RUN", str(run)).replace("COPY", "copy") for g in given]
    out, err = Latin(), Latin()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    run_command = importlib.import_module(f"mt_lottery.cli.{module}").command
    try:
        code = guarded(lambda: run_command(given))
    except SystemExit as error:  # argparse's --help
        code = int(error.code or 0)
    assert code == 0, err.text()
    assert len(out.text()) > 100
    if "show" in command:
        assert "\\u" in out.text()  # what latin-1 has no letter for


def test_a_finished_run_survives_its_output(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        ended = commands.train(*small(models.untied, "none", "out_dir=r"))
        monkeypatch.undo()
        assert ended.code == 2
        assert "standard output cannot be written: No space left on device" in ended.err
        assert "The run is finished, in r." in ended.err
        assert (commands.folder / "r/record.json").is_file()


@pytest.mark.parametrize("module", ["train", "bench", "ticket", "translate"])
def test_streams_of_a_process(commands: Commands, module: str) -> None:
    """As a user has them: an encoding of one byte, a closed output, a full disk."""
    line = [sys.executable, "-m", f"mt_lottery.cli.{module}", "--help"]
    env = {**os.environ, "PYTHONPATH": str(Path(mt_lottery.__file__).parents[1])}
    for more, shell in ({"PYTHONIOENCODING": "ascii"}, ">out"), ({}, ">&-"), ({}, ">/dev/full"):
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$@" {shell}', "sh", *line],
            env=env | more, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        said = done.stderr.decode()
        assert "Traceback" not in said and "bug in" not in said and "Exception ignored" not in said
        assert done.returncode == (2 if "full" in shell else 0), said
        if "full" in shell:
            assert "standard output cannot be written" in said
    assert len(Path("out").read_text("ascii")) > 300


def test_the_machine_is_no_bug(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def fails(error: BaseException) -> tuple[int, str]:
        def command() -> int:
            raise error

        return guarded(command), capsys.readouterr().err

    import torch

    name = str(tmp_path / "x")
    for error, text in (
        (MemoryError(), "Out of memory: lower train.batch_size"),
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            "2.00 GiB",
        ),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), "lower"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "translate.max_tokens"),
        (OSError(errno.EMFILE, "Too many open files", name), "ulimit -n"),
        (OSError(errno.ENAMETOOLONG, "File name too long", name), "the name is too long"),
        (OSError(errno.ELOOP, "Too many levels", name), "a loop of links"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", name), "a folder, not a file"),
        (FileNotFoundError(errno.ENOENT, "No such file", name), f"{name}: no such file"),
        (ValueError("embedded null byte"), "NUL"),
        (RuntimeError("Could not determine home directory."), "home directory"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), "not UTF-8"),
    ):
        code, said = fails(error)
        assert (code, "bug in" in said) == (2, False), said
        assert text in said
    package = str(Path(mt_lottery.__file__).parent / "nothing.yaml")
    for error in (
        FileNotFoundError(errno.ENOENT, "No such file", package),  # ours: a broken installation
        FileNotFoundError("nothing"),
        RuntimeError("size mismatch"),
        ValueError("invalid literal"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),  # not of standard output
        RecursionError("maximum recursion depth exceeded"),
    ):
        code, said = fails(error)
        assert (code, "bug in mt-lottery" in said) == (1, True), said
