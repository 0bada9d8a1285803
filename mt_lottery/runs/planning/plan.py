"""Before anything is loaded: the text, the device, the tuner, and the run's hash."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mt_lottery.config import RunConfig, TrainConfig, digest
from mt_lottery.config.prompt import is_prompt
from mt_lottery.data.corpora import Corpora, Split
from mt_lottery.data.joint import directions_of, in_direction, load_text, parts_of
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.data.prompts.several import training_template_of
from mt_lottery.data.prompts.templates import check_template, template_of, wordings
from mt_lottery.errors import ConfigError, DataError
from mt_lottery.languages import LanguagePair
from mt_lottery.model.folder.quantised import check_trainable
from mt_lottery.model.kernels import problems_with_kernels
from mt_lottery.model.loading import fingerprint, quantisation_of, tokenizer_of
from mt_lottery.registry import CORPORA, ENGINES, OPTIMIZERS, TUNERS
from mt_lottery.runs.planning.devices import pick_device
from mt_lottery.runs.planning.fitting import check_text, problems_with_directions
from mt_lottery.runs.planning.identity import identity
from mt_lottery.runs.planning.prompting import problems_with_secrets, with_template
from mt_lottery.runs.planning.reporting import report_text
from mt_lottery.runs.planning.requirements import check_packages, trackers_and_metrics
from mt_lottery.runs.planning.sharding import check_dividable, problems_with_sharding
from mt_lottery.runs.planning.trial_calls import sentences, try_plugins
from mt_lottery.system import parallel
from mt_lottery.training.engine import Engine
from mt_lottery.tuners.base import Tuner

Echo = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a run depends on, known before the model is loaded.

    Attributes:
        config: the resolved configuration.
        pair: source and target language; the first one of several.
        device: a torch device's name.
        corpora: the text that the tuner needs.
        model_id: sha256 or commit of the model.
        tuner: the run's.
        engine: what trains it.
        text: templates and tokenises the corpora, once.
        config_hash: of all that can change the result.
    """

    config: RunConfig
    pair: LanguagePair
    device: str
    corpora: Corpora
    model_id: str
    tuner: Tuner
    engine: Engine
    text: PreparedText
    config_hash: str

    @property
    def test(self) -> Split:
        """The test set."""
        assert self.corpora.test is not None
        return self.corpora.test

    @cached_property
    def parts(self) -> list[Plan]:
        """The plan of each tested direction, with its own test set; of one direction itself."""
        if len(self.text.pairs) == 1:
            return [self]
        return [
            dataclasses.replace(
                self,
                config=in_direction(self.config, pair),
                pair=pair,
                corpora=dataclasses.replace(self.corpora, test=split),
                text=self.text.of_pair(pair),
            )
            for pair, split in parts_of(self.test, self.pair)
        ]


def make_plan(config: RunConfig, echo: Echo, engine: Engine | None = None) -> Plan:
    """Load the text, name the model, and hash what the result depends on.

    Args:
        config: from :func:`mt_lottery.config.compose.compose`.
        echo: prints a line for the user.
        engine: in place of the registered one.

    Raises:
        MTLotteryError: a setting, the text or the model is not as it must be.
    """
    directions = directions_of(config)[1]
    pair, device = directions[0], pick_device(config.device)
    _check_installed(config)
    config = with_template(config, echo)
    tuner: Tuner = TUNERS.get(config.tuner.name)(config.tuner)
    engine = engine or ENGINES.get(config.engine)(config)
    _check_settings(config, tuner, engine, device)
    try_plugins(config, tuner, echo)
    trained = tuner.trains or tuner.probe is not None
    learns = tuner.takes_gradients or tuner.reads_text
    text = _text(config, tuner, directions)
    corpora = _corpora(config, tuner, text, learns)
    report_text(config, corpora, text, echo)
    model_id = parallel.on_main(lambda: fingerprint(config.model))  # may convert the model first
    stored = parallel.on_main(lambda: quantisation_of(config.model))
    if stored is not None and trained:
        where = config.model.name_or_path or config.model.name
        check_trainable(config.tuner.name, tuner.over_quantised, where, stored)
    check_dividable(config, stored)
    config_hash = digest(identity(config, device, corpora, model_id, tuner, text, learns=learns))
    return Plan(config, pair, device, corpora, model_id, tuner, engine, text, config_hash)


def _sections(config: RunConfig) -> list[tuple[str, TrainConfig]]:
    return [("train", config.train), ("probe", config.probe)]


def _check_installed(config: RunConfig) -> None:
    """Raise ConfigError where a plugin that the run takes needs a package."""
    check_packages(
        ("tuner", TUNERS, config.tuner.name),
        ("engine", ENGINES, config.engine),
        *(
            (f"{key}.optimizer", OPTIMIZERS, section.optimizer)
            for key, section in _sections(config)
        ),
        *trackers_and_metrics(config),
        *(
            (f"data.{key}", CORPORA, getattr(config.data, key))
            for key in ("name", "dev", "test")
            if getattr(config.data, key) is not None
        ),
    )


def _check_settings(config: RunConfig, tuner: Tuner, engine: Engine, device: str) -> None:
    """Raise ConfigError with all that tuner, engine and device do not allow."""
    name = config.tuner.name
    said = sentences(TUNERS, name, "problems_with_settings", tuner.problems_with_settings())
    said += sentences(TUNERS, name, "problems_with", tuner.problems_with(config))
    said += sentences(ENGINES, config.engine, "problems", engine.problems())
    said += problems_with_directions(config, tuner)
    said += problems_with_secrets(config)
    said += problems_with_sharding(config, tuner)
    for key, section in _sections(config):
        said += problems_with_kernels(key, section.kernels, device)
    if said:
        raise ConfigError(said)


def _text(config: RunConfig, tuner: Tuner, directions: Sequence[LanguagePair]) -> PreparedText:
    """Its wordings tried, and bound where the tokenizer can be had without the model."""
    data, pair, training = config.data, directions[0], None
    template = check_template(str(data.template), pair, template_of(data))
    if data.train_templates is not None and tuner.takes_gradients:
        training = training_template_of(data)
        for name, part in zip(data.train_templates, wordings(training), strict=True):
            check_template("prompt" if is_prompt(name) else name, pair, part)
    text = PreparedText(template, *directions, training=training)
    bind = any(hasattr(each, "bind") for each in text.wordings)
    if bind and (found := tokenizer_of(config.model)) is not None:
        text.bind(found[0])
    return text


def _corpora(config: RunConfig, tuner: Tuner, text: PreparedText, learns: bool) -> Corpora:
    """The text, which must fit the tuner: all of it if that learns, else a test set."""
    roles = ("train", "dev", "test") if learns else ("test",)
    corpora = parallel.on_main(lambda: load_text(config, roles))
    if corpora.test is None:
        raise DataError(f"data={config.data.name}: no test set; give data.test and data.test_path.")
    if learns:
        if corpora.train is None:
            raise DataError(f"data={config.data.name}: no training set for {config.recipe}.")
        for each, split in parts_of(corpora.train, text.pairs[0]):
            check_text(config, tuner, text.training, each, split)
    return corpora
