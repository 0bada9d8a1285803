"""How often tokens occur in a training text: in the template, in sources and in targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mt_lottery.data.prompts.batches import Example
from mt_lottery.data.prompts.templates import Several, Template, one_line, wordings
from mt_lottery.data.prompts.tokenise import special_tokens, tokenise
from mt_lottery.data.prompts.wording import Wording, prompts_of
from mt_lottery.data.text import Pair
from mt_lottery.languages import LanguagePair

_MARK = "\ue000"  # of the private use area: in no text
_BLOCK = 256  # prompts tokenised at a time


@dataclass
class PositionCounts:
    """Occurrences of token ids in the training inputs.

    Attributes:
        template: in the prompt around the source, with what the tokenizer puts first (BOS).
        source: in source sentences.
        target: in target sentences, the end-of-sequence token included.
    """

    template: Counter[int] = field(default_factory=Counter)
    source: Counter[int] = field(default_factory=Counter)
    target: Counter[int] = field(default_factory=Counter)

    def text(self) -> Counter[int]:
        """Sources and targets together."""
        return self.source + self.target


def count_positions(
    pairs: Sequence[Pair],
    examples: Sequence[Example],
    template: Template,
    pair: LanguagePair,
    tokenizer: Any,
) -> PositionCounts:
    """Count the tokens of training examples by where they are.

    A token that spans the border of template and source (" The": the blank is the
    template's) belongs to where its last character is.

    Args:
        pairs: the training text.
        examples: its examples; ``Example.index`` counts in ``pairs``.
        template: the prompt.
        pair: the direction.
        tokenizer: as in training.
    """
    counts = PositionCounts()
    parts = wordings(template)
    fixed = [part.prompt(_MARK, pair).split(_MARK) for part in parts]
    for start in range(0, len(examples), _BLOCK):
        block = examples[start : start + _BLOCK]
        texts = [one_line(pairs[each.index].source) for each in block]
        prompts = prompts_of(template, [pairs[each.index].source for each in block], pair)
        ends = _last_characters(tokenizer, prompts)
        for example, text, prompt, last in zip(block, texts, prompts, ends, strict=True):
            which = template.place(text) if isinstance(template, Several) else 0
            inside = _source_spans(fixed[which], text, prompt)
            for place, token_id in enumerate(example.prompt_ids):
                at = last[place] if place < len(last) else -1
                part = counts.source if any(a <= at < b for a, b in inside) else counts.template
                part[token_id] += 1
            counts.target.update(example.target_ids)
    return counts


def _source_spans(fixed: Sequence[str], text: str, prompt: str) -> list[tuple[int, int]]:
    """Where the source is in a prompt: first character, and the one behind the last."""
    if text.join(fixed) != prompt:  # a template that changes what it is given
        at = prompt.rfind(text)
        return [(at, at + len(text))] if at >= 0 else []
    spans, at = [], len(fixed[0])
    for part in fixed[1:]:
        spans.append((at, at + len(text)))
        at += len(text) + len(part)
    return spans


def _last_characters(tokenizer: Any, prompts: Sequence[Wording]) -> list[list[int]]:
    """Position of each token's last character in its prompt; -1 for BOS and its like."""
    if not getattr(tokenizer, "is_fast", False):
        encoded = tokenise(tokenizer, prompts)
        return [_by_decoding(tokenizer, p, e.ids) for p, e in zip(prompts, encoded, strict=True)]
    return [
        [end - 1 if end > begin else -1 for begin, end in each.offsets or ()]
        for each in tokenise(tokenizer, prompts, offsets=True)
    ]


def _by_decoding(tokenizer: Any, prompt: str, ids: list[int]) -> list[int]:
    """As above for a tokenizer without offsets: how long the text is after each token."""
    special = {number: token for token, number in special_tokens(tokenizer).ids.items()}
    ends, text, written = [], 0, 0  # characters of text, and of the template's special tokens
    for place, token_id in enumerate(ids):
        token = special.get(token_id)
        if token is None:
            text = len(tokenizer.decode(ids[: place + 1], skip_special_tokens=True))
            ends.append(text + written - 1)
        elif prompt.startswith(token, text + written):
            written += len(token)
            ends.append(text + written - 1)
        else:
            ends.append(-1)
    return ends


def frequency_ranks(counts: Mapping[int, int]) -> dict[int, int]:
    """Rank of each token that occurs, 1 for the most frequent; equal counts share the best rank."""
    from scipy.stats import rankdata

    there = {token_id: -number for token_id, number in counts.items() if number > 0}
    ranks = rankdata(list(there.values()), method="min").tolist()
    return dict(zip(there, map(int, ranks), strict=True))
