"""Corpora of the Hugging Face hub, read file by file by our own readers.

A repository is read from the hub, or from a folder that holds a copy of it (or
of the part that a run needs) in the hub's own layout: ``data.path=FOLDER``.
No code that comes with a repository is run.

One short question first tells whether the hub is there; if it is not, the files
that were downloaded before are read as such a folder.
"""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_lottery.config import DataConfig, setting
from mt_lottery.data.filters import FilterConfig, Report, settings_for
from mt_lottery.data.hub.access import check_regular_data, gated, root_cause
from mt_lottery.data.hub.layout import missing_shards
from mt_lottery.data.text import Pair, listed, open_folder
from mt_lottery.errors import ConfigError, DataError
from mt_lottery.languages import LanguagePair
from mt_lottery.reading import format_of
from mt_lottery.registry import CORPORA

logger = logging.getLogger(__name__)

TIMEOUT = 5.0  # seconds for the one question to the hub


@dataclass
class RepoConfig(DataConfig):
    """The ``data`` settings of a corpus of the hub that is read as it was published."""

    repo: str = setting("", "repository on the hub, where data.path is not set")
    revision: str | None = setting(None, "its branch, tag or commit")


@dataclass
class HubConfig(RepoConfig, FilterConfig):
    """The ``data`` settings of a corpus of the hub whose training text is filtered."""


