"""The terms of the original model, which go with a copy of its weights."""

from __future__ import annotations

import re
from pathlib import Path

from mt_lottery.errors import RecordError
from mt_lottery.model.folder import hub
from mt_lottery.model.gemma3.gemma3_270m import GEMMA
from mt_lottery.model.loading import ModelInfo
from mt_lottery.reading import front_matter, read_bytes, read_text
from mt_lottery.runs.card import README
from mt_lottery.system.atomic import write_bytes

#: Files of terms, by the begin of their names.
_FILES = re.compile(r"(licen[sc]e|notice|use_policy)([._-].*)?", re.IGNORECASE)
_FIELDS = ("license", "license_name", "license_link")
_MOST = 1 << 20  # bytes of one of them


def _folder_of(info: ModelInfo) -> Path | None:
    """Where a model's files are; None for a single file, or a model that is not there."""
    if info.path is not None:
        folder = Path(info.path)
        return folder if folder.is_dir() else None
    return None if info.revision is None else hub.cached(info.name, info.revision)


def license_fields(info: ModelInfo) -> dict[str, str]:
    """``license``, ``license_name`` and ``license_link`` as the original model's card has them.

    Args:
        info: of the original model.
    """
    if info.name == GEMMA.name:
        return {"license": "gemma"}
    folder = _folder_of(info)
    if folder is None or not (folder / README).is_file():
        return {}
    try:
        card = front_matter(read_text(folder / README, RecordError), README, RecordError)
    except RecordError:
        return {}  # somebody else's card: what cannot be read says nothing
    return {key: card[key] for key in _FIELDS if isinstance(card.get(key), str)}


def copy_terms(info: ModelInfo, folder: Path) -> str:
    """Copy LICENSE, NOTICE and the like beside the weights; what is there already stays.

    Args:
        info: of the original model.
        folder: where the weights are.

    Returns:
        a sentence for the card; empty where no terms are known.

    Raises:
        RecordError: one of them cannot be read.
        DiskError: one cannot be written.
    """
    source, names = _folder_of(info), []
    for file in sorted(source.iterdir()) if source is not None else ():
        if _FILES.fullmatch(file.name) and file.is_file() and not (folder / file.name).exists():
            write_bytes(folder / file.name, read_bytes(file, RecordError, limit=_MOST))
            names.append(file.name)
    said = [GEMMA.notice] if info.name == GEMMA.name else []
    if names:
        said.append(f"The terms of the original model are in {', '.join(names)}")
    return "".join(f" {sentence}." for sentence in said)
