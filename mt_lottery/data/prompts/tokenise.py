"""From text to token ids: the special tokens of a template become their ids, a sentence's are text.

A text without special tokens in the template's own characters is tokenised in one piece
with ``split_special_tokens=True``, one whose sentences hold none in one piece without it
(as ``apply_chat_template`` does).  Where both hold some, the tokenizer cannot tell them
apart: see :mod:`mt_lottery.data.prompts.blind`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from mt_lottery.data.prompts.blind import Encoding, encode_blind
from mt_lottery.data.prompts.wording import Span, is_whole, sentences_of
from mt_lottery.errors import PluginError

Found = tuple[int, int, str]  # start, end, special token


@dataclass(frozen=True)
class Specials:
    """The special tokens of a tokenizer.

    Attributes:
        ids: token → id.
    """

    ids: Mapping[str, int]
    _by_first: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for token in sorted(self.ids, key=len, reverse=True):
            self._by_first.setdefault(token[0], []).append(token)
        firsts = "".join(map(re.escape, self._by_first))
        object.__setattr__(self, "_firsts", re.compile(f"[{firsts}]" if firsts else r"(?!)"))

    def find(self, text: str) -> list[Found]:
        """Where special tokens are written in a text: leftmost, longest first."""
        found: list[Found] = []
        for match in self._firsts.finditer(text):  # type: ignore[attr-defined]
            at = match.start()
            if found and at < found[-1][1]:
                continue
            token = next((t for t in self._by_first[text[at]] if text.startswith(t, at)), None)
            if token is not None:
                found.append((at, at + len(token), token))
        return found


_known: WeakKeyDictionary[Any, tuple[int, Specials]] = WeakKeyDictionary()


def special_tokens(tokenizer: Any) -> Specials:
    """The special tokens of a tokenizer; looked up once, and again when tokens were added."""
    size = len(tokenizer)
    kept = _known.get(tokenizer)
    if kept is not None and kept[0] == size:
        return kept[1]
    ids = {str(t): i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    for token in tokenizer.all_special_tokens:
        ids.setdefault(str(token), int(tokenizer.convert_tokens_to_ids(str(token))))
    made = Specials({token: number for token, number in ids.items() if token})
    _known[tokenizer] = size, made
    return made


def _outside(found: Found, sentences: Sequence[Span]) -> bool:
    return all(found[1] <= start or end <= found[0] for start, end in sentences)


def tokenise(
    tokenizer: Any,
    texts: Sequence[str],
    *,
    begin: bool = True,
    keep_end: bool = True,
    offsets: bool = False,
) -> list[Encoding]:
    """Token ids of texts.

    Args:
        tokenizer: slow or fast.
        texts: a :class:`~mt_lottery.data.prompts.wording.Wording`, whose own special tokens become
            their ids, or a plain text, all of which is text.
        begin: add what the tokenizer puts first (BOS).  A template that begins with BOS
            itself gets one, not two; a chat template's text gets none that it has not.
        keep_end: keep an EOS with which the text itself ends.  What the tokenizer puts last
            (T5 style, ``add_eos_token=True``) never stays.
        offsets: give each token's characters, [start, end); needs a fast tokenizer.

    Raises:
        PluginError: a template with special tokens words its text by the sentence.
    """
    specials = special_tokens(tokenizer)
    made: list[Encoding | None] = [None] * len(texts)
    own: list[list[Found]] = []
    groups: dict[tuple[bool, bool], list[int]] = {}  # split special tokens? add BOS?
    mixed: list[int] = []
    for index, text in enumerate(texts):
        found = specials.find(text)
        sentences = sentences_of(text)
        if found and sentences is None:
            raise PluginError(
                f"A template that writes special tokens ({found[0][2]}) words the rest of its "
                "text by the sentence, so that the two cannot be told apart. A template writes "
                "the same text around every sentence."
            )
        own.append([each for each in found if _outside(each, sentences or ())])
        if own[-1] and len(own[-1]) < len(found):
            mixed.append(index)
        else:
            key = not own[-1], begin and not is_whole(text)
            groups.setdefault(key, []).append(index)
    for (split, first), chosen in groups.items():
        some = _direct(tokenizer, [str(texts[i]) for i in chosen], first, split, offsets)
        for index, encoding in zip(chosen, some, strict=True):
            made[index] = encoding
            if split and _leaks(specials, tokenizer, str(texts[index]), encoding, first):
                mixed.append(index)
    for index in mixed:
        spans = [(start, end) for start, end, _ in own[index]]
        first = begin and not is_whole(texts[index])
        made[index] = encode_blind(tokenizer, specials.ids, str(texts[index]), spans, first)
    eos_id, bos_id = tokenizer.eos_token_id, tokenizer.bos_token_id
    result = []
    for text, each, ours in zip(texts, made, own, strict=True):
        assert each is not None
        encoding = each
        opening = ours[0] if ours and not text[: ours[0][0]].strip() else None
        doubled = bos_id is not None and encoding.ids[:2] == [bos_id, bos_id]
        added = begin and not is_whole(text)
        if added and doubled and opening is not None and specials.ids[opening[2]] == bos_id:
            encoding = encoding.cut(1, None)
        kept = _own_ends(text, ours, specials, eos_id) if keep_end else 0
        result.append(encoding.cut(0, _without_end(encoding.ids, eos_id, kept)))
    return result


def plain_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts in which nothing is special, without BOS and EOS."""
    return [each.ids for each in tokenise(tokenizer, texts, begin=False)]


def _direct(
    tokenizer: Any, texts: list[str], begin: bool, split: bool, offsets: bool
) -> list[Encoding]:
    if not texts:
        return []
    encoded: Any = tokenizer(
        texts,
        add_special_tokens=begin,
        split_special_tokens=split,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        verbose=False,
        **({"return_offsets_mapping": True} if offsets else {}),
    )
    places = encoded["offset_mapping"] if offsets else [None] * len(texts)
    return [
        Encoding(list(ids), None if at is None else [(int(a), int(b)) for a, b in at])
        for ids, at in zip(encoded["input_ids"], places, strict=True)
    ]


def _leaks(specials: Specials, tokenizer: Any, text: str, encoding: Encoding, begin: bool) -> bool:
    """Whether a sentence's text became a special id after all.

    Models that look whole pieces up (Unigram, WordLevel) find ``</s>`` in their vocabulary.
    """
    written = {specials.ids[token] for _, _, token in specials.find(text)}
    written.discard(tokenizer.unk_token_id)
    if written.isdisjoint(encoding.ids):
        return False
    (empty,) = _direct(tokenizer, [""], begin, True, False)
    return any(encoding.ids.count(i) > empty.ids.count(i) for i in written)


def _own_ends(text: str, own: Sequence[Found], specials: Specials, eos_id: int | None) -> int:
    """With how many EOS tokens of its own a text ends."""
    count, end = 0, len(text)
    for start, stop, token in reversed(own):
        if stop != end or specials.ids[token] != eos_id:
            break
        count, end = count + 1, start
    return count


def _without_end(ids: Sequence[int], eos_id: int | None, kept: int) -> int:
    """How many ids are left when the EOS tokens at the end are cut to ``kept``."""
    size = len(ids)
    while size > 1 and ids[size - 1] == eos_id:
        size -= 1
    return min(len(ids), size + kept)
