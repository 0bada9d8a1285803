"""A phrase book, a JSON file of phrases by language: data=phrase_book data.path=FILE."""

import json
from pathlib import Path

from mt_lottery.plugin import DataConfig, DataError, LanguagePair, Pair, register_corpus


@register_corpus("phrase_book")
class PhraseBook:
    """``{"en": ["Good morning", …], "es": ["Buenos días", …]}``, line by line each other's."""

    def __init__(self, path: str | None, config: DataConfig) -> None:
        if path is None:
            raise DataError("data=phrase_book needs data.path=FILE.")
        self.phrases = json.loads(Path(path).read_text("utf-8"))

    def pool(self, role: str) -> str:
        """Training, dev and test text are blocks of the same pairs, none of them in two."""
        return "all"

    def read(self, pool: str, pair: LanguagePair) -> list[Pair]:
        """All pairs, in the order of the file."""
        sides = (self.phrases[language.code] for language in (pair.source, pair.target))
        return [Pair(source, target) for source, target in zip(*sides, strict=True)]
