"""Which prompt a run takes where its settings leave that open, and what names it in a hash."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from mt_lottery.config import RunConfig
from mt_lottery.data.prompts.chat import MESSAGE
from mt_lottery.errors import ConfigError, shorten
from mt_lottery.model.folder.instruct import chat_template_sha256, says_chat
from mt_lottery.system import parallel
from mt_lottery.system.secrets import redacted


def with_template(config: RunConfig, echo: Callable[[str], None]) -> RunConfig:
    """The configuration with its template: chat for an instruct model that has a chat template.

    Args:
        config: of the run; one that has ``data.template`` is returned as it is.
        echo: prints a line for the user.

    Raises:
        ConfigError: a system text without a chat template.
        ModelError: there is no such model.
    """
    data = config.data
    if data.template is not None:
        return config
    why = parallel.on_main(lambda: says_chat(config.model))
    if why is not None:
        echo(
            f"data.template=chat: an instruct model ({why}), asked in its own chat template. "
            "data.template=plain is the prompt of base models."
        )
        chosen = "chat"
    elif data.system is not None:
        raise ConfigError(
            "`data.system` is for data.template=chat, and nothing says that this is an instruct "
            "model: give data.template=chat too if its tokenizer has a chat template."
        )
    else:
        chosen = "plain" if data.prompt is None else "prompt"
    return dataclasses.replace(config, data=dataclasses.replace(data, template=chosen))


def problems_with_secrets(config: RunConfig) -> Iterator[str]:
    """What a prompt must not hold: ``config.yaml``, which says it again, is without secrets."""
    data = config.data
    texts = [("prompt", data.prompt), ("system", data.system)]
    texts += [("train_templates", each) for each in data.train_templates or ()]
    for key, text in texts:
        if text is not None and (shown := redacted(text, weak=False)) != text:
            yield (
                f"`data.{key}` holds what looks like a key or a password ({shorten(shown)}). A run "
                "keeps none in its config.yaml, and would be asked something else when it is "
                "opened again: take it out."
            )


def prompt_identity(config: RunConfig) -> dict[str, Any]:
    """What a ``config_hash`` says of the prompt."""
    data = config.data
    found: dict[str, Any] = {"template": data.template}
    if data.template == "chat":
        found["chat"] = [data.prompt or MESSAGE, data.system, chat_template_sha256(config.model)]
    elif data.template == "prompt":
        found["prompt"] = data.prompt
    return found
