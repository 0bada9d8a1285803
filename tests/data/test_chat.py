"""``data.template=chat`` against ``apply_chat_template`` on published templates, id for id."""

from __future__ import annotations

from typing import Any

import published_chats as published
import pytest

from mt_lottery.data.prompts.batches import encode, encode_prompts
from mt_lottery.data.prompts.chat import MESSAGE, Chat
from mt_lottery.data.prompts.wording import prompts_of
from mt_lottery.data.text import Pair
from mt_lottery.errors import ModelError
from mt_lottery.languages import parse_pair

EN_RO = parse_pair("en-ro")
SOURCE, TARGET = "Where is the station?", "Unde este gara?"
SYSTEM = "You translate."
ASKED = (
    "Translate the following text from English into Romanian.\n"
    f"English: {SOURCE}\nRomanian:"
)  # fmt: skip
ROLES = {"mistral": (None,)}  # it has no system role
CASES = [(n, s) for n in published.LAYOUTS for s in ROLES.get(n, (None, SYSTEM))]


def conversation(system: str | None, *texts: str) -> list[dict[str, str]]:
    before = [] if system is None else [{"role": "system", "content": system}]
    roles = ["user", "assistant"] * len(texts)
    return before + [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]


def ids_of(tokenizer: Any, messages: list[dict[str, str]], generate: bool) -> list[int]:
    made = tokenizer.apply_chat_template(
        messages, add_generation_prompt=generate, enable_thinking=False, return_dict=True
    )
    return list(made["input_ids"])


@pytest.mark.parametrize(("name", "system"), CASES)
def test_the_prompt_is_that_of_apply_chat_template(name: str, system: str | None) -> None:
    tokenizer = published.tokenizer(name)
    wanted = ids_of(tokenizer, conversation(system, ASKED), True)
    assert encode_prompts([SOURCE], Chat(system=system), EN_RO, tokenizer) == [wanted]
    assert tokenizer.bos_token_id is None or wanted.count(tokenizer.bos_token_id) < 2


@pytest.mark.parametrize(("name", "system"), CASES)
def test_an_example_is_the_beginning_of_the_whole_conversation(
    name: str, system: str | None
) -> None:
    tokenizer = published.tokenizer(name)
    whole = ids_of(tokenizer, conversation(system, ASKED, TARGET), False)
    (made,) = encode([Pair(SOURCE, TARGET)], Chat(system=system), EN_RO, tokenizer, 512).examples
    ids = made.prompt_ids + made.target_ids
    assert whole[: len(ids)] == ids
    assert not tokenizer.decode(whole[len(ids) :]).strip()
    end = tokenizer.convert_tokens_to_ids(published.LAYOUTS[name].end)
    assert made.target_ids[-1] == end == tokenizer.eos_token_id
    assert tokenizer.decode(made.target_ids, skip_special_tokens=True).strip() == TARGET


@pytest.mark.parametrize(("name", "system"), CASES)
def test_examples_are_earlier_turns(name: str, system: str | None) -> None:
    tokenizer = published.tokenizer(name)
    shots = [("The cat sleeps.", "Pisica doarme."), ("Hello.", "Salut."), (SOURCE, TARGET)]
    pairs = [Pair(*shot) for shot in shots]
    encoded = encode(pairs, Chat(system=system), EN_RO, tokenizer, 512)
    lead: Any = ""
    for prompt, target in encoded.texts[:2]:
        lead = prompt + target if not lead else lead + prompt + target
    asked = [ASKED.replace(SOURCE, source) for source, _ in shots]
    texts = [asked[0], shots[0][1], asked[1], shots[1][1], asked[2]]
    wanted = ids_of(tokenizer, conversation(system, *texts), True)
    template = Chat(system=system)
    assert encode_prompts([SOURCE], template, EN_RO, tokenizer, lead=lead) == [wanted]


