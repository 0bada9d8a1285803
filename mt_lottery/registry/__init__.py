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
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex
from typing import Any, TypeVar

from mt_lottery.errors import PluginError, RegistryError, unknown
from mt_lottery.registry import loading as plugins
from mt_lottery.registry.conformity import problems_of
from mt_lottery.registry.loading import Origin, load_entry_points, load_user_dir, plugin_folders
from mt_lottery.registry.notebook import digest_of, is_cell
from mt_lottery.registry.requirements import is_installed, requirement_problems

__all__ = [
    "REGISTRIES",
    "Registry",
    "load_entry_points",
    "load_user_dir",
    "plugin_folders",
]

T = TypeVar("T")
CELL = "cell "  # in place of a file's hash


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
        self._origins: dict[str, Origin] = {}
        self._codes: dict[str, str] = {}  # of plugins: their file's hash, or CELL and a number

    def register(
        self,
        name: str,
        *,
        dataclass: type | None = None,
        needs: Sequence[str] = (),
        extra: str | None = None,
    ) -> Callable[[T], T]:
        """Decorator that registers a class or function under ``name``.

            >>> import torch, mt_lottery as mtl
            >>> @mtl.register_selector("largest_step")
            ... def largest_step(before, after):
            ...     return (after - before).abs().amax(dim=1)  # [V, d] each → [V]
            >>> mtl.select("largest_step", torch.zeros(3, 2), torch.eye(3, 2), rows=2)
            tensor([0, 1])

        Args:
            name: what users write in a recipe or on the command line.
            dataclass: the schema of its own settings, where it has any.
            needs: packages that are not installed with mt-lottery, as pip writes them
                (``"bitsandbytes>=0.46"``).
            extra: the extra of mt-lottery that brings them, where there is one.

        Raises:
            RegistryError: the name is taken.
            PluginError: what is registered is not what its kind must be
                (:mod:`mt_lottery.registry.contracts`); with the file and line.
        """
        if not isinstance(name, str):  # @register_tuner without brackets
            place = plugins.caller()
            raise PluginError(
                f"{place}: @register_{self.kind} needs a name: @register_{self.kind}('NAME')."
            )

        def decorate(target: T) -> T:
            place = plugins.caller(getattr(target, "__qualname__", type(target).__qualname__))
            module = getattr(target, "__module__", "?")
            owner = self._builtins.get(name)
            if name in self._objects:
                owner = getattr(self._objects[name], "__module__", "?")
                if owner == module == "__main__" and self.is_of_cell(name) and is_cell(place.file):
                    owner = None  # a cell that is run again
            elif owner == module:
                owner = None
            if owner is not None:
                there = self._origins.get(name)
                raise RegistryError(
                    f"{place}: the {self.kind} '{name}' of {module} is already registered by "
                    f"{owner}{f' ({there})' if there else ''}. Choose another name."
                )
            found = list(problems_of(self.kind, name, target, dataclass))
            found += requirement_problems(needs)
            if found:
                raise PluginError(f"{place}: the {self.kind} '{name}': {_listed(found)}")
            self._forget(name)
            self._objects[name] = target
            if dataclass is not None:
                self._dataclasses[name] = dataclass
            self._needs[name] = tuple(needs)
            self._extras[name] = extra
            self._origins[name] = place
            if not plugins.is_ours(place.file):
                written = None if is_cell(place.file) else plugins.digest(place.file)
                self._codes[name] = written or f"{CELL}{token_hex(16)}"
            plugins.registered(place, lambda: self._forget(name))
            return target

        return decorate

    def origin(self, name: str) -> Origin | None:
        """Where a name was registered; None if it has not been (a built-in not yet imported)."""
        return self._origins.get(name)

    def origins(self) -> dict[str, Origin]:
        """Name → where it was registered, of all that have been."""
        return dict(self._origins)

    def is_plugin(self, name: str) -> bool:
        """Whether a name that is registered is a third party's."""
        place = self._origins.get(name)
        return place is not None and not plugins.is_ours(place.file)

    def is_of_cell(self, name: str) -> bool:
        """Whether a plugin has no file: a notebook registered it, or a prompt."""
        return self._codes.get(name, "").startswith(CELL)

    def registration(self, name: str) -> str:
        """What tells a cell's registration from every other one, of this process or another."""
        return self._codes[name]

    def code(self, name: str) -> str | None:
        """sha256 of what a plugin that registered a name does; None where nothing can be hashed.

        Of its file and what that imports beside it, as they were then; of what a notebook
        registered, as it is now.
        """
        code = self._codes.get(name)
        if code is None:
            return None
        if self.is_of_cell(name):
            return digest_of(self._objects[name])
        return plugins.with_helpers_of(self._origins[name].file, code)

    def fault(self, name: str, what: str) -> PluginError:
        """The error for something registered that does not keep to its contract.

        Args:
            name: of the plugin.
            what: a sentence without its full stop: what it did, and what is wanted.
        """
        place = self._origins.get(name)
        where = f"{place}: " if place else ""
        return PluginError(f"{where}the {self.kind} '{name}': {what}.")

    def expect(
        self, name: str, value: Any, what: str, wanted: str | type, good: object = True
    ) -> Any:
        """A value that a plugin gave, where it is what the kind's contract asks for.

        Args:
            name: of the plugin.
            value: what it gave.
            what: beginning of a sentence: ``"pool('train') must return"``.
            wanted: its end, in words, or the class that the value must be of.
            good: whether the value fits, where ``wanted`` is in words.

        Raises:
            PluginError: it does not.
        """
        if isinstance(wanted, type):
            good = isinstance(value, wanted)
            fields = ", ".join(getattr(wanted, "__dataclass_fields__", ()))
            wanted = f"a {wanted.__module__}.{wanted.__qualname__}({fields})"
        if not good:
            raise self.fault(name, f"{what} {wanted}, not {_described(value)}")
        return value

    def _forget(self, name: str) -> None:
        for table in (
            self._objects, self._dataclasses, self._needs, self._extras, self._origins, self._codes,
        ):  # fmt: skip
            table.pop(name, None)

    @property
    def builtins(self) -> dict[str, str]:
        """The toolkit's own names → the module of each; nothing is imported."""
        return dict(self._builtins)

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
        wanted = [need for need in self._needs.get(name, ()) if not is_installed(need)]
        if not wanted:
            return None
        quoted = " ".join(f"'{need}'" for need in wanted)
        extra = self._extras.get(name)
        return (
            f"The {self.kind} '{name}' needs {' and '.join(wanted)}, not installed here: "
            f"pip install {quoted}" + (f" (or the extra 'mt-lottery[{extra}]')" if extra else "")
        )


