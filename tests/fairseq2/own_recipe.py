"""A fairseq2 user's own recipe: our model, corpus, tuner, criterion and optimizer, by name.

python own_recipe.py OUT --config …
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fairseq2.metrics import Mean, MetricBag
from fairseq2.models.hg import HgCausalLMAdapter
from fairseq2.recipe.base import Recipe, RecipeContext
from fairseq2.recipe.cli import main
from fairseq2.recipe.component import ComponentManager
from fairseq2.recipe.config import (
    CommonSection,
    DatasetSection,
    GangSection,
    LRSchedulerSection,
    ModelSection,
    OptimizerSection,
    RegimeSection,
    TrainerSection,
)
from fairseq2.task import Task
from fairseq2.trainer import TrainUnit
from torch import Tensor, nn

from mt_lottery.config import TrainConfig
from mt_lottery.fairseq2.extension import Criterion, TunerSection
from mt_lottery.fairseq2.text import Batch, ParallelText
from mt_lottery.tuners.base import Tuner, TuningContext


@dataclass(kw_only=True)
class Config:
    model: ModelSection = field(default_factory=lambda: ModelSection(family="mt_lottery/hf"))
    dataset: DatasetSection = field(
        default_factory=lambda: DatasetSection(family="mt_lottery/mini")
    )
    tuner: TunerSection = field(default_factory=lambda: TunerSection(name="random"))
    criterion: str = "label_smoothed_cross_entropy"
    optimizer: OptimizerSection = field(
        default_factory=lambda: OptimizerSection(
            name="mt_lottery/sparse_adam", config=TrainConfig(lr=0.01)
        )
    )
    lr_scheduler: LRSchedulerSection = field(
        default_factory=lambda: LRSchedulerSection(
            name="mt_lottery/transformers", config=TrainConfig()
        )
    )
    regime: RegimeSection = field(default_factory=lambda: RegimeSection(num_steps=6))
    trainer: TrainerSection = field(default_factory=TrainerSection)
    gang: GangSection = field(default_factory=GangSection)
    common: CommonSection = field(default_factory=lambda: CommonSection(no_sweep_dir=True))


class Unit(TrainUnit[Batch]):
    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        self._model, self._criterion = model, criterion

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        metric_bag.add("loss", Mean())

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> tuple[Tensor, int]:
        seqs, layout = batch.sequences().as_input()
        logits = self._model(seqs, layout)
        labels = batch.tensors["labels"][:, 1:]
        where = labels != -100
        loss = self._criterion(logits[:, :-1][where].float(), labels[where])
        count = int(where.sum())
        metric_bag.get("loss", Mean).update(loss.detach() / count, weight=count)
        return loss, count


class OwnRecipe(Recipe):
    @property
    def config_kls(self) -> type[object]:
        return Config

    def tokenizer(self, context: RecipeContext) -> Any:
        from transformers import AutoTokenizer

        settings: Any = context.get_config_as(Config).model.config_overrides
        return AutoTokenizer.from_pretrained(settings["name_or_path"])

    def setup_model(self, context: RecipeContext, model: nn.Module, new: bool) -> nn.Module:
        assert isinstance(model, HgCausalLMAdapter)
        section = context.get_config_as(Config).tuner
        manager = context.resolver.resolve(ComponentManager)
        tuner = manager.create_component(Tuner, section.name, section.config)
        tuner.apply(TuningContext(model.hf_model, self.tokenizer(context), 0))
        return model

    def create_task(self, context: RecipeContext) -> Task:
        config = context.get_config_as(Config)
        settings = TrainConfig(epochs=3, batch_size=8)
        text = context.get_dataset_as(ParallelText)
        gang = context.gangs.dp
        reader = text.reader(self.tokenizer(context), settings, 0, gang.rank, gang.size)
        manager = context.resolver.resolve(ComponentManager)
        criterion = manager.create_component(Criterion, config.criterion, settings)
        unit = Unit(context.get_data_parallel_model(), criterion)
        return context.create_trainer(unit, reader)


if __name__ == "__main__":
    main(OwnRecipe())
