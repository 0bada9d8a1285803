"""The user's cache folder: where it is, and the hashes of files that are known already."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from mt_lottery.errors import ModelError
from mt_lottery.reading import read_json
from mt_lottery.system import atomic, values

_hashes: dict[str, tuple[int, int, str]] = {}


def cache_dir() -> Path:
    """``MT_LOTTERY_CACHE``, or ``~/.cache/mt_lottery``; read at each call, not created.

    Raises:
        DiskError: no folder can be there.
    """
    return values.cache_folder(atomic.DiskError)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _remembered() -> dict[str, tuple[int, int, str]]:
    """Hashes on disk; whatever is damaged there is forgotten, since it can be computed again."""
    found: dict[str, tuple[int, int, str]] = {}
    try:
        stored = read_json(cache_dir() / "hashes.json", ModelError)
        for key, (size, mtime, digest) in stored.items():
            found[str(key)] = (int(size), int(mtime), str(digest))
    except (ModelError, ValueError, TypeError):
        return {}
    return found


def remember_sha256(path: Path, digest: str) -> None:
    """Note the hash of a file that was hashed elsewhere (as it was written)."""
    status = path.stat()
    key, entry = str(path.resolve()), (status.st_size, status.st_mtime_ns, digest)
    _hashes[key] = entry
    kept = {k: v for k, v in _remembered().items() if Path(k).exists()}
    # Two processes may lose each other's entry here: it costs one more hashing, nothing else.
    # A cache that cannot be written only costs time as well.
    with contextlib.suppress(atomic.DiskError):
        text = json.dumps({**kept, key: entry}, indent=2, ensure_ascii=False) + "\n"
        atomic.write_text(cache_dir() / "hashes.json", text)


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
    digest = _hash_file(path)
    remember_sha256(path, digest)
    return digest
