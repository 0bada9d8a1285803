"""``data.train_templates``: training pairs in several wordings of the prompt, in turn.

Rows that are tuned with one wording act in that wording alone; tuned with four they serve all four
(docs/one-row.md).  What a run is asked stays one wording, ``data.template``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mt_lottery.config import DataConfig
from mt_lottery.config.prompt import is_prompt
from mt_lottery.data.prompts.chat import Chat
from mt_lottery.data.prompts.templates import Own, Template, bound, one_line, template_of
from mt_lottery.errors import ConfigError, shorten
from mt_lottery.languages import LanguagePair


class Several:
    """Wordings in turn, by the number of characters of the sentence.

    So a sentence has the same prompt in every epoch, in every run and on every machine, and the
    wordings have about as many pairs each.

    Args:
        parts: a template each; all write a target in the same way.
    """

    def __init__(self, parts: Sequence[Template]) -> None:
        self.parts = tuple(parts)

    def place(self, source: str) -> int:
        """Which of the wordings a sentence has."""
        return len(one_line(source)) % len(self.parts)

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """The prompt in the sentence's wording."""
        return self.parts[self.place(source)].prompt(source, pair)

    def target(self, target: str) -> str:
        """The translation, as all of them write it."""
        return self.parts[0].target(target)

    def bind(self, tokenizer: Any) -> Several:
        """The same for a tokenizer.

        Raises:
            ModelError: its chat template cannot be used.
        """
        return Several([bound(part, tokenizer) for part in self.parts])


def wordings(template: Template) -> tuple[Template, ...]:
    """The wordings that a template has; most are one."""
    return template.parts if isinstance(template, Several) else (template,)


def training_template_of(data: DataConfig) -> Template:
    """What words the training pairs of a run: ``data.template``, or several.

    Args:
        data: settings whose template is resolved.

    Raises:
        RegistryError: unknown name.
        ConfigError: wordings that cannot be trained together.
    """
    if data.train_templates is None:
        return template_of(data)
    names = [shown(each) for each in data.train_templates]
    parts = [_part(each, data) for each in data.train_templates]
    asked = template_of(data).target("a b")
    for name, part in zip(names, parts, strict=True):
        if part.target("a b") != asked:
            raise ConfigError(
                f"`data.train_templates`: {name} has the translation begin as "
                f"{part.target('a b')!r}, data.template={data.template} as {asked!r}; wordings "
                "that are trained together must agree on that (does one of them end with a blank?)."
            )
    return Several(parts)


def shown(template: str) -> str:
    """A name, or a prompt in quotes, for a message."""
    return shorten(template) if is_prompt(template) else template


def _part(template: str, data: DataConfig) -> Template:
    chat = data.template == "chat"
    if is_prompt(template):
        return Chat(template, data.system) if chat else Own(template)
    if chat != (template == "chat"):
        allowed = (
            "chat, and prompts of your own, which become the user's message"
            if chat
            else "prompts without a chat"
        )
        raise ConfigError(
            f"`data.train_templates` has {template}, and the run is asked in "
            f"data.template={data.template}; allowed beside that: {allowed}."
        )
    return template_of(dataclasses.replace(data, template=template))
