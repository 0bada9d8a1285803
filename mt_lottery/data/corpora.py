"""What a corpus is, and how a run's three splits are read.

Any registered corpus is a class::

    @register_corpus("mine")
    class Mine:
        def __init__(self, path: str | None, config: DataConfig) -> None: ...
        def pool(self, role: str) -> str: ...            # roles with equal pools share it
        def read(self, pool: str, pair: LanguagePair) -> list[Pair]: ...

and may have ``report(pool) -> Report | None`` (:mod:`mt_lottery.data.filters`):
what it had and what it left out, for the user and the record.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from mt_lottery.data.blocks import plan_blocks, said_of
from mt_lottery.data.checked import checked_pairs, checked_pool, checked_report
from mt_lottery.data.filters import Report
from mt_lottery.data.overlap import overlap_of
from mt_lottery.data.text import Pair, open_folder, read_parallel, shuffle_targets
from mt_lottery.errors import DataError, MTLotteryError
from mt_lottery.languages import Language, LanguagePair, code_key, find_language, nearest_code
from mt_lottery.registry import CORPORA

if TYPE_CHECKING:
    from mt_lottery.config import DataConfig

ROLES = ("train", "dev", "test")


class Corpus(Protocol):
    """What a registered corpus offers; it is made from its path and the ``data`` section."""

    def __init__(self, path: str | None, config: DataConfig) -> None: ...

    def pool(self, role: str) -> str:
        """The set of files that ``train``, ``dev`` or ``test`` reads."""
        ...

    def read(self, pool: str, pair: LanguagePair) -> list[Pair]:
        """All pairs of that set, in file order."""
        ...


class CorpusExtras:
    """What a corpus may have beside it."""

    def report(self, pool: str) -> Report | None:
        """What the pool's files held and what was left out, once it was read."""


@dataclass(frozen=True)
class Split:
    """The pairs of one role.

    Attributes:
        name: the corpus they come from.
        pairs: the pairs, in file order.
        available: how many the role could have had (the pool, or its block of a shared one).
        report: what the pool's files held and what was left out; None where all of it is read.
        pool: the corpus's own name of the files (``dev``).
        cut: what a user is told of a pool that several roles share; empty for a role alone.
    """

    name: str
    pairs: tuple[Pair, ...]
    available: int
    report: Report | None = None
    pool: str = ""
    cut: str = ""

    @cached_property
    def sources(self) -> list[str]:
        """The source sentences."""
        return [pair.source for pair in self.pairs]

    @cached_property
    def targets(self) -> list[str]:
        """Their translations."""
        return [pair.target for pair in self.pairs]

    @cached_property
    def sha256(self) -> str:
        """Hash of all texts; order and the boundaries between texts count."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            for text in (pair.source, pair.target):
                data = text.encode()
                digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Corpora:
    """The splits of a run; None for a role that was not asked for.

    Attributes:
        overlap: test sentences whose source also is a training source (case and
            whitespace aside); 0 where either split was not asked for.
        dev_in_train, test_in_dev: likewise dev sentences in the training text, and test sentences
            in the dev set.
    """

    train: Split | None
    dev: Split | None
    test: Split | None
    overlap: int
    dev_in_train: int = 0
    test_in_dev: int = 0


class FolderCorpus(ABC):
    """A folder with one file a language; subclasses say how files are called."""

    name = ""
    subfolder = ""
    layout = ""

    def __init__(self, path: str | None, config: DataConfig) -> None:
        self._path = path

    @abstractmethod
    def pool(self, role: str) -> str:
        """The set of files that a role reads."""

    @abstractmethod
    def code(self, language: Language) -> str:
        """The corpus's own code of a language; empty where it cannot have it."""

    @abstractmethod
    def files(self, folder: Path, pool: str) -> dict[str, Path]:
        """The corpus's language code → file, for a set of files in a folder."""

    @property
    def root(self) -> Path:
        """The folder that holds the files.

        Raises:
            DataError: no path given, no such folder, or another layout.
        """
        if not self._path:
            raise DataError(
                f"The corpus '{self.name}' needs the folder that holds it: data.path=FOLDER "
                f"(data.dev_path, data.test_path for one role). Expected there: {self.layout}."
            )
        folder = open_folder(self._path, f"The corpus '{self.name}' expects there: {self.layout}.")
        for candidate in (folder, folder / self.subfolder):
            if any(self.files(candidate, self.pool(role)) for role in ROLES):
                return Path(os.path.realpath(candidate))  # resolve() fails on a loop of links
        raise DataError(f"{folder}: no {self.name} corpus here. Expected: {self.layout}.")

    def read(self, pool: str, pair: LanguagePair) -> list[Pair]:
        """Read the two files of a pair.

        Raises:
            DataError: a language that the corpus does not have, or damaged files.
        """
        root = self.root
        files = {code_key(code): file for code, file in self.files(root, pool).items()}
        sides = []
        for language in (pair.source, pair.target):
            file = files.get(code_key(self.code(language)))
            if file is None:
                have = sorted(_own_code(code) for code in files)
                hint = nearest_code(language, language.code, have)
                raise DataError(
                    f"The corpus '{self.name}' ({root}) has no {language.name} "
                    f"('{language.code}') for {pair} in '{pool}'.{hint} "
                    f"It has: {', '.join(have) or 'nothing'}. "
                    f"Expected layout: {self.layout}."
                )
            sides.append(file)
        return read_parallel(*sides)


