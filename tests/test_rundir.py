"""Run directories: who may use one, what lies in it, and files that are whole or not there."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from test_record import record

from mt_lottery.atomic import DiskError, write_bytes, write_text
from mt_lottery.compose import compose, compose_saved
from mt_lottery.config import RunConfig
from mt_lottery.errors import RecordError, TuningError
from mt_lottery.pipeline.plan import make_plan
from mt_lottery.pipeline.rundir import (
    CONFIG,
    OURS,
    STATE,
    default_folder,
    finished,
    locked,
    prepare,
    read_hypotheses,
    read_tickets,
    tidy,
    write_hypotheses,
    write_tickets,
)
from mt_lottery.record import NAME
from mt_lottery.translate.decoding import Hypothesis
from mt_lottery.tuner.base import ChosenRows
from mt_lottery.tuner.ks_lottery import read_rows_file

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


# --- who may use it -------------------------------------------------------------


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
    for part in (str(tmp_path), "ks_lottery", "en-ro", HASH[:12], OTHER[:12], "overwrite=true"):
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
    with pytest.raises(RecordError, match=r"resume=true continues it, overwrite=true starts anew"):
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
    with pytest.raises(RecordError, match="interrupted run of another configuration"):
        prepare(tmp_path, config(resume=True), HASH)
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
    with pytest.raises(RecordError, match=r"damaged; overwrite=true starts anew"):
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
from mt_lottery.pipeline.rundir import locked
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


# --- what config.yaml keeps -------------------------------------------------------


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
    again = compose_saved(run_dir / CONFIG)
    assert again.user_dir == str(plugins)
    assert again.data.path == str(tmp_path / "a=b")
    assert again.model.name_or_path == "org/on-the-hub"  # no path: left as it is
    assert again.tuner == made.tuner


# --- what the hash counts ---------------------------------------------------------


@pytest.fixture(scope="module")
def folder_of_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny

    folder = tmp_path_factory.mktemp("model")
    tiny.model("llama").save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def hash_of(model: Path, *arguments: str, recipe: str = "ks_lottery") -> str:
    given = compose(
        [f"recipe={recipe}", "lang=en-ro", "model=hf", f"model.name_or_path={model}", *arguments]
    )
    return make_plan(given, lambda _: None).config_hash


@pytest.mark.parametrize(
    "argument",
    [
        *("out_dir=/elsewhere", "overwrite=true", "resume=true", "baseline=false"),
        *("train.save_steps=3", "data.train_pairs=344", "tracker=[none]", "tuner.tickets=18"),
    ],
)
def test_what_cannot_change_the_result_is_left_out(folder_of_model: Path, argument: str) -> None:
    assert hash_of(folder_of_model, argument) == hash_of(folder_of_model)


@pytest.mark.parametrize(
    "argument",
    [
        *("seed=1", "train.lr=0.5", "probe.epochs=9", "tuner.tickets=19", "tuner.alpha=0.5"),
        *("data.train_pairs=9", "data.test_pairs=9", "data.template=alpaca", "model.dtype=float32"),
        *("translate.max_new_tokens=9", "metrics=chrf", "tuner.scope=tied", "lang=en-es"),
        *("data.max_length=64", "train.criterion=label_smoothed_cross_entropy"),
    ],
)
def test_what_can_change_it_counts(folder_of_model: Path, argument: str) -> None:
    assert hash_of(folder_of_model, argument) != hash_of(folder_of_model)


def test_the_original_model_has_no_seed_and_no_training(folder_of_model: Path) -> None:
    plain = hash_of(folder_of_model, recipe="none")
    for argument in ("seed=1", "train.lr=0.5", "probe.lr=0.5", "data.train_pairs=9"):
        assert hash_of(folder_of_model, argument, recipe="none") == plain
    assert hash_of(folder_of_model, "data.test_pairs=9", recipe="none") != plain


def test_another_model_counts_and_another_path_does_not(
    folder_of_model: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder_of_model, copy)
    assert hash_of(copy) == hash_of(folder_of_model)
    import tiny

    tiny.model("llama", seed=1).save_pretrained(copy)
    assert hash_of(copy) != hash_of(folder_of_model)


def test_a_rows_file_counts_by_what_is_in_it(folder_of_model: Path, tmp_path: Path) -> None:
    one, same, other = tmp_path / "one", tmp_path / "same", tmp_path / "other"
    one.write_text("4\n5\n")
    same.write_text("4\n5\n")
    other.write_text("4\n6\n")
    first, second, third = (
        hash_of(folder_of_model, f"tuner.rows_file={f}") for f in (one, same, other)
    )
    assert first == second != third
    with pytest.raises(TuningError, match=r"tuner\.rows_file=.*gone: cannot be read"):
        hash_of(folder_of_model, f"tuner.rows_file={tmp_path}/gone")


# --- hypotheses.jsonl and tickets.csv ---------------------------------------------

AWKWARD = [
    *(
        "plain",
        'a "quoted" one',
        "comma, semi; tab\t",
        "line\nbreak",
        "\r",
        "\r\n",
        "",
        " ",
        "\x00",
    ),
    *("▁ș", "\u2028", "\x85", "😀", "=1+1", "token_id,", "'", "\\n", "<0x0A>"),
]


def test_hypotheses_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "hypotheses.jsonl"
    outputs = [Hypothesis(text, i, i % 2 == 0) for i, text in enumerate(AWKWARD)]
    write_hypotheses(path, AWKWARD, AWKWARD[::-1], outputs)
    found = read_hypotheses(path)
    assert [f["source"] for f in found] == AWKWARD
    assert [f["reference"] for f in found] == AWKWARD[::-1]
    assert [f["hypothesis"] for f in found] == AWKWARD
    assert [f["tokens"] for f in found] == list(range(len(AWKWARD)))
    assert [f["first_line"] for f in found] == [o.first_line for o in outputs]
    assert found[0]["stopped"] is True
    assert set(found[0]) == {
        *("source", "reference", "hypothesis", "first_line", "stopped", "tokens"),
    }
    assert path.read_bytes().count(b"\n") == len(AWKWARD)
    with pytest.raises(ValueError, match="shorter"):
        write_hypotheses(path, AWKWARD, AWKWARD[1:], outputs)


@pytest.mark.parametrize("content", [b'{"source": ', b"\xff\n"])
def test_damaged_hypotheses(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hypotheses.jsonl"
    with pytest.raises(RecordError, match=r"hypotheses\.jsonl: cannot be read"):
        read_hypotheses(path)
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"hypotheses\.jsonl: cannot be read"):
        read_hypotheses(path)


class Tokens:
    """Names for ids, as a tokenizer gives them."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
        return [AWKWARD[i] if i < len(AWKWARD) else None for i in ids]


