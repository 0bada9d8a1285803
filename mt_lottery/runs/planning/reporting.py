"""What is reported of a run's text before it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from mt_lottery.config import RunConfig
from mt_lottery.data.corpora import Corpora, corpus_name
from mt_lottery.data.joint import parts_of
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.data.prompts.several import shown
from mt_lottery.data.prompts.templates import Several
from mt_lottery.data.text import decomposed
from mt_lottery.errors import plural
from mt_lottery.languages import LANGUAGES, LanguagePair
from mt_lottery.runs.planning.fitting import swapped

Echo = Callable[[str], None]


def report_text(config: RunConfig, corpora: Corpora, text: PreparedText, echo: Echo) -> None:
    """Print what was left out of the text, and what should not be in it."""
    pair = text.pairs[0]
    for language in dict.fromkeys(side for p in text.pairs for side in (p.source, p.target)):
        if language not in LANGUAGES:  # a typing error of one letter may be a language, too
            echo(f"{language.code} is {language.name}, by ISO 639.")
    splits = [s for s in (corpora.train, corpora.dev, corpora.test) if s is not None]
    parts = [part for s in splits for _, part in parts_of(s, pair)]
    # roles that share a pool have one report
    for line in dict.fromkeys(f"{s.name}: {s.report}" for s in parts if s.report):
        echo(line)
    for line in dict.fromkeys(note for s in parts if s.report for note in s.report.notes):
        echo(line)
    if corpora.train and parts_of(corpora.train, pair)[0][1].pool == "dev":
        echo(f"{config.data.name}: trained on its dev set; it has no training text.")
    for line in dict.fromkeys(part.cut for part in parts if part.cut):
        echo(line)
    if isinstance(text.training, Several) and corpora.train is not None:
        pairs_of = Counter(text.training.place(each.source) for each in corpora.train.pairs)
        names = enumerate(config.data.train_templates or ())
        worded = ", ".join(f"{shown(name)} {pairs_of[place]:,}" for place, name in names)
        echo(f"Training pairs by wording of the prompt: {worded}; asked: {config.data.template}.")
    found = [*_of_sides(config, corpora, pair), *_of_overlap(corpora)]
    for each, split in parts_of(corpora.test, pair) if corpora.test is not None else ():
        if warning := decomposed(split.targets):
            found.append(f"{each}: {warning}")
    for warning in found:
        echo(f"Warning: {warning}")


def _of_sides(config: RunConfig, corpora: Corpora, first: LanguagePair) -> list[str]:
    """Sentences on sides of a user's own files that look swapped, or are the same text."""
    said, in_wrong_order = [], dict[LanguagePair, list[str]]()
    for role, word in (("train", "training"), ("test", "test")):
        split = getattr(corpora, role)
        if split is None or corpus_name(config.data, role) != "files":
            continue  # other corpora name their languages
        for pair, part in parts_of(split, first):
            if all(one.source == one.target for one in part.pairs):
                other = "reference" if role == "test" else "target"
                said.append(f"each {word} source of {pair} is the same text as its {other}.")
            elif swapped(part, pair):
                in_wrong_order.setdefault(pair, []).append(word)
    return said + [
        f"the {' and '.join(words)} sources look like {pair.target.name} and their translations "
        f"like {pair.source.name}, but lang={pair} is asked for: are the two sides swapped?"
        for pair, words in in_wrong_order.items()
    ]


def _of_overlap(corpora: Corpora) -> list[str]:
    """Sentences on text that two roles share."""
    tests = plural(len(corpora.test.pairs) if corpora.test else 0, "test source")
    devs = plural(len(corpora.dev.pairs) if corpora.dev else 0, "dev source")
    found = (
        (
            corpora.overlap,
            tests,
            "in the training text too; scores are too high by what was memorised.",
        ),
        (
            corpora.dev_in_train,
            devs,
            "in the training text too; what is chosen by the dev set favours what was memorised.",
        ),
        (
            corpora.test_in_dev,
            tests,
            "in the dev set too; scores are too high where the dev set decides.",
        ),
    )
    return [
        f"{number} of {of} {'is' if number == 1 else 'are'} {why}"
        for number, of, why in found
        if number
    ]
