"""What is registered is compared with what its kind must be, and who is blamed for a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mt_lottery import plugin
from mt_lottery.registry import REGISTRIES
from mt_lottery.registry.conformity import problems_of
from mt_lottery.registry.contracts import CONTRACTS, resolve

HEAD = """\
from dataclasses import dataclass
from functools import partial
from mt_lottery.config import DataConfig, TunerConfig, setting
from mt_lottery.tuners.base import Tuner
from mt_lottery.tuners.rows.base import RowTuner
from mt_lottery.tuners.none import NoTuner
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.trainer import TransformersEngine
"""
CORPUS = """\
class M:
    def __init__(self, path, config): ...
    def pool(self, role): ...
    def read(self, pool, pair): ...
"""
METRIC = """\
class M:
    def __init__(self, context): ...
    def score(self, hypotheses, references): ...
"""
GOOD = [
    ("tuner", "class M(Tuner):\n def apply(self, context): ..."),
    ("tuner", "class M(Tuner):\n search_space = {}\n def apply(self, context, *more): ..."),
    ("tuner", "class M(NoTuner):\n def my_helper(self): ...\n def _aply(self): ..."),
    ("tuner", "class M(RowTuner):\n def rows(self, ctx): ...\n trains = False"),
    ("corpus", CORPUS),
    ("corpus", CORPUS + "    def files(self): ...\n    def report(self, pool): ...\n"),
    ("metric", METRIC),
    ("metric", METRIC + "    @staticmethod\n    def check(settings): ...\n"),
    ("metric", METRIC + "    @classmethod\n    def identity(cls, settings): ...\n"),
    ("metric", "def M(context): ..."),
    ("metric", "M = lambda context: None"),
    ("template", "class M:\n def prompt(self, source, pair=None): ...\n def target(self, t): ..."),
    ("selector", "def M(before, after, *, counts, seed=0): ..."),
    ("criterion", "M = partial(lambda size, logits, labels, config: 0, 3)"),
    ("optimizer", "class M:\n def __init__(self, parameters, config): ...\n def step(self): ..."),
    ("tracker", "class M(Tracker):\n def log(self, step, values): ..."),
    ("engine", "class M(TransformersEngine):\n def problems(self): ..."),
]
BAD = [
    ("tuner", "def M(context): ...", "a function is registered, but it must be a class"),
    ("tuner", "M = 3", "3 is registered, but it must be a class that extends"),
    ("tuner", "M = {}", "must be a class that extends mt_lottery.tuners.base.Tuner"),
    ("tuner", "class M:\n def apply(self, context): ...", "must extend mt_lottery.tuners.base"),
    ("tuner", "class M(Tuner):\n def aply(self, context): ...", "lacks the method apply(context)"),
    ("tuner", "class M(Tuner):\n def aply(self, context): ...", "'aply' is a misspelling?"),
    ("tuner", "class M(NoTuner):\n @property\n def serach_space(self): ...", "'search_space'?"),
    ("tuner", "class M(NoTuner):\n def saev(self, context, run_dir): ...", "'save'?"),
    ("tuner", "class M(NoTuner):\n def Restore(self, model, run_dir): ...", "'restore'?"),
    ("tuner", "class M(NoTuner):\n leaderbord = False", "did you mean 'leaderboard'?"),
    ("tuner", "class M(NoTuner):\n def trainable_params(self, c): ...", "'trainable_parameters'?"),
    ("tuner", "class M(RowTuner):\n def row(self, context): ...", "lacks the method rows(context)"),
    ("tuner", "class M(NoTuner):\n def search_space(self): ...", "write @property above it"),
    ("tuner", "class M(NoTuner):\n @property\n def finish(self): ...", "remove @property"),
    ("tuner", "class M(NoTuner):\n trains = 'no'", "trains must be True or False, not 'no'"),
    ("tuner", "class M(NoTuner):\n def trains(self): ...", "it must be a value, such as"),
    ("tuner", "class M(NoTuner):\n save = None", "save must be a method, not None"),
    ("tuner", "class M(NoTuner):\n def save(self): ...", "save must take (context, run_dir)"),
    ("tuner", "class M(NoTuner):\n def apply(): ...", "apply must take (context)"),
    ("tuner", "class M(NoTuner):\n def __init__(self): ...", "M(…) must take (config)"),
    ("corpus", CORPUS.replace("pool(self, role)", "pools(self, role)"), "'pools' is a"),
    ("corpus", CORPUS.replace("(self, path, config)", "(self, path)"), "must take (path, config)"),
    ("corpus", CORPUS.replace("    def __init__(self, path, config): ...\n", ""), "(path, config)"),
    ("corpus", CORPUS.replace("read(self, pool, pair)", "read(self, pool)"), "take (pool, pair)"),
    ("corpus", CORPUS + "    def reprot(self, pool): ...", "did you mean 'report'?"),
    ("corpus", "def M(path, config): ...", "a function is registered, but it must be a class"),
    ("template", "class M:\n def prompt(self, source, pair): ...", "lacks the method target"),
    ("template", "class M:\n def __init__(self, x): ...\n def prompt(self, source, pair): ...\n"
     " def target(self, text): ...", "M(…) must take ()"),
    ("metric", METRIC + "    def check(self, settings): ...", "write @staticmethod above it"),
    ("metric", METRIC + "    def identitiy(settings): ...", "did you mean 'identity'?"),
    ("metric", "def M(hypotheses, references): ...", "must take (context)"),
    ("selector", "class M: ...", "a class (M) is registered, but it must be a function"),
    ("selector", "def M(before): ...", "must take (before, after)"),
    ("criterion", "def M(logits, labels): ...", "must take (logits, labels, config)"),
    ("criterion", "class M: ...", "a class (M) is registered, but it must be a function"),
    ("optimizer", "class M: ...", "must be a function of (parameters, config)"),
    ("optimizer", "def M(parameters): ...", "must take (parameters, config)"),
    ("tracker", "class M:\n def log(self, step, values): ...", "lacks the method finish(record)"),
    ("tracker", "class M(Tracker):\n def finsh(self, record): ...", "did you mean 'finish'?"),
    ("engine", "class M(TransformersEngine):\n def train(self, model): ...", "must take (model"),
    ("model", "class M:\n def load(self, config): ...\n def fingerprint(self, config): ...",
     "load must take (config, device)"),
]  # fmt: skip


def made(text: str) -> Any:
    space: dict[str, Any] = {"__name__": __name__}
    exec(HEAD + text, space)
    return space["M"]


@pytest.mark.parametrize(("kind", "text"), GOOD)
def test_what_keeps_to_the_contract(kind: str, text: str) -> None:
    assert list(problems_of(kind, "mine", made(text), None)) == []


@pytest.mark.parametrize(("kind", "text", "message"), BAD)
def test_what_does_not(kind: str, text: str, message: str) -> None:
    found = list(problems_of(kind, "mine", made(text), None))
    assert any(message in problem for problem in found), found


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("tuner", "class M(TunerConfig):\n r: int = 3", "is no dataclass: write @dataclass above"),
        ("tuner", "class M(TunerConfig): ...", "is no dataclass"),
        ("tuner", "@dataclass\nclass M:\n r: int = 3", "must extend mt_lottery.config.TunerConfig"),
        (
            "tuner",
            "@dataclass\nclass M(DataConfig): ...",
            "must extend mt_lottery.config.TunerConfig",
        ),
        ("corpus", "@dataclass\nclass M(TunerConfig): ...", "must extend mt_lottery.config.DataC"),
        ("tuner", "M = {'r': 3}", "dataclass= must be a class that extends"),
        ("metric", "@dataclass\nclass M: ...", "it takes no dataclass=…"),
    ],
)
def test_settings(kind: str, text: str, message: str) -> None:
    good = {"tuner": "class M(NoTuner): ...", "corpus": CORPUS, "metric": METRIC}[kind]
    found = list(problems_of(kind, "mine", made(good), made(text)))
    assert len(found) == 1 and message in found[0], found


@pytest.mark.parametrize("name", ["", "a b", "a=b", "../x", "a/b", "a:b", "a,b", "-x"])
def test_names(name: str) -> None:
    found = list(problems_of("tuner", name, made("class M(NoTuner): ..."), None))
    assert len(found) == 1 and "its name must be text of letters" in found[0]


def test_every_built_in_keeps_to_its_contract() -> None:
    for kind, registry in REGISTRIES.items():
        for name in registry._builtins:
            found = problems_of(kind, name, registry.get(name), registry.dataclass_of(name))
            assert list(found) == [], (kind, name)


def test_the_contracts_are_what_plugins_can_import() -> None:
    assert CONTRACTS.keys() == REGISTRIES.keys()
    for contract in CONTRACTS.values():
        for place in filter(None, (contract.shape, contract.extras)):
            assert getattr(plugin, place.rpartition(".")[2]) is resolve(place)


def test_the_tuner_in_the_readme_keeps_to_the_contract() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    (code,) = (block for block in blocks if "class NormsTuner" in block)
    space: dict[str, Any] = {"__name__": __name__}
    exec(code.replace("@register_tuner", "@(lambda *_, **__: lambda x: x)"), space)
    assert list(problems_of("tuner", "norms", space["NormsTuner"], space["NormsConfig"])) == []
