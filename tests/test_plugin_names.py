"""Where plugins import from: one public place now, the old names for one version more."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from mt_lottery import moved, plugin


def test_every_public_name_is_there_and_typed() -> None:
    typed = Path(str(plugin.__file__)).read_text("utf-8")
    for name in plugin.__all__:
        found = getattr(plugin, name)
        assert getattr(found, "__doc__", None), name
        assert f" import {name} as {name}\n" in typed, name  # what a type checker sees
    with pytest.raises(AttributeError, match="Tunner"):
        plugin.__getattr__("Tunner")
    assert set(dir(plugin)) >= {"Tuner", "register_tuner", "setting"}


def test_a_template_costs_no_pytorch() -> None:
    code = (
        "from mt_lottery.plugin import register_template, Template\n"
        "import sys; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("old", sorted(moved.MOVED))
def test_an_old_name_is_the_new_module(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=r"mt_lottery\.plugin"):
        found = importlib.import_module(old)
    new = importlib.import_module(moved.MOVED[old])
    assert found is new
    assert new.__spec__ is not None and new.__spec__.name == moved.MOVED[old]
    assert new.__name__ == moved.MOVED[old]


def test_a_module_of_an_old_room_is_never_loaded_twice() -> None:
    with pytest.warns(DeprecationWarning):
        found = importlib.import_module("mt_lottery.lottery.kernels")
    assert found is importlib.import_module("mt_lottery.ticket.kernels")
    with pytest.raises(ModuleNotFoundError), pytest.warns(DeprecationWarning):
        importlib.import_module("mt_lottery.lottery.nothing")


@pytest.mark.slow
def test_a_plugin_of_the_version_before_works(tmp_path: Path) -> None:
    """What CONTRIBUTING and the example of version 0.1 imported, in a fresh process."""
    (tmp_path / "old.py").write_text(
        "from mt_lottery.config import TunerConfig, setting\n"
        "from mt_lottery.registry import register_tuner\n"
        "from mt_lottery.tuner.base import Tuner, TuningContext\n"
        "from mt_lottery.tuner.peft_adapter import PeftTuner, check_targets\n\n"
        "@register_tuner('of_old')\n"
        "class Old(Tuner):\n"
        "    def apply(self, context: TuningContext):\n"
        "        return list(context.model.parameters())\n"
    )
    code = (
        "from mt_lottery import registry\n"
        f"registry.load_user_dir({str(tmp_path)!r})\n"
        "from mt_lottery.plugin import Tuner\n"
        "assert issubclass(registry.TUNERS.get('of_old'), Tuner)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "mt_lottery.tuner.base is mt_lottery.tuners.base now" in done.stderr


@pytest.mark.slow
def test_an_old_module_hides_no_function() -> None:
    """``mt_lottery.score`` and ``mt_lottery.train`` are functions now, and were rooms."""
    code = (
        "import mt_lottery as mtl\n"
        "import mt_lottery.score.metric, mt_lottery.train.criteria\n"
        "from mt_lottery.score import evaluate\n"
        "assert callable(mtl.score) and callable(mtl.train) and callable(evaluate)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
