"""Which files of a data set are which split of which configuration.

As the hub reads a repository without a script: what ``configs`` in the YAML head of its README
says (``config_name``, ``data_files`` with ``split`` and ``path``, ``data_dir``; page "Manual
Configuration" of the hub's documentation), else by names (page "File names and splits"): shards
``data/NAME-00000-of-00001.parquet``, a folder or a file with ``train``, ``validation`` (``valid``,
``dev``, ``val``) or ``test`` (``testing``, ``eval``, ``evaluation``) in its name, else all is
training text.  A folder without such a head, whose files are in folders with names of their own
(a part of a repository, downloaded), has a configuration for each.  A script is never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from mt_lottery.languages import LanguagePair, of_code

Splits = dict[str, list[str]]
Layout = dict[str, Splits]  # configuration → split → files

DEFAULT = "default"
KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARD = re.compile(r"data/([^/]+)-\d{5}-of-\d{5}[^/]*\.[^/]+")
#: The same in any folder: what is before the number, the number, how many, a hash, the ending.
_SHARD_OF = re.compile(r"(.*-)(\d{5})-of-(\d{5})(-[0-9a-f]+)?(\.[^/]+)")
_SEP = r"[-._ 0-9]"


def _keyword(part: str) -> str | None:
    for split, words in KEYWORDS.items():
        for word in words:
            if re.search(rf"(?:^|{_SEP}){word}(?:$|{_SEP})", part):
                return split
    return None


def _splits_by_name(names: Sequence[str]) -> Splits:
    """The splits of files, by their names relative to the configuration's folder."""
    shards = {name: match[1] for name in names if (match := _SHARD.fullmatch(name))}
    if shards:
        return _grouped((split, name) for name, split in shards.items())
    paths = [(PurePosixPath(name), name) for name in names]
    by_folder = [(found, n) for p, n in paths for part in p.parts[:-1] if (found := _keyword(part))]
    by_file = [(found, name) for path, name in paths if (found := _keyword(path.name))]
    return _grouped(by_folder or by_file or [("train", name) for name in names])


def missing_shards(names: Iterable[str], there: Iterable[str]) -> list[str]:
    """Missing shards, by the names of the others: two beside ``train-00000-of-00003.parquet``.

    Args:
        names: files of one split.
        there: all files of the data set.

    Returns:
        their names, sorted; a hash that each shard has in its name is ``*``.
    """
    have = {found for name in there if (found := _shard_of(name))}
    sets = {found[1:] for name in names if (found := _shard_of(name))}
    return sorted(
        f"{begin}{number:05}-of-{of:05}{end}"
        for begin, of, end in sets
        for number in (range(1, of + 1) if (of, begin, of, end) in have else range(of))
        if (number, begin, of, end) not in have
    )


def _shard_of(name: str) -> tuple[int, str, int, str] | None:
    """Its number, what is before that, how many shards there are, and the end of the name."""
    match = _SHARD_OF.fullmatch(name)
    if match is None:
        return None
    begin, number, of, hashed, end = match.groups()
    return int(number), begin, int(of), ("-*" if hashed else "") + end


def _grouped(found: Iterable[tuple[str, str]]) -> Splits:
    splits: Splits = {}
    for split, name in dict.fromkeys(found):
        splits.setdefault(split, []).append(name)
    return splits


def _matches(pattern: str, name: str) -> bool:
    """``*`` and ``?`` stay within a folder, ``**`` does not; no pattern takes long."""
    parts = name.split("/")
    reached = {0}  # how many of the name's parts the pattern's so far can stand for
    for each in pattern.removeprefix("./").split("/"):
        if each == "**":
            reached = {k for r in reached for k in range(r, len(parts) + 1)}
        else:
            reached = {r + 1 for r in reached if r < len(parts) and fnmatchcase(parts[r], each)}
    return len(parts) in reached


def _listed(value: Any) -> list[str]:
    found = value if isinstance(value, list) else [value]
    return [each for each in found if isinstance(each, str)]


