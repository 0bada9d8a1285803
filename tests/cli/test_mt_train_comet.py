"""``metrics=[…,comet]`` on the command line: refused before any work, or in the record."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from real_comet import find
from tiny_runs import Commands, Models, hypotheses, record, small

pytestmark = pytest.mark.slow

COMET = ("metrics=[chrf,comet]",)


@pytest.fixture
def no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PATH without comet-score."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_program")
def test_without_the_program_nothing_is_begun(commands: Commands, models: Models) -> None:
    said = commands.train(*small(models.untied, "lora", "out_dir=run"), *COMET).mistake()
    assert "mt-bench setup-comet" in said and "metric.comet.command=" in said
    assert not Path("run/config.yaml").exists() and not list(Path().rglob("record.json"))
    bench = ("bench", "lora", "--langs", "es", "--model", models.untied, "--out", "out", *COMET)
    assert "mt-bench setup-comet" in commands.call(*bench).mistake()
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("metric.comet.batch_size=0", "`metric.comet.batch_size` must be ≥ 1, not 0"),
        ("metric.comet.gpus=-1", "`metric.comet.gpus` must be ≥ 0"),
        ("metric.comet.modell=x", "Did you mean 'metric.comet.model'?"),
        ("metric.comet=x", "'metric.comet' is a section"),
        ("metric.comet.command=/no/such", "metric.comet.command=/no/such: no such program"),
        ("tracking.deadline=0", "`tracking.deadline` must be > 0"),
    ],
)
def test_settings_are_checked(commands: Commands, models: Models, argument: str, said: str) -> None:
    ended = commands.train(*small(models.untied, "lora", "out_dir=run"), *COMET, argument)
    assert said in ended.mistake()


def test_setup_comet_leaves_other_folders_alone(commands: Commands) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("x")
    said = commands.call("bench", "setup-comet", "--dir", "mine").mistake()
    assert "mine holds something else than a virtual environment" in said
    assert Path("mine/thesis.tex").exists()
    Path("mine/pyvenv.cfg").write_text("home = /usr/bin\n")
    said = commands.call("bench", "setup-comet", "--dir", "mine").mistake()
    assert "mine is a virtual environment that setup-comet did not make" in said
    assert Path("mine/thesis.tex").exists()
    said = commands.call("bench", "setup-comet", "--dir", "new", "--python", "pithon").mistake()
    assert "--python pithon: no such program" in said and not Path("new").exists()


def test_a_run_with_the_real_program(commands: Commands, models: Models, tmp_path: Path) -> None:
    real = find(tmp_path / "comet")
    program = f"metric.comet.command={real.program}"
    arguments = [*small(models.untied, "eos_bias", "baseline=false"), *COMET, program]
    broken = tmp_path / "broken"
    shutil.copytree(real.model, broken)
    (broken / "hparams.yaml").write_text("class_identifier: no_such_metric\n")
    said = commands.train(*arguments, f"metric.comet.model={broken}", "out_dir=run").mistake()
    assert "failed with code 1" in said and "no_such_metric" in said
    assert not Path("run/config.yaml").exists()  # found before any work

    ended = commands.train(*arguments, f"metric.comet.model={real.model}", "out_dir=run")
    assert ended.code == 0, ended.err
    scores = record(Path("run"))["scores"]
    assert list(scores) == ["chrf", "comet"]
    for which in ("raw", "first_line"):
        segments = scores["comet"][which]["segments"]
        assert len(segments) == len(hypotheses(Path("run"))) == 6
        assert scores["comet"][which]["score"] == pytest.approx(sum(segments) / 6)
    assert scores["comet"]["signature"].startswith("model:tiny-comet|sha256:")
    assert "COMET[tiny-comet] ×100" in ended.out
    # the model's place is no part of what the run is, the model itself is
    moved = tmp_path / "moved"
    shutil.copytree(real.model, moved)
    again = commands.train(*arguments, f"metric.comet.model={moved}", "out_dir=run")
    assert again.code == 0 and "holds this very run" in again.err
    (moved / "checkpoints" / "model.ckpt").write_bytes(b"another")
    said = commands.train(*arguments, f"metric.comet.model={moved}", "out_dir=run").mistake()
    assert "another configuration" in said
