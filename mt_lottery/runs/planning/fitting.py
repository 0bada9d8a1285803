"""Whether the text suits the run, as far as that can be said before the model is loaded."""

from __future__ import annotations

from mt_lottery.config import RunConfig
from mt_lottery.data.corpora import Split
from mt_lottery.data.joint import directions_of
from mt_lottery.data.prompts.batches import encode
from mt_lottery.data.prompts.templates import Template
from mt_lottery.data.text import Pair
from mt_lottery.errors import DataError, TuningError
from mt_lottery.languages import Language, LanguagePair
from mt_lottery.model.loading import tokenizer_of
from mt_lottery.scoring.generation import off_target_share
from mt_lottery.tuners.base import Tuner

_SPECIALS = 4  # tokens of an example beyond one a byte: BOS, EOS, a blank that is put in front
_BLOCK = 256


def problems_with_directions(config: RunConfig, tuner: Tuner) -> list[str]:
    """Why a tuner cannot do several directions at once."""
    trained, tested = directions_of(config)
    if len(tested) == 1 or tuner.trains or not tuner.reads_text:
        return []
    key = "lang" if len(trained) > 1 else "test_lang"
    return [
        f"`{key}`: recipe={config.recipe} puts text of one direction before every sentence or "
        f"translation, and {', '.join(map(str, tested))} are asked for; give each direction a run, "
        "or a recipe that trains."
    ]


def check_text(
    config: RunConfig, tuner: Tuner, template: Template, pair: LanguagePair, train: Split
) -> None:
    """Refuse what training could only refuse when the model is loaded and the old run is gone.

    Args:
        config: of the run.
        tuner: says how much text it needs.
        template: the wording.
        pair: the direction.
        train: the training text.

    Raises:
        TuningError: too few pairs for the tuner.
        DataError: every pair is longer than ``data.max_length``.
    """
    if problems := tuner.problems_with_pairs(len(train.pairs)):
        raise TuningError("\n".join(problems))
    limit = config.data.max_length

    def size(each: Pair) -> int:
        return len((template.prompt(each.source, pair) + template.target(each.target)).encode())

    # a token is a byte at least: this one will fit
    if any(size(each) + _SPECIALS <= limit for each in train.pairs):
        return
    found = tokenizer_of(config.model)
    if found is None:
        return
    shortest_first = sorted(train.pairs, key=size)
    for start in range(0, len(shortest_first), _BLOCK):
        try:
            encode(shortest_first[start : start + _BLOCK], template, pair, found[0], limit)
        except DataError:
            continue
        return
    encode(train.pairs, template, pair, found[0], limit)


def swapped(split: Split, pair: LanguagePair) -> bool:
    """Whether the two sides of a user's own text look like each other's language.

    Args:
        split: of the text; 50 pairs of it are looked at.
        pair: the direction that is asked for.

    Returns:
        False too where the language of a side cannot be identified.
    """
    some = split.pairs[:50]
    sources, targets = [one.source for one in some], [one.target for one in some]

    def mostly(lines: list[str], language: Language, other: Language) -> bool:
        share = off_target_share(lines, source=other, target=language)
        return share is not None and share < 0.5

    here, there = pair.source, pair.target
    # in most texts the first question is the last; of close languages a line may be of both
    return (
        mostly(sources, there, here)
        and mostly(targets, here, there)
        and not mostly(sources, here, there)
        and not mostly(targets, there, here)
    )
