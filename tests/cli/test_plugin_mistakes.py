"""A plugin's mistake ends with 2, its name, file and line, whatever it is and wherever it shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_runs import Commands, Models, small

from mt_lottery.registry import loading as plugins

PLUGIN = """
import sys
from pathlib import Path

import torch

from mt_lottery import registry as r
from mt_lottery.ticket.selection import RowScores
from mt_lottery.tuners.base import Tuner
from mt_lottery.tuners.none import NoTuner
from mt_lottery.tuners.rows.module import attach
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.trainer import TransformersEngine

print("imported")  # not where a command's result goes


class Own(Tuner):
    trains = False

    def apply(self, context):
        return []


def tuner(name, **members):
    r.register_tuner(name)(type(name, (Own,), members))


def raises(self, context):
    raise ValueError("no such thing")  # LINE raises


def saves(self, context, run_dir):
    (run_dir / "nowhere" / "x").write_text("x")  # LINE saves


def leaves(self, context):
    sys.exit(0)  # LINE leaves


def multiplies(self, context):
    torch.zeros(2, 2) @ torch.zeros(3, 3)  # LINE multiplies


def attaches(self, context):
    attach(context.model, "rows", None, tied=False)  # LINE attaches


tuner("t_raises", apply=raises)
tuner("t_saves", save=saves, restore=lambda self, model, run_dir: model)
tuner("t_leaves", apply=leaves)
tuner("t_multiplies", apply=multiplies)
tuner("t_attaches", apply=attaches)
tuner("t_space", search_space={"train.lr": 3})
tuner("t_scope", scope="both")
tuner("t_probe", probe="embedding")
tuner("t_tokens", virtual_tokens=1.5)
tuner("t_init", __init__=lambda self, config: None)
tuner("t_says", problems_with=lambda self, run: None)

r.register_criterion("c_vector")(lambda logits, labels, config: logits.sum(1))
r.register_criterion("c_number")(lambda logits, labels, config: float(logits.sum()))
r.register_criterion("c_nan")(lambda logits, labels, config: logits.sum() * float("nan"))
r.register_criterion("c_detached")(lambda logits, labels, config: logits.detach().sum())
r.register_criterion("c_constant")(lambda x, labels, config: torch.ones((), requires_grad=True))
r.register_criterion("c_misspelt")(lambda logits, labels, config: logits.summ())

r.register_optimizer("o_none")(lambda parameters, config: None)
r.register_optimizer("o_other")(lambda p, c: torch.optim.SGD([torch.zeros(2)], lr=0.1))
r.register_optimizer("o_closure")(lambda p, c: torch.optim.LBFGS(p))
r.register_optimizer("o_argument")(lambda p, c: torch.optim.SGD(p, lr=0.1, wd=1))

r.register_selector("s_ids")(lambda before, after: torch.arange(18))
r.register_selector("s_list")(lambda before, after: [1.0] * len(before))
r.register_selector("s_nan")(lambda before, after: (after - before).sum(1) / 0 * 0)
r.register_selector("s_p")(
    lambda before, after: RowScores((after - before).sum(1), (after - before).sum(1))
)


@r.register_model("m_pair")
class Pair:
    def fingerprint(self, config):
        return "abc"

    def load(self, config, device):
        return (None, None)


@r.register_model("m_number")
class Number(Pair):
    def fingerprint(self, config):
        return 7


@r.register_engine("e_none")
class Nothing(TransformersEngine):
    def train(self, *given, **more):
        return None


@r.register_engine("e_says")
class Says(TransformersEngine):
    def problems(self):
        return "no problem"


@r.register_tracker("k_leaves")
class Leaves(Tracker):
    def log(self, step, values):
        sys.exit(0)
