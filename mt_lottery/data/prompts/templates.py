"""Prompt templates: how a sentence is put before the model.

A template is a registered class with ``prompt(source, pair)`` and
``target(text)``; the target is the text that follows the prompt.  Both
templates here end the prompt without a blank and begin the target with one:
subword tokenizers glue the blank to the word, so the prompt's tokens are then
the same with and without the target behind it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol, cast

from mt_lottery.config import DataConfig
from mt_lottery.config.prompt import fill
from mt_lottery.errors import ConfigError
from mt_lottery.languages import LanguagePair
from mt_lottery.registry import TEMPLATES, register_template

_NEWLINES = re.compile(r"[ \t]*[\r\n]+[ \t]*")


class Template(Protocol):
    """What a registered template offers."""

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """Everything before the translation."""
        ...

    def target(self, target: str) -> str:
        """The translation as it follows the prompt."""
        ...


def one_line(text: str) -> str:
    """The text on one line: a sentence ends at the newline (first-line scores)."""
    return _NEWLINES.sub(" ", text.strip())


class _BlankBeforeTarget:
    def target(self, target: str) -> str:
        """The translation on one line, after a blank."""
        return " " + one_line(target)


@register_template("plain")
class Plain(_BlankBeforeTarget):
    """A line of instruction, and the two sentences each after its language's name."""

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """``Translate English to Romanian.`` and the lines ``English: …``, ``Romanian:``."""
        return (
            f"Translate {pair.source.name} to {pair.target.name}.\n"
            f"{pair.source.name}: {one_line(source)}\n"
            f"{pair.target.name}:"
        )


@register_template("alpaca")
class Alpaca(_BlankBeforeTarget):
    """The prompt with an input of Stanford Alpaca (Taori et al. 2023).

    It ends with ``### Response:`` as there; the target follows after a blank
    (Alpaca: after nothing), for the reason in the module's docstring.
    """

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """Instruction, input and ``### Response:``."""
        return (
            "Below is an instruction that describes a task, paired with an input that provides "
            "further context. Write a response that appropriately completes the request.\n\n"
            f"### Instruction:\nTranslate {pair.source.name} to {pair.target.name}.\n\n"
            f"### Input:\n{one_line(source)}\n\n"
            "### Response:"
        )


def filled(text: str, source: str, pair: LanguagePair) -> str:
    """A prompt of the user's with its fields (:data:`mt_lottery.config.prompt.FIELDS`) filled."""
    sides = {"source": pair.source, "target": pair.target}
    values = {f"{side}_language": language.name for side, language in sides.items()}
    values |= {f"{side}_code": language.code for side, language in sides.items()}
    return fill(text, values | {"source": one_line(source)})


@register_template("prompt")
class Own:
    """``data.prompt``.

    The target follows after a blank, but after none where the prompt ends with white space.

    Args:
        text: with fields in braces.
    """

    def __init__(self, text: str | None = None) -> None:
        if text is None:
            raise ConfigError("The template 'prompt' needs a text: data.prompt='… {source} …'.")
        self.text = text

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """The text with its fields filled."""
        return filled(self.text, source, pair)

    def target(self, target: str) -> str:
        """The translation on one line."""
        return ("" if self.text[-1:].isspace() else " ") + one_line(target)


def template_of(data: DataConfig) -> Template:
    """The template that a run's settings ask for.

    Raises:
        RegistryError: unknown name.
        ConfigError: a template that needs a text has none.
    """
    name = data.template or ("plain" if data.prompt is None else "prompt")
    if name == "prompt":
        return Own(data.prompt)
    if name == "chat":
        return cast(Template, TEMPLATES.get(name)(data.prompt, data.system))
    return get_template(name)


def bound(template: Template, tokenizer: Any) -> Template:
    """The template for a tokenizer; most are the same for any.

    Raises:
        ModelError: the tokenizer has no chat template, or one that cannot be used.
    """
    bind = getattr(template, "bind", None)
    return template if bind is None else cast(Template, bind(tokenizer))


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
        """Which of the wordings a sentence has, from 0."""
        return len(one_line(source)) % len(self.parts)

    def of(self, source: str) -> Template:
        """The wording that a sentence has."""
        return self.parts[self.place(source)]

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """The prompt in the sentence's wording."""
        return self.of(source).prompt(source, pair)

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


def check_template(name: str, pair: LanguagePair, template: Template | None = None) -> Template:
    """A template that was tried on two pairs of sentences.

    Args:
        name: under which it is registered.
        pair: the direction.
        template: an instance; a new one if None.

    Raises:
        RegistryError: unknown name.
        PluginError: it writes no text, the same prompt for any sentence, or no target.
    """
    template = template or get_template(name)
    sources = ("The first sentence.", "And a second one, which is longer.")
    targets = ("Prima propoziție.", "Și a doua, mai lungă.")
    prompts = [template.prompt(source, pair) for source in sources]
    ends = [template.target(target) for target in targets]
    for call, texts in (("prompt(source, pair)", prompts), ("target(target)", ends)):
        for text in texts:
            good = isinstance(text, str) and text
            TEMPLATES.expect(name, text, f"{call} must return", "text", good)
        if texts[0] == texts[1]:
            raise TEMPLATES.fault(
                name, f"{call} gives the same text for any sentence: {texts[0][:60]!r}"
            )
    return template


def get_template(name: str) -> Template:
    """An instance of the template registered under ``name``.

    Raises:
        RegistryError: unknown name.
    """
    return cast(Template, TEMPLATES.get(name)())
