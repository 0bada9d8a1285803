"""Before anything is loaded: the text, the device, the tuner, and the run's hash."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from mt_lottery.config import RunConfig, counted, digest, file_settings
from mt_lottery.data.corpora import Corpora, Split
from mt_lottery.data.joint import directions_of, in_direction, load_text, parts_of
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.data.prompts.templates import bound, check_template, template_of
from mt_lottery.errors import ConfigError, DataError, TuningError, plural
from mt_lottery.languages import LanguagePair
from mt_lottery.model.folder.quantised import check_trainable
from mt_lottery.model.kernels import problems_with_kernels
from mt_lottery.model.loading import fingerprint, quantisation_of, tokenizer_of
from mt_lottery.reading import sha256_of
from mt_lottery.registry import CORPORA, ENGINES, METRICS, OPTIMIZERS, TRACKERS, TUNERS, Registry
from mt_lottery.runs.planning.fitting import check_text, problems_with_directions
from mt_lottery.runs.planning.prompting import prompt_identity, with_template
from mt_lottery.runs.planning.sharding import check_dividable, problems_with_sharding
from mt_lottery.runs.planning.trial_calls import sentences, try_plugins
from mt_lottery.scoring.metric import MetricContext
from mt_lottery.scoring.trial import SOURCES, LaterTokenizer, try_metric
from mt_lottery.system import parallel
from mt_lottery.system.values import device_name, user_path
from mt_lottery.tracking.trackers import names_of
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


def pick_device(wanted: str) -> str:
    """The device of ``device=auto|cpu|cuda|cuda:N|mps``, as every command and function takes it.

    Each of several processes takes the GPU of its number on its machine.

    Raises:
        ConfigError: no device is called so, or it is not there; with what is there.
    """
    try:
        device_name(wanted)
    except ValueError as error:
        raise ConfigError(f"`device` {error} Here: {', '.join(devices())}.") from None
    if parallel.started():
        return _pick_own(wanted)
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(wanted.partition(":")[2] or 0)
        if index >= count:
            raise ConfigError(
                f"`device` is {wanted}, but PyTorch sees {plural(count, 'CUDA device')}; allowed "
                f"here: {', '.join(devices())}."
            )
        torch.cuda.set_device(index)  # where libraries ask for no more than "cuda"
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            f"`device` is mps, but PyTorch has none; allowed here: {', '.join(devices())}."
        )
    return wanted


def devices() -> list[str]:
    """What ``device`` may be on this machine."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    numbered = ["cuda", *(f"cuda:{i}" for i in range(count))] if count else []
    return ["auto", "cpu", *numbered, *(["mps"] if torch.backends.mps.is_available() else [])]


