"""An adapter's files: a folder's, or fetched from the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict

from mt_lottery.errors import ModelError, RecordError
from mt_lottery.system.values import user_path
from mt_lottery.tuners.rows.adapter_file import CONFIG, WEIGHTS


class HubArguments(TypedDict, total=False):
    """What ``PeftModel.from_pretrained`` hands on to ``hf_hub_download``."""

    subfolder: str | None
    revision: str | None
    cache_dir: str | Path | None
    force_download: bool
    token: str | bool | None
    local_files_only: bool


def adapter_folder(where: str | os.PathLike[str], hub: HubArguments) -> Path:
    """The folder with an adapter's configuration and weights.

    Args:
        where: a folder, or the id of a repository on the hub.
        hub: arguments of ``hf_hub_download``; ``subfolder`` counts for a folder too.

    Raises:
        ModelError: it is no folder, and the hub does not give it.
    """
    folder = user_path(where, RecordError) / (hub.get("subfolder") or "")
    if folder.is_dir():
        return folder
    name = os.fspath(where)
    looks_local = name.startswith((".", "/", "~")) or name.count("/") != 1
    if looks_local:
        raise ModelError(f"{folder}: no such folder, and '{name}' is no hub id ('owner/name').")
    from huggingface_hub import hf_hub_download

    try:
        for file in (WEIGHTS, CONFIG):
            found = Path(hf_hub_download(name, file, **hub))
    except Exception as error:  # the classes differ between huggingface_hub's versions
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"'{name}': there is no such folder, and the hub gives no adapter of that name "
            f"({type(error).__name__}: {reason})."
        ) from error
    return found.parent
