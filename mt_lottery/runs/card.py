"""The model card of what a run leaves: prompt, stop rule, and lines that translate without us."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_lottery.config import RunConfig
from mt_lottery.data.prompts.batches import encode_prompts
from mt_lottery.data.prompts.chat import SETTINGS, Chat
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.data.prompts.several import shown
from mt_lottery.data.prompts.wording import prompts_of
from mt_lottery.errors import RecordError
from mt_lottery.languages import parse_pairs
from mt_lottery.model.folder.checkpoint import auto_class
from mt_lottery.model.loading import LoadedModel
from mt_lottery.model.tables import eos_ids
from mt_lottery.reading import read_json
from mt_lottery.runs.decode import pad_id
from mt_lottery.system.atomic import write_text

README = "README.md"
PLACE = "{sentence}"
#: Said where the tokenizer, called on the prompt, gives other ids than training saw.
OTHER_IDS = "The tokenizer reads this prompt in another way than the run did: use mt-translate.\n"
#: Said of a base whose weights are integers: how it was read is not in its folder.
OTHER_BASE = "It was tuned from weights of 4 or 8 bits, read as the run did by mt-translate.\n"
#: Said where the run searched.
OTHER_SEARCH = "The run's beam search is mt-translate's; generate's may choose other words.\n"
#: Said where the training pairs had several wordings of the prompt.
OTHER_WORDINGS = "It was trained with several wordings of the prompt, in turn: {worded}.\n"
#: Said of a run of several directions.
OTHER_DIRECTIONS = (
    "The prompt is that of {first}; for {others} put the names of those languages in its places.\n"
)

_TEXT = """
## Translating

Tuned for {direction} with this prompt, the sentence in place of `{place}`:

{fence}text
{prompt}
{fence}

It ends a translation with `{end}`; what follows a line break is not part of it.
{note}"""

_CODE = """
```python
{load}
{ids}
    output = model.generate(
        ids, max_new_tokens={new}, do_sample=False, {search}, eos_token_id={eos}, pad_token_id={pad}
    )
    text = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    return text.strip().partition("\\n")[0].rstrip()
```
"""

_PROMPT = """TEMPLATE = {template}


def translate(sentence):
    prompt = TEMPLATE.replace({place!r}, " ".join(sentence.strip().splitlines()))
    ids = tokenizer(prompt{how}, return_tensors="pt")["input_ids"]{cut}"""

_CHAT = """MESSAGES = {messages}


def translate(sentence):
    line = " ".join(sentence.strip().splitlines())
    messages = [dict(each) for each in MESSAGES]
    messages[-1]["content"] = messages[-1]["content"].replace({place!r}, line)
    how = {{"add_generation_prompt": True, {settings}, "return_dict": True, "return_tensors": "pt"}}
    ids = tokenizer.apply_chat_template(messages, **how)["input_ids"]"""

_PLAIN = """from transformers import {auto}, AutoTokenizer, GenerationConfig

folder = "."  # where this file is
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {auto}.from_pretrained(folder, dtype="auto").eval()
model.generation_config = GenerationConfig()  # no penalties of the model's own, as in the run
"""

_ADAPTER = """from peft import PeftModel
from transformers import {auto}, AutoTokenizer, GenerationConfig

