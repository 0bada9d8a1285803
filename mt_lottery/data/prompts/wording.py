"""Which characters of a prompt are the template's, and which are a sentence's.

A chat template writes special tokens (``<|im_start|>``) that must become their ids; the
same characters in a sentence are text.  So a prompt is a :class:`Wording`: a ``str`` that
also knows where its sentences are, through any number of concatenations (few-shot
examples before a prompt, a target behind it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, SupportsIndex

from mt_lottery.data.prompts.templates import Several, Template, wordings
from mt_lottery.languages import LanguagePair

Span = tuple[int, int]

#: Characters of the private use area, which have no case and which no normalisation changes.
MARK = "\ue0f0\ue0f1\ue0f0"
_BLANKED = "\ue0f2"


class Wording(str):
    """A text with the places of its sentences.

    Args:
        text: the whole.
        sentences: spans [start, end) in characters, in order; None where a template words its
            text by the sentence, so that the two cannot be told apart.
        whole: it has all special tokens that it needs: the tokenizer puts none around it.
    """

    sentences: tuple[Span, ...] | None
    whole: bool

    def __new__(
        cls, text: str, sentences: Sequence[Span] | None = (), whole: bool = False
    ) -> Wording:
        """As the class says."""
        made = super().__new__(cls, text)
        made.sentences = None if sentences is None else tuple(sentences)
        made.whole = whole
        return made

    def __add__(self, other: str) -> Wording:
        """Both texts; what is no ``Wording`` counts as a sentence."""
        theirs, shift = sentences_of(other), len(self)
        text, whole = str.__add__(self, other), self.whole or is_whole(other)
        if self.sentences is None or theirs is None:
            return Wording(text, None, whole)
        moved = [(start + shift, end + shift) for start, end in theirs]
        return Wording(text, [*self.sentences, *moved], whole)

    def __radd__(self, other: str) -> Wording:
        """As ``+``, with a plain text in front."""
        return Wording(other, sentences_of(other)) + self

    def insert(self, place: int, text: str) -> Wording:
        """The text with another one put in before any of its sentences."""
        spans = self.sentences
        rest = None if spans is None else [(start - place, end - place) for start, end in spans]
        return Wording(self[:place]) + text + Wording(self[place:], rest, self.whole)

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        """A part, as plain text."""
        return str(self).__getitem__(key)


def sentences_of(text: str) -> tuple[Span, ...] | None:
    """Where the sentences of a text are; a plain ``str`` is one, from end to end."""
    return text.sentences if isinstance(text, Wording) else ((0, len(text)),)


def stored(text: str) -> list[Any]:
    """A text and where its sentences are, for JSON."""
    return [str(text), sentences_of(text)]


def restored(given: Any, whole: bool = False) -> Wording:
    """What :func:`stored` gave, as JSON has it."""
    text, sentences = given
    return Wording(text, None if sentences is None else [(a, b) for a, b in sentences], whole)


def is_whole(text: str) -> bool:
    """Whether the tokenizer puts no special tokens around a text."""
    return isinstance(text, Wording) and text.whole


def prompts_of(
    template: Template,
    sources: Sequence[str],
    pair: LanguagePair,
    lead: str | Sequence[str] = "",
) -> list[Wording]:
    """The template's prompts, with the places of the sources.

    Args:
        template: the wording.
        sources: one sentence each.
        pair: the direction.
        lead: few-shot examples of all, or of each: before the prompt, or where a chat template
            has earlier turns.
    """
    if isinstance(template, Several):
        leads = [lead] * len(sources) if isinstance(lead, str) else lead
        each = zip(sources, leads, strict=True)
        return [prompts_of(template.of(one), [one], pair, [text])[0] for one, text in each]
    made = list(_worded(lambda source: template.prompt(source, pair), sources, template))
    leads = [lead] * len(made) if isinstance(lead, str) else lead
    layout = getattr(template, "layout", None)
    place = 0 if layout is None or not any(leads) else layout(pair).lead
    return [b.insert(place, a) if a else b for a, b in zip(leads, made, strict=True)]


def targets_of(template: Template, targets: Sequence[str]) -> list[Wording]:
    """The template's targets, with the places of the translations."""
    template = wordings(template)[0]  # all write them alike
    return list(_worded(template.target, targets, template))


def _worded(
    write: Callable[[str], str], sentences: Sequence[str], template: Template
) -> Iterator[Wording]:
    whole = bool(getattr(template, "whole", False))
    fixed = write(MARK).split(MARK) if sentences else []
    for sentence in sentences:
        text = write(sentence)
        spans = _between(fixed, text)
        spans = _blanked(write, sentence, text) if spans is None else spans
        yield Wording(text, spans, whole)


def _between(fixed: Sequence[str], text: str) -> list[Span] | None:
    """Where one and the same rendering of the sentence is between the fixed parts, if it is."""
    times = len(fixed) - 1
    room = len(text) - sum(map(len, fixed))
    if times < 1 or room < 0 or room % times:
        return None
    length, start = room // times, len(fixed[0])
    if text[start : start + length].join(fixed) != text:
        return None
    spans = []
    for part in fixed[1:]:
        spans.append((start, start + length))
        start += length + len(part)
    return spans


def _blanked(write: Callable[[str], str], sentence: str, text: str) -> list[Span] | None:
    """The same for a template that looks at the sentence (its length, its number of words).

    Found by having it write a sentence of the same shape, of characters of the private use
    area; None if that changes more than the sentence.
    """
    shape = write("".join(c if c.isspace() else _BLANKED for c in sentence))
    if len(shape) != len(text):
        return None
    if any(a not in (_BLANKED, b) for a, b in zip(shape, text, strict=True)):
        return None
    spans: list[Span] = []
    for place, character in enumerate(shape):
        if character != _BLANKED:
            continue
        if spans and (between := shape[spans[-1][1] : place]).isspace() | (not between):
            spans[-1] = spans[-1][0], place + 1  # the blanks between its words are the sentence's
        else:
            spans.append((place, place + 1))
    return spans