@pytest.mark.parametrize("name", published.LAYOUTS)
def test_a_sentence_cannot_end_its_turn(name: str) -> None:
    tokenizer = published.tokenizer(name)
    end = published.LAYOUTS[name].end
    (honest,) = encode_prompts([SOURCE], Chat(), EN_RO, tokenizer)
    (sly,) = encode_prompts([f"{SOURCE}{end}"], Chat(), EN_RO, tokenizer)
    number = tokenizer.convert_tokens_to_ids(end)
    assert sly != honest and sly.count(number) == honest.count(number)


def test_a_message_of_ones_own() -> None:
    tokenizer = published.tokenizer("gemma3")
    template = Chat("Say '{source}' in {target_language} ({target_code})!\n")
    wanted = ids_of(tokenizer, conversation(None, f"Say '{SOURCE}' in Romanian (ro)!\n"), True)
    assert encode_prompts([SOURCE], template, EN_RO, tokenizer) == [wanted]


def test_what_comes_before_every_answer_is_given_and_not_learnt() -> None:
    tokenizer = published.tokenizer("qwen3")
    tokenizer.chat_template = published.template("qwen3").replace(
        "{{- '<think>\\n\\n</think>\\n\\n' }}", "{{- '<think>\\n' }}"
    )
    template = Chat().bind(tokenizer)
    assert template.prompt(SOURCE, EN_RO).endswith("assistant\n<think>\n\n</think>\n\n")
    assert template.target(TARGET) == TARGET


def test_the_date_of_a_template_is_always_the_same() -> None:
    tokenizer = published.tokenizer("tower")
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}" + tokenizer.chat_template
    assert Chat().bind(tokenizer).prompt(SOURCE, EN_RO).startswith("26 Jul 2024<|im_start|>")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "the tokenizer has no chat template"),
        (lambda text: "{% for", "its chat template cannot be used: "),
        (lambda text: "{{ raise_exception('None of that.') }}", "used: None of that."),
        (lambda text: "{{ messages.pop() }}", "cannot be used"),  # the sandbox
        (lambda text: "{% for i in range(99999) %}abc{% endfor %}", "more than 262,144"),
        (lambda text: " " * 300_000, "has 300,000 characters"),
        (lambda text: text.replace("message['content']", "'?'"), "leaves them out"),
        (lambda text: text.replace("assistant\n' }}", "ai\n' }}"), "with other words"),
    ],
)
def test_templates_that_cannot_be_used(change: Any, said: str) -> None:
    tokenizer = published.tokenizer("tower")
    tokenizer.chat_template = change(tokenizer.chat_template)
    with pytest.raises(ModelError, match=said):
        Chat().bind(tokenizer)


def test_no_system_role() -> None:
    with pytest.raises(ModelError, match=r"roles must alternate.* \(data\.system\)"):
        Chat(system=SYSTEM).bind(published.tokenizer("mistral"))
    tokenizer = published.tokenizer("tower")
    users = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}"
    tokenizer.chat_template = users + tokenizer.chat_template
    Chat().bind(tokenizer)
    with pytest.raises(ModelError, match=r"leaves the system text out \(data\.system\)"):
        Chat(system=SYSTEM).bind(tokenizer)


def test_a_template_of_one_question_has_no_examples() -> None:
    tokenizer = published.tokenizer("mistral")
    one = "{% if messages|length > 2 %}{{ raise_exception('one question') }}{% endif %}"
    tokenizer.chat_template = one + tokenizer.chat_template
    made = encode([Pair(SOURCE, TARGET)], Chat(), EN_RO, tokenizer, 512)
    assert made.examples and not made.texts


def test_places_of_the_sentence() -> None:
    template = Chat(MESSAGE).bind(published.tokenizer("gemma3"))
    (prompt,) = prompts_of(template, [SOURCE], EN_RO)
    ((start, end),) = prompt.sentences or ()
    assert str(prompt)[start:end] == SOURCE
