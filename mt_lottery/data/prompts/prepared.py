"""A run's text as token ids: templated and tokenised once, however often it is asked for."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar, cast

from mt_lottery.config import RunConfig
from mt_lottery.data.corpora import Split
from mt_lottery.data.joint import JointSplit, directions_of, parts_of
from mt_lottery.data.prompts.batches import Encoded, encode, encode_prompts
from mt_lottery.data.prompts.chat import BoundChat, Chat
from mt_lottery.data.prompts.several import training_template_of
from mt_lottery.data.prompts.templates import Own, Template, bound, template_of, wordings
from mt_lottery.data.prompts.tokenise import plain_ids
from mt_lottery.errors import ConfigError
from mt_lottery.languages import LanguagePair

UNLIKE = ("a", "7, 8?")  # two sentences that share no token
PROMPT = "prompt"  # where a record has it, for a template that is in no file of ours
Made = TypeVar("Made")


class PreparedText:
    """The text of a run and of its trials on dev, which share a model and so a tokenizer.

    Args:
        template: the wording in which the run is asked.
        pairs: the direction, or several.
        training: the wording of what is trained on, if another.
    """

    def __init__(
        self, template: Template, *pairs: LanguagePair, training: Template | None = None
    ) -> None:
        self.template = template
        self.training = training or template
        self.pairs = pairs
        self._made: dict[Hashable, Any] = {}
        self._of_pair: dict[LanguagePair, PreparedText] = {}

    @classmethod
    def of(cls, config: RunConfig) -> PreparedText:
        """With the template and languages of a configuration."""
        template, training = template_of(config.data), None
        if config.data.train_templates is not None:
            training = training_template_of(config.data)
        return cls(template, *directions_of(config)[1], training=training)

    @property
    def pair(self) -> LanguagePair:
        """The direction.

        Raises:
            ConfigError: there are several.
        """
        if len(self.pairs) > 1:
            raise ConfigError(
                f"The run has several directions ({', '.join(map(str, self.pairs))}); this needs "
                "a run of one."
            )
        return self.pairs[0]

    def of_pair(self, pair: LanguagePair) -> PreparedText:
        """The text of one of the directions."""
        if self.pairs == (pair,):
            return self
        made = PreparedText(self.template, pair, training=self.training)
        return self._of_pair.setdefault(pair, made)

    def bind(self, tokenizer: Any) -> PreparedText:
        """Itself, with its template for this tokenizer.

        Raises:
            ModelError: a chat template that is missing, or cannot be used.
        """
        one = self.training is self.template
        self.template = bound(self.template, tokenizer)
        self.training = self.template if one else bound(self.training, tokenizer)
        for part in self._of_pair.values():
            part.template, part.training = self.template, self.training
        return self

    @property
    def shown(self) -> dict[str, str] | None:
        """What a record says of a prompt that is in no file of ours; None for registered ones."""
        if not isinstance(self.template, (Own, Chat, BoundChat)):
            return None
        text = self.template.prompt("{source}", self.pairs[0])
        end = {"end": self.template.end} if isinstance(self.template, BoundChat) else {}
        return {"text": text, **end}

    @property
    def wordings(self) -> list[Template]:
        """All in which the run is asked or trained."""
        asked = [self.template]
        return asked if self.training is self.template else [*asked, *wordings(self.training)]

    def worded(self, split: Split, *, training: bool = False) -> str:
        """sha256 of what the template makes of a split: its name does not say what it writes.

        Args:
            split: the pairs.
            training: in the wording of what is trained on, with the texts behind the prompts.
        """
        made, template = hashlib.sha256(), self.training if training else self.template
        for pair, part in parts_of(split, self.pairs[0]):
            for each in part.pairs:
                made.update(template.prompt(each.source, pair).encode() + b"\0")
                if training:
                    made.update(template.target(each.target).encode() + b"\0")
        return made.hexdigest()

    def _once(self, tokenizer: Any, *key: Hashable, make: Callable[[], Made]) -> Made:
        whole = (*key, len(tokenizer))  # a method may add tokens
        if whole not in self._made:
            self._made[whole] = make()
        return cast(Made, self._made[whole])

    def encode(
        self,
        split: Split,
        tokenizer: Any,
        max_length: int,
        limit: str | None = None,
        *,
        training: bool = True,
    ) -> Encoded:
        """As :func:`~mt_lottery.data.prompts.batches.encode`.

        Args:
            split: the pairs.
            tokenizer, max_length, limit: as there.
            training: in the wording of what is trained on, or as the run is asked.
        """
        template = self.training if training else self.template

        def make() -> Encoded:
            if isinstance(split, JointSplit):
                return self._encode_joint(split, template, tokenizer, max_length, limit)
            return encode(split.pairs, template, self.pairs[0], tokenizer, max_length, limit)

        return self._once(tokenizer, "pairs", split.sha256, max_length, training, make=make)

    def _encode_joint(
        self,
        split: JointSplit,
        template: Template,
        tokenizer: Any,
        max_length: int,
        limit: str | None,
    ) -> Encoded:
        """The parts' examples, each worded in its own direction, in the order of the whole."""
        own = [
            encode(part.pairs, template, pair, tokenizer, max_length, limit)
            for pair, part in split.parts
        ]
        known = [{each.index: each for each in part.examples} for part in own]
        examples, dropped = [], []
        for index, (part, place) in enumerate(split.order):
            if (found := known[part].get(place)) is None:
                dropped.append(index)
            else:
                examples.append(dataclasses.replace(found, index=index))
        texts = [own[part].texts[place] for part, place in split.order if own[part].texts]
        return Encoded(examples, dropped, texts)

    def prompts(
        self, sources: Sequence[str], tokenizer: Any, lead: str | Sequence[str] = ""
    ) -> list[list[int]]:
        """As :func:`~mt_lottery.data.prompts.batches.encode_prompts`."""

        def make() -> list[list[int]]:
            return encode_prompts(sources, self.template, self.pair, tokenizer, lead=lead)

        key = lead if isinstance(lead, str) else tuple(lead)
        return self._once(tokenizer, "prompts", tuple(sources), key, make=make)

    def counts(self, split: Split, tokenizer: Any) -> Counter[int]:
        """Occurrences of each token id in sources and targets: no template, no specials."""

        def make() -> Counter[int]:
            texts = [" " + text for p in split.pairs for text in (p.source, p.target)]
            counts: Counter[int] = Counter()
            for ids in plain_ids(tokenizer, texts):
                counts.update(ids)
            for special in tokenizer.all_special_ids:
                counts.pop(special, None)
            return counts

        return self._once(tokenizer, "counts", split.sha256, make=make)
