"""The names that ``import mt_lottery as mtl`` has: documented, with examples, and typed."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mt_lottery as mtl

pytestmark = pytest.mark.slow
NAMES = [name for name in mtl.__all__ if name != "__version__"]


def modules() -> list[ModuleType]:
    """The modules that the names are defined in, each once."""
    homes = {inspect.unwrap(getattr(mtl, name)).__module__ for name in NAMES}
    return [importlib.import_module(home) for home in sorted(homes)]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(mtl, name)), name


#: Examples that train, in the order in which they build on each other.
TRAINING = ("train", "Run", "load_tuned", "Record", "read_record", "certify", "run", "bench",
            "Leaderboard")  # fmt: skip


def example_of(name: str) -> doctest.DocTest:
    """The example of a public name; of ``register_…``, which share one, that of the method."""
    found: list[doctest.DocTest] = doctest.DocTestFinder(recurse=False).find(
        getattr(mtl, name), name, globs={}
    )
    return found[0]


def examples() -> list[doctest.DocTest]:
    """Of every module that has a public name; those that train are left out."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [
        test
        for module in modules()
        for test in finder.find(module)
        if test.examples and test.name.rpartition(".")[2] not in TRAINING
    ]


def check(example: doctest.DocTest) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize("name", NAMES)
def test_it_has_an_example_that_runs(name: str) -> None:
    examples = example_of(name).examples
    assert examples and not any(doctest.SKIP in each.options for each in examples)


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_the_examples_are_true(
    example: doctest.DocTest, one_thread: None, registered: None
) -> None:
    check(example)


@pytest.mark.slow
def test_the_examples_that_train_are_true(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    sys.path.insert(0, str(Path(__file__).parent / "cli"))
    from tiny_runs import MINI, make_models

    monkeypatch.chdir(tmp_path)
    sides = [(MINI / f"train.{code}.txt").read_text("utf-8").splitlines() for code in ("en", "ro")]
    there = {
        "base": str(make_models(tmp_path).untied),
        "pairs": list(zip(*sides, strict=True))[:40],
    }
    for name in TRAINING:
        example = example_of(name)
        example.globs.update(there)
        check(example)


OUTSIDE = """
import os
import torch
import mt_lottery as mtl
from typing import assert_type

config = mtl.TicketConfig(rows=torch.tensor([4, 5]), scope="both")
mtl.TicketConfig([4, 5]), mtl.TicketConfig("tickets.csv"), mtl.TicketConfig(rows=range(9))
assert_type(config.rows, list[int])
model = mtl.get_ticket_model(object(), config)
assert_type(model, mtl.TicketModel)
assert_type(model.rows, torch.Tensor)
assert_type(model.values, torch.Tensor)
assert_type(model.save_pretrained("adapter"), None)
assert_type(mtl.TicketModel.from_pretrained(object(), "me/it", revision="main"), mtl.TicketModel)
"""
WRONG = """
import mt_lottery as mtl

mtl.TicketConfig(rows=[4], scope="tied")
mtl.TicketConfig(row=[4])
mtl.get_ticket_model(object(), config=mtl.TicketConfig([4]))
mtl.TicketModel.from_pretrained(object(), "me/it", revison="main")
"""


def mypy(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Check a script outside of the package, which mypy finds as an installed one."""
    (folder / "script.py").write_text(text)
    package = str(Path(str(mtl.__file__)).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "script.py"],
        env={**os.environ, "PYTHONPATH": package},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_they_are_typed_from_outside(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    done = mypy(OUTSIDE, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = mypy(WRONG, tmp_path)
    lines = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.split(":")[1] for line in lines] == ["4", "5", "6", "7"], done.stdout
    text = "".join(f"mtl.{name}\n" for name in NAMES)
    done = mypy(f"import mt_lottery as mtl\n{text}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
