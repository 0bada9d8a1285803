"""The whole run as a fairseq2 recipe: ``python -m mt_lottery.fairseq2 OUT --config …``.

Probe, test, tuning, translation and scores are the pipeline's; fairseq2 trains.  The keys are
fairseq2's where it has a word for the thing, and our own sections (``train``, ``probe``,
``translate``) with our own recipes' defaults where it has none.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fairseq2.logging import log
from fairseq2.recipe.base import Recipe, RecipeContext
from fairseq2.recipe.cli import register_cli_error
from fairseq2.recipe.config import CommonSection, GangSection, TrainerSection
from fairseq2.runtime.dependency import DependencyContainer
from fairseq2.task import Task

from mt_lottery.config import RunConfig
from mt_lottery.config.compose import compose_settings
from mt_lottery.errors import ConfigError, MTLotteryError
from mt_lottery.fairseq2.engine import OUTPUT, Fairseq2Engine
from mt_lottery.fairseq2.extension import PREFIX
from mt_lottery.runs import run
from mt_lottery.system import parallel
from mt_lottery.system.diskfault import disk_error
from mt_lottery.system.interrupts import leave_sigterm, raise_on_sigterm
from mt_lottery.system.secrets import redacted


@dataclass(kw_only=True)
class FamilySection:
    """A family of ours, ``mt_lottery/NAME``, and its settings."""

    family: str
    config_overrides: dict[str, object] = field(default_factory=dict)


@dataclass(kw_only=True)
class ComponentSection:
    """A component's name, and the settings that differ from its recipe's."""

    name: str
    config: dict[str, object] = field(default_factory=dict)


@dataclass(kw_only=True)
class LotteryConfig:
    """One run: one method, one language pair, one seed (``common.seed``)."""

    model: FamilySection = field(
        default_factory=lambda: FamilySection(family=f"{PREFIX}gemma3_270m")
    )
    dataset: FamilySection = field(default_factory=lambda: FamilySection(family=f"{PREFIX}mini"))
    tuner: ComponentSection = field(default_factory=lambda: ComponentSection(name="ks_lottery"))
    lang: str = ""
    preset: str | None = None
    train: dict[str, object] = field(default_factory=dict)
    probe: dict[str, object] = field(default_factory=dict)
    translate: dict[str, object] = field(default_factory=dict)
    metrics: list[str] | None = None
    tracker: str | None = None
    baseline: bool = True
    user_dir: str | None = None
    trainer: TrainerSection = field(default_factory=TrainerSection)
    gang: GangSection = field(default_factory=GangSection)
    # fairseq2's own files lie beside the run's, in a folder of that name
    common: CommonSection = field(
        default_factory=lambda: CommonSection(seed=0, sweep_format=OUTPUT.parent.name)
    )


TRUST = "model.config_overrides.trust_remote_code"
#: What would run code: in words, and the value that asks for nothing.
ASKS: dict[str, tuple[str, object]] = {
    "user_dir": ("import the plugins in {}", None),
    TRUST: ("run Python code that comes with the model", False),
}


def keys_of(overrides: Iterable[Mapping[str, Any]] | None) -> set[str]:
    """The dotted keys that ``--config`` sets.

    Args:
        overrides: as fairseq2 reads them: nested, each value in a ``_set_`` of its section.
    """

    def walk(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
        for key, value in node.items():
            path = prefix if key == "_set_" else f"{prefix}{key}."
            if isinstance(value, Mapping):
                yield from walk(value, path)
            yield path.rstrip(".")

    return {key for each in overrides or () for key in walk(each, "")}


def check_asked(config: LotteryConfig, given: Collection[str]) -> None:
    """A file (``--config-file``) is data: what it would run, the command line has to say.

    Args:
        config: the file's settings and the command line's.
        given: keys of the command line's.

    Raises:
        ConfigError: what is asked for without permission, and what to write to allow it.
    """
    values: dict[str, object] = {"user_dir": config.user_dir}
    values[TRUST] = config.model.config_overrides.get("trust_remote_code")
    problems = [
        f"The configuration file asks to {what.format(values[key])} (`{key}`). What is stored on "
        f"disk runs nothing by itself: if you trust it, add --config {key}={_yaml(values[key])}"
        for key, (what, harmless) in ASKS.items()
        if key not in given and values.get(key) not in (None, harmless)
    ]
    if problems:
        raise ConfigError(problems)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else shlex.quote(str(value))


class Interrupted(Exception):
    """Ctrl-C or SIGTERM, as an error that fairseq2 gives an exit status.

    Attributes:
        code: the status.
    """

    def __init__(self, error: KeyboardInterrupt) -> None:
        super().__init__(str(error) or "Interrupted. The same command continues the run.")
        self.code: int = getattr(error, "code", 130)


def run_config(config: LotteryConfig, run_dir: Path, device: str) -> RunConfig:
    """The same in mt-train's words.

    Args:
        config: from the command line.
        run_dir: the run directory.
        device: ``cpu`` or ``cuda``.

    Raises:
        ConfigError: with every mistake that was found.
    """
    settings: dict[str, Any] = {"recipe": config.tuner.name, "engine": "fairseq2"}
    settings |= {"out_dir": str(run_dir), "resume": True, "device": device}
    settings |= {"seed": config.common.seed, "lang": config.lang, "baseline": config.baseline}
    settings["data_parallelism"] = config.trainer.data_parallelism
    for key in ("preset", "metrics", "tracker", "user_dir"):
        if getattr(config, key) is not None:
            settings[key] = getattr(config, key)
    for key, chosen in (("model", config.model), ("data", config.dataset)):
        if not chosen.family.startswith(PREFIX):
            given = "dataset" if key == "data" else key
            raise ConfigError(
                f"`{given}.family` is {chosen.family}; this recipe has families of its own: "
                f"{PREFIX}NAME."
            )
        settings[key] = chosen.family.removeprefix(PREFIX)
    sections = {"model": config.model.config_overrides, "data": config.dataset.config_overrides}
    sections |= {"tuner": config.tuner.config, "train": config.train, "probe": config.probe}
    for name, section in {**sections, "translate": config.translate}.items():
        settings |= {f"{name}.{key}": value for key, value in section.items()}
    return compose_settings(settings)


class LotteryTask(Task):
    """Runs the pipeline.

    Args:
        context: fairseq2's.
        config: the run.
        engine: fairseq2's trainer.
    """

    def __init__(self, context: RecipeContext, config: RunConfig, engine: Fairseq2Engine) -> None:
        self._context = context
        self._config = config
        self._engine = engine

    def run(self) -> None:
        """Probe, rows, tuning, translation, scores."""
        ours = raise_on_sigterm()
        try:
            parallel.start()  # in the gang that fairseq2 has made
            with torch.inference_mode(False):
                outcome = run(self._config, lambda text: log.info("{}", text), self._engine)
            parallel.stop()
        except KeyboardInterrupt as error:
            raise Interrupted(error) from None
        except Exception as error:
            if (full := disk_error(error)) is not None:  # in a library's writing
                raise full from error
            raise
        finally:
            if ours:
                leave_sigterm()
        self._context.gangs.close()
        for metric, scores in outcome.record.scores.items():
            raw, first = (scores[kind]["score"] for kind in ("raw", "first_line"))
            log.info("{}: raw {:.2f}, first line {:.2f}", metric, raw, first)
        log.info("Stopped by itself: {:.0%}", outcome.record.generation.stopped)
        log.info("This run: {}", outcome.run_dir)

    def request_stop(self) -> None:
        """fairseq2's signal; the same command continues the run."""
        raise KeyboardInterrupt

    def close(self) -> None:
        """Nothing is open."""

    @property
    def step_nr(self) -> int:
        """Of no single training."""
        return 0


