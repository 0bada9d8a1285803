"""Settings that were given, and that this run does not look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mt_lottery.config import RunConfig
from mt_lottery.data.corpora import cut_with_test
from mt_lottery.registry import TUNERS
from mt_lottery.ticket.selection import selector_context
from mt_lottery.tracking.trackers import names_of
from mt_lottery.tuners.base import Tuner

#: Settings that say which blocks of a text the roles have.
BLOCKS = ("data.train_", "data.dev", "data.dev_")
TRAINING_TEXT = (*BLOCKS, "data.max_length", "data.shuffle_targets")
TEMPLATES = "data.train_templates"


def without_effect(config: RunConfig, keys: Sequence[str]) -> Iterator[str]:
    """A sentence for every key of the command line that cannot change the run's result.

    Args:
        config: the run's settings.
        keys: those that were given.
    """
    tuner: Tuner = TUNERS.get(config.tuner.name)(config.tuner)
    rules = [*_of_method(config, tuner), *_of_rows(config.tuner), *_of_rest(config)]
    if getattr(config.tuner, "retrieve", None) == "bm25":
        rules.append(("tuner.seed", "tuner.retrieve=bm25 draws no pairs"))
    found = {
        key: why
        for key in dict.fromkeys(keys)
        if (why := next((why for rule, why in rules if _matches(key, rule)), None)) is not None
    }
    blocks = {k for k in found if k != TEMPLATES and any(_matches(k, rule) for rule in BLOCKS)}
    if blocks and cut_with_test(config.data):  # they decide which sentences are tested
        found = {key: why for key, why in found.items() if key not in blocks}
    for key, why in found.items():
        yield f"{key} has no effect: {why}."


def _matches(key: str, rule: str) -> bool:
    """Whether a rule is about a key: it names the key, or ends as the beginning of keys does."""
    return key == rule or (rule.endswith((".", "_")) and key.startswith(rule))


def _of_method(config: RunConfig, tuner: Tuner) -> Iterator[tuple[str, str]]:
    recipe = f"recipe={config.recipe}"
    by_probe = tuner.is_probe
    if not tuner.trains and not by_probe and tuner.gradient_pairs is None:
        yield "train.", f"{recipe} trains nothing" + (" but its probe" if tuner.probe else "")
    if tuner.probe is None or by_probe:
        what = "is trained as train.… says" if by_probe else "needs no probe"
        yield "probe.", f"{recipe} {what}"
    if not tuner.trains and tuner.probe is None and not tuner.reads_text:
        for key in (*TRAINING_TEXT, "seed"):
            yield key, f"{recipe} reads no training text"
    if not tuner.takes_gradients:
        yield TEMPLATES, f"{recipe} trains nothing"
    if not tuner.search_space:
        yield "tune", f"{recipe} has nothing to try"


def _of_rows(tuner: Any) -> Iterator[tuple[str, str]]:
    selector = getattr(tuner, "selector", None)
    if selector is None:
        return
    if getattr(tuner, "rows_file", None) is not None:
        for key in ("selector", "selector_pairs", "reduction", "correction"):
            yield f"tuner.{key}", "tuner.rows_file chooses the rows"
    if getattr(tuner, "alpha", None) is None:
        yield "tuner.correction", "it corrects the p-values that tuner.alpha looks at"
    if "gradients" not in selector_context(selector):
        yield "tuner.selector_pairs", f"tuner.selector={selector} needs no gradients"
    if selector not in ("absolute", "relative", "ratio"):
        yield "tuner.reduction", f"tuner.selector={selector} has none"


def _of_rest(config: RunConfig) -> Iterator[tuple[str, str]]:
    for name, section in (("train", config.train), ("probe", config.probe)):
        if section.criterion == "cross_entropy":
            yield f"{name}.label_smoothing", f"{name}.criterion is cross_entropy"
    if "," not in config.lang:
        yield "data.sampling", "lang names one direction"
    if config.translate.beam_size == 1:
        yield "translate.length_penalty", "translate.beam_size is 1"
    if "comet" not in config.metrics:
        yield "metric.comet.", "comet is not among the metrics"
    if not names_of(config.tracker):
        yield "tracking.", "there is no tracker"
