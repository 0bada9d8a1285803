"""A damaged run directory, checkpoint or model folder: the right result, or a clear refusal.

Whatever happens to a file, a command ends with exit 0 and what it said before, or with exit 2
and a message that names the path; never with a traceback, never with another translation.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import damage
from tiny_runs import Models, hypotheses, small

from mt_lottery.cli import shared, ticket, train, translate

pytestmark = pytest.mark.slow

EXAMPLES = settings(
    max_examples=int(os.environ.get("MT_LOTTERY_EXAMPLES", "30")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
SENTENCES = b"How deep is this lake?\nGood morning.\n"


def called(module: object, *arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = shared.guarded(lambda: module.command([str(a) for a in arguments]))  # type: ignore[attr-defined]
    finally:
        sys.stdin = before
    out.flush()
    return code, out.buffer.getvalue().decode("utf-8"), err.getvalue()  # type: ignore[attr-defined]


def refused(err: str, *paths: Path) -> None:
    assert "Traceback" not in err and err.count("error: ") == 1, err
    assert any(str(path) in err for path in paths), err


@pytest.fixture(scope="module")
def said(runs: dict[str, Path]) -> dict[str, str]:
    """What ``mt-translate`` says with each run as it was."""
    found = {}
    for recipe, run in runs.items():
        code, out, err = called(translate, "--run", run, stdin=SENTENCES)
        assert code == 0, err
        found[recipe] = out
    return found


@EXAMPLES
@given(data=st.data())
def test_a_damaged_run_never_translates_differently(
    data: st.DataObject, runs: dict[str, Path], said: dict[str, str]
) -> None:
    recipe = data.draw(st.sampled_from(sorted(runs)))
    copy = runs[recipe].parent / "copies" / "run"
    where = data.draw(damage(runs[recipe], copy))
    code, out, err = called(translate, "--run", copy, stdin=SENTENCES)
    assert code in (0, 2), (recipe, where, err)
    assert not (copy / "ran").exists() and not Path("ran").exists()
    if code == 0:
        assert out == said[recipe], (recipe, where)
    else:
        refused(err, copy)


@EXAMPLES
@given(data=st.data())
def test_a_damaged_run_is_shown_or_refused(data: st.DataObject, runs: dict[str, Path]) -> None:
    copy = runs["ks_lottery"].parent / "copies" / "shown"
    where = data.draw(damage(runs["ks_lottery"], copy))
    code, _, err = called(ticket, "show", copy)
    assert code in (0, 2), f"{where}: {err}"
    if code == 2:
        refused(err, copy)


@EXAMPLES
@given(data=st.data())
def test_a_damaged_run_is_found_again_or_refused(
    data: st.DataObject, runs: dict[str, Path], models: Models
) -> None:
    """The same command on a damaged run: it is left alone, redone, or refused; never a crash."""
    copy = runs["ks_lottery"].parent / "copies" / "again"
    where = data.draw(damage(runs["ks_lottery"], copy))
    given_ = small(models.tied, "ks_lottery", f"out_dir={copy}", "model.dtype=float32")
    code, _, err = called(train, *given_, "baseline=false", "train.lr=0.05")
    assert code in (0, 2), f"{where}: {err}"
    if code == 0:
        assert len(hypotheses(copy)) == 6
    else:
        refused(err, copy)


@EXAMPLES
@given(data=st.data())
def test_a_damaged_base_is_never_served(
    data: st.DataObject, runs: dict[str, Path], said: dict[str, str], models: Models
) -> None:
    """The model folder under a run: another model is another hash, and a broken one is named."""
    base, kept = models.tied, models.tied.with_name("kept")
    if not kept.exists():
        shutil.copytree(base, kept)
    try:
        where = data.draw(damage(kept, base))
        code, out, err = called(translate, "--run", runs["ks_lottery"], stdin=SENTENCES)
    finally:
        shutil.rmtree(base)
        shutil.copytree(kept, base)
    assert code in (0, 2), f"{where}: {err}"
    if code == 0:
        assert out == said["ks_lottery"], where
    else:
        refused(err, base)


@EXAMPLES
@given(data=st.data())
def test_a_damaged_model_folder_is_refused_or_trained(data: st.DataObject, models: Models) -> None:
    """A folder of somebody else's: whatever loads is a model, the rest is one message."""
    copy = models.untied.parent / "copies" / "model"
    where = data.draw(damage(models.untied, copy))
    given_ = [*small(copy, "none", f"out_dir={copy.parent / 'out'}"), "data.test_pairs=2"]
    shutil.rmtree(copy.parent / "out", ignore_errors=True)
    code, _, err = called(train, *given_)
    assert code in (0, 2), f"{where}: {err}"
    if code == 2:
        refused(err, copy)


@EXAMPLES
@given(data=st.data())
def test_a_damaged_run_is_exported_right_or_refused(
    data: st.DataObject, runs: dict[str, Path]
) -> None:
    """What is written, if anything, says what the run said."""
    recipe = data.draw(st.sampled_from(["ks_lottery", "lora"]))
    copy = runs[recipe].parent / "copies" / "exported"
    where = data.draw(damage(runs[recipe], copy))
    out = copy.with_name("out")
    shutil.rmtree(out, ignore_errors=True)
    code, said, err = called(ticket, "export", copy, out, "--format", "lora")
    assert code in (0, 2), f"{recipe}, {where}: {err}"
    if code == 2:
        refused(err, copy)
    elif recipe == "ks_lottery":
        assert "test sentences are translated word for word" in said, where
