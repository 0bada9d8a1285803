"""Hashes of files, remembered in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from mt_lottery.errors import ModelError
from mt_lottery.reading import read_json
from mt_lottery.system import atomic
from mt_lottery.system.values import cache_folder

_hashes: dict[str, tuple[int, int, str]] = {}


def _remembered() -> dict[str, tuple[int, int, str]]:
    """Hashes on disk; whatever is damaged there is forgotten, since it can be computed again."""
    found: dict[str, tuple[int, int, str]] = {}
    try:
        stored = read_json(cache_folder() / "hashes.json", ModelError)
        for key, (size, mtime, digest) in stored.items():
            found[str(key)] = (int(size), int(mtime), str(digest))
    except (ModelError, ValueError, TypeError):
        return {}
    return found


def remember_sha256(path: Path, digest: str) -> None:
    """Note the hash of a file that was hashed elsewhere (as it was written)."""
    _remember(path, path.stat(), digest)


def _remember(path: Path, status: os.stat_result, digest: str) -> None:
    key, entry = str(path.resolve()), (status.st_size, status.st_mtime_ns, digest)
    _hashes[key] = entry
    kept = {k: v for k, v in _remembered().items() if Path(k).exists()}
    # Two processes may lose each other's entry here: it costs one more hashing, nothing else.
    # A cache that cannot be written only costs time as well.
    with contextlib.suppress(atomic.DiskError):
        text = json.dumps({**kept, key: entry}, indent=2, ensure_ascii=False) + "\n"
        atomic.write_text(cache_folder() / "hashes.json", text)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in hex, computed once per (path, size, modification time in ns).

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    key = str(path.resolve())
    for known in (_hashes.get(key), _remembered().get(key)):
        if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
            _hashes[key] = known
            return known[2]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    after = path.stat()
    if (status.st_size, status.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
        _remember(path, status, digest)  # else it was written meanwhile
    return digest
