"""``prefix`` and ``prompt``: learned positions before the input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mt_lottery.config import RunConfig, TunerConfig, setting
from mt_lottery.data.prompts.tokenise import tokenise
from mt_lottery.errors import TuningError, plural
from mt_lottery.model.positions import learned_positions, named_positions
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.adapters.base import PeftTuner
from mt_lottery.tuners.base import TuningContext


@dataclass
class VirtualTokensConfig(TunerConfig):
    """Settings of tuners that put learned positions before the input."""

    tokens: int = setting(10, "learned positions (the paper's 10)", ge=1, le=2**16)
    init: str = setting(
        "text",
        "start values: what the model makes of a prompt's first tokens, or random ones",
        choices=("text", "random"),
    )


def check_virtual_tokens(model: Any, tokens: int, key: str) -> None:
    """Refuse more learned positions than a model has positions.

    Raises:
        TuningError: it names ``key``, and how many there may be.
    """
    limit = learned_positions(model) or named_positions(model)
    if limit is not None and tokens >= limit:
        raise TuningError(
            f"{key}={tokens}: {type(model).__name__} has {plural(limit, 'position')} in all; "
            f"allowed: 1 to {limit - 1}, and the text must find room beside them."
        )


class VirtualTokensTuner(PeftTuner):
    """Base of prefix and prompt tuning."""

    def prepare(self, model: Any) -> None:
        check_virtual_tokens(model, self.config.tokens, "tuner.tokens")

    @property
    def virtual_tokens(self) -> int:
        return int(self.config.tokens)

    @property
    def search_space(self) -> dict[str, list[Any]]:
        return {
            "train.lr": [3e-3, 1e-2, 3e-2],
            "train.epochs": [2, 4],
            "tuner.tokens": [10, 20],
        }

    def initialise(self, context: TuningContext) -> None:
        if self.config.init == "random" or not context.examples:
            return
        base = context.model.get_base_model()
        ids = tokenise(context.tokenizer, [context.examples[0][0]])[0].ids
        wanted = self.config.tokens
        ids = (ids * -(-wanted // len(ids)))[:wanted]
        device = base.get_input_embeddings().weight.device
        start = self.start_values(base, torch.tensor([ids], device=device))
        encoder = context.model.prompt_encoder[context.model.active_adapter]
        weight = encoder.embedding.weight
        if start.shape != weight.shape:
            raise TuningError(
                f"tuner.init=text: {type(base).__name__} gives start values of shape "
                f"{[*start.shape]}, PEFT holds {[*weight.shape]}; use tuner.init=random."
            )
        weight.data = start.to(weight.device, torch.float32)

    @abstractmethod
    def start_values(self, base: Any, ids: Tensor) -> Tensor:
        """What the learned matrix starts from, [tokens, …], given as many token ids, [1, tokens].

        Raises:
            TuningError: the model does not give it.
        """


@register_tuner("prefix", dataclass=VirtualTokensConfig)
class PrefixTuner(VirtualTokensTuner):
    """Keys and values of learned positions in every layer (Li & Liang 2021).

    Trained are tokens · layers · 2 · heads of keys and values · their dimension: 2.62 M for
    10 positions of LLaMA-7B.  They start, as that paper advises for little data, from the
    keys and values of real words: of the prompt's own first tokens.
    """

    def peft_config(self, model: Any) -> Any:
        import peft

        return peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=self.config.tokens)

    def problems_with(self, run: RunConfig) -> Iterator[str]:
        if run.train.gradient_checkpointing:
            yield (
                "`train.gradient_checkpointing` is true: PEFT cannot train a prefix that way; "
                "allowed for recipe=prefix: false (recipe=prompt can)."
            )

    def initialise(self, context: TuningContext) -> None:
        device = context.model.get_input_embeddings().weight.device
        one = torch.ones(1, 2, dtype=torch.long, device=device)
        try:
            super().initialise(context)
            if device.type != "meta":
                with torch.no_grad():
                    context.model(input_ids=one, attention_mask=one)
        except TuningError:
            raise
        except Exception as error:  # whatever a model makes of a cache that is not its own
            name = type(context.model.get_base_model()).__name__
            raise TuningError(
                f"{name} does not work with PEFT's prefix ({type(error).__name__}: {error}); "
                "recipe=prompt may."
            ) from error

    def start_values(self, base: Any, ids: Tensor) -> Tensor:
        from transformers import DynamicCache

        cache = DynamicCache()
        with torch.no_grad():
            base(input_ids=ids, past_key_values=cache, use_cache=True)
        states = []
        for layer in cache.layers:
            if layer.keys is None or layer.keys.shape[-2] != ids.shape[1]:
                raise TuningError(
                    f"{type(base).__name__} keeps no plain keys and values for a prefix to start "
                    "from; use tuner.init=random."
                )
            states += [layer.keys[0], layer.values[0]]  # [heads, tokens, dimension]
        # PEFT's order: token, layer (key, value), head, dimension
        return torch.stack(states).permute(2, 0, 1, 3).flatten(1)


@register_tuner("prompt", dataclass=VirtualTokensConfig)
class PromptTuner(VirtualTokensTuner):
    """Learned vectors before the input embeddings (Lester et al. 2021).

    Trained are tokens · d: 40,960 for 10 positions of LLaMA-7B, the paper's 0.04 M for prefix
    tuning in Table 2.
    """

    def peft_config(self, model: Any) -> Any:
        import peft

        return peft.PromptTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.config.tokens,
            prompt_tuning_init="SAMPLE_VOCAB",
            # PEFT takes the hidden size, which is another in models that project their embeddings
            token_dim=model.get_input_embeddings().weight.shape[1],
        )

    def start_values(self, base: Any, ids: Tensor) -> Tensor:
        with torch.no_grad():
            embedded: Tensor = base.get_input_embeddings()(ids)
        return embedded[0]