def _all_errors(kind: type[MTLotteryError]) -> Iterator[type[MTLotteryError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _all_errors(each)


class LotteryRecipe(Recipe):
    """``python -m mt_lottery.fairseq2``.

    Args:
        started: called when fairseq2 has logged its environment.
        given: dotted keys that the command line sets itself.
    """

    def __init__(
        self, started: Callable[[], None] = lambda: None, given: Collection[str] = ()
    ) -> None:
        self._started = started
        self._given = given

    @property
    def config_kls(self) -> type[object]:
        """:class:`LotteryConfig`."""
        return LotteryConfig

    def register(self, container: DependencyContainer) -> None:
        """A user's mistake is one message, exit status 2."""

        def tell(error: MTLotteryError) -> int:
            log.error("{}", redacted(str(error)))
            return 2

        def end(error: Interrupted) -> int:
            log.info("{}", error)
            return error.code

        for kind in _all_errors(MTLotteryError):
            register_cli_error(container, kind, tell)
        register_cli_error(container, Interrupted, end)

    def create_task(self, context: RecipeContext) -> Task:
        """The pipeline."""
        self._started()
        config = context.get_config_as(LotteryConfig)
        check_asked(config, self._given)
        output = context.output_dir
        own = output.name == OUTPUT.parent.name
        run_dir = output.parent if own else output / "run"
        settings = run_config(config, run_dir, context.device.type)
        sections = {"trainer": config.trainer, "gang": config.gang, "common": config.common}
        return LotteryTask(context, settings, Fairseq2Engine(settings, **sections))
