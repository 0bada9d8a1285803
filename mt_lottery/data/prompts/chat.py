"""``data.template=chat``: the chat template that a tokenizer brings along.

The template (Jinja, rendered by transformers in its sandbox) is asked once a direction, with
marks in place of the sentences, for three conversations: a question that is to be answered, the
same with its answer, and one with an earlier turn.  What is around the marks is the prompt, what
follows the translation up to the token that ends a turn, and what a few-shot example looks like.
A sentence is put in by us, so that nothing in it is the template's business.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mt_lottery.data.prompts.templates import filled, one_line
from mt_lottery.data.prompts.tokenise import Specials
from mt_lottery.data.prompts.wording import MARK
from mt_lottery.errors import ModelError, plural
from mt_lottery.languages import LanguagePair
from mt_lottery.registry import register_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: What the user says, in the words of TowerInstruct's model card (Alves et al. 2024).
MESSAGE = (
    "Translate the following text from {source_language} into {target_language}.\n"
    "{source_language}: {source}\n"
    "{target_language}:"
)
ANSWER = "\ue0f3\ue0f4\ue0f3"  # of the private use area, as MARK, for the translation
LONGEST = 2**18  # characters of a template, and of what it writes
#: Templates that write today's date get this one: the day that Llama 3.1's falls back on.
DATE = time.struct_time((2024, 7, 26, 0, 0, 0, 4, 208, 0))
#: Switches that a template may know: thinking is off.
SETTINGS: dict[str, Any] = {"enable_thinking": False}

_OTHERWISE = (
    "Allowed beside it: data.prompt with data.template=prompt, which may hold the model's special "
    "tokens."
)


@register_template("chat")
class Chat:
    """The template before it knows its tokenizer: :meth:`bind` gives the one that writes.

    Args:
        message: the user's, with fields as in ``data.prompt``; :data:`MESSAGE` if None.
        system: the system text, if there is one.
    """

    def __init__(self, message: str | None = None, system: str | None = None) -> None:
        self.message = MESSAGE if message is None else message
        self.system = system

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """The user's message alone: what is around it is the tokenizer's."""
        return filled(self.message, source, pair)

    def target(self, target: str) -> str:
        """The translation on one line."""
        return one_line(target)

    def bind(self, tokenizer: PreTrainedTokenizerBase) -> BoundChat:
        """The template of a tokenizer, whose EOS becomes the token that ends a turn.

        Raises:
            ModelError: it has no chat template, or one that cannot be used.
        """
        made = BoundChat(self, tokenizer)
        if tokenizer.eos_token != made.end:
            tokenizer.eos_token = made.end
        return made

    def messages(self, message: str) -> list[dict[str, str]]:
        """The conversation before an answer, as ``apply_chat_template`` takes it."""
        before = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*before, {"role": "user", "content": message}]


@dataclass(frozen=True)
class Turn:
    """A fixed text around a sentence and its translation: a template itself.

    Attributes:
        before: up to the translation, with :data:`MARK` for the sentence.
        after: from there on, with :data:`ANSWER` for the translation.
        whole: no BOS is put before it.
    """

    before: str
    after: str
    whole: ClassVar[bool] = True

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """All before the translation."""
        return self.before.replace(MARK, one_line(source))

    def target(self, target: str) -> str:
        """The translation, and what follows it."""
        return self.after.replace(ANSWER, one_line(target))


@dataclass(frozen=True)
class Layout:
    """What a template writes around a message.

    Attributes:
        turn: prompt and answer, up to the token that ends it.
        end: that token.
        lead: how many characters of the prompt come before a few-shot example.
        shot: an earlier turn; None where a template words those otherwise.
    """

    turn: Turn
    end: str
    lead: int
    shot: Turn | None


class BoundChat:
    """The chat template of a tokenizer.

    Args:
        chat: the user's and the system's text.
        tokenizer: has the template.

    Attributes:
        end: the token that ends a turn; the tokenizer's EOS where the template writes none.
        whole: as :attr:`Turn.whole`.

    Raises:
        ModelError: there is no chat template, or one that cannot be used.
    """

    whole = True

    def __init__(self, chat: Chat, tokenizer: PreTrainedTokenizerBase) -> None:
        self.chat = chat
        self._tokenizer = tokenizer
        self._write = _writer(tokenizer)
        added = {str(token): int(i) for i, token in tokenizer.added_tokens_decoder.items()}
        self._tokens = Specials({str(token): 0 for token in tokenizer.all_special_tokens} | added)
        self._eos = str(tokenizer.eos_token)
        self._layouts: dict[LanguagePair, Layout] = {}
        any_message = self._laid_out(MARK)
        self.end = any_message.end
        self._target = any_message.turn

    def bind(self, tokenizer: PreTrainedTokenizerBase) -> BoundChat:
        """The same for another tokenizer."""
        return self if tokenizer is self._tokenizer else self.chat.bind(tokenizer)

    def layout(self, pair: LanguagePair) -> Layout:
        """What is around the sentences of a direction.

        Raises:
            ModelError: the template fails, or cannot be used.
        """
        if pair not in self._layouts:
            self._layouts[pair] = self._laid_out(self.chat.prompt(MARK, pair))
        return self._layouts[pair]

    def prompt(self, source: str, pair: LanguagePair) -> str:
        """The conversation up to where the answer begins."""
        return self.layout(pair).turn.prompt(source, pair)

    def target(self, target: str) -> str:
        """The answer, up to the token that ends it."""
        return self._target.target(target)

    def _laid_out(self, message: str) -> Layout:
        asked = self.chat.messages(message)
        answered = [*asked, {"role": "assistant", "content": ANSWER}]
        prompt, full = self._write(asked, True), self._write(answered, False)
        if self.chat.system is not None and prompt == self._write(asked[1:], True):
            raise ModelError(
                "The tokenizer's chat template leaves the system text out (data.system); allowed: "
                f"none. {_OTHERWISE}"
            )
        times = message.count(MARK)
        if not (prompt.count(MARK) == full.count(MARK) == times and full.count(ANSWER) == 1):
            raise ModelError(
                "The tokenizer's chat template changes the messages that it is given, or leaves "
                f"them out. {_OTHERWISE}"
            )
        before, tail = full.split(ANSWER)
        if not before.startswith(prompt):
            raise ModelError(
                "The tokenizer's chat template asks for an answer with other words "
                f"({_differing(prompt, before)!r}) than it writes before one "
                f"({_differing(before, prompt)!r}): what is trained would not be what is asked "
                f"for. {_OTHERWISE}"
            )
        between = before[len(prompt) :]
        if between.strip():  # the head of every answer (</think>, a channel): given, not learnt
            prompt, between = before, ""
        ends = self._tokens.find(tail)
        start, _, end = ends[0] if ends else (0, 0, self._eos)
        turn = Turn(prompt, between + ANSWER + tail[:start])
        lead, shot = self._example(asked, answered, prompt)
        return Layout(turn, end, lead, shot)

    def _example(
        self, asked: list[dict[str, str]], answered: list[dict[str, str]], prompt: str
    ) -> tuple[int, Turn | None]:
        """Where examples go in the prompt, and what one looks like."""
        question, answer = asked[-1], answered[-1]
        try:
            two = self._write([*answered, question], True)
            three = self._write([*answered, question, answer, question], True)
        except ModelError:  # a template of one question
            return 0, None
        lead = len(prompt) - _shared(prompt[::-1], two[::-1])
        head, rest = prompt[:lead], prompt[lead:]
        shot = two[lead : len(two) - len(rest)]
        before, _, after = shot.partition(ANSWER)
        same = two == head + shot + rest and three == head + shot * 2 + rest
        good = same and MARK in before and MARK not in after and ANSWER not in after
        return lead, Turn(before, ANSWER + after) if good else None


def _shared(text: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(text), len(other)))


def _differing(text: str, other: str) -> str:
    """The part of a text from where it differs from another, with what is just before it."""
    return text[max(0, _shared(text, other) - 20) :][:60]


def _without_today(template: str) -> str:
    """A template with a date that stays: what was trained must be asked tomorrow too."""
    form = "form"
    for directive in sorted(set(re.findall(r"%-?[A-Za-z]", template))):
        form += f" | replace('{directive}', '{time.strftime(directive, DATE)}')"
    return f"{{% macro strftime_now(form) %}}{{{{ {form} }}}}{{% endmacro %}}{{{{ '' }}}}{template}"


def _writer(tokenizer: Any) -> Callable[[list[dict[str, str]], bool], str]:
    """Messages, and whether an answer is to follow → the text that the template writes.

    Raises:
        ModelError: the tokenizer has no chat template, or an absurd one.
    """
    where = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__

    def fails(error: Exception, system: bool = False) -> ModelError:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        given = " It was given a system text (data.system), which not every one takes." * system
        return ModelError(
            f"{where}: its chat template cannot be used: {reason}.{given} {_OTHERWISE}"
        )

    try:
        template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    except Exception as error:  # several templates, none of which is the default
        raise fails(error) from error
    if not template:
        raise ModelError(
            f"{where}: the tokenizer has no chat template, so it is no instruct model's. "
            "Allowed: data.template=plain, alpaca, or data.prompt."
        )
    if len(template) > LONGEST:
        raise fails(ValueError(f"it has {plural(len(template), 'character')}; at most {LONGEST:,}"))
    if "strftime_now" in template:
        template = _without_today(template)

    def write(messages: list[dict[str, str]], generate: bool) -> str:
        try:
            text = tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False,
                add_generation_prompt=generate, **SETTINGS,
            )  # fmt: skip
        except Exception as error:  # whatever the code in the template raises
            raise fails(error, messages[0]["role"] == "system") from error
        if not isinstance(text, str) or len(text) > LONGEST:
            raise fails(ValueError(f"it writes more than {LONGEST:,} characters"))
        return text

    return write
