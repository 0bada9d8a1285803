"""``mt-train`` prints a line of Python: executed, it finds the run that the command made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import SMALL, Commands, Models, model

import mt_lottery as mtl
from mt_lottery.api.training import as_python

pytestmark = pytest.mark.slow


def line_of(printed: str) -> str:
    after = printed.partition("The same in Python:\n")[2].splitlines()
    assert after[0].strip() == "import mt_lottery as mtl"
    return after[1].strip()


def executed(line: str, capsys: pytest.CaptureFixture[str]) -> mtl.Run:
    names: dict[str, Any] = {"mtl": mtl}
    exec(line, names)
    assert "left alone" in capsys.readouterr().out, line
    found: mtl.Run = names["run"]
    assert ("name_or_path=" in line) == ("config=" not in line) and "settings={'model" not in line
    return found


def check(
    commands: Commands, capsys: pytest.CaptureFixture[str], *arguments: str, out: str
) -> mtl.Run:
    ended = commands.train(*arguments)
    assert ended.code == 0, ended.err
    found = executed(line_of(ended.out), capsys)
    assert Path(found.folder).resolve() == Path(out).resolve()
    return found


def test_it_finds_the_run(
    commands: Commands, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("plugins").mkdir()
    Path("plugins/my_rows.yaml").write_text("tuner: {name: frequency}\n")
    small = (*model(models.untied), *SMALL[:-1], "train.epochs=1", "probe.epochs=1")
    # blanks, quotes, a list
    run = check(
        commands, capsys, "recipe=ks_lottery", "lang=en-es", *small, "metrics=[chrf,bleu]",
        'out_dir="my \\"first\\" run"', "tuner.tickets=3", "train.lr=1e-3",
        out='my "first" run',
    )  # fmt: skip
    assert list(run.scores) == ["chrf", "bleu"] and len(run.ticket) == 3
    # from a file, one setting changed, none where there was one
    check(
        commands, capsys, 'config="my \\"first\\" run/config.yaml"', "out_dir=again", "lang=en-ro",
        "tuner.alpha=null", out="again",
    )  # fmt: skip
    # a folder of plugins with a recipe; a preset, a text that looks like a number
    more = ("metrics=chrf", "baseline=false", "train.epochs=1", "preset=null")
    check(
        commands, capsys, "recipe=my_rows", "lang=en-es", "user_dir=plugins", *small, *more,
        out="runs/en-es/my_rows/seed-0",
    )  # fmt: skip
    check(
        commands, capsys, "recipe=random", "lang=en-es", "preset=paper", *small, "metrics=[chrf]",
        "tuner.tickets=4", "out_dir=1e2", out="1e2",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["config=c.yaml", "lang=en-ro"], "mtl.train(config='c.yaml', lang='en-ro')"),
        (["recipe=none", "out_dir=null"], "mtl.train('none', settings={'out_dir': None})"),
        (["recipe=none", "tuner.lambda=2"], "mtl.train('none', settings={'tuner.lambda': 2})"),
        (["recipe=none", "model.name=hf"], "mtl.train('none', settings={'model.name': 'hf'})"),
        (["lang=en-ro", "recipe=none", "lang=en-es"], "mtl.train('none', 'en-es')"),
        (
            ["recipe=none", "model=hf", "model.name_or_path=./my llama"],
            "mtl.train('none', name_or_path='./my llama')",
        ),
        (
            ["recipe=none", "model=llama_7b", "model.name_or_path=x", "model.dtype=float32"],
            "mtl.train('none', name_or_path='x', model='llama_7b', "
            "settings={'model.dtype': 'float32'})",
        ),
        (
            ["config=c.yaml", "model.name_or_path=x"],  # of the model that the file names
            "mtl.train(config='c.yaml', model=dict(name_or_path='x'))",
        ),
    ],
)
def test_lines(arguments: list[str], line: str) -> None:
    assert as_python(arguments) == f"run = {line}"
