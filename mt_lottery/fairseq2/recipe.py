"""The whole run as a fairseq2 recipe: ``python -m mt_lottery.fairseq2 OUT --config …``.

Probe, test, tuning, translation and scores are the pipeline's; fairseq2 trains.  The keys are
fairseq2's where it has a word for the thing, and our own sections (``train``, ``probe``,
``translate``) with our own recipes' defaults where it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

from mt_lottery import parallel
from mt_lottery.compose import compose_settings
from mt_lottery.config import RunConfig
from mt_lottery.errors import ConfigError, MTLotteryError
from mt_lottery.fairseq2.engine import OUTPUT, Fairseq2Engine
from mt_lottery.fairseq2.extension import PREFIX
from mt_lottery.pipeline import run


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
        parallel.start()  # in the gang that fairseq2 has made
        with torch.inference_mode(False):
            outcome = run(self._config, lambda text: log.info("{}", text), self._engine)
        parallel.stop()
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
    """

    def __init__(self, started: Callable[[], None] = lambda: None) -> None:
        self._started = started

    @property
    def config_kls(self) -> type[object]:
        """:class:`LotteryConfig`."""
        return LotteryConfig

    def register(self, container: DependencyContainer) -> None:
        """A user's mistake is one message, exit status 2."""

        def tell(error: MTLotteryError) -> int:
            log.error("{}", error)
            return 2

        for kind in _all_errors(MTLotteryError):
            register_cli_error(container, kind, tell)

    def create_task(self, context: RecipeContext) -> Task:
        """The pipeline."""
        self._started()
        config = context.get_config_as(LotteryConfig)
        output = context.output_dir
        own = output.name == OUTPUT.parent.name
        run_dir = output.parent if own else output / "run"
        settings = run_config(config, run_dir, context.device.type)
        sections = {"trainer": config.trainer, "gang": config.gang, "common": config.common}
        return LotteryTask(context, settings, Fairseq2Engine(settings, **sections))