class HubCorpus(ABC):
    """A repository of the hub, or a folder with its files.

    Attributes:
        name: of the corpus.
        layout: the files of the repository, for messages.
        schema: its settings.
    """

    name = ""
    layout = ""
    schema: type[RepoConfig] = HubConfig
    repo_key = "data.repo"  # what gave the repository

    def __init__(self, path: str | None, config: DataConfig) -> None:
        self.settings: Any = settings_for(config, self.schema)
        self._path = path
        self._copy: Path | None = None  # the hub's files in the local cache, if it is not there
        self._reports: dict[str, Report] = {}

    @abstractmethod
    def pool(self, role: str) -> str:
        """The set of pairs that a role reads."""

    @abstractmethod
    def pairs(self, pool: str, pair: LanguagePair) -> tuple[list[Pair], Report]:
        """The pairs of a pool, filtered, and the counts."""

    @property
    def root(self) -> str:
        """The folder, else the repository and its revision.

        Raises:
            DataError: no such folder.
        """
        return str(self.folder or self._repository)

    @property
    def folder(self) -> Path | None:
        """The folder that ``data.path`` names; None for the hub.

        Raises:
            DataError: there is none.
        """
        if not self._path:
            return None
        repo = self.settings.repo
        else_ = f", as in the repository {repo} of the hub; without a path the hub is asked"
        folder = open_folder(
            self._path,
            f"For data={self.name} the path names a folder with {self.layout}"
            f"{else_ if repo else '; or it is OWNER/NAME of the hub'}.",
        )
        return Path(os.path.realpath(folder))

    @property
    def _repository(self) -> str:
        revision = self.settings.revision
        return f"{self.settings.repo}@{revision}" if revision else str(self.settings.repo)

    def report(self, pool: str) -> Report | None:
        """The counts of a pool that was read."""
        return self._reports.get(pool)

    def read(self, pool: str, pair: LanguagePair) -> list[Pair]:
        """The pairs of a pool, filtered.

        Raises:
            ConfigError: a library that it needs is not there.
            DataError: no network, missing or damaged files, other fields, no pairs.
        """
        if lacking := CORPORA.missing(self.name):
            raise ConfigError(lacking)
        pairs, report = self.pairs(pool, pair)
        if not pairs:
            raise DataError(f"{report} Nothing is left to be read: change data's filters.")
        self._reports[pool] = report
        return pairs

    @property
    def local(self) -> Path | None:
        """The folder with the files: of ``data.path``, or the hub's cache without a network."""
        return self.folder or self._copy

    @property
    def place(self) -> str:
        """Where the files are, for messages."""
        return str(self.local or self._repository)

    def files(self, part: str) -> list[str]:
        """Names of the files that can be read, relative to the folder or the repository, sorted.

        Args:
            part: pattern of the files that the run needs, for a message.

        Raises:
            DataError: no such folder or repository, or no network.
        """
        names = [] if self.local else self._ask_hub(part)
        if self.local is not None:
            found = (p.relative_to(self.local) for p in self.local.rglob("*") if p.is_file())
            # .git, and the .cache that `hf download` leaves
            names = [p.as_posix() for p in found if not any(x.startswith(".") for x in p.parts)]
        return sorted(n for n in names if self.reads(n))

    def reads(self, name: str) -> bool:
        """Whether a file is of a kind that is read: Parquet, JSON and CSV."""
        return format_of(name) is not None

    def download(self, part: str, folder: str) -> str:
        """The command that downloads a part of the repository, for messages."""
        repo = self.settings.repo or "OWNER/NAME"  # a folder does not say what it is a copy of
        return f"`hf download {repo} --repo-type dataset --include '{part}' --local-dir {folder}`"

    def incomplete(
        self, split: str, names: Sequence[str], there: Sequence[str], training: bool
    ) -> list[str]:
        """A sentence on shards that are missing; nothing if none is.

        Args:
            split: as the repository calls it.
            names: its files.
            there: all files of the repository.
            training: whether the split is for training.

        Raises:
            DataError: some are missing of a split that is not for training: it would be another
                test set than the published one.
        """
        lacking = missing_shards(names, there)
        if not lacking:
            return []
        said = (
            f"{self.place}: the split '{split}' is incomplete. By the names of its files "
            f"{len(lacking)} of {len(names) + len(lacking)} "
            f"{'is' if len(lacking) == 1 else 'are'} missing: {listed(lacking)}."
        )
        if training:
            return [f"Warning: {said} The others are read.{self.to_download(lacking)}"]
        raise DataError(f"{said}{self.to_download(lacking)}")

    def to_download(self, patterns: Sequence[str]) -> str:
        """How to download files into a folder, many shards by one pattern; nothing of the hub."""
        if self.local is None:
            return ""
        parts = [patterns[0]]
        if len(patterns) > 1:
            parts = sorted({re.sub(r"\d{5}-of-\d{5}.*", "*", pattern) for pattern in patterns})
        command = self.download("' --include '".join(parts), str(self.folder or "FOLDER"))
        return f" To download them: {command}."

    def fetch(self, name: str) -> Path:
        """A file of the folder, or of the hub: downloaded, or from its local cache.

        Raises:
            DataError: it cannot be had, is empty, or a pointer of git-lfs.
        """
        path = self.local / name if self.local is not None else self._download(name)
        check_regular_data(path)
        return path

    def _download(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import GatedRepoError

        repo, revision = self.settings.repo, self.settings.revision
        try:
            return Path(hf_hub_download(repo, name, repo_type="dataset", revision=revision))
        except GatedRepoError as error:
            raise gated(repo) from error
        except OSError as error:
            if error.errno is not None:
                raise  # the disk: the commands have words for it
            raise DataError(f"{self.place}: {name}: {root_cause(error)}.") from error
        except Exception as error:  # requests or httpx, by the version of huggingface_hub
            raise DataError(f"{self.place}: {name}: {root_cause(error)}.") from error

    def where(self, names: Sequence[str]) -> str:
        """Some files, for a message."""
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        if self.local is not None:
            return f"{self.local / names[0]}{more}"
        return f"{self.place} ({names[0]}{more})"

    def _ask_hub(self, part: str) -> list[str]:
        """All files of the repository; none, but a local copy from now on, without a network.

        Raises:
            DataError: no such repository or revision, no permission, or neither the hub nor
                a copy in its local cache.
        """
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        repo, revision = self.settings.repo, self.settings.revision
        try:
            info = HfApi().dataset_info(repo, revision=revision, timeout=TIMEOUT)
        except HFValidationError as error:
            raise DataError(
                f"{self.repo_key}={repo} is no hub id ('owner/name'): {error}"
            ) from error
        except GatedRepoError as error:
            raise gated(repo) from error
        except RepositoryNotFoundError as error:
            raise DataError(
                f"{self.repo_key}={repo}: the hub has no such data set that you may read "
                "(a private one needs 'hf auth login' or HF_TOKEN)."
            ) from error
        except RevisionNotFoundError as error:
            raise DataError(f"data.revision={revision}: {repo} has no such revision.") from error
        except Exception as error:  # requests or httpx, by the version of huggingface_hub
            try:
                copy = snapshot_download(
                    repo, repo_type="dataset", revision=revision, local_files_only=True
                )
            except LocalEntryNotFoundError:
                raise DataError(
                    f"data={self.name}: the hub cannot be reached ({root_cause(error)}), and "
                    f"{repo} is not in its local cache. Download it where there is a network, "
                    f"{self.download(part, 'FOLDER')}, and give data.path=FOLDER (data.dev_path, "
                    "data.test_path for one role)."
                ) from error
            self._copy = Path(copy)
            logger.warning("The hub cannot be reached: the cached copy of %s is used.", repo)
            return []
        return [sibling.rfilename for sibling in info.siblings or []]
