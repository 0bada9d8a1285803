"""What has changed since it was read, imported or made, and is not taken for what it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from mt_lottery.benchmark.bench_file import check_settings, made_anew, read_settings
from mt_lottery.benchmark.board import notes
from mt_lottery.benchmark.board.collect import Results
from mt_lottery.benchmark.board.leaderboard import bootstrap_of
from mt_lottery.benchmark.executors.runner import WAITING, statuses_of
from mt_lottery.benchmark.plan import Bench, Cell
from mt_lottery.config import groups
from mt_lottery.config.compose import compose
from mt_lottery.errors import PluginError, RecordError, RegistryError
from mt_lottery.model import cache
from mt_lottery.registry import CRITERIA, load_entry_points, load_user_dir
from mt_lottery.registry.code import code_of
from mt_lottery.runs.folder.preparing import prepare

CRITERION = """
from mt_lottery.plugin import register_criterion

@register_criterion("{name}")
def loss(logits, labels, config):
    return logits.sum()
"""


@pytest.fixture
def forget() -> Any:
    names: list[str] = []
    yield names
    for name in names:
        CRITERIA._forget(name)


def test_a_plugin_that_was_edited(tmp_path: Path, forget: list[str]) -> None:
    forget.append("edited")
    file = tmp_path / "edited_plugin.py"
    file.write_text(CRITERION.format(name="edited"))
    load_user_dir(tmp_path)
    code = CRITERIA.code("edited")
    assert code == hashlib.sha256(file.read_bytes()).hexdigest()
    load_user_dir(tmp_path)  # nothing has changed
    file.write_text(CRITERION.format(name="edited") + "# otherwise\n")
    with pytest.raises(PluginError, match="has changed since this Python imported it"):
        load_user_dir(tmp_path)
    assert CRITERIA.code("edited") == code  # what runs is what it was


@pytest.mark.parametrize("package", [False, True])
def test_a_helper_that_was_edited(tmp_path: Path, forget: list[str], package: bool) -> None:
    """Each folder as the next process reads it; what the plugin does not import counts nothing."""
    dot = "." if package else ""
    codes = []
    for number, weight in enumerate((1, 1, -1)):
        forget.append("helped")
        CRITERIA._forget("helped")
        folder = tmp_path / str(number) / "helped"
        folder.mkdir(parents=True)
        names = {name: f"{name}_of_{'package' if package else 'folder'}" for name in "abc"}
        files = {
            "__init__" if package else "unused": f"from {dot}helped_plugin import loss\n" * package,
            "helped_plugin": f"from {dot}{names['a']} import W\n" + CRITERION.format(name="helped"),
            names["a"]: f"from {dot}{names['b']} import W\n", names["b"]: f"W = {weight}\n",
            names["c"]: f"# {number}\n",
        }  # fmt: skip
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        load_user_dir(folder)
        codes.append(CRITERIA.code("helped"))
        (folder / f"{names['b']}.py").write_text("W = 0\n")
        assert CRITERIA.code("helped") == codes[-1]  # what runs is what it was
        for name in [name for name in sys.modules if name.startswith(("helped", *names.values()))]:
            del sys.modules[name]
        sys.path[:] = [each for each in sys.path if each != str(folder)]
    assert codes[0] == codes[1] != codes[2]


def test_a_plugin_whose_import_was_interrupted(tmp_path: Path, forget: list[str]) -> None:
    forget.append("slow_one")
    file = tmp_path / "slow_plugin.py"
    file.write_text(CRITERION.format(name="slow_one") + "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_user_dir(tmp_path)
    with pytest.raises(RegistryError):
        CRITERIA.get("slow_one")
    file.write_text(CRITERION.format(name="slow_one"))
    load_user_dir(tmp_path)
    assert callable(CRITERIA.get("slow_one"))


def test_a_run_goes_on_with_the_same_plugin(
    tmp_path: Path, forget: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget.append("kept_on")
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "kept_plugin.py").write_text(CRITERION.format(name="kept_on"))
    load_user_dir(plugins)
    out = tmp_path / "run"
    config = compose(["recipe=embed", "lang=en-ro", "train.criterion=kept_on", f"out_dir={out}"])
    assert [*code_of(config)] == ["criterion 'kept_on'"]
    assert prepare(out, config, "a" * 64) is False
    (out / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    resumed = dataclasses.replace(config, resume=True)
    assert prepare(out, resumed, "a" * 64) is True
    monkeypatch.setitem(CRITERIA._codes, "kept_on", "0" * 64)
    with pytest.raises(RecordError, match="the plugin of criterion 'kept_on' has changed since"):
        prepare(out, resumed, "a" * 64)
    assert (out / "checkpoints" / "checkpoint-1").is_dir()


def test_a_file_that_is_written_while_it_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "weights"
    file.write_bytes(b"before")
    digest = hashlib.file_digest

    def meanwhile(opened: Any, name: str) -> Any:
        found = digest(opened, name)
        file.write_bytes(b"afterwards")
        return found

    monkeypatch.setattr(hashlib, "file_digest", meanwhile)
    assert cache.sha256_file(file) == hashlib.sha256(b"before").hexdigest()
    monkeypatch.setattr(hashlib, "file_digest", digest)
    assert cache.sha256_file(file) == hashlib.sha256(b"afterwards").hexdigest()


def bench(out: Path, recipes: str, **overrides: str) -> Bench:
    return Bench(
        out=out, recipes=recipes.split(","), langs=["en-ro"], seeds=[0],
        overrides={key.replace("_", "."): value for key, value in overrides.items()},
    )  # fmt: skip


def test_cells_of_earlier_settings(tmp_path: Path) -> None:
    assert check_settings(bench(tmp_path, "none,random,lora"), force=False, command="a") == []
    for recipe in ("none", "random", "lora"):
        folder = tmp_path / "runs" / recipe / "en-ro" / "seed-0"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text("{}")
    with pytest.raises(
        RecordError, match=r"change 1 finished cell that is not asked for \(runs/lo"
    ):
        check_settings(bench(tmp_path, "random", train_lr="0.5"), force=True, command="b")
    assert read_settings(tmp_path)["settings"]["overrides"] == {}  # nothing was changed
    wanted = [
        "runs/lora/en-ro/seed-0",
        "runs/random/en-ro/seed-0",
    ]  # the original model is as it was
    both = bench(tmp_path, "random,lora", train_lr="0.5")
    assert check_settings(both, force=True, command="c") == wanted
    assert check_settings(both, force=False, command="c") == wanted  # it was cut short
    states = [status.state for status in statuses_of(both, both.cells())]
    assert states == [WAITING, WAITING]
    made_anew(tmp_path, wanted[:1])
    assert check_settings(both, force=False, command="c") == wanted[1:]
    made_anew(tmp_path, wanted)
    assert check_settings(both, force=False, command="c") == []
    assert "anew" not in json.loads((tmp_path / "bench.json").read_text())
    # settings of one recipe change its own cells; a folder of plugins changes none
    own = Bench(out=tmp_path, recipes=["lora"], langs=["en-ro"], seeds=[0],
                overrides={"train.lr": "0.5", "lora:tuner.r": "4", "user_dir": "x"})  # fmt: skip
    assert check_settings(own, force=True, command="d") == wanted[:1]


def results(**cells: Any) -> Results:
    """Of cells named ``RECIPE_SEED``: the training text of each; None for none."""
    records = {}
    for name, train in cells.items():
        recipe, _, seed = name.rpartition("_")
        text = train and SimpleNamespace(name="files", pairs=len(train), sha256=train * 8)
        data = SimpleNamespace(train=text)
        records[Cell("runs", recipe, "en-es", int(seed))] = SimpleNamespace(data=data, scores={})
    return Results(Path("b"), records=records)  # type: ignore[arg-type]


def test_texts_that_differ_are_named() -> None:
    assert notes.several_texts(results(none_0=None, lora_0="abc", random_0="abc")) == []
    (said,) = notes.several_texts(results(none_0=None, lora_0="abc", random_0="abcd"))
    assert said == (
        "en-es: not all recipes were trained on the same text (lora: files, 3 pairs, sha256 "
        "abcabcabcabcabca…; random: files, 4 pairs, sha256 abcdabcdabcdabcd…)."
    )


def test_seeds_that_are_missing_are_named() -> None:
    whole = results(none_0=None, lora_0="a", lora_1="a", random_0="a", random_1="a")
    assert notes.fewer_seeds(whole, [0, 1]) == []  # the original model has no seed
    plugin = results(of_a_plugin_0="a", random_0="a", random_1="a")
    assert "seed 1: of_a_plugin." in notes.fewer_seeds(plugin, [0, 1])[0]
    (said,) = notes.fewer_seeds(results(lora_0="a", random_0="a", random_1="a"), [0, 1])
    assert said.endswith("from fewer seeds than the others: en-es seed 1: lora.")


def test_a_metric_whose_plugin_is_not_here() -> None:
    kept = results(lora_0="a")
    (cell,) = kept.records
    assert bootstrap_of(kept, "of_a_plugin") is None
    kept.sentences[cell] = {"of_a_plugin": {}}
    with pytest.raises(RecordError, match=r"'of_a_plugin', of a plugin, is not here, .*--user-dir"):
        bootstrap_of(kept, "of_a_plugin")


def test_threads_wait_for_an_import(tmp_path: Path, forget: list[str]) -> None:
    """It is imported once, and none takes it for loaded before that has ended."""
    forget.append("waited_for")
    begins = "import time\nopen(__file__ + '.log', 'a').write('begun ')\ntime.sleep(0.3)\n"
    (tmp_path / "waited_plugin.py").write_text(begins + CRITERION.format(name="waited_for"))

    load_entry_points()  # an unknown name asks for them, and takes its time
    together = Barrier(3)

    def found(_: int) -> bool:
        together.wait()
        load_user_dir(tmp_path)
        return callable(CRITERIA.get("waited_for"))

    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(found, range(3))] == [True] * 3
    assert (tmp_path / "waited_plugin.py.log").read_text() == "begun "


def test_threads_compose_settings() -> None:
    """Hydra has one state a process; a plugin's folder keeps what it gave from being kept."""

    def composed(number: int) -> int:
        groups._composed.clear()
        return compose(["recipe=lora", "lang=en-ro", f"seed={number}"]).seed

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(composed, range(12))] == [*range(12)]
    assert GlobalHydra.instance().hydra is None
