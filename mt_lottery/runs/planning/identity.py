"""All that the result of a run depends on; its hash names the run."""

from __future__ import annotations

from typing import Any

import torch

from mt_lottery.config import RunConfig, counted, file_settings
from mt_lottery.data.corpora import Corpora
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.errors import TuningError
from mt_lottery.reading import sha256_of
from mt_lottery.registry import METRICS, TEMPLATES
from mt_lottery.registry.code import cells_of
from mt_lottery.runs.planning.prompting import prompt_identity
from mt_lottery.system.values import user_path
from mt_lottery.tuners.base import Tuner


def identity(
    config: RunConfig,
    device: str,
    corpora: Corpora,
    model_id: str,
    tuner: Tuner,
    text: PreparedText,
    *,
    learns: bool,
) -> dict[str, Any]:
    """The settings that count, and in place of paths what is there.

    Args:
        config: of the run.
        device: that it is on.
        corpora: the text.
        model_id: sha256 or commit of the model.
        tuner: the run's.
        text: its wording.
        learns: whether it looks at the training set.

    Returns:
        what :func:`mt_lottery.config.digest` hashes.

    Raises:
        TuningError: a file that a setting names cannot be read.
    """
    assert corpora.test is not None
    trained = tuner.trains or tuner.probe is not None
    content = counted(config)
    kinds = [METRICS.get(name) for name in config.metrics]
    # a metric's own settings count by what they choose, not by its path
    chosen = {k.key: k.identity(config.metric) for k in kinds if hasattr(k, "identity")}
    content |= {"metric": chosen} if chosen else {}
    if config.engine == "transformers" or not trained:  # hashes of before there was another
        content.pop("engine")
    if not tuner.takes_gradients:
        content.pop("deterministic", None)
    content["device"] = torch.device(device).type
    content["model"] = {"id": model_id, "dtype": config.model.dtype}
    # text counts by content, not by the path or the number of pairs that led to it
    content["data"] = {**prompt_identity(config), "test": corpora.test.sha256}
    plugin = TEMPLATES.is_plugin(str(config.data.template))
    if plugin:  # its author may change what it writes, and not its name
        content["data"]["worded"] = text.worded(corpora.test)
    if learns:
        assert corpora.train is not None
        if plugin or text.training is not text.template:
            content["data"]["worded_train"] = text.worded(corpora.train, training=True)
        content["data"] |= {
            "train": corpora.train.sha256,
            "max_length": config.data.max_length,
        }
    else:
        content.pop("seed")
    if (config.tune or tuner.reads_dev) and corpora.dev is not None:
        content["data"]["dev"] = corpora.dev.sha256
    for key in file_settings(config.tuner):
        content["tuner"][key] = _file_sha256("tuner", config.tuner, key)
    if not tuner.trains and tuner.probe_section != "train" and tuner.gradient_pairs is None:
        content.pop("train")
    if tuner.probe is None or tuner.probe_section != "probe":
        content.pop("probe")
    if cells := cells_of(config, content):
        content["code"] = cells
    return content


def _file_sha256(section: str, config: Any, key: str) -> str:
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
