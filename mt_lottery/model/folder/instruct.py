"""Whether a model was tuned to answer: by its name, or by where it stops."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mt_lottery.errors import ModelError
from mt_lottery.model.folder import checkpoint, hub
from mt_lottery.reading import read_json, sha256_of

# "it" alone is a language too: it counts in Gemma's names only
_NAME = re.compile(r"instruct|chat|gemma\S*[-_]it\b", re.IGNORECASE)


def _folder(config: Any) -> Path | None:
    """The folder of ``model=hf``, where its files can be read without the network."""
    if config.name != "hf" or not config.name_or_path:
        return None
    local = checkpoint.find_local(config.name_or_path)
    if local is None:
        local = hub.find(config.name_or_path, config.revision).folder
    return local if local is not None and local.is_dir() else None


def says_instruct(config: Any) -> str | None:
    """What says that a model is an instruct model; None where nothing does.

    Its name does (``…-Instruct``, ``…-Chat``, ``gemma-…-it``), or a generation configuration
    that stops at several tokens: a base model ends a text, an instruct model also a turn.

    Args:
        config: a ``ModelConfig``.

    Raises:
        ModelError: there is no such model.
    """
    name = Path(str(config.name_or_path or config.name)).expanduser().resolve().name
    if found := _NAME.search(name):
        return f"its name says '{found[0]}'"
    folder = _folder(config)
    if folder is not None and (folder / "generation_config.json").is_file():
        stops = read_json(folder / "generation_config.json", ModelError, finite=False)
        ids = stops.get("eos_token_id")
        if isinstance(ids, list) and len(ids) > 1:
            return f"its generation_config.json stops at {len(ids)} tokens"
    return None


def chat_template_sha256(config: Any) -> str | None:
    """sha256 of a local folder's ``chat_template.jinja``, which is in no fingerprint.

    Raises:
        ModelError: it cannot be read.
    """
    if config.name != "hf" or not config.name_or_path:
        return None
    folder = checkpoint.find_local(config.name_or_path)
    file = None if folder is None else folder / "chat_template.jinja"
    return sha256_of(file, ModelError) if file is not None and file.is_file() else None
