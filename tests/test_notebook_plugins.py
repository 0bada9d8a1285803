"""Plugins of a notebook's cells: they have no file, and are told apart by what they do."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mt_lottery as mtl
from mt_lottery.benchmark.asking import Asked, ask
from mt_lottery.config.compose import compose
from mt_lottery.errors import ConfigError, PluginError, RegistryError
from mt_lottery.registry import CRITERIA, load_user_dir
from mt_lottery.registry.code import cells_of, code_of
from mt_lottery.registry.notebook import digest_of

pytestmark = pytest.mark.usefixtures("registered")

CELLS = iter(range(10_000))


def cell(code: str, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a cell as a notebook does, in a new kernel or in one that is given."""
    known = {"__name__": "__main__"} if known is None else known
    exec(compile(code, f"<ipython-input-{next(CELLS)}-abc>", "exec", dont_inherit=True), known)
    return known


PLAIN = "def f(logits, labels, config):\n    return {}\n"
OTHERS = {
    "the formula": (PLAIN.format("logits.sum()"), PLAIN.format("-logits.sum()")),
    "a number": (PLAIN.format("1.0 * logits"), PLAIN.format("2.0 * logits")),
    "a value of another cell": ("W = 1.0\n" + PLAIN.format("W"), "W = -1.0\n" + PLAIN.format("W")),
    "a list of another cell": ("W = [1]\n" + PLAIN.format("W"), "W = [2]\n" + PLAIN.format("W")),
    "a function of another cell": (
        "def g(x): return x\n" + PLAIN.format("g(logits)"),
        "def g(x): return -x\n" + PLAIN.format("g(logits)"),
    ),
    "a default": ("def f(x, *, a=1): return a", "def f(x, *, a=2): return a"),
    "a closure": (
        "def make(a):\n    return lambda x: a * x\nf = make(1)",
        "def make(a):\n    return lambda x: a * x\nf = make(2)",
    ),
    "an inner function": (
        "W = 1\ndef f(x):\n    def g(): return W\n    return g()",
        "W = 2\ndef f(x):\n    def g(): return W\n    return g()",
    ),
    "a method": (
        "class f:\n    def train(self): return 1",
        "class f:\n    def train(self): return 2",
    ),
    "a base class": (
        "class B:\n    def g(self): return 1\nclass f(B):\n    def train(self): return self.g()",
        "class B:\n    def g(self): return 2\nclass f(B):\n    def train(self): return self.g()",
    ),
    "an attribute": (
        "class f:\n    n = 1\n    def g(self): ...",
        "class f:\n    n = 2\n    def g(self): ...",
    ),
    "a tensor": (
        "import torch\nW = torch.ones(2)\ndef f(x): return x * W",
        "import torch\nW = torch.zeros(2)\ndef f(x): return x * W",
    ),
    "what a decorator holds": (
        "import torch\n@torch.no_grad()\ndef f(x): return x",
        "import torch\n@torch.no_grad()\ndef f(x): return -x",
    ),
    "a module's function": (
        "import torch\nfrom torch.nn import functional as F\ndef f(x): return F.relu(torch.exp(x))",
        "import torch\nfrom torch.nn import functional as F\ndef f(x): return F.silu(torch.exp(x))",
    ),
    "fields": (
        "from dataclasses import dataclass\n@dataclass\nclass f:\n    n: int = 1",
        "from dataclasses import dataclass\n@dataclass\nclass f:\n    n: int = 2",
    ),
    "an instance": (
        "class A:\n    def __init__(s, n): s.n = n\na = A(1)\ndef f(x): return a.n",
        "class A:\n    def __init__(s, n): s.n = n\na = A(2)\ndef f(x): return a.n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_what_a_cell_does(what: str) -> None:
    one, other = (digest_of(cell(code)["f"]) for code in OTHERS[what])
    assert one is not None and other is not None and one != other
    again = "# a comment\n\n" + OTHERS[what][0]
    assert digest_of(cell(again)["f"]) == one


def test_another_process_finds_it_again() -> None:
    """Sets and strings have other hashes there."""
    code = "W = {'a', 'b', 'c'}\n" + PLAIN.format(
        "logits in {1, 2, 3} and W and config in {'x', 'y'}"
    )
    ask = f"""
from mt_lottery.registry.notebook import digest_of
exec(compile({code!r}, "<stdin>", "exec"))
print(digest_of(f))
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", ask], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert found == {f"{digest_of(cell(code)['f'])}\n"}


def test_a_file_that_a_cell_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cells_helper.py").write_text("from cells_deeper import W\n")
    (tmp_path / "cells_deeper.py").write_text("W = 1.0\n")
    found = cell("import cells_helper\ndef f(x): return cells_helper.W * x")["f"]
    before = digest_of(found)
    (tmp_path / "cells_deeper.py").write_text("W = -1.0\n")
    assert before and digest_of(found) not in (before, None)


REGISTERED = """
from mt_lottery.plugin import register_criterion
@register_criterion("of_a_cell")
def loss(logits, labels, config):
    return {}
"""


def test_what_cannot_be_hashed_is_shared_with_no_process() -> None:
    known = cell("model = object()\n" + REGISTERED.format("model"))
    assert digest_of(known["loss"]) is CRITERIA.code("of_a_cell") is None
    config = compose(["recipe=embed", "lang=en-ro", "train.criterion=of_a_cell"])
    assert code_of(config) == {}
    first = cells_of(config, ["train"])
    assert cells_of(config, ["train"]) == first and cells_of(config, ["probe"]) == {}
    cell("model = object()\n" + REGISTERED.format("-model"))  # nothing tells what differs
    assert cells_of(config, ["train"]).keys() == first.keys()
    assert cells_of(config, ["train"]) != first


def test_a_value_that_another_cell_changes() -> None:
    known = cell("W = 1\n" + REGISTERED.format("W * logits.sum()"))
    before = CRITERIA.code("of_a_cell")
    cell("W = 2", known)
    assert before and CRITERIA.code("of_a_cell") not in (before, None)


def test_a_cell_that_is_run_again(tmp_path: Path) -> None:
    for factor in (1, 2):
        cell(REGISTERED.format(f"{factor} * logits"))
        assert CRITERIA.get("of_a_cell")(3, None, None) == 3 * factor
    found = CRITERIA.code("of_a_cell")
    with pytest.raises(PluginError, match="must take"):
        cell(REGISTERED.format("logits").replace("labels, ", ""))
    assert CRITERIA.code("of_a_cell") == found  # the one before goes on
    with pytest.raises(RegistryError, match="is already registered by"):
        cell(REGISTERED.format(1).replace("of_a_cell", "cross_entropy"))
    file = tmp_path / "of_a_file.py"
    file.write_text(REGISTERED.format(1))
    with pytest.raises(RegistryError, match="is already registered by __main__"):
        load_user_dir(tmp_path)


def test_a_tuner_that_is_run_again_has_its_new_settings() -> None:
    tuner = """
from dataclasses import dataclass
from mt_lottery.plugin import Tuner, TunerConfig, register_tuner, setting
@dataclass
class Config(TunerConfig):
    {}: int = setting(1, "how many", ge=1)
@register_tuner("tuner_of_a_cell", dataclass=Config)
class T(Tuner):
    def apply(self, context): return []
"""
    for key in ("before", "after"):
        cell(tuner.format(key))
    config = compose(["recipe=tuner_of_a_cell", "lang=en-ro", "tuner.after=3"])
    assert config.tuner.after == 3 and not hasattr(config.tuner, "before")


def test_a_benchmark_wants_a_file(tmp_path: Path) -> None:
    """Before the first cell: each is a separate process."""
    given: dict[str, Any] = {"preset": "smoke", "out": tmp_path / "b"}
    wanted = {"train.criterion": "of_a_cell"}
    cell(REGISTERED.format("logits"))
    with pytest.raises(ConfigError) as caught:
        mtl.bench("random_seen", "es", settings=wanted, **given)
    assert "the criterion 'of_a_cell' was registered in <ipython-input-" in str(caught.value)
    assert "put it into a Python file" in str(caught.value) and "user_dir" in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_a_benchmark_knows_what_its_processes_will_have(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "of_a_file.py").write_text(REGISTERED.format("logits.sum()"))
    asked = Asked(recipes=["random_seen", "train.criterion=of_a_cell"], langs="es", preset="smoke",
                  out=tmp_path / "b", user_dir=str(tmp_path / "p"))  # fmt: skip
    assert "random_seen" in ask(asked).recipes
    with pytest.raises(ConfigError, match=r"was registered in .*of_a_file\.py, line 3"):
        ask(dataclasses.replace(asked, user_dir=None))  # which this process has from before