def _own_code(code: str) -> str:
    """A corpus's language code as users write it."""
    language = find_language(code)
    return code if language is None else language.code


def _setting(config: DataConfig, key: str) -> object:
    return getattr(config, key, None)


def corpus_name(config: DataConfig, role: str) -> str:
    """Name of the corpus that a role reads: ``data.dev`` or ``data.test`` where set."""
    own = None if role == "train" else _setting(config, role)
    return str(own or config.name)


def corpus_path(config: DataConfig, role: str) -> str | None:
    """Path for a role; ``data.path`` serves only roles that read the same corpus."""
    own = None if role == "train" else _setting(config, f"{role}_path")
    inherited = config.path if corpus_name(config, role) == config.name else None
    return cast("str | None", own or inherited)


def _check_settings(config: DataConfig, roles: Sequence[str]) -> None:
    problems = [
        f"Unknown role '{role}'. Known: {', '.join(ROLES)}." for role in roles if role not in ROLES
    ]
    for role in ROLES:
        number = _setting(config, f"{role}_pairs")
        if number is not None and (
            not isinstance(number, int) or isinstance(number, bool) or number < 1
        ):
            problems.append(f"data.{role}_pairs={number}: a whole number of at least 1 is needed.")
        name = corpus_name(config, role)
        for key in (f"{role}_source", f"{role}_target"):
            if _setting(config, key) is not None and name != "files":
                problems.append(
                    f"data.{key}={_setting(config, key)}: only the corpus 'files' reads named "
                    f"files, but {role} comes from '{name}'. Set "
                    f"data{'' if role == 'train' else '.' + role}=files, or leave it out."
                )
    if problems:
        raise DataError("\n".join(problems))


#: A corpus's name, the folder or file that was found, and the pool of it.
_Source = tuple[str, str, str]


def _sources(
    config: DataConfig, roles: Sequence[str]
) -> tuple[dict[str, _Source], dict[_Source, Corpus]]:
    """Where each role's text is, and what reads it."""
    corpora: dict[tuple[str, str | None], Corpus] = {}
    sources: dict[str, _Source] = {}
    readers: dict[_Source, Corpus] = {}
    for role in ROLES:
        name, path = corpus_name(config, role), corpus_path(config, role)
        try:
            if (name, path) not in corpora:
                corpora[name, path] = CORPORA.get(name)(path, config)
            corpus = corpora[name, path]
            # The folder found, not the one given: PATH and PATH/NTREX-128 are one corpus.
            source = (name, str(getattr(corpus, "root", path)), checked_pool(name, corpus, role))
        except MTLotteryError:
            if role in roles:
                raise
            continue  # a role that nobody asked for may lack its files
        sources[role] = source
        readers.setdefault(source, corpus)
    return sources, readers


def cut_with_test(config: DataConfig) -> bool:
    """Whether the test set is a block of a text that other roles have blocks of too.

    Then the settings of those decide which sentences it has.  False where the files are not there.
    """
    sources, _ = _sources(config, ())
    return any(sources[role] == sources.get("test") for role in sources if role != "test")


def load_corpora(config: DataConfig, pair: LanguagePair, roles: Sequence[str] = ROLES) -> Corpora:
    """Read the splits of a run.

    Roles that read the same files of the same corpus get disjoint blocks
    (:mod:`mt_lottery.data.blocks`), whichever of them are asked for.

    Args:
        config: the ``data`` settings.
        pair: the direction.
        roles: the splits that are needed; the others come back as None.

    Raises:
        DataError: settings that do not fit, missing or damaged files, a pair that
            the corpus does not have, fewer pairs than asked.
        RegistryError: an unknown corpus.
    """
    _check_settings(config, roles)
    sources, readers = _sources(config, roles)
    splits: dict[str, Split] = {}
    for source in dict.fromkeys(sources[role] for role in ROLES if role in roles):
        name, _, pool = source
        pairs = checked_pairs(name, readers[source], pool, pair)
        report = checked_report(name, readers[source], pool)
        where = f"the corpus '{name}' ({pool}, {pair}{f'; {report.counts()}' if report else ''})"
        sharing = [role for role in sources if sources[role] == source]
        asked = {role: cast("int | None", _setting(config, f"{role}_pairs")) for role in sharing}
        blocks = plan_blocks(len(pairs), asked, where)
        cut = f"{name}: {said_of(blocks)}" if len(blocks) > 1 else ""
        for role in sharing:
            if role in roles:
                block = blocks[role]
                chosen = tuple(pairs[block.start : block.stop])
                splits[role] = Split(name, chosen, block.available, report, pool, cut)
    train, dev, test = (splits.get(role) for role in ROLES)
    seed = cast("int | None", _setting(config, "shuffle_targets"))
    if train and seed is not None:
        mixed = tuple(shuffle_targets(train.pairs, seed))
        train = dataclasses.replace(train, name=f"{train.name}, targets shuffled", pairs=mixed)
    three = (train, dev, test)
    return Corpora(*three, *overlap_of(*(None if one is None else one.pairs for one in three)))
