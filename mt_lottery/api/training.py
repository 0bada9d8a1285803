"""``mtl.train``: one run from Python, by the way that ``mt-train`` takes."""

from __future__ import annotations

import difflib
import inspect
import keyword
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mt_lottery import registry
from mt_lottery.api.pairs import Pairs, pair_settings
from mt_lottery.config import RunConfig
from mt_lottery.config.filling import all_keys
from mt_lottery.config.overrides import Number, is_place, parse_override
from mt_lottery.config.recipe_files import GROUPS, names_in
from mt_lottery.errors import ArgumentError, ConfigError, check_keywords, shorten
from mt_lottery.languages import parse_pairs
from mt_lottery.runs.finished import Run
from mt_lottery.runs.planning.plan import Echo
from mt_lottery.system.quiet import quietly
from mt_lottery.system.values import plain_number

ROLES = ("train", "dev", "test")


def settings_from(given: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments as settings: sections are mappings, ``tuner=dict(tickets=18)``.

    Returns:
        dotted key → value, ``{"tuner.tickets": 18}``; what is None is left out at the top level,
        paths are texts.
    """
    made: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            for name, own in value.items():
                group = key in GROUPS and name == "name"  # model=dict(name="hf", …)
                made[key if group else f"{key}.{name}"] = plain_value(own)
        elif value is not None:
            made[key] = plain_value(value)
    return made


def refuse_misspelt(
    function: Callable[..., Any], more: Iterable[str], taken: Sequence[str] = ()
) -> None:
    """Refuse keywords that are no settings, and look like arguments of the function.

    Args:
        function: :func:`train` or ``bench``.
        more: its keywords beside its arguments: sections and settings.
        taken: settings that the function has another argument for.

    Raises:
        KeywordError: with the nearest argument; what is like a setting, or like nothing, is for the
            settings' own check, which tells all mistakes at once.
    """
    own = [name for name in inspect.signature(function).parameters if name != "more"]
    settings = {key.partition(".")[0] for key in all_keys()} | {*GROUPS, "config"}
    for key in more:
        near = [] if key in settings else difflib.get_close_matches(key, own, 1, 0.75)
        if key in taken or (near and near[0] not in settings):
            check_keywords(function.__name__, [key], own)


def plain_value(value: Any) -> Any:
    """A setting's value as YAML has it: no path, no number of NumPy or torch, no tuple."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple | list):
        return [plain_value(each) for each in value]
    return plain_number(value)


def run_settings(
    recipe: str | None,
    lang: str | Sequence[str] | None,
    texts: Mapping[str, Pairs | Mapping[str, Any] | None],
    columns: tuple[str, str] | None,
    more: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """All settings of a call of :func:`train`, in the form of the command line's keys.

    Raises:
        ConfigError: text that is given in two ways.
        DataError: as :func:`~mt_lottery.api.pairs.pair_settings`.
    """
    sections: dict[str, Mapping[str, Any]] = {}
    pairs: dict[str, Any] = {}
    for role, own in texts.items():
        if role == "train" and isinstance(own, Mapping) and not any(map(_is_column, own.values())):
            sections[role] = own
        elif own is not None:
            pairs[role] = own
    if columns is not None and not _is_pair(columns):
        raise ArgumentError(
            f"columns={shorten(columns)}; two names are needed, the source's and the target's."
        )
    found = settings_from({"recipe": recipe, "lang": lang, **more, **sections})
    found |= {str(key): plain_value(value) for key, value in (settings or {}).items()}
    if pairs:
        if found.get("data", "files") != "files":
            raise ConfigError(
                f"data={found['data']} and pairs for {', '.join(pairs)}: give the one or the other."
            )
        if lang is None:
            raise ConfigError("lang is missing: pairs need a direction, for example lang='en-ro'.")
        found["data"] = "files"
        direction, *others = parse_pairs(lang)
        for role, own in pairs.items():
            if others and not isinstance(own, str | os.PathLike):
                raise ConfigError(
                    f"{role}: pairs of one direction, but lang has several; give the name of a "
                    'JSONL file with a key for each language, {"en": …, "ro": …, "es": …}.'
                )
            files = [str(found.get(f"data.{other}_source")) for other in pairs]
            found |= pair_settings(role, own, direction, columns, files)
    if found.get("user_dir") is not None:  # its models have names, too
        registry.load_user_dir(str(found["user_dir"]))
    if is_place(model := found.get("model")) and model not in names_in("model"):
        if found.setdefault("model.name_or_path", model) != model:
            other = found["model.name_or_path"]
            raise ConfigError(
                f"model={model!r} and name_or_path={other!r}: give the one or the other."
            )
        found["model"] = "hf"
    return found


def _is_column(value: Any) -> bool:
    return not isinstance(value, str | Mapping) and isinstance(value, Iterable)


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple | list) and len(given) == 2 and all(map(_is_text, given))


def _is_text(given: Any) -> bool:
    return isinstance(given, str)


@quietly()
def train(
    recipe: str | None = None,
    lang: str | Sequence[str] | None = None,
    *,
    model: str | Path | Mapping[str, Any] | None = None,
    name_or_path: str | Path | None = None,
    train: Pairs | Mapping[str, Any] | None = None,
    dev: Pairs | None = None,
    test: Pairs | None = None,
    columns: tuple[str, str] | None = None,
    data: str | Mapping[str, Any] | None = None,
    tuner: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | None = None,
    metrics: Sequence[str] | None = None,
    out_dir: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    echo: Echo = print,
    **more: Any,
) -> Run:
    """Tune a model for one direction with one recipe, translate the test set and score it.

    It is ``mt-train``: the same settings, checks, run directory and record; a run that is
    finished already is found and handed out.

        >>> import mt_lottery as mtl
        >>> run = mtl.train("ks_lottery", "en-ro", name_or_path=base, train=pairs, metrics=["chrf"],
        ...                 tuner=dict(tickets=18), out_dir="run", echo=lambda line: None)
        >>> 0 <= run.scores["chrf"]["first_line"]["score"] <= 100
        True
        >>> len(run.translate(["Where is the station?"]))
        1

    Args:
        recipe: what is run: ``ks_lottery``, ``lora``, …, or your own.
        lang: the direction, ``en-ro``, or several, ``["en-ro", "en-es"]``. Recipe and direction
            are left out with ``config=FILE``, a stored one.
        model: a file of ``recipes/model`` (``gemma3_270m``, …), a model folder, an id of the
            Hugging Face hub (``google/gemma-3-270m``), or settings: ``dict(name="hf", …)``.
        name_or_path: a model folder or hub id; ids without a slash (``gpt2``) are given here.
        train: training pairs: a TSV, JSONL or Parquet file; a tuple of two file names; a list of
            (source, target); a ``datasets.Dataset``; a pandas frame. A mapping is the section
            ``train`` instead: ``train=dict(epochs=3)`` (``settings={"train.epochs": 3}`` beside
            pairs).
        dev, test: likewise; without them a block of the training pairs is kept for each.
        columns: names of the source's and target's column of a table or dataset.
        data: a corpus by name (``mini``, ``ntrex``, …) in place of pairs, or its settings.
        tuner: settings of the method: ``dict(tickets=18)``.
        seed: of the run, 0 if None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        metrics: of :func:`mt_lottery.score`.
        out_dir: the run directory; ``runs/LANG/RECIPE/seed-N`` if None.
        settings: dotted keys as on the command line, ``{"train.lr": 1e-3}``.
        echo: prints a line about what is going on.
        more: any other setting of ``mt-train``, a section as a mapping: ``preset="paper"``,
            ``translate=dict(beam_size=4)``, ``overwrite=True``.

    Returns:
        the finished run.

    Raises:
        ConfigError: with every mistake in the settings; unknown keys with the nearest match.
        DataError: pairs that cannot be read, or too few of them.
        MTLotteryError: anything else that a user can fix; no record is left then.
    """
    from mt_lottery.config.compose import compose_settings
    from mt_lottery.runs import run

    refuse_misspelt(_TRAIN, more)
    if settings is not None and not isinstance(settings, Mapping):
        raise ArgumentError(f"settings={shorten(settings)}; a mapping, as {{'train.lr': 1e-3}}.")
    if isinstance(model, os.PathLike) and name_or_path is None:
        model, name_or_path = None, model
    if model is not None and not isinstance(model, str | os.PathLike | Mapping):
        raise ArgumentError(
            f"model: {type(model).__name__}; train loads it itself: give its folder or a hub id "
            "(name_or_path=FOLDER). To tune a model that is loaded: mtl.get_ticket_model."
        )
    if name_or_path is not None:
        if isinstance(model, Mapping):
            raise ConfigError("name_or_path goes with a model's name; put it into model=dict(…).")
        settings = {"model.name_or_path": name_or_path, **(settings or {})}
        model = model or "hf"
    given = dict(
        model=model, data=data, tuner=tuner, seed=seed, device=device, metrics=metrics,
        out_dir=out_dir, **more,
    )  # fmt: skip
    texts = {"train": train, "dev": dev, "test": test}
    composed = compose_settings(run_settings(recipe, lang, texts, columns, given, settings))
    outcome = run(composed, echo=echo)
    return Run(
        outcome.run_dir,
        composed.device,
        user_dir=composed.user_dir,
        trust_remote_code=composed.model.trust_remote_code,
        echo=echo,
    )


_TRAIN = train  # whose own argument has its name


def as_python(arguments: Sequence[str], config: RunConfig | None = None) -> str:
    """The call of :func:`train` that does what a command line does.

        >>> as_python(["recipe=ks_lottery", "lang=en-ro", "tuner.tickets=9", "train.lr=1e-3"])
        "run = mtl.train('ks_lottery', 'en-ro', tuner=dict(tickets=9), train=dict(lr=0.001))"

    Args:
        arguments: of ``mt-train``, ``key=value`` each.
        config: what they were composed to: it knows which settings are texts, so that
            ``model.revision=12e4567`` is one.

    Returns:
        a line of Python.
    """
    found: dict[str, Any] = {}
    for argument in arguments:
        pair = parse_override(argument, [], [])
        if pair is not None:
            found[pair[0]] = _literal(*pair, config)
    sections: dict[str, dict[str, Any]] = {}
    deeper: dict[str, Any] = {}
    calls = [] if "recipe" not in found else [repr(found.pop("recipe"))]
    if calls and "lang" in found:
        calls.append(repr(found.pop("lang")))
    chosen = set(found)
    if "model" in found and found.get("model.name_or_path") is not None:
        calls.append(f"name_or_path={found.pop('model.name_or_path')!r}")
        if found["model"] == "hf":
            del found["model"]  # name_or_path says so
    for key, value in found.items():
        section, dot, name = key.partition(".")
        if not dot and value is not None:
            calls.append(f"{key}={value!r}")
        elif not dot or section in chosen or not _is_argument(name) or key in _NAMED:
            deeper[key] = value  # data=ntrex data.path=…: the name and its section
        else:
            sections.setdefault(section, {})[name] = value
    for section, own in sections.items():
        named = ", ".join(f"{name}={value!r}" for name, value in own.items())
        calls.append(f"{section}=dict({named})")
    if deeper:
        calls.append(f"settings={deeper!r}")
    return f"run = mtl.train({', '.join(calls)})"


_NAMED = frozenset(f"{group}.name" for group in GROUPS)  # model=dict(name=…) chooses a file


def _is_argument(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _literal(key: str, value: Any, config: RunConfig | None) -> Any:
    """A value of the command line as Python writes it."""
    if not isinstance(value, Number):
        return value
    meant: Any = config
    for name in key.split("."):
        meant = getattr(meant, name, None)
    return value.written if isinstance(meant, str) else value.value
