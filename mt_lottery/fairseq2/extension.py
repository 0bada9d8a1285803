"""What fairseq2 finds by name once mt-lottery is installed (entry point ``fairseq2.extension``).

All of it comes from our registry, third-party plugins included:

- tuners: components of the type :class:`mt_lottery.tuners.base.Tuner`, under their own names
  (:class:`TunerSection` in a recipe's configuration);
- criteria: components of the type :class:`Criterion`, under their own names;
- optimizers: ``mt_lottery/adamw``, …, over the parameters that require a gradient, and the
  schedule ``mt_lottery/transformers``; the configuration of both is our ``train`` section;
- models: families ``mt_lottery/hf`` (any causal LM of a Hugging Face folder), …;
- corpora: dataset families ``mt_lottery/mini``, …
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq2.composition import register_dataset_family, register_model_family
from fairseq2.models.hg import HgCausalLMAdapter, apply_fsdp_to_hg_transformer_lm
from fairseq2.optim.lr_schedulers import AbstractLRScheduler, LRScheduler
from fairseq2.recipe.base import RecipeContext
from fairseq2.recipe.component import register_component
from fairseq2.recipe.config import SupportsStructure, structure_component_config
from fairseq2.runtime.dependency import DependencyContainer, DependencyResolver
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from mt_lottery import registry
from mt_lottery.config import DataConfig, ModelConfig, TrainConfig, TunerConfig, problems
from mt_lottery.errors import ConfigError
from mt_lottery.fairseq2.text import ParallelText
from mt_lottery.model.loading import load
from mt_lottery.tuners.base import Tuner

PREFIX = "mt_lottery/"  # fairseq2 has an "adamw" of its own
SCHEDULE = f"{PREFIX}transformers"


@dataclass(kw_only=True)
class TunerSection(SupportsStructure):
    """``tuner.name`` and ``tuner.config`` of a recipe's configuration."""

    name: str = "ks_lottery"
    config: object = field(default_factory=dict)

    def structure(self, resolver: DependencyResolver) -> None:
        """Turn the configuration into the tuner's schema."""
        self.config = structure_component_config(resolver, Tuner, self.name, self.config)


@dataclass(frozen=True)
class Criterion:
    """A registered criterion with its settings.

    Attributes:
        function: logits [N, V] float32, labels [N] and the settings → summed loss.
        config: the ``train`` section.
    """

    function: Callable[[Tensor, Tensor, TrainConfig], Tensor]
    config: TrainConfig

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Summed loss, in nats."""
        return self.function(logits, labels, self.config)


class Schedule(AbstractLRScheduler):
    """A learning-rate schedule of transformers."""

    def __init__(self, optimizer: Optimizer, config: TrainConfig, steps: int) -> None:
        from transformers import get_scheduler

        name = {"constant": "constant_with_warmup"}.get(config.schedule, config.schedule)
        stand_in = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        made: Any = get_scheduler(name, stand_in, config.warmup_steps, steps)
        self._factor = made.lr_lambdas[0]
        super().__init__(optimizer)

    def _compute_lrs(self) -> list[float | Tensor]:
        return [rate * self._factor(self.last_epoch) for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Without the function, which no checkpoint can hold."""
        return {k: v for k, v in super().state_dict().items() if k != "_factor"}


def checked(config: Any) -> Any:
    """Settings in their ranges.

    Raises:
        ConfigError: with everything that is out of them.
    """
    if found := [*problems(config), *getattr(config, "problems", list)()]:
        raise ConfigError(found)
    return config


def make_optimizer(name: str, parameters: Sequence[nn.Parameter], config: TrainConfig) -> Optimizer:
    """A registered optimizer; of sharded parameters (FSDP2) it gets this process's rows.

    Args:
        name: as in our registry.
        parameters: what is trained.
        config: the ``train`` section.
    """
    make = registry.OPTIMIZERS.get(name)
    sharded: list[Any] = [p for p in parameters if isinstance(p, DTensor)]
    if not sharded:
        made: Optimizer = make(list(parameters), config)
        return made
    own = [nn.Parameter(p.detach().to_local()) for p in sharded]
    made = make(own, config)

    def take_gradients(*_: Any) -> None:
        for whole, part in zip(sharded, own, strict=True):
            if whole.grad is not None:
                # the same memory; FSDP2 has moved it since if the shards are not of one size
                part.data = whole.detach().to_local()
                part.grad = whole.grad.to_local()
                whole.grad = None

    made.register_step_pre_hook(take_gradients)
    return made


def schema_of(kind: registry.Registry, name: str, default: type, **fields: Any) -> type:
    """The settings of a plugin, with its name as the default name and more fields behind."""
    base = kind.dataclass_of(name) or default
    own = [("name", str, field(default=name))]
    more = [(key, type(value), field(default=value)) for key, value in fields.items()]
    return dataclasses.make_dataclass(
        base.__name__, own + more, bases=(base,), namespace={"__module__": __name__}
    )


def setup(container: DependencyContainer) -> None:
    """Register everything; fairseq2 calls it at its start.

    Args:
        container: fairseq2's.
    """
    for name in registry.TUNERS.names():
        schema = schema_of(registry.TUNERS, name, TunerConfig)
        register_component(container, Tuner, name, schema, _tuner)
    for name in registry.CRITERIA.names():

        def criterion(_: Any, config: TrainConfig, name: str = name) -> Criterion:
            return Criterion(registry.CRITERIA.get(name), checked(config))

        register_component(container, Criterion, name, TrainConfig, criterion)
    for name in registry.OPTIMIZERS.names():

        def optimizer(resolver: Any, config: TrainConfig, name: str = name) -> Optimizer:
            model = resolver.resolve(nn.Module)
            trained = [p for p in model.parameters() if p.requires_grad]
            return make_optimizer(name, trained, checked(config))

        register_component(container, Optimizer, PREFIX + name, TrainConfig, optimizer)
    register_component(container, LRScheduler, SCHEDULE, TrainConfig, _schedule)
    for name in registry.MODELS.names():
        register_model_family(
            container,
            PREFIX + name,
            nn.Module,
            schema_of(registry.MODELS, name, ModelConfig),
            factory=_model,
            supports_meta=False,
            fsdp_applier=apply_fsdp_to_hg_transformer_lm,
        )
    for name in registry.CORPORA.names():
        schema = schema_of(registry.CORPORA, name, DataConfig, lang="")
        register_dataset_family(container, PREFIX + name, ParallelText, schema, opener=ParallelText)


def _tuner(resolver: DependencyResolver, config: TunerConfig) -> Tuner:
    tuner: Tuner = registry.TUNERS.get(config.name)(checked(config))
    return tuner


def _schedule(resolver: DependencyResolver, config: TrainConfig) -> LRScheduler:
    recipe: Any = RecipeContext(resolver)
    steps = recipe.get_config_as(object).regime.num_steps
    if steps is None:
        raise ConfigError(f"lr_scheduler.name={SCHEDULE} needs regime.num_steps.")
    return Schedule(recipe.get_optimizer(), checked(config), steps)


def _model(config: ModelConfig) -> nn.Module:
    """On the device, and in the dtype, that fairseq2 asks for; ``dtype`` is stronger."""
    if config.dtype == "auto":
        asked = str(torch.get_default_dtype()).removeprefix("torch.")
        config = dataclasses.replace(config, dtype=asked)
    loaded = load(checked(config), str(torch.get_default_device()))
    return HgCausalLMAdapter(loaded.model)
