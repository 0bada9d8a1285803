"""One generic registry for every kind of plugin, in fairseq's style.

A third party adds a tuner (or any other kind) with a decorator::

    from mt_lottery.registry import register_tuner

    @register_tuner("my_tuner", dataclass=MyTunerConfig)
    class MyTuner(Tuner): ...

and makes it known by an entry point of the group ``mt_lottery.plugins`` or by
``user_dir=FOLDER``.  Built-ins are imported when they are first asked for, so
that listing names or printing ``--help`` costs no import of PyTorch.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mt_lottery.errors import PluginError, RegistryError, unknown

T = TypeVar("T")

ENTRY_POINT_GROUP = "mt_lottery.plugins"


class Registry:
    """Names of one kind, each with an object and (optionally) its config dataclass.

    Args:
        kind: what is registered, for messages: ``"tuner"``.
        builtins: name → module that registers it when imported.
    """

    def __init__(self, kind: str, builtins: Mapping[str, str]) -> None:
        self.kind = kind
        self._builtins = dict(builtins)
        self._objects: dict[str, Any] = {}
        self._dataclasses: dict[str, type] = {}
        self._needs: dict[str, tuple[str, ...]] = {}
        self._extras: dict[str, str | None] = {}

    def register(
        self,
        name: str,
        *,
        dataclass: type | None = None,
        needs: Sequence[str] = (),
        extra: str | None = None,
    ) -> Callable[[T], T]:
        """Decorator that registers a class or function under ``name``.

        Args:
            name: what users write in a recipe or on the command line.
            dataclass: the schema of its own settings, where it has any.
            needs: packages that are not installed with mt-lottery, as pip writes them
                (``"bitsandbytes>=0.46"``).
            extra: the extra of mt-lottery that brings them, where there is one.

        Raises:
            RegistryError: the name is taken.
        """

        def decorate(target: T) -> T:
            module = getattr(target, "__module__", "?")
            owner = self._builtins.get(name)
            if name in self._objects:
                owner = getattr(self._objects[name], "__module__", "?")
            elif owner == module:
                owner = None
            if owner is not None:
                raise RegistryError(
                    f"The {self.kind} '{name}' of {module} is already registered by {owner}. "
                    "Choose another name."
                )
            self._objects[name] = target
            if dataclass is not None:
                self._dataclasses[name] = dataclass
            self._needs[name] = tuple(needs)
            self._extras[name] = extra
            return target

        return decorate

    def names(self) -> list[str]:
        """Every known name, sorted; loads third-party plugins, not the built-ins."""
        load_entry_points()
        return sorted({*self._builtins, *self._objects})

    def get(self, name: str) -> Any:
        """The object registered under ``name``.

        Raises:
            RegistryError: unknown name (with the nearest match).
            PluginError: a plugin cannot be imported.
        """
        if name not in self._objects:
            load_entry_points()
        if name not in self._objects and name in self._builtins:
            importlib.import_module(self._builtins[name])
        if name not in self._objects:
            raise RegistryError(unknown(self.kind, name, self.names()))
        return self._objects[name]

    def dataclass_of(self, name: str) -> type | None:
        """The config dataclass registered with ``name``, if it has one."""
        self.get(name)
        return self._dataclasses.get(name)

    def missing(self, name: str) -> str | None:
        """What is not installed that ``name`` needs, as a sentence; None if all is there."""
        self.get(name)
        wanted = [need for need in self._needs.get(name, ()) if not _installed(need)]
        if not wanted:
            return None
        quoted = " ".join(f"'{need}'" for need in wanted)
        extra = self._extras.get(name)
        return (
            f"The {self.kind} '{name}' needs {' and '.join(wanted)}, not installed here: "
            f"pip install {quoted}" + (f" (or the extra 'mt-lottery[{extra}]')" if extra else "")
        )


def _installed(need: str) -> bool:
    from packaging.requirements import Requirement

    requirement = Requirement(need)
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def _in(package: str, names: str) -> dict[str, str]:
    """``"a b=c"`` → name to module: ``a`` in ``package.a``, ``b`` in ``package.c``."""
    pairs = (item.partition("=") for item in names.split())
    return {name: f"mt_lottery.{package}.{module or name}" for name, _, module in pairs}


MODELS = Registry("model", _in("model", "hf gemma3_270m"))
CRITERIA = Registry(
    "criterion",
    _in("train", "cross_entropy=criteria label_smoothed_cross_entropy=criteria"),
)
OPTIMIZERS = Registry(
    "optimizer",
    _in(
        "train",
        "adamw=optimizers adamw_8bit=optimizers sgd=optimizers sparse_adam=optimizers",
    ),
)
TUNERS = Registry(
    "tuner",
    _in(
        "tuner",
        "none full embed lora qlora=lora prefix prompt=prefix random random_seen=random "
        "frequency frequency_matched ks_lottery ks_transfer=ks_lottery ks_freeze "
        "layer eos_bias few_shot",
    ),
)
SELECTORS = Registry(
    "selector",
    _in(
        "lottery",
        "ks=selection cos=selectors absolute=selectors relative=selectors ratio=selectors "
        "kl=selectors frequency=selectors random=selectors",
    ),
)
CORPORA = Registry(
    "corpus",
    _in("data", "mini=corpora ntrex=corpora flores101=corpora files lego_mt opus100"),
)
TEMPLATES = Registry("template", _in("data", "plain=templates alpaca=templates"))
METRICS = Registry("metric", _in("score", "spbleu=bleu bleu bleu_subword=bleu chrf=bleu comet"))
TRACKERS = Registry(
    "tracker",
    _in(
        "train",
        "none=trackers comet=remote_trackers tensorboard=remote_trackers "
        "wandb=remote_trackers mlflow=remote_trackers",
    ),
)
ENGINES = Registry(
    "engine",
    {"transformers": "mt_lottery.train.trainer", "fairseq2": "mt_lottery.fairseq2.engine"},
)

REGISTRIES: dict[str, Registry] = {
    r.kind: r
    for r in (
        MODELS,
        CRITERIA,
        OPTIMIZERS,
        TUNERS,
        SELECTORS,
        CORPORA,
        TEMPLATES,
        METRICS,
        TRACKERS,
        ENGINES,
    )
}

register_model = MODELS.register
register_criterion = CRITERIA.register
register_optimizer = OPTIMIZERS.register
register_tuner = TUNERS.register
register_selector = SELECTORS.register
register_corpus = CORPORA.register
register_template = TEMPLATES.register
register_metric = METRICS.register
register_tracker = TRACKERS.register
register_engine = ENGINES.register

_plugin_folders: dict[str, Path] = {}
_entry_points_loaded = False


def _import(describe: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except RegistryError:
        raise
    except (Exception, SystemExit) as error:  # a script that ends with sys.exit() too
        raise PluginError(
            f"The plugin {describe} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def load_entry_points() -> None:
    """Import every installed plugin (entry points of ``mt_lottery.plugins``), once.

    Raises:
        PluginError: one of them cannot be imported; the message names it.
    """
    global _entry_points_loaded
    if _entry_points_loaded:
        return
    _entry_points_loaded = True  # now: a plugin may ask a registry while it is imported
    try:
        for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
            loaded = _import(f"'{entry.name}' ({entry.value})", entry.load)
            module = sys.modules.get(getattr(loaded, "__module__", entry.module), None) or loaded
            file = getattr(module, "__file__", None)
            if file:
                _plugin_folders[f"{entry.name} = {entry.value}"] = Path(file).parent
    except Exception:
        _entry_points_loaded = False  # the next call says so again
        raise


def _origin(name: str) -> str | None:
    """The file that ``import name`` would read; None if there is no such module."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) or name
    spec = importlib.util.find_spec(name)
    return None if spec is None else spec.origin


