"""``data.train_templates``: training pairs in several wordings of the prompt, in turn.

Rows that are tuned with one wording act in that wording alone; tuned with four they serve all four
(docs/one-row.md).  What a run is asked stays one wording, ``data.template``.
"""

from __future__ import annotations

import dataclasses

from mt_lottery.config import DataConfig
from mt_lottery.config.prompt import is_prompt
from mt_lottery.data.prompts.chat import Chat
from mt_lottery.data.prompts.templates import Own, Several, Template, template_of
from mt_lottery.errors import ConfigError, shorten


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
