"""The registry: ten kinds, names, entry points, ``user_dir``."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import MISSING

from mt_lottery import registry
from mt_lottery.config import RunConfig, TunerConfig, describe
from mt_lottery.config.compose import compose
from mt_lottery.errors import ConfigError, PluginError, RegistryError
from mt_lottery.registry import REGISTRIES, Registry, load_user_dir

KINDS = {
    "model": ("hf", "gemma3_270m"),
    "criterion": ("cross_entropy", "label_smoothed_cross_entropy"),
    "optimizer": ("adamw", "sgd"),
    "tuner": (
        *("none", "full", "embed", "random", "random_seen", "frequency"),
        *("ks_lottery", "ks_transfer"),
    ),
    "selector": ("ks",),
    "corpus": ("mini", "ntrex", "flores101", "files"),
    "template": ("plain", "alpaca"),
    "metric": ("spbleu", "bleu", "bleu_subword", "chrf"),
    "tracker": ("none",),
    "engine": ("transformers", "fairseq2"),
}
TUNER = """\
from dataclasses import dataclass
from mt_lottery.config import TunerConfig, setting
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.none import NoTuner

@dataclass
class Config(TunerConfig):
    strength: float = setting(0.5, "how much", ge=0.0, le=1.0)
    options: bool = False

@register_tuner("{name}", dataclass=Config)
class MyTuner(NoTuner):
    pass