def _described(value: Any) -> str:
    """A value that a plugin gave, with its type, on one line."""
    if value is None:
        return "nothing (None)"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"a {type(value).__name__.lower()} {[*value.shape]} of {value.dtype}"
    text = " ".join(repr(value).split())
    return f"{type(value).__name__} {text[:80]}{'…' if len(text) > 80 else ''}"


def _listed(found: Sequence[str]) -> str:
    if len(found) == 1:
        return f"{found[0]}."
    return "".join(f"\n  {number}. {text}." for number, text in enumerate(found, 1))


def _in(package: str, names: str) -> dict[str, str]:
    """``"a b=c"`` → name to module: ``a`` in ``package.a``, ``b`` in ``package.c``."""
    pairs = (item.partition("=") for item in names.split())
    return {name: f"mt_lottery.{package}.{module or name}" for name, _, module in pairs}


MODELS = Registry("model", _in("model", "hf gemma3_270m=gemma3.gemma3_270m"))
CRITERIA = Registry(
    "criterion",
    _in("training", "cross_entropy=criteria label_smoothed_cross_entropy=criteria"),
)
OPTIMIZERS = Registry(
    "optimizer",
    _in(
        "training",
        "adamw=optimizers adamw_8bit=optimizers sgd=optimizers sparse_adam=optimizers",
    ),
)
TUNERS = Registry(
    "tuner",
    _in(
        "tuners",
        "none first_line_stop forced_prefix full layer eos_bias few_shot "
        "lora=adapters.lora qlora=adapters.lora prefix=adapters.prefix prompt=adapters.prefix "
        "peft=adapters.any_method "
        "embed=rows.embed random=rows.random random_seen=rows.random frequency=rows.frequency "
        "frequency_matched=rows.frequency_matched grad_lottery=rows.grad_lottery "
        "ks_lottery=rows.ks_lottery ks_transfer=rows.ks_lottery ks_freeze=rows.ks_freeze "
        "one_row=rows.one_row prompt_rows=rows.prompt_rows",
    ),
)
SELECTORS = Registry(
    "selector",
    _in(
        "ticket",
        "ks=selection cos=selectors absolute=selectors relative=selectors ratio=selectors "
        "kl=selectors frequency=selectors gradient=selectors random=selectors",
    ),
)
CORPORA = Registry(
    "corpus",
    _in(
        "data",
        "mini=folders ntrex=folders flores101=folders files "
        "lego_mt=hub.lego_mt opus100=hub.opus100 hub=hub.any_dataset wmt24pp=hub.wmt24pp "
        "flores200=hub.flores flores_plus=hub.flores tatoeba",
    ),
)
TEMPLATES = Registry(
    "template", _in("data.prompts", "plain=templates alpaca=templates chat prompt=templates")
)
METRICS = Registry(
    "metric",
    _in("scoring", "spbleu=bleu bleu bleu_subword=bleu chrf=bleu comet=comet.metric"),
)
TRACKERS = Registry(
    "tracker",
    _in(
        "tracking",
        "none=trackers comet=remote tensorboard=remote wandb=remote mlflow=remote",
    ),
)
ENGINES = Registry(
    "engine",
    {"transformers": "mt_lottery.training.trainer", "fairseq2": "mt_lottery.fairseq2.engine"},
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
