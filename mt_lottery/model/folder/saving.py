"""A model folder that transformers 4.57 and 5.x read alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mt_lottery.model.folder.configuration import with_rope
from mt_lottery.system.atomic import write_data
from mt_lottery.system.replacing import written_folder


def cast(model: Any, dtype: Any) -> Any:
    """Parameters to another dtype, in place; buffers stay (``model.to`` would round RoPE's)."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    return model


#: What is kept of the settings of ``generate``; the others change what a search says.
_KEPT_SETTINGS = frozenset(
    [
        *("eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id"),
        *("use_cache", "cache_implementation", "transformers_version", "_from_model_config"),
    ]
)


def not_decoded_with(model: Any) -> list[str]:
    """Settings of a model's ``generate`` that :func:`save_folder` leaves out, by name."""
    settings = getattr(model, "generation_config", None)
    found = {} if settings is None else settings.to_diff_dict()
    return sorted(key for key, value in found.items() if value and key not in _KEPT_SETTINGS)


def save_folder(
    model: Any,
    tokenizer: Any,
    folder: Path,
    *,
    marked: bool = False,
    more: Callable[[Path], None] | None = None,
) -> None:
    """Write weights, configuration and tokenizer; the folder is whole or not there at all.

    Penalties, sampling and whatever else of the model's ``generation_config.json`` a run decodes
    without are left out of it: ``generate`` and servers would take them up
    (:func:`~mt_lottery.decoding.beam.own_settings_put_aside`).

    Args:
        model: a plain transformers causal LM.
        tokenizer: its tokenizer.
        folder: replaced if it exists.
        marked: the user named it: it is replaced only if it is ours, and unchanged
            (:mod:`mt_lottery.system.replacing`).
        more: writes other files into the folder before it is put in place.

    Raises:
        DiskError: it cannot be written.
        RecordError: with ``marked``, what is there may not be replaced.
    """
    with written_folder(folder, marked=marked) as staging:
        model.save_pretrained(staging, max_shard_size="1000GB")
        tokenizer.save_pretrained(staging)
        for name, adapt in _ADAPTED.items():
            path = staging / name
            if path.is_file():
                content = adapt(json.loads(path.read_text("utf-8")))
                write_data(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        if more is not None:
            more(staging)


def _with_class(config: dict[str, Any]) -> dict[str, Any]:
    """5.x's name for a tokenizer that is all in ``tokenizer.json``, as 4.57 calls it."""
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    return config


def _special_tokens_only(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in _KEPT_SETTINGS}


_ADAPTED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "config.json": with_rope,
    "tokenizer_config.json": _with_class,
    "generation_config.json": _special_tokens_only,
}