folder = "."  # where this file is
base = {base}
tokenizer = AutoTokenizer.from_pretrained(base)
model = {auto}.from_pretrained(base, dtype="{dtype}")
model.generation_config = GenerationConfig()  # no penalties of the base's own, as in the run
model = PeftModel.from_pretrained(model, folder).eval()
"""


@dataclass(frozen=True)
class Spoken:
    """How a tuned model is spoken to: what the lines of a card are filled with.

    Attributes:
        direction: that was trained, ``en-ro``, or several, ``en-ro+en-es``; the prompt is that of
            the first.
        template: the prompt, ``place`` where the sentence goes.
        how, cut: what a call of the tokenizer gives beside the prompt, and takes off its ids, so
            that they are the run's; None where no plain lines give what the run gave.
        new: most new tokens.
        search: arguments of ``generate``.
        eos, pad: token ids.
        dtype: of the original model.
        note: why plain lines may say something else; empty where they do not.
        end: the token that ends a translation.
        messages: what ``apply_chat_template`` makes the prompt of; None where it does not.
        auto: the class of transformers that loads the model.
        place: :data:`PLACE`, or that in more braces where the prompt itself has it.
    """

    direction: str
    template: str
    how: str | None
    cut: str
    new: int
    search: str
    eos: list[int]
    pad: int
    dtype: str = "auto"
    note: str = ""
    end: str = ""
    messages: list[dict[str, str]] | None = None
    auto: str = "AutoModelForCausalLM"
    place: str = PLACE

    @classmethod
    def of(cls, config: RunConfig, text: PreparedText, loaded: LoadedModel, lead: str) -> Spoken:
        """To the tuned model of a run.

        Args:
            config: of the run: direction and decoding.
            text: its prompt.
            loaded: the tuned model and its tokenizer.
            lead: what goes before each prompt.
        """
        trained, place = parse_pairs(config.lang), PLACE
        (worded,) = prompts_of(text.template, [_SENTENCE], trained[0], lead)
        while place in worded:
            place = f"{{{place}}}"
        (worded,) = prompts_of(text.template, [place], trained[0], lead)
        template = str(worded)
        settings = config.translate
        search, note = "num_beams=1", ""
        if settings.beam_size > 1:
            search = f"num_beams={settings.beam_size}, length_penalty={settings.length_penalty}"
            note = OTHER_SEARCH
        call = _call(loaded.tokenizer, template, place, text, lead)
        if call is None:
            note = OTHER_IDS
        elif not all(weight.is_floating_point() for weight in loaded.model.parameters()):
            call, note = None, OTHER_BASE
        if several := ", ".join(map(shown, config.data.train_templates or ())):
            note += OTHER_WORDINGS.format(worded=several)
        if others := ", ".join(map(str, trained[1:])):
            note += OTHER_DIRECTIONS.format(first=trained[0], others=others)
        how, cut = call or (None, "")
        return cls(
            "+".join(map(str, trained)), template, how, cut, settings.max_new_tokens, search,
            sorted(eos_ids(loaded.model, loaded.tokenizer)), pad_id(loaded.tokenizer),
            config.model.dtype, note, str(loaded.tokenizer.eos_token),
            _messages(loaded.tokenizer, place, text, lead),
            auto_class(loaded.model.config).__name__, place,
        )  # fmt: skip

    def prompt(self) -> str:
        """The prompt and the stop rule, as Markdown."""
        longest = max(map(len, re.findall("`+", self.template)), default=0)
        fence = "`" * max(3, longest + 1)
        return _TEXT.format(**vars(self), prompt=self.template, fence=fence)

    def fill(self, lines: str, **more: object) -> str:
        """Lines of an engine; empty where no plain lines give what the run gave.

        Args:
            lines: with placeholders named as the attributes here.
            more: what else they name.
        """
        if self.how is None:
            return ""
        template = json.dumps(self.template, ensure_ascii=False)
        return lines.format(**vars(self) | {"template": template} | more)

    def python(self, base: str | None) -> str:
        """Lines of transformers, and PEFT.

        Args:
            base: the original model, for an adapter; None for a folder that is whole.
        """
        named = {"base": json.dumps(base), "dtype": self.dtype, "auto": self.auto}
        load = (_PLAIN if base is None else _ADAPTER).format(**named)
        if self.messages is None:
            return self.fill(_CODE, load=load, ids=self.fill(_PROMPT))
        settings = ", ".join(f'"{key}": {value!r}' for key, value in SETTINGS.items())
        messages = json.dumps(self.messages, ensure_ascii=False, indent=4)
        ids = self.fill(_CHAT, messages=messages, settings=settings)
        return self.fill(_CODE, load=load, ids=ids)


def how_to_translate(
    config: RunConfig, text: PreparedText, loaded: LoadedModel, lead: str, base: str | None
) -> str:
    """The part of a model card on translating.

    Args:
        config, text, loaded, lead: as for :meth:`Spoken.of`.
        base: as for :meth:`Spoken.python`.

    Returns:
        Markdown; its Python gives what ``mt-translate`` gives where the run decoded greedily.
    """
    spoken = Spoken.of(config, text, loaded, lead)
    return spoken.prompt() + spoken.python(base)


_SENTENCE = "This is a sentence, with 2 parts."


def _messages(
    tokenizer: Any, place: str, text: PreparedText, lead: str
) -> list[dict[str, str]] | None:
    """The conversation of a chat, if plain ``apply_chat_template`` gives the run's ids for it."""
    chat = getattr(text.template, "chat", None)
    if not isinstance(chat, Chat):
        return None
    asked, said = (chat.messages(chat.prompt(x, text.pairs[0])) for x in (_SENTENCE, place))
    (wanted,) = encode_prompts([_SENTENCE], text.template, text.pairs[0], tokenizer, lead=lead)
    made = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_dict=True, **SETTINGS
    )
    return said if list(made["input_ids"]) == wanted else None


def _call(
    tokenizer: Any, template: str, place: str, text: PreparedText, lead: str
) -> tuple[str, str] | None:
    """How a plain call of the tokenizer gives the ids that the run uses; None if none does."""
    (wanted,) = encode_prompts([_SENTENCE], text.template, text.pairs[0], tokenizer, lead=lead)
    prompt = template.replace(place, _SENTENCE)
    ids = list(tokenizer(prompt)["input_ids"])
    if ids == wanted:
        return "", ""
    if ids[:-1] == wanted:  # the tokenizer closes what it reads
        return "", "[:, :-1]"
    if list(tokenizer(prompt, add_special_tokens=False)["input_ids"]) == wanted:
        return ", add_special_tokens=False", ""
    return None


def describe_folder(
    folder: Path, config: RunConfig, text: PreparedText, loaded: LoadedModel, lead: str
) -> None:
    """Say in a folder's model card how to translate with it; other folders are left alone.

    Args:
        folder: of an adapter that PEFT reads, or of a whole model.
        config, text, loaded, lead: as for :func:`how_to_translate`.

    Raises:
        DiskError: the card cannot be written.
    """
    adapter, card = folder / "adapter_config.json", folder / README
    base = None
    if adapter.is_file():
        base = str(read_json(adapter, RecordError).get("base_model_name_or_path") or "")
    elif not (folder / "config.json").is_file():
        return
    title = f"# {config.lang.replace(',', ', ')}, tuned by mt-lottery (recipe {config.recipe})\n"
    before = card.read_text("utf-8") if card.is_file() else title
    write_text(card, before + how_to_translate(config, text, loaded, lead, base))
