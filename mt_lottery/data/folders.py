"""The corpora in folders of a fixed layout.

``mini`` comes with the package; ``ntrex`` and ``flores101`` are read from the folders in which they
are published.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mt_lottery.data.corpora import FolderCorpus
from mt_lottery.languages import Language
from mt_lottery.registry import register_corpus

if TYPE_CHECKING:
    from mt_lottery.config import DataConfig


@register_corpus("mini")
class Mini(FolderCorpus):
    """The small corpus inside the package, for a first run (see its README)."""

    name = "mini"
    layout = "train.en.txt, train.ro.txt, dev.en.txt, test.en.txt, …"

    def __init__(self, path: str | None, config: DataConfig) -> None:
        super().__init__(path or str(Path(__file__).with_name("mini")), config)

    def pool(self, role: str) -> str:
        """Each role has files of its own."""
        return role

    def code(self, language: Language) -> str:
        """``ro``."""
        return language.code

    def files(self, folder: Path, pool: str) -> dict[str, Path]:
        """``train.ro.txt``."""
        return {path.name.split(".")[1]: path for path in sorted(folder.glob(f"{pool}.*.txt"))}


@register_corpus("ntrex")
class NTREX(FolderCorpus):
    """NTREX-128 (Federmann et al. 2022): newstest2019 from English into 128 languages."""

    name = "ntrex"
    subfolder = "NTREX-128"
    layout = "newstest2019-src.eng.txt, newstest2019-ref.ron.txt, … (or a folder NTREX-128 of them)"

    def pool(self, role: str) -> str:
        """There is one set of files: all roles share it."""
        return "newstest2019"

    def code(self, language: Language) -> str:
        """``ron``, ``zho-CN``."""
        return language.ntrex

    def files(self, folder: Path, pool: str) -> dict[str, Path]:
        """English is the source file, everything else a reference; any two make a pair."""
        # Not "ref-2": the second Spanish reference is another translation, no language.
        found = [p for kind in ("ref", "src") for p in sorted(folder.glob(f"{pool}-{kind}.*.txt"))]
        return {path.name.split(".")[1]: path for path in found}


@register_corpus("flores101")
class Flores101(FolderCorpus):
    """Flores-101 (Goyal et al. 2022): dev for training and dev, devtest for the test."""

    name = "flores101"
    subfolder = "flores101_dataset"
    layout = "dev/ron.dev and devtest/ron.devtest, … (or a folder flores101_dataset of them)"

    def pool(self, role: str) -> str:
        """The published test set is kept for the test."""
        return "devtest" if role == "test" else "dev"

    def code(self, language: Language) -> str:
        """``ron``, ``zho_simpl``."""
        return language.flores

    def files(self, folder: Path, pool: str) -> dict[str, Path]:
        """``devtest/ron.devtest``."""
        return {path.stem: path for path in sorted((folder / pool).glob(f"*.{pool}"))}
