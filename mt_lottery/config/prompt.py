"""``data.prompt``: a prompt written by the user, with fields in braces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Formatter
from typing import TYPE_CHECKING

from mt_lottery.errors import nearest

if TYPE_CHECKING:
    from mt_lottery.config.settings import DataConfig

#: What a prompt may hold, and what it becomes for the direction en-ro.
FIELDS = {
    "source": "the sentence, on one line",
    "source_language": "English",
    "target_language": "Romanian",
    "source_code": "en",
    "target_code": "ro",
}


def pieces(text: str) -> list[tuple[str, str | None]]:
    """Text and the field behind it, in order, as ``str.format`` reads them.

    Raises:
        ValueError: a brace that is not closed, or a field with more than a name.
    """
    found = []
    for literal, name, form, conversion in Formatter().parse(text):
        if form or conversion:
            raise ValueError(f"the field '{name}' may hold a name only, no ':' or '!'")
        found.append((literal, name))
    return found


def fill(text: str, values: Mapping[str, str]) -> str:
    """A prompt with its fields filled."""
    return "".join(part + (values[name] if name is not None else "") for part, name in pieces(text))


def is_prompt(template: str) -> bool:
    """Whether one of ``data.train_templates`` is a text with fields, not a template's name."""
    return "{" in template or any(map(str.isspace, template))


def _problems_of(key: str, prompt: str) -> Iterator[str]:
    allowed = ", ".join(f"{{{name}}}" for name in FIELDS)
    try:
        names = [name for _, name in pieces(prompt) if name is not None]
    except ValueError as error:
        yield f"`{key}`: {error}. Allowed: {allowed}; {{{{ and }}}} for braces."
        return
    for name in names:
        if name not in FIELDS:
            yield (
                f"`{key}`: unknown field '{{{name}}}'.{nearest(name, FIELDS)} "
                f"Allowed: {allowed}; {{{{ and }}}} for braces."
            )
    if "source" not in names:
        yield f"`{key}` has no {{source}}, the sentence's place: {prompt!r:.60}."


def prompt_problems(data: DataConfig) -> Iterator[str]:
    """What is wrong with the settings of the prompt, a sentence each."""
    if data.train_templates == []:
        yield "`data.train_templates` is empty: name a template, or leave it out (null)."
    for each in filter(is_prompt, data.train_templates or ()):
        yield from _problems_of("data.train_templates", each)
    if data.prompt is not None:
        yield from _problems_of("data.prompt", data.prompt)
        if data.template not in (None, "chat", "prompt"):
            yield (
                f"`data.template` is {data.template}, and `data.prompt` another prompt: give one "
                "of them, or data.template=chat to put data.prompt into the user's message."
            )
    elif data.template == "prompt":
        yield "`data.template` is prompt, but `data.prompt` is not given."
    if data.system is not None and data.template not in (None, "chat"):
        yield f"`data.system` is for data.template=chat, not {data.template}."
