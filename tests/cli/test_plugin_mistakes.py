"""A plugin's mistake ends with 2, its name, file and line, whatever it is and wherever it shows."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_runs import Commands, Models, hypotheses, small

from mt_lottery.registry import loading as plugins

pytestmark = pytest.mark.slow

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


class Own_Kind(BaseException):
    pass


def trains(change):
    def apply(self, context):
        found = change(context.model)
        return [context.model.model.norm.weight] if found is None else found

    return {"apply": apply, "trains": True}


def raises_own_kind(model):
    raise Own_Kind("no Exception")  # LINE raises_own_kind


def raises_pipe(model):
    raise BrokenPipeError(32, "Broken pipe")  # LINE raises_pipe


def adds_unused(model):
    model.extra = torch.nn.Parameter(torch.zeros(3))
    return [model.extra]


def infers(model):
    with torch.inference_mode():
        model.extra = torch.nn.Parameter(torch.zeros(3))
    return [model.extra]


def makes_nan(model):
    model.model.norm.weight.data[0] = float("nan")


def switches_off(model):
    torch.set_grad_enabled(False)


tuner("t_own_kind", **trains(raises_own_kind))
tuner("t_pipe", **trains(raises_pipe))
tuner("t_unused", **trains(adds_unused))
tuner("t_infers", **trains(infers))
tuner("t_nan", **trains(makes_nan))
tuner("t_off", **trains(switches_off))
tuner("t_prints", **trains(lambda model: print("printed by a plugin")))
tuner(
    "t_forgets", **trains(lambda model: None), save=lambda self, context, run_dir: None,
    restore=lambda self, model, run_dir: model,
)


@r.register_metric("x_chrf")
class Chrf:
    key, column = "chrf", "mine"

    def __init__(self, context):
        pass

    def score(self, hypotheses, references):
        from mt_lottery.plugin import Scored

        return Scored(1.0, (0.0, 2.0), "mine")


tuner("t_space", search_space={"train.lr": 3})
tuner("t_values", search_space={"train.lr": [torch.tensor(1.0)]})
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
    ("recipe=t_values", "lists of values that YAML can hold, not dict", "t_values"),
    ("recipe=t_scope", "scope must be one of None, 'input', 'tied', not str 'both'", "t_scope"),
    ("recipe=t_probe", "probe must be one of None, 'embed', not str 'embedding'", "t_probe"),
    ("recipe=t_tokens", "virtual_tokens must be a whole number ≥ 0, not float 1.5", "t_tokens"),
    ("recipe=t_init", "__init__ must call super().__init__(config)", "t_init"),
    ("recipe=t_says", "problems_with must give sentences", "t_says"),
    ("train.criterion=c_vector", "a tensor of one number, not a tensor [8]", "c_vector"),
    ("train.criterion=c_number", "a tensor of one number, not float", "c_number"),
    ("probe.criterion=c_nan", "the loss of random logits is nan", "c_nan"),
    ("train.criterion=c_detached", "its loss has no gradient", "c_detached"),
    ("train.criterion=c_constant", "its loss does not depend on the logits", "c_constant"),
    ("train.criterion=c_misspelt", "AttributeError: 'Tensor' object has no attribute 'summ'", None),
    ("train.optimizer=o_none", "must return a torch.optim.Optimizer, not nothing", "o_none"),
    ("train.optimizer=o_other", "of all the parameters that it is given", "o_other"),
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
        ("attaches", ("raised in", "module.py")),
        ("own_kind", ("Own_Kind: no Exception",)),
        ("pipe", ("BrokenPipeError",)),
    ],
)
def test_an_exception_in_its_code(
    recipe: str, parts: tuple[str, ...], commands: Commands, models: Models, folder: Path
) -> None:
    more = ("baseline=false", f"user_dir={folder}", "out_dir=run")
    ended = commands.train(*small(models.untied, f"t_{recipe}", *more))
    mistake = ended.mistake()
    where = f"raises_{recipe}" if f"# LINE raises_{recipe}" in PLUGIN else recipe
    for part in (*parts, f"mistaken_plugin.py, line {line(where)}, in {where}", f"'t_{recipe}'"):
        assert part in mistake
    assert not Path("run/record.json").exists()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("unused", "The loss does not depend on any of the trained tensors (extra"),
        ("infers", "extra, was made in torch.inference_mode() and cannot be trained"),
        ("nan", "gives NaN before any training"),
    ],
)
def test_what_cannot_be_trained(
    recipe: str, message: str, commands: Commands, models: Models, folder: Path
) -> None:
    more = ("baseline=false", f"user_dir={folder}", "out_dir=run")
    assert message in commands.train(*small(models.untied, f"t_{recipe}", *more)).mistake()
    assert not Path("run/record.json").exists()


def test_what_a_method_switches_off_or_prints_is_kept_out(
    commands: Commands, models: Models, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("baseline=false", "train.epochs=1", f"user_dir={folder}")
    ended = commands.train(*small(models.untied, "t_off", *more, "out_dir=off"))
    assert ended.code == 0 and torch.is_grad_enabled()
    ended = commands.train(*small(models.untied, "t_prints", *more, "out_dir=prints"))
    assert ended.code == 0
    found = hypotheses(Path("prints"))
    text = "\n".join(each["source"] for each in found) + "\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))
    ended = commands.call("translate", "--run", "prints", "--user-dir", folder)
    assert ended.code == 0 and "printed by a plugin" in ended.err
    assert ended.out.split("\n")[:-1] == [each["first_line"] for each in found]


def test_a_restore_that_forgets_serves_no_other_model(
    commands: Commands, models: Models, folder: Path
) -> None:
    more = ("baseline=false", "train.lr=0.3", f"user_dir={folder}", "out_dir=run")
    assert commands.train(*small(models.untied, "t_forgets", *more)).code == 0
    ended = commands.call("translate", "--run", "run", "--user-dir", folder)
    assert "`restore` of t_forgets does not give the model that was scored" in ended.mistake()


def test_two_metrics_of_one_key(commands: Commands, models: Models, folder: Path) -> None:
    given = small(models.untied, "none", f"user_dir={folder}", "out_dir=run")
    mistake = commands.train(*given, "metrics=[chrf,x_chrf]").mistake()
    assert "its key is 'chrf', and so is that of 'chrf'" in mistake
    assert commands.train(*given, "metrics=[x_chrf]").code == 0


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
    assert "train must return a mt_lottery.training.engine.TrainResult(" in none.mistake()
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
    from mt_lottery.runs.stages import steps

    monkeypatch.setattr(steps, "decode_test", lambda *_, **__: [][1])
    given = small(models.untied, "eos_bias", "baseline=false", f"user_dir={folder}")
    ended = commands.train(*given, "out_dir=run")
    assert ended.code == 1 and "bug in mt-lottery" in ended.err
