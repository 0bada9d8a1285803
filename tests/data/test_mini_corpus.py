"""The corpus inside the package keeps what its README says."""

from __future__ import annotations

import re
import unicodedata
from itertools import combinations
from pathlib import Path

import pytest

import mt_lottery
from mt_lottery.config import DataConfig
from mt_lottery.data.corpora import load_corpora
from mt_lottery.languages import parse_pair

FOLDER = Path(mt_lottery.__file__).parent / "data" / "mini"
LANGUAGES = ("en", "ro", "es", "ca", "no", "uk")
AT_LEAST = {"train": 320, "dev": 40, "test": 80}


def lines(split: str, language: str) -> list[str]:
    text = (FOLDER / f"{split}.{language}.txt").read_bytes().decode("utf-8")
    assert text.endswith("\n")
    return text[:-1].split("\n")


def words(sentence: str) -> list[str]:
    return re.findall(r"[\w'’·-]+", sentence.lower())


def trigrams(sentence: str) -> set[tuple[str, ...]]:
    found = words(sentence)
    return set(zip(found, found[1:], found[2:], strict=False))


def numbers(sentence: str) -> list[str]:
    """Groups of digits, without the sign between thousands, sorted."""
    return sorted(re.findall(r"\d+", re.sub(r"(?<=\d)[.,\s](?=\d{3})", "", sentence)))


def everything(language: str) -> list[str]:
    return [line for split in AT_LEAST for line in lines(split, language)]


def test_nothing_else_lies_there() -> None:
    expected = {f"{s}.{c}.txt" for s in AT_LEAST for c in LANGUAGES} | {"README.md"}
    assert {p.name for p in FOLDER.iterdir() if not p.name.startswith("__")} == expected


def test_its_readme_states_sizes_origin_and_licence() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    for split in AT_LEAST:
        assert re.search(rf"\b{len(lines(split, 'en'))}\s+{split}\b", text), split
    assert f"{len(everything('en'))} sentences" in text
    assert f"{len(LANGUAGES) * (len(LANGUAGES) - 1)} directions" in text
    for code in LANGUAGES:
        assert f"(`{code}`)" in text
    for part in ("Apache-2.0", "NFC", "written for this project"):
        assert part in text


@pytest.mark.parametrize("split", AT_LEAST)
def test_size_and_alignment(split: str) -> None:
    sizes = {code: len(lines(split, code)) for code in LANGUAGES}
    assert len(set(sizes.values())) == 1, sizes
    assert sizes["en"] >= AT_LEAST[split]


@pytest.mark.parametrize("language", LANGUAGES)
def test_form(language: str) -> None:
    for number, line in enumerate(everything(language), 1):
        where = f"{language} {number}: {line!r}"
        assert line, where
        assert line == line.strip(), where
        assert "  " not in line, where
        assert unicodedata.is_normalized("NFC", line), where
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn")], where
        assert "\xa0" not in line, where
        assert not set(line) & set("“”„«»‘"), where  # quotation marks are straight
        if language == "ro":  # comma below, not cedilla
            assert not set(line) & set("şţŞŢ"), where
        if language == "uk":  # no letter of another alphabet that looks like one of its own
            assert not re.search("[a-zёъыэ]", line.replace("PIN-код", "").lower()), where
            assert set(re.findall(r"\W", line)) <= set(" ,.;:!?-—'\""), where


def test_length_in_words() -> None:
    for line in everything("en"):
        assert 5 <= len(line.split()) <= 30, line
    lengths = [len(line.split()) for line in everything("en")]
    assert min(lengths) <= 7
    assert max(lengths) >= 22
    assert len(set(lengths)) >= 15  # varied


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_twice(language: str) -> None:
    seen: dict[str, int] = {}
    for number, line in enumerate(everything(language), 1):
        key = " ".join(words(line))
        assert key not in seen, f"{language}: lines {seen[key]} and {number}: {line}"
        seen[key] = number


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_near_duplicates(language: str) -> None:
    """No two sentences share a third of their word trigrams (the README), nor most words."""
    sentences = [(s, trigrams(s), set(words(s))) for s in everything(language)]
    for (one, first, left), (other, second, right) in combinations(sentences, 2):
        assert len(first & second) < len(first | second) / 3, f"{one}\n{other}"
        assert len(left & right) < 0.7 * len(left | right), f"{one}\n{other}"


@pytest.mark.parametrize("pair", list(combinations(LANGUAGES, 2)))
def test_no_translation_is_a_copy(pair: tuple[str, str]) -> None:
    for one, other in zip(everything(pair[0]), everything(pair[1]), strict=True):
        assert one != other
        # a shifted line would break the lengths
        assert 0.4 < len(one) / len(other) < 2.5, f"{one}\n{other}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_are_the_same_in_all_languages(language: str) -> None:
    """A cheap witness of alignment: digits are not translated."""
    for one, other in zip(everything("en"), everything(language), strict=True):
        assert numbers(one) == numbers(other), f"{one}\n{other}"


@pytest.mark.parametrize(
    ("lang", "train", "dev", "test"),
    [
        ("en-ro", "aaa8252c11ed25e9", "63d006f2f477474d", "6b6a153268268362"),
        ("en-es", "47140d89be1f679b", "8650fb7e5c2ea4b2", "3eef0964d99b06eb"),
        ("no-ca", "0dc172f50a6476ef", "574e810474326472", "4bb6d505c3d3a205"),
    ],
)
def test_another_language_changes_no_pair(lang: str, train: str, dev: str, test: str) -> None:
    """What runs of earlier versions read, and their ``config_hash`` counts."""
    found = load_corpora(DataConfig(), parse_pair(lang))
    parts = (found.train, found.dev, found.test)
    assert [part.sha256[:16] for part in parts if part] == [train, dev, test]


@pytest.mark.parametrize("lang", ["en-ro", "no-ca", "es-en", "en-uk", "uk-ca"])
def test_the_reader_gives_these_lines(lang: str) -> None:
    source, target = lang.split("-")
    found = load_corpora(DataConfig(), parse_pair(lang))
    for split in AT_LEAST:
        read = getattr(found, split)
        assert [p.source for p in read.pairs] == lines(split, source)
        assert [p.target for p in read.pairs] == lines(split, target)
    assert (found.overlap, found.dev_in_train, found.test_in_dev) == (0, 0, 0)
