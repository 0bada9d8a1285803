"""A configuration that is stored on disk is data: it may ask for code, and this call decides.

A run directory can come from anybody.  What its ``config.yaml`` would have imported or started
(a folder of plugins, Python code that comes with a model, a program) is named, and is done only if
the call that opens it says so: ``user_dir=…`` or ``--user-dir``, ``trust_remote_code=true`` or
``--trust-remote-code``.  Installed plugins (entry points) need no permission: they were installed
on purpose.  Every stored configuration is opened by :func:`read_stored`, and there is no other way
to one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mt_lottery import registry
from mt_lottery.config.overrides import quoted
from mt_lottery.config.written import resolver_calls
from mt_lottery.errors import ConfigError, assigned, by_caller
from mt_lottery.reading import read_yaml
from mt_lottery.system.secrets import names_a_secret
from mt_lottery.system.values import user_path

#: Resolvers that a stored configuration may call: nothing that another library registers.
RESOLVERS = ("oc.env", "oc.decode")
#: Settings that opening a run does not need: what they read from the environment may be missing
#: here, or a key.
UNUSED = ("out_dir", "tracker", "tracking", "metric")


@dataclass(frozen=True)
class Permission:
    """What the current call allows stored configurations.

    Attributes:
        user_dir: the folder of plugins that it named, and that is imported in place of theirs.
        trust_remote_code: Python code that comes with a model may run.
    """

    user_dir: str | None = None
    trust_remote_code: bool = False


_permission: ContextVar[Permission] = ContextVar("permission")


def permission() -> Permission:
    """What the current call allows."""
    return _permission.get(Permission())


@contextlib.contextmanager
def allowing(user_dir: str | Path | None = None, trust_remote_code: bool = False) -> Iterator[None]:
    """Import a folder of plugins, and allow stored configurations what they ask for, for a while.

    Raises:
        PluginError: the folder cannot be imported.
    """
    if user_dir is not None:
        registry.load_user_dir(user_dir)
        user_dir = str(Path(user_dir).expanduser().resolve())
    before = _permission.set(Permission(user_dir, trust_remote_code))
    try:
        yield
    finally:
        _permission.reset(before)


@dataclass(frozen=True)
class _Ask:
    """Something that a setting would have executed.

    Attributes:
        key: the setting.
        what: what would happen; ``{}`` is its value.
        how: what to write to allow it, on mt-train's command line; in other commands.
        default: the value that asks for nothing.
    """

    key: str
    what: str
    how: tuple[str, str]
    default: Any = None


_ASKS = (
    _Ask("user_dir", "import the plugins in {}", ("user_dir={}", "--user-dir {}")),
    _Ask(
        "model.trust_remote_code",
        "run Python code that comes with the model {}",
        ("model.trust_remote_code=true", "--trust-remote-code"),
        False,
    ),
    _Ask("metric.comet.command", "start the program {}", ("metric.comet.command={}", "")),
    _Ask(
        "metric.comet.model",
        "load the COMET model {}, whose checkpoint is a pickle, which can run any code",
        ("metric.comet.model={}", ""),
        "Unbabel/wmt22-comet-da",
    ),
)


def flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every setting in nested dictionaries."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def read_stored(path: str | Path, given: Collection[str] | None = None) -> dict[str, Any]:
    """The settings in a ``config.yaml``, if this call allows what they ask for.

    Args:
        path: the file, or the run directory.
        given: keys that the command line sets itself, in a run of these settings
            (``config=FILE``): they replace the file's, and so allow what they name.  None to
            open a finished run.

    Returns:
        section or key → value, as in the file; where a run is opened, without what that does not
        need.

    Raises:
        ConfigError: no readable configuration; or what it asks for, all of it, and what to write
            to allow it.
    """
    given_as = "config=" if given is not None else ""
    file = user_path(path, ConfigError, given_as)
    file = file / "config.yaml" if os.path.isdir(file) else file
    if given_as and not os.path.lexists(file):
        raise ConfigError(f"config={path}: no such file (a run directory's config.yaml is meant).")
    content = {str(key): value for key, value in read_yaml(file, ConfigError).items()}
    if not content:
        raise ConfigError(f"{file}: empty; a run's config.yaml is meant.")
    try:
        OmegaConf.create(content)  # ${…} that cannot be parsed, keys that are no names
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{file}: not a run's configuration: {reason}.") from error
    if given is None:
        _drop_unused(content)
    settings = dict(flat(content))
    problems = [*_asked(file, settings, given), *_called(file, settings, given or ())]
    if problems:
        raise ConfigError(problems)
    if permission().user_dir is not None:
        content["user_dir"] = permission().user_dir
    return content


def _drop_unused(content: dict[str, Any]) -> None:
    def kept(node: Any) -> Any:
        if isinstance(node, dict):
            inner = {key: kept(value) for key, value in node.items()}
            return {key: value for key, value in inner.items() if value is not None}
        return None if any(resolver_calls(node)) else node

    for key in UNUSED:
        if content.get(key) is not None:
            content[key] = kept(content[key])
            if content[key] is None:
                del content[key]


def _asked(file: Path, settings: dict[str, Any], given: Collection[str] | None) -> Iterator[str]:
    """What the settings ask for without permission, one sentence each."""
    allowed = {
        "user_dir": permission().user_dir is not None,
        "model.trust_remote_code": permission().trust_remote_code,
    }
    for ask in _ASKS:
        value = settings.get(ask.key, ask.default)
        if value is None or value is False or value == ask.default or allowed.get(ask.key):
            continue
        if given is not None and ask.key in given:
            continue
        if given is None and not ask.how[1]:  # opening a run scores nothing with it
            continue
        of = settings.get("model.name_or_path") or settings.get("model.name")
        shown = of if ask.key == "model.trust_remote_code" else value
        how = ask.how[1].format(shlex.quote(str(value)))
        if given is not None and by_caller(False, True):
            how = assigned({ask.key: True if ask.default is False else value})
        elif given is not None:
            how = ask.how[0].format(value)
            if not re.fullmatch(r"[\w.=/-]+", how):  # quotes for the shell around quotes for Hydra
                how = shlex.quote(ask.how[0].format(quoted(str(value))))
        python = ""
        if given is None:
            key = ask.key.rpartition(".")[2]
            python = f" (in Python: {key}={True if key != 'user_dir' else str(value)!r})"
        yield (
            f"{file} asks to {ask.what.format(shown)} (`{ask.key}`). What is stored on disk runs "
            f"nothing by itself: if you trust it, add {how}{python}."
        )


def _called(file: Path, settings: dict[str, Any], given: Collection[str]) -> Iterator[str]:
    """What the settings read by resolvers and must not, one sentence each."""
    for key, value in settings.items():
        if key in given:
            continue
        for name, argument in resolver_calls(value):
            if name not in RESOLVERS:
                yield (
                    f"{file}: `{key}` is {value}: a stored configuration can use "
                    f"{' and '.join(f'${{{known}:…}}' for known in RESOLVERS)} only."
                )
                break
            variable = argument.partition(",")[0].strip().strip("'\"")
            hidden = "\0" in variable or names_a_secret(variable)
            if name == "oc.env" and hidden and not key.startswith("tracking."):
                yield (
                    f"{file}: `{key}` asks for the value of the environment variable "
                    f"{variable or '?'}, which may be a secret. If you trust it, give {key}=… "
                    "itself."
                )
                break