"""


pytestmark = pytest.mark.usefixtures("registered")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def with_plugin(folder: Path, recipe: str, *more: str) -> RunConfig:
    return compose([f"recipe={recipe}", "lang=en-ro", f'user_dir="{folder}"', *more])


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_ten_kinds_with_their_builtins() -> None:
    assert set(REGISTRIES) == set(KINDS)
    for kind, names in KINDS.items():
        assert set(names) <= set(REGISTRIES[kind].names())


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in KINDS.items() for n in names])
def test_every_builtin_is_registered_by_the_module_of_the_table(kind: str, name: str) -> None:
    found = REGISTRIES[kind].get(name)
    assert callable(found)
    assert found.__module__ == REGISTRIES[kind]._builtins[name]


THEIRS = {
    "model": "class M:\n def load(self, config, device): ...\n def fingerprint(self, config): ...",
    "criterion": "def M(logits, labels, config): ...",
    "optimizer": "def M(parameters, config): ...",
    "tuner": "from mt_lottery.tuners.none import NoTuner\nclass M(NoTuner): ...",
    "selector": "def M(before, after, *, seed): ...",
    "corpus": (
        "class M:\n def __init__(self, path, config): ...\n def pool(self, role): ...\n"
        " def read(self, pool, pair): ..."
    ),
    "template": "class M:\n def prompt(self, source, pair): ...\n def target(self, text): ...",
    "metric": (
        "class M:\n def __init__(self, context): ...\n def score(self, hypotheses, references): ..."
    ),
    "tracker": "from mt_lottery.tracking.trackers import Tracker\nclass M(Tracker): ...",
    "engine": ("from mt_lottery.training.trainer import TransformersEngine as T\nclass M(T): ..."),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_takes_a_third_partys_object(kind: str) -> None:
    import mt_lottery

    made: dict[str, Any] = {"__name__": __name__}
    exec(THEIRS[kind], made)
    assert getattr(mt_lottery, f"register_{kind}")("mine")(made["M"]) is made["M"]
    assert REGISTRIES[kind].get("mine") is made["M"]
    assert "mine" in REGISTRIES[kind].names()


def test_listing_names_imports_no_builtin() -> None:
    code = (
        "import sys; from mt_lottery.registry import REGISTRIES; "
        "[r.names() for r in REGISTRIES.values()]; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert python(code).returncode == 0


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("tuner", "ks_lotery", "ks_lottery"),
        ("metric", "chrff", "chrf"),
        ("corpus", "opus-100", "opus100"),
    ],
)
def test_unknown_name_gives_the_nearest(kind: str, wrong: str, right: str) -> None:
    with pytest.raises(RegistryError, match=f"Unknown {kind} '{wrong}'") as caught:
        REGISTRIES[kind].get(wrong)
    assert f"Did you mean '{right}'?" in str(caught.value)
    assert ", ".join(sorted(REGISTRIES[kind].names())) in str(caught.value)


def test_no_hint_where_nothing_is_near() -> None:
    with pytest.raises(RegistryError) as caught:
        REGISTRIES["tuner"].get("zzzzzz")
    assert "Did you mean" not in str(caught.value)


def test_a_name_taken_twice() -> None:
    made = Registry("thing", {})
    made.register("mine")(int)
    with pytest.raises(RegistryError, match="'mine' of builtins is already registered by builtins"):
        made.register("mine")(float)
    assert made.get("mine") is int


@pytest.mark.parametrize("name", ["none", "ks_lottery"])
def test_a_name_of_a_builtin_that_is_not_yet_imported(name: str) -> None:
    owner = REGISTRIES["tuner"]._builtins[name]
    with pytest.raises(RegistryError, match=f"already registered by {owner}"):
        registry.register_tuner(name)(type("Mine", (), {"__module__": "mine"}))
    assert REGISTRIES["tuner"].get(name).__module__ == owner


def test_user_dir_that_takes_a_builtins_name(tmp_path: Path) -> None:
    write(tmp_path / "greedy_plugin.py", TUNER.format(name="full"))
    with pytest.raises(RegistryError, match="'full' of greedy_plugin is already registered"):
        load_user_dir(tmp_path)


# --- user_dir ---------------------------------------------------------------


def test_user_dir_of_loose_files(tmp_path: Path) -> None:
    write(tmp_path / "one_tuner.py", TUNER.format(name="one"))
    write(tmp_path / "two_tuner.py", TUNER.format(name="two"))
    load_user_dir(tmp_path)
    load_user_dir(tmp_path)  # once is enough
    assert {"one", "two"} <= set(REGISTRIES["tuner"].names())


def test_loose_files_may_import_each_other(tmp_path: Path) -> None:
    write(tmp_path / "a_tuner.py", "from z_tuner import MyTuner\n" + TUNER.format(name="a_tuner"))
    write(tmp_path / "z_tuner.py", TUNER.format(name="z_tuner"))
    load_user_dir(tmp_path)
    assert {"a_tuner", "z_tuner"} <= set(REGISTRIES["tuner"].names())


def test_user_dir_as_a_package_with_relative_imports(tmp_path: Path) -> None:
    folder = tmp_path / "my-plugins"
    write(folder / "__init__.py", "from .tuners import mine\n")
    write(folder / "tuners" / "__init__.py", "")
    write(folder / "tuners" / "mine.py", TUNER.format(name="mine"))
    load_user_dir(folder)
    assert "mine" in REGISTRIES["tuner"].names()


def test_a_loose_file_does_not_hide_a_library(tmp_path: Path) -> None:
    # neither one that is imported already (json) nor one that is not (sched)
    sys.modules.pop("sched", None)
    write(tmp_path / "json.py", TUNER.format(name="mine"))
    write(tmp_path / "sched.py", TUNER.format(name="other"))
    load_user_dir(tmp_path)
    import json
    import sched

    assert {"mine", "other"} <= set(REGISTRIES["tuner"].names())
    assert hasattr(json, "dumps")
    assert hasattr(sched, "scheduler")


def test_user_dir_missing(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"user_dir=.*nowhere: no such folder"):
        load_user_dir(tmp_path / "nowhere")


def test_user_dir_without_a_plugin(tmp_path: Path) -> None:
    write(tmp_path / "notes.txt", "nothing")
    with pytest.raises(PluginError, match="neither a Python file nor a recipe"):
        load_user_dir(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def broken(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("import sys\nsys.exit(0)\n", "SystemExit"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, reason: str) -> None:
    file = write(tmp_path / "broken_plugin.py", text)
    for _ in range(2):  # the second time too: it must not be taken for loaded
        with pytest.raises(PluginError) as caught:
            load_user_dir(tmp_path)
        assert str(file) in str(caught.value)
        assert reason in str(caught.value)
    assert "broken_plugin" not in sys.modules


def test_what_a_broken_file_registered_before_is_forgotten(tmp_path: Path) -> None:
    file = write(tmp_path / "half_plugin.py", TUNER.format(name="half") + "1 / 0\n")
    for _ in range(2):  # not "already registered" the second time
        with pytest.raises(PluginError, match=r"half_plugin\.py, line 14: ZeroDivisionError"):
            load_user_dir(tmp_path)
    assert "half" not in REGISTRIES["tuner"].names()
    file.write_text(TUNER.format(name="half"))
    load_user_dir(tmp_path)
    assert "half" in REGISTRIES["tuner"].names()


def test_what_a_plugin_prints_is_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "loud_plugin.py", "print('hello')\n")
    load_user_dir(tmp_path)
    said = capsys.readouterr()
    assert said.out == "" and said.err == "hello\n"


def test_a_decorator_without_a_name(tmp_path: Path) -> None:
    text = TUNER.replace('@register_tuner("{name}", dataclass=Config)', "@register_tuner")
    file = write(tmp_path / "nameless_plugin.py", text)
    with pytest.raises(PluginError, match="@register_tuner needs a name") as caught:
        load_user_dir(tmp_path)
    assert f"{file}, line 11: @register" in str(caught.value)


def test_needs_are_as_pip_writes_them() -> None:
    for needs, message in (("torch", "must be a list of packages"), (["a b"], "as pip writes it")):
        with pytest.raises(PluginError, match=message):
            registry.register_criterion("needy", needs=needs)(lambda logits, labels, config: 0)


# --- a plugin's settings and recipes ------------------------------------------


def test_a_tuner_without_yaml_and_its_own_key(tmp_path: Path) -> None:
    write(tmp_path / "p_a.py", TUNER.format(name="strong"))
    config = with_plugin(tmp_path, "strong", "tuner.strength=0.75")
    assert (config.tuner.name, config.tuner.strength) == ("strong", 0.75)  # type: ignore[attr-defined]
    assert config.recipe == "strong"


def test_its_settings_are_checked_as_the_built_in_ones(tmp_path: Path) -> None:
    write(tmp_path / "p_b.py", TUNER.format(name="strong"))
    with pytest.raises(ConfigError) as caught:
        with_plugin(tmp_path, "strong", "tuner.strenght=1", "train.epochs=0")
    assert "Unknown key 'tuner.strenght'. Did you mean 'tuner.strength'?" in str(caught.value)
    assert "`train.epochs` must be ≥ 1" in str(caught.value)
    with pytest.raises(ConfigError, match=r"`tuner.strength` must be ≥ 0 and ≤ 1, not 2"):
        with_plugin(tmp_path, "strong", "tuner.strength=2")
    # this dataclass does not postpone its annotations: they are types, not text
    with pytest.raises(ConfigError, match=r"`tuner.strength` must be a number, not 'much'"):
        with_plugin(tmp_path, "strong", "tuner.strength=much")
    with pytest.raises(ConfigError, match=r"`tuner.options` must be true or false, not 3"):
        with_plugin(tmp_path, "strong", "tuner.options=3")


def test_a_schema_that_is_no_tuner_config_names_the_plugin(tmp_path: Path) -> None:
    text = TUNER.format(name="foreign").replace("class Config(TunerConfig)", "class Config")
    file = write(tmp_path / "foreign_plugin.py", text)
    with pytest.raises(PluginError, match=r"tuner 'foreign'.*Config, must extend") as caught:
        with_plugin(tmp_path, "foreign")
    assert f"{file}, line 11: " in str(caught.value)


def test_a_setting_without_a_default_must_be_given(tmp_path: Path) -> None:
    text = TUNER.format(name="needy").replace(
        "class Config(TunerConfig):", "class Config(TunerConfig):\n    tau: float = MISSING"
    )
    write(tmp_path / "needy_plugin.py", "from omegaconf import MISSING\n" + text)
    with pytest.raises(ConfigError, match=r"`tuner.tau` must be given: it has no default"):
        with_plugin(tmp_path, "needy")
    assert with_plugin(tmp_path, "needy", "tuner.tau=1").tuner.tau == 1.0  # type: ignore[attr-defined]


def test_help_of_a_setting_without_a_default() -> None:
    @dataclass
    class Needy(TunerConfig):
        tau: float = MISSING

    needy = make_dataclass("Needy", [("tau", float)])
    for schema in (Needy, needy):
        assert ("tuner.tau", "must be given", "") in list(describe(schema, "tuner."))


RECIPE = "tuner: {name: strong, strength: 0.25}\ntrain: {lr: 0.125}\n"


@pytest.mark.parametrize("place", ["recipes/recipe", "recipe", "."])
def test_a_plugins_recipe_is_found(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "plug \"ins' ă=1"  # signs of Hydra's grammar in the path
    write(folder / "p_c.py", TUNER.format(name="strong"))
    write(folder / place / "gentle.yaml", RECIPE)
    load_user_dir(folder)
    config = compose(["recipe=gentle", "lang=en-ro"])
    assert (config.recipe, config.tuner.name, config.train.lr) == ("gentle", "strong", 0.125)
    assert config.tuner.strength == 0.25  # type: ignore[attr-defined]


def test_a_recipe_with_a_name_beyond_ascii(tmp_path: Path) -> None:
    write(tmp_path / "rețetă 1.yaml", "tuner: {name: random}\n")
    config = with_plugin(tmp_path, "rețetă 1")
    assert (config.recipe, config.tuner.name) == ("rețetă 1", "random")


def test_a_recipe_may_build_on_a_built_in_one_and_have_presets(tmp_path: Path) -> None:
    text = "defaults: [ks_lottery, _self_]\ntuner: {tickets: 7}\npresets: {big: {seed: 5}}\n"
    write(tmp_path / "seven.yaml", text)
    config = with_plugin(tmp_path, "seven", "preset=big")
    assert (config.tuner.name, config.train.lr, config.seed) == ("ks_lottery", 1e-2, 5)
    assert config.tuner.tickets == 7  # type: ignore[attr-defined]


def test_other_yaml_beside_a_plugin_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path / "p_d.py", TUNER.format(name="strong"))
    write(tmp_path / "cluster.yaml", "a: 1\n---\nb: [2\n")
    assert with_plugin(tmp_path, "strong").tuner.name == "strong"
    with pytest.raises(ConfigError, match=r"cluster\.yaml: line 2: not a readable YAML"):
        with_plugin(tmp_path, "cluster")


@pytest.mark.parametrize("place", ["recipe", "."])
def test_a_recipe_with_a_built_in_name_is_refused(tmp_path: Path, place: str) -> None:
    file = write(tmp_path / place / "ks_lottery.yaml", "tuner: {name: none}\n")
    with pytest.raises(ConfigError) as caught:
        with_plugin(tmp_path, "ks_lottery")
    assert f"{file}: recipe=ks_lottery is taken by" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tuner: strong\n", "'tuner' is a section, not a value in the recipe"),
        ("tuner: {name: strongg}\n", "Did you mean 'strong'?"),
        ("train: {lrr: 1}\n", "Unknown key 'train.lrr' in the recipe. Did you mean 'train.lr'?"),
        ("lang: no\n", "`lang` is false in the recipe, a truth value; expected a text. Quote it"),
        ("model: {revision: 0123}\n", "`model.revision` is the number 83 in the recipe; quote it"),
        ("- a\n- b\n", "recipe=wrong: its YAML must hold keys and values, not ['a', 'b']"),
        (
            "defaults: lora\n",
            "wrong.yaml: `defaults` is 'lora'; allowed: a list of the recipes that this one goes "
            "on from, as in `defaults: [lora]`.",
        ),
        ("defaults: 3\n", "wrong.yaml: `defaults` is 3; allowed: a list"),
        ("defaults: [nothing]\n", "Could not load 'recipe/nothing'."),
        ("train: {lr: 0.1}\n", "recipe=wrong does not say which tuner it uses: write tuner: {name"),
        ("", "recipe=wrong does not say which tuner it uses"),
        ("train: {lr: 1}\ntrain: {lr: 2}\n", "wrong.yaml: line 2: not a readable YAML file"),
        ("presets: paper\n", "`presets` of recipe=wrong: its YAML must hold keys and values"),
    ],
)
def test_mistakes_in_a_plugins_recipe(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "p_e.py", TUNER.format(name="strong"))
    write(tmp_path / "wrong.yaml", text)
    with pytest.raises(ConfigError) as caught:
        compose(["recipe=wrong", f"user_dir={tmp_path}"])
    assert message in str(caught.value)


# --- entry points -------------------------------------------------------------


def install(folder: Path, name: str, value: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    write(info / "entry_points.txt", f"[mt_lottery.plugins]\n{name} = {value}\n")


@pytest.mark.slow
def test_entry_point_with_a_recipe(tmp_path: Path) -> None:
    install(tmp_path, "mt_extra", "mt_extra.tuners")
    write(tmp_path / "mt_extra" / "__init__.py", "")
    write(tmp_path / "mt_extra" / "tuners.py", TUNER.format(name="strong"))
    write(tmp_path / "mt_extra" / "recipes" / "recipe" / "gentle.yaml", RECIPE)
    code = (
        "from mt_lottery.config.compose import compose\n"
        "from mt_lottery.registry import TUNERS\n"
        "assert 'strong' in TUNERS.names()\n"
        "print(TUNERS.get('strong').__module__)\n"
        "print(compose(['recipe=gentle', 'lang=en-ro']).tuner)\n"
    )
    done = python(code, PYTHONPATH=str(tmp_path))
    assert done.stdout == (
        "mt_extra.tuners\nConfig(name='strong', strength=0.25, options=False)\n"
    ), done.stderr


@pytest.mark.parametrize(
    ("value", "text", "reason"),
    [
        ("mt_broken", "raise ValueError('no luck')\n", "ValueError: no luck"),
        ("mt_broken:absent", "", "AttributeError"),
        ("mt_absent", "", "ModuleNotFoundError"),
    ],
)
def test_a_broken_entry_point_is_named_by_the_command(
    tmp_path: Path, value: str, text: str, reason: str
) -> None:
    install(tmp_path, "mt_broken_dist", value)
    write(tmp_path / "mt_broken.py", text)
    code = (
        "import sys\nfrom mt_lottery.registry import TUNERS\n"
        "from mt_lottery.errors import PluginError\n"
        "for _ in range(2):\n"  # the second call must not pass over it
        "    try:\n        TUNERS.names()\n"
        "    except PluginError as error:\n        print(error)\n"
    )
    done = python(code, PYTHONPATH=str(tmp_path))
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for line in lines:
        assert line.startswith(f"The plugin 'mt_broken_dist' ({value}) cannot be imported: ")
        assert reason in line