def load_user_dir(folder: str | Path) -> None:
    """Import a folder of plugins: a package (``__init__.py``) or loose ``*.py`` files.

    Raises:
        PluginError: no such folder, or a file in it cannot be imported.
    """
    path = Path(folder).expanduser().resolve()
    if str(path) in _plugin_folders:
        return
    if not path.is_dir():
        raise PluginError(f"user_dir={folder}: no such folder.")
    files = (
        [path / "__init__.py"] if (path / "__init__.py").is_file() else sorted(path.glob("*.py"))
    )
    if not files and not any(path.rglob("*.yaml")):
        raise PluginError(f"user_dir={folder}: neither a Python file nor a recipe (YAML) in it.")
    if files and files[0].name != "__init__.py":
        sys.path.append(str(path))  # loose files may import each other; last, to hide nothing
    for file in files:
        package = file.name == "__init__.py"
        name = path.name if package else file.stem
        if getattr(sys.modules.get(name), "__file__", None) == str(file):
            continue  # imported by a file before it
        if "." in name or _origin(name) not in (None, str(file)):
            name = f"mt_lottery_user_dir_{abs(hash(str(file)))}"  # must not hide a library
        spec = importlib.util.spec_from_file_location(
            name, file, submodule_search_locations=[str(path)] if package else None
        )
        if spec is None or spec.loader is None:
            raise PluginError(f"user_dir={folder}: cannot import {file}.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loader = spec.loader
        try:
            _import(str(file), lambda: loader.exec_module(module))  # noqa: B023
        except Exception:
            del sys.modules[name]
            raise
    _plugin_folders[str(path)] = path


def plugin_folders() -> list[Path]:
    """Folders of the loaded plugins, where their recipes may lie."""
    return list(dict.fromkeys(_plugin_folders.values()))
