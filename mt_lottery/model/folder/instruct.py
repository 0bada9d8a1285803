"""Whether a model was tuned to answer: by its name, or by where it stops."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mt_lottery.errors import ModelError, plural
from mt_lottery.model.folder import checkpoint, hub
from mt_lottery.model.folder.library import call
from mt_lottery.reading import read_json, sha256_of

# "it" alone is a language too: it counts in Gemma's names only
_NAME = re.compile(r"instruct|chat|gemma\S*[-_]it\b", re.IGNORECASE)


def _finder(config: Any) -> Callable[[str], Path | None]:
    """Name of a small file → where it is, of ``model=hf``; None where there is none."""
    if config.name != "hf" or not config.name_or_path:
        return lambda name: None
    folder = checkpoint.find_local(config.name_or_path)
    if folder is None:
        found = hub.find(config.name_or_path, config.revision)
        if found.folder is None:
            return lambda name: _downloaded(found.name, found.commit, name)
        folder = found.folder
    return lambda name: folder / name if (folder / name).is_file() else None


def _downloaded(model: str, commit: str, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(call(hf_hub_download, model, model, name, revision=commit))
    except ModelError as error:
        if isinstance(error.__cause__, EntryNotFoundError):
            return None
        raise


def says_chat(config: Any) -> str | None:
    """What says that a model is to be asked in a chat; None where nothing does.

    Its tokenizer has a chat template, and its name says so (``…-Instruct``, ``…-Chat``,
    ``gemma-…-it``), or a generation configuration that stops at several tokens: a base model ends
    a text, an instruct model also a turn.

    Args:
        config: a ``ModelConfig``.

    Raises:
        ModelError: there is no such model, or one of these files is damaged.
    """
    file = _finder(config)

    def read(name: str) -> dict[str, Any]:
        path = file(name)
        return {} if path is None else dict(read_json(path, ModelError, finite=False))

    name = Path(str(config.name_or_path or config.name)).expanduser().resolve().name
    why = None
    if found := _NAME.search(name):
        why = f"its name says '{found[0]}'"
    else:
        ids = read("generation_config.json").get("eos_token_id")
        if isinstance(ids, list) and len(ids) > 1:
            why = f"its generation_config.json stops at {plural(len(ids), 'token')}"
    if why is None or file("chat_template.jinja") is not None:
        return why
    return why if read("tokenizer_config.json").get("chat_template") else None


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
