"""Is the test set in the training text, or in what the model may have read before?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mt_lottery.data.corpora import Split
from mt_lottery.errors import RecordError, plural
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import write_text

FILE = "contamination.json"
N = 8  # words: chance repeats of eight words in a row are rare

#: When a test set was published.
TEST_SETS = {
    "mini": "with this package",
    "flores101": "June 2021 (Goyal et al. 2021)",
    "ntrex": "November 2022 (Federmann et al. 2022)",
}

#: When a model was published, by the start of its name.
MODELS = {
    "gemma3_270m": "August 2025",
    "huggyllama/llama-7b": "February 2023",
    "mistralai/mistral-7b-v0.1": "September 2023",
    "huggingfacetb/smollm2-135m": "November 2024",
}


@dataclass(frozen=True)
class Overlap:
    """How much of a test set is in the training text.

    Attributes:
        lang: the pair.
        train, test: names of the corpora.
        sentences: test sentences.
        exact_source, exact_target: test sentences whose source (target) is a training source
            (target), case and whitespace aside.
        ngram_source, ngram_target: test sentences that share ``N`` words in a row with one.
    """

    lang: str
    train: str
    test: str
    sentences: int
    exact_source: int
    exact_target: int
    ngram_source: int
    ngram_target: int


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.casefold().split())


def _ngrams(text: str, n: int) -> Iterator[tuple[str, ...]]:
    words = _words(text)
    return (words[i : i + n] for i in range(len(words) - n + 1))


def shared(train: Sequence[str], test: Sequence[str], n: int = N) -> tuple[int, int]:
    """How many test sentences are in the training text: whole, and by ``n`` words in a row."""
    whole = {_words(text) for text in train}
    grams = {gram for text in train for gram in _ngrams(text, n)}
    exact = sum(_words(text) in whole for text in test)
    partly = sum(any(gram in grams for gram in _ngrams(text, n)) for text in test)
    return exact, partly


def overlap(lang: str, train: Split, test: Split) -> Overlap:
    """Compare the two sides of a training and a test set."""
    source = shared(train.sources, test.sources)
    target = shared(train.targets, test.targets)
    return Overlap(
        lang, train.name, test.name, len(test.pairs), source[0], target[0], source[1], target[1]
    )


def write(out: Path, overlaps: Sequence[Overlap]) -> None:
    """Keep what was found beside the benchmark, for later reports."""
    known = {line.lang: line for line in read(out)[0]} | {one.lang: one for one in overlaps}
    write_text(out / FILE, json.dumps([asdict(one) for one in known.values()], indent=1) + "\n")


def read(out: Path) -> tuple[list[Overlap], str | None]:
    """What :func:`write` kept, and what is wrong with the file where it is damaged."""
    path = out / FILE
    if not path.exists():
        return [], None
    try:
        content: list[Any] = read_json(path, RecordError, list)
        hints = {f.name: int if f.type == "int" else str for f in fields(Overlap)}
        for line in content:
            if not isinstance(line, dict) or {k: type(v) for k, v in line.items()} != hints:
                raise RecordError(f"{path}: damaged: {str(line)[:80]}")
        return [Overlap(**line) for line in content], None
    except RecordError as error:
        return [], str(error)


def sentences(out: Path, model: str, tests: Sequence[str]) -> list[str]:
    """What the page says, for the given model and test sets."""
    known, problem = read(out)
    said = [] if problem is None else [f"What was found before is not known: {problem}"]
    for found in known:
        said.append(
            f"{found.lang}: of {plural(found.sentences, 'test sentence')} ({found.test}), "
            f"{plural(found.exact_source, 'source')} and {plural(found.exact_target, 'target')} "
            f"stand in the training text ({found.train}) word for word; {found.ngram_source} and "
            f"{found.ngram_target} share {N} words in a row with it."
        )
    published = next((d for name, d in MODELS.items() if model.lower().startswith(name)), None)
    for test in dict.fromkeys(tests):
        when = TEST_SETS.get(test)
        if when is None or published is None:
            unknown = test if when is None else model
            said.append(
                f"When {unknown} was published is not known to mt-lottery: check whether the model "
                "may have been trained on the test set."
            )
        elif test == "mini":
            said.append("mini was published with this package, after every model listed here.")
        else:
            said.append(
                f"{test} was published in {when}, {model} in {published}: a test set that is "
                "older than the model may be in what it was trained on, and then every recipe "
                "gains by it."
            )
    return said