"""

TRAINED = [  # before anything is loaded
    ("recipe=t_space", "search_space must be a dictionary", "t_space"),
    ("recipe=t_scope", "scope must be one of None, 'input', 'tied', not 'both'", "t_scope"),
    ("recipe=t_probe", "probe must be one of None, 'embed', not 'embedding'", "t_probe"),
    ("recipe=t_tokens", "virtual_tokens must be a whole number ≥ 0, not 1.5", "t_tokens"),
    ("recipe=t_init", "__init__ must call super().__init__(config)", "t_init"),
    ("recipe=t_says", "problems_with must give sentences", "t_says"),
    ("train.criterion=c_vector", "a tensor of one number, not a tensor [8]", "c_vector"),
    ("train.criterion=c_number", "a tensor of one number, not float", "c_number"),
    ("probe.criterion=c_nan", "the loss of random logits is nan", "c_nan"),
    ("train.criterion=c_detached", "its loss has no gradient", "c_detached"),
    ("train.criterion=c_constant", "its loss does not depend on the logits", "c_constant"),
    ("train.criterion=c_misspelt", "AttributeError: 'Tensor' object has no attribute 'summ'", None),
    ("train.optimizer=o_none", "must return a torch.optim.Optimizer, not nothing", "o_none"),
    ("train.optimizer=o_other", "of the parameters that it is given", "o_other"),
    ("train.optimizer=o_closure", "step() cannot be called without arguments", "o_closure"),
    ("probe.optimizer=o_argument", "TypeError: SGD.__init__() got an unexpected keyword", None),
    ("tuner.selector=s_ids", "must return one number per row [4096]", "s_ids"),
    ("tuner.selector=s_list", "must return a tensor with one number per row", "s_list"),
    ("tuner.selector=s_nan", "no NaN", "s_nan"),
    ("tuner.selector=s_p", "one p-value in [0, 1] per row", "s_p"),
    ("engine=e_says", "problems must give sentences", "e_says"),
    ("model=m_number", "fingerprint must return text", "m_number"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before, path = len(plugins._registered), list(sys.path)
    made = tmp_path_factory.mktemp("plugins")
    (made / "mistaken_plugin.py").write_text(PLUGIN)
    yield made
    for place, forget in plugins._registered[before:]:
        if place.file == str(made / "mistaken_plugin.py"):  # built-ins stay imported
            forget()
    sys.path[:] = path
    sys.modules.pop("mistaken_plugin", None)
    plugins._plugin_folders.pop(str(made), None)


def line(mark: str) -> int:
    return 1 + next(n for n, text in enumerate(PLUGIN.split("\n")) if f"# LINE {mark}" in text)


@pytest.mark.parametrize(("given", "message", "name"), TRAINED, ids=lambda x: str(x)[:24])
def test_before_anything_is_loaded(
    given: str, message: str, name: str | None, commands: Commands, models: Models, folder: Path
) -> None:
    arguments = small(models.untied, "ks_lottery", "baseline=false", f"user_dir={folder}")
    key = given.partition("=")[0]
    kept = [a for a in arguments if str(a).partition("=")[0] != key]
    kept = [a for a in kept if key != "model" or "name_or_path" not in str(a)]
    ended = commands.train(*kept, given, "out_dir=run")
    mistake = ended.mistake()
    assert message in mistake and str(folder / "mistaken_plugin.py") in mistake
    assert name is None or f"'{name}'" in mistake
    assert ended.out == "" and "Loading" not in ended.err and not Path("run").exists()


@pytest.mark.parametrize(
    ("recipe", "parts"),
    [
        ("raises", ("in raises: ValueError: no such thing.",)),
        ("saves", ("FileNotFoundError", "nowhere")),
        ("leaves", ("in leaves: SystemExit: 0",)),
        ("multiplies", ("RuntimeError", "mat1 and mat2")),
        ("attaches", ("raised in", "token_rows.py")),
    ],
)
def test_an_exception_in_its_code(
    recipe: str, parts: tuple[str, ...], commands: Commands, models: Models, folder: Path
) -> None:
    more = ("baseline=false", f"user_dir={folder}", "out_dir=run")
    ended = commands.train(*small(models.untied, f"t_{recipe}", *more))
    mistake = ended.mistake()
    for part in (*parts, f"mistaken_plugin.py, line {line(recipe)}, in {recipe}", f"'t_{recipe}'"):
        assert part in mistake
    assert not Path("run/record.json").exists()


def test_the_whole_traceback_where_it_is_asked_for(
    commands: Commands, models: Models, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MT_LOTTERY_TRACEBACK", "1")
    more = ("baseline=false", f"user_dir={folder}", "out_dir=run")
    ended = commands.train(*small(models.untied, "t_raises", *more))
    assert ended.code == 2 and "Traceback (most recent call last)" in ended.err
    assert "bug in mt-lottery" not in ended.err


def test_what_comes_back_from_a_model_and_an_engine(
    commands: Commands, models: Models, folder: Path
) -> None:
    pair = commands.train(
        "recipe=none", "lang=en-es", "model=m_pair", f"user_dir={folder}", "data.test_pairs=2",
        "metrics=[chrf]", "out_dir=run",
    )  # fmt: skip
    assert "load must return a mt_lottery.model.loading.LoadedModel" in pair.mistake()
    given = small(models.untied, "eos_bias", "baseline=false", f"user_dir={folder}")
    none = commands.train(*given, "engine=e_none", "out_dir=run")
    assert "train must return a mt_lottery.training.objective.TrainResult(" in none.mistake()
    assert "not nothing (None)" in none.mistake()


def test_a_tracker_that_leaves_is_a_warning(
    commands: Commands, models: Models, folder: Path
) -> None:
    given = small(models.untied, "eos_bias", "baseline=false", f"user_dir={folder}")
    ended = commands.train(*given, "tracker=k_leaves", "out_dir=run")
    assert ended.code == 0 and "Warning: tracker=k_leaves: SystemExit" in ended.err


def test_a_bug_of_ours_stays_one(
    commands: Commands, models: Models, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mt_lottery.runs import execution

    monkeypatch.setattr(execution, "decode", lambda *_, **__: [][1])
    given = small(models.untied, "eos_bias", "baseline=false", f"user_dir={folder}")
    ended = commands.train(*given, "out_dir=run")
    assert ended.code == 1 and "bug in mt-lottery" in ended.err