def _pick_own(wanted: str) -> str:
    """As :func:`pick_device`, for one of the processes that torchrun started."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"`device` is {wanted}, but under torchrun each process takes a device of its own; "
            "allowed: auto, cpu, cuda."
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and count == 0):
        return "cpu"
    index, here = parallel.local()
    if here > count:
        raise ConfigError(
            f"`device` is {wanted}, but this machine has {plural(count, 'CUDA device')} for "
            f"{plural(here, 'process')}: --nproc-per-node may be {count}, or give device=cpu."
        )
    torch.cuda.set_device(index)
    return f"cuda:{index}"


def file_sha256(section: str, config: Any, key: str) -> str:
    """sha256 of the file that a setting names: its content decides the result, not its place.

    Raises:
        TuningError: it cannot be read.
    """
    given = getattr(config, key)
    path = user_path(given, TuningError, f"{section}.{key}=")
    try:
        return sha256_of(path, TuningError)
    except TuningError as error:
        raise TuningError(f"{section}.{key}={error}") from error


def check_packages(*wanted: tuple[str, Registry, str]) -> None:
    """Make sure that what the chosen plugins need is installed.

    Args:
        wanted: key, registry and name of each.

    Raises:
        ConfigError: what is missing, with pip's command, all of it at once.
    """
    found = [(key, kind.missing(name)) for key, kind, name in wanted]
    problems = [f"`{key}`: {missing}" for key, missing in found if missing is not None]
    if problems:
        raise ConfigError(problems)


def trackers_and_metrics(config: RunConfig) -> list[tuple[str, Registry, str]]:
    """For :func:`check_packages`: what every cell of a benchmark has in common."""
    return [
        *(("metrics", METRICS, name) for name in config.metrics),
        *(("tracker", TRACKERS, name) for name in names_of(config.tracker)),
    ]


def check_metrics(config: RunConfig) -> None:
    """Try every metric on two sentences in the target language, before any work is done.

    Where spBLEU's model is not available, the warning comes here too.

    Args:
        config: of the run; languages, metrics and model are read.

    Raises:
        ScoreError: what a metric needs is missing; with how to get it.
        PluginError: a metric gives back something else than it must.
    """

    def tokenizer() -> Any:
        found = tokenizer_of(config.model)
        return None if found is None else found[0]

    keys: dict[tuple[str, str], str] = {}
    targets = dict.fromkeys(pair.target.code for pair in directions_of(config)[1])
    for target, name in ((target, name) for target in targets for name in config.metrics):
        context = MetricContext(
            LaterTokenizer(tokenizer),
            config.model.name,
            target,
            bootstrap=10,
            sources=SOURCES,
            settings=config.metric,
        )
        key = try_metric(name, context)
        first = keys.setdefault((target, key or name), name)
        if first != name and any(map(METRICS.is_plugin, (first, name))):
            theirs = name if METRICS.is_plugin(name) else first
            raise METRICS.fault(
                theirs,
                f"its key is '{key}', and so is that of '{first if theirs == name else name}': a "
                "record would hold one of the two scores",
            )


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
    pair = directions[0]
    device = pick_device(config.device)
    sections = [("train", config.train), ("probe", config.probe)]
    check_packages(
        ("tuner", TUNERS, config.tuner.name),
        ("engine", ENGINES, config.engine),
        *((f"{key}.optimizer", OPTIMIZERS, section.optimizer) for key, section in sections),
        *trackers_and_metrics(config),
        *(
            (f"data.{key}", CORPORA, getattr(config.data, key))
            for key in ("name", "dev", "test")
            if getattr(config.data, key) is not None
        ),
    )
    config = with_template(config, echo)
    tuner: Tuner = TUNERS.get(config.tuner.name)(config.tuner)
    engine = engine or ENGINES.get(config.engine)(config)
    said = sentences(
        TUNERS, config.tuner.name, "problems_with_settings", tuner.problems_with_settings()
    )
    said += sentences(TUNERS, config.tuner.name, "problems_with", tuner.problems_with(config))
    said += sentences(ENGINES, config.engine, "problems", engine.problems())
    said += problems_with_directions(config, tuner)
    said += problems_with_sharding(config, tuner)
    for key, section in sections:
        said += problems_with_kernels(key, section.kernels, device)
    if said:
        raise ConfigError(said)
    try_plugins(config, tuner)
    trained = tuner.trains or tuner.probe is not None
    learns = trained or tuner.reads_text or tuner.gradient_pairs is not None
    roles = ("train", "dev", "test") if learns else ("test",)
    template = check_template(str(config.data.template), pair, template_of(config.data))
    if hasattr(template, "bind") and (found := tokenizer_of(config.model)) is not None:
        template = bound(template, found[0])
    corpora = parallel.on_main(lambda: load_text(config, roles))
    if corpora.test is None:
        raise DataError(f"data={config.data.name}: no test set; give data.test and data.test_path.")
    if learns:
        if corpora.train is None:
            raise DataError(f"data={config.data.name}: no training set for {config.recipe}.")
        for each, split in parts_of(corpora.train, pair):
            check_text(config, tuner, template, each, split)
    splits = [s for s in (corpora.train, corpora.dev, corpora.test) if s is not None]
    parts = [part for s in splits for _, part in parts_of(s, pair)]
    # roles that share a pool have one report
    for line in dict.fromkeys(f"{s.name}: {s.report}" for s in parts if s.report):
        echo(line)
    if corpora.train and parts_of(corpora.train, pair)[0][1].pool == "dev":
        echo(f"{config.data.name}: trained on its dev set; it has no training text.")
    for line in dict.fromkeys(part.cut for part in parts if part.cut):
        echo(line)
    if corpora.overlap:
        echo(
            f"Warning: {corpora.overlap} of {plural(len(corpora.test.pairs), 'test source')} "
            f"{'is' if corpora.overlap == 1 else 'are'} in the training text too; scores are too "
            "high by what was memorised."
        )
    model_id = parallel.on_main(lambda: fingerprint(config.model))  # may convert the model first
    stored = parallel.on_main(lambda: quantisation_of(config.model))
    if stored is not None and trained:
        where = config.model.name_or_path or config.model.name
        check_trainable(config.tuner.name, tuner.over_quantised, where, stored)
    check_dividable(config, stored)
    content = counted(config)
    kinds = [METRICS.get(name) for name in config.metrics]
    # a metric's own settings count by what they choose, not by its path
    chosen = {k.key: k.identity(config.metric) for k in kinds if hasattr(k, "identity")}
    content |= {"metric": chosen} if chosen else {}
    if config.engine == "transformers" or not trained:  # hashes of before there was another
        content.pop("engine")
    content["device"] = torch.device(device).type
    content["model"] = {"id": model_id, "dtype": config.model.dtype}
    # text counts by content, not by the path or the number of pairs that led to it
    content["data"] = {**prompt_identity(config), "test": corpora.test.sha256}
    if learns:
        assert corpora.train is not None
        content["data"] |= {
            "train": corpora.train.sha256,
            "max_length": config.data.max_length,
        }
    else:
        content.pop("seed")
    if (config.tune or tuner.reads_dev) and corpora.dev is not None:
        content["data"]["dev"] = corpora.dev.sha256
    for key in file_settings(config.tuner):
        content["tuner"][key] = file_sha256("tuner", config.tuner, key)
    if not tuner.trains and tuner.probe_section != "train" and tuner.gradient_pairs is None:
        content.pop("train")
    if tuner.probe is None or tuner.probe_section != "probe":
        content.pop("probe")
    text = PreparedText(template, *directions)
    return Plan(config, pair, device, corpora, model_id, tuner, engine, text, digest(content))