def test_tickets_csv_of_a_test(tmp_path: Path) -> None:
    size = len(AWKWARD) + 3
    statistic = torch.linspace(0.01, 0.9, size, dtype=torch.float64)
    statistic[[3, 4]] = float(statistic[5])  # a tie: by token id
    statistic[0] = 0.0  # did not move and was not chosen: not listed
    pvalue = 1 - statistic
    chosen = ChosenRows(
        torch.tensor([size - 1, 9]), "ks", alpha=0.5, correction="none", tau=0.1,
        statistic=statistic, pvalue=pvalue,
    )  # fmt: skip
    path = tmp_path / "tickets.csv"
    write_tickets(path, chosen, Tokens(), Counter({9: 4}))
    rows = read_tickets(path)
    assert list(rows[0]) == [
        *("token_id", "token", "statistic", "pvalue", "selected", "train_frequency"),
    ]
    assert path.read_text("utf-8").startswith("token_id,token,statistic,")
    ids = [int(r["token_id"]) for r in rows]
    assert sorted(ids) == list(range(1, size))
    expected = sorted(range(1, size), key=lambda i: (-float(statistic[i]), i))
    assert ids == expected
    for row in rows:
        i = int(row["token_id"])
        assert row["token"] == (AWKWARD[i] if i < len(AWKWARD) else "")
        assert float(row["statistic"]) == float(statistic[i])  # every digit
        assert float(row["pvalue"]) == float(pvalue[i])
        assert row["selected"] == ("true" if i in (9, size - 1) else "false")
        assert row["train_frequency"] == ("4" if i == 9 else "0")
    # the file serves as tuner.rows_file: its selected rows
    assert read_rows_file(path, size).sort().values.tolist() == [9, size - 1]


def test_a_selected_row_that_did_not_move_is_listed(tmp_path: Path) -> None:
    zero = torch.zeros(5, dtype=torch.float64)
    chosen = ChosenRows(torch.tensor([2]), "ks", statistic=zero, pvalue=zero + 1)
    write_tickets(tmp_path / "t.csv", chosen, Tokens(), Counter())
    assert [r["token_id"] for r in read_tickets(tmp_path / "t.csv")] == ["2"]


def test_tickets_csv_without_a_test(tmp_path: Path) -> None:
    chosen = ChosenRows(torch.tensor([7, 2]), "random")
    write_tickets(tmp_path / "t.csv", chosen, Tokens(), Counter({2: 1}))
    rows = read_tickets(tmp_path / "t.csv")
    assert [(r["token_id"], r["statistic"], r["pvalue"], r["selected"]) for r in rows] == [
        ("7", "", "", "true"),
        ("2", "", "", "true"),
    ]


def test_tickets_csv_of_a_measure_without_p(tmp_path: Path) -> None:
    statistic = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    chosen = ChosenRows(torch.tensor([1]), "l2", statistic=statistic)
    write_tickets(tmp_path / "t.csv", chosen, Tokens(), Counter())
    rows = read_tickets(tmp_path / "t.csv")
    assert [(r["token_id"], r["statistic"], r["pvalue"]) for r in rows] == [
        ("1", "2.0", ""),
        ("2", "1.0", ""),
        ("0", "0.5", ""),
    ]


# --- atomic writes ------------------------------------------------------------------


def test_atomic_write(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    write_text(path, "ș\n")
    assert path.read_bytes() == "ș\n".encode()
    write_bytes(path, b"\x00new")
    assert path.read_bytes() == b"\x00new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


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
        "from mt_lottery.atomic import DiskError, write_bytes\n"
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


def test_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "below", tmp_path):
        with pytest.raises(DiskError, match="cannot be written: "):
            write_text(path, "y")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}.*"))