def _inside(config: dict[str, Any], names: Sequence[str]) -> tuple[str, list[str]]:
    """The folder of an entry of ``configs``, and the names in it."""
    folder = str(config.get("data_dir") or "").strip("/")
    prefix = f"{folder}/" if folder else ""
    return prefix, [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _patterns(config: dict[str, Any]) -> list[tuple[str, str]]:
    """The splits of one entry of ``configs``, and the patterns of their files."""
    files = config.get("data_files")
    patterns: list[tuple[str, str]] = []
    for entry in files if isinstance(files, list) else [files]:
        if isinstance(entry, dict):
            split = str(entry.get("split") or "train")
            patterns += [(split, path) for path in _listed(entry.get("path"))]
        else:
            patterns += [("train", path) for path in _listed(entry)]
    return patterns


def _described(config: dict[str, Any], names: Sequence[str]) -> Splits:
    """The splits of one entry of ``configs``."""
    prefix, inner = _inside(config, names)
    if config.get("data_files") is None:
        return {s: [prefix + n for n in found] for s, found in _splits_by_name(inner).items()}
    return _grouped(
        (split, prefix + name)
        for split, pattern in _patterns(config)
        for name in _matching(pattern, inner)
    )


def _matching(pattern: str, names: Sequence[str]) -> list[str]:
    # what names a folder means all that is in it
    folder = f"{pattern.strip('/')}/"
    return [name for name in names if _matches(pattern, name) or name.startswith(folder)]


def layout_of(names: Sequence[str], head: dict[str, Any]) -> Layout:
    """Configuration → split → files.

    Args:
        names: files that can be read, relative to the repository, sorted.
        head: the YAML head of its README.
    """
    if entries := _entries(head):
        read = {name: _described(config, names) for name, config in entries.items()}
        return {name: splits for name, splits in read.items() if splits}
    tops = {PurePosixPath(name).parts[0] for name in names if "/" in name}
    own = {t for t in tops if _keyword(t) is None and t != "data"}
    if own and all("/" in name and PurePosixPath(name).parts[0] in own for name in names):
        return {top: _described({"data_dir": top}, names) for top in sorted(own)}
    return {DEFAULT: _splits_by_name(names)} if names else {}


#: What `datasets` keeps of a data set beside its texts.
_METADATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}


def unread_of(names: Sequence[str], head: dict[str, Any]) -> list[str]:
    """Files that no split has, since others are named in a way that goes before theirs.

    Args:
        names, head: as of :func:`layout_of`. A README that describes the splits leaves out what it
            does not name; then none are returned.
    """
    if _entries(head):
        return []
    read = {n for s in layout_of(names, head).values() for found in s.values() for n in found}
    return [n for n in names if n not in read and PurePosixPath(n).name not in _METADATA]


def _entries(head: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the head says of each configuration; nothing where it describes none."""
    configs = head.get("configs")
    entries = [c for c in configs if isinstance(c, dict)] if isinstance(configs, list) else []
    return {str(c.get("config_name") or DEFAULT): c for c in entries}


def absent_of(names: Sequence[str], head: dict[str, Any]) -> Layout:
    """What a README declares and no file is there for.

    Args:
        names, head: as of :func:`layout_of`.

    Returns:
        configuration → split → its patterns and paths that match none of ``names``.
    """
    absent: Layout = {}
    for name, config in _entries(head).items():
        prefix, inner = _inside(config, names)
        patterns = _patterns(config)
        matched = {split for split, pattern in patterns if _matching(pattern, inner)}
        absent[name] = _grouped(
            (split, prefix + pattern.removeprefix("./"))
            for split, pattern in patterns
            # of several globs one may match nothing; a path says that the file is there
            if not _matching(pattern, inner) and not (split in matched and "*" in pattern)
        )
    return absent


def pairs_named(name: str) -> Iterator[tuple[str, str]]:
    """The two language codes that a configuration's name may hold, in every way to cut it."""
    for at, sign in enumerate(name):
        if sign in "-_" and 0 < at < len(name) - 1:
            yield name[:at], name[at + 1 :]


def config_for(pair: LanguagePair, configs: Iterable[str]) -> list[str]:
    """Configurations named by both languages of a pair: those in its own order first.

    ``ca-en``, ``en-ro_RO``, ``eng_Latn-ron_Latn``, ``en_ro``.
    """
    wanted = (pair.source, pair.target)
    own, turned = [], []
    for config in configs:
        cuts = [tuple(map(of_code, cut)) for cut in pairs_named(config)]
        if wanted in cuts:
            own.append(config)
        elif wanted[::-1] in cuts:
            turned.append(config)
    return own + turned
