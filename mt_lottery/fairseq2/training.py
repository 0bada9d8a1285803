"""One training as a fairseq2 recipe: our objective, fairseq2's loop, gangs and checkpoints."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq2.composition import register_model_family
from fairseq2.metrics import Mean, MetricBag
from fairseq2.models import ModelFamily
from fairseq2.models.hg import apply_fsdp_to_hg_transformer_lm
from fairseq2.nn.data_parallel import (
    DataParallelFacade,
    get_data_parallel_facade,
    set_data_parallel_facade,
)
from fairseq2.nn.fsdp import FSDPWrapper
from fairseq2.recipe.base import Recipe, RecipeContext
from fairseq2.recipe.config import (
    CommonSection,
    GangSection,
    LRSchedulerSection,
    ModelSection,
    OptimizerSection,
    RegimeSection,
    TrainerSection,
)
from fairseq2.runtime.dependency import DependencyContainer
from fairseq2.task import Task
from fairseq2.trainer import TrainStepHookArgs, TrainUnit
from fairseq2.typing import ContextManager
from torch import Tensor, nn

from mt_lottery.errors import TrainingError
from mt_lottery.fairseq2 import checkpoints
from mt_lottery.fairseq2.extension import PREFIX, setup
from mt_lottery.fairseq2.text import Batch, Reader
from mt_lottery.system import parallel
from mt_lottery.training.objective import Objective
from mt_lottery.training.train_log import TrainLog, read_log

TUNED = f"{PREFIX}tuned"  # the family of the model at hand


class Tuned(nn.Module):
    """Holds the model at hand: fairseq2 makes a module, and what is put in its place is lost."""

    model: Any

    def forward(self, **inputs: Any) -> Any:
        """As the model."""
        return self.model(**inputs)


@dataclass(kw_only=True)
class TrainingConfig:
    """fairseq2's sections of a training."""

    optimizer: OptimizerSection
    lr_scheduler: LRSchedulerSection
    regime: RegimeSection
    trainer: TrainerSection
    gang: GangSection
    common: CommonSection
    model: ModelSection = field(default_factory=lambda: ModelSection(family=TUNED))


@dataclass
class Nothing:
    """Settings of the model at hand: it has its own."""


class Trained(DataParallelFacade):
    """The state of the trained parameters alone: a checkpoint needs no second frozen model.

    Args:
        inner: fairseq2's facade of the data-parallel model.
        names: of the trained parameters.
        folder: of the checkpoints, for messages.
    """

    def __init__(self, inner: DataParallelFacade, names: set[str], folder: Path) -> None:
        self._inner = inner
        self._names = names
        self._folder = folder

    def state_dict(self) -> dict[str, object]:
        """Name → this process's part of each."""
        return {k: v for k, v in self._inner.state_dict().items() if k in self._names}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Put them back.

        Raises:
            TrainingError: they are other parameters than this run's.
        """
        if state_dict.keys() != self._names:
            raise TrainingError(f"{self._folder}: holds other parameters than this run's.")
        self._inner.load_state_dict({**self._inner.state_dict(), **state_dict})

    def no_sync(self) -> ContextManager[None]:
        """As ``inner``."""
        return self._inner.no_sync()

    def clip_grad_norm(self, max_norm: float | None) -> Tensor:
        """As ``inner``."""
        return self._inner.clip_grad_norm(max_norm)

    def summon_full_parameters(self) -> ContextManager[None]:
        """As ``inner``."""
        return self._inner.summon_full_parameters()


class Steps(Reader):
    """The batches of a training, which end early if it is asked to.

    fairseq2's trainer heeds no request to stop before its last step.  But it writes a checkpoint
    where the batches of an epoch end, and then asks for those of the next.

    Args:
        objective: of the training.
        written: waits until the checkpoint is written.
    """

    def __init__(self, objective: Objective, written: Callable[[], object]) -> None:
        accumulate = objective.config.accumulate
        super().__init__(objective.batches, objective.examples, accumulate, objective.collate)
        self._objective = objective
        self._written = written
        self._begun = False

    @property
    def _done(self) -> int:
        return -(-self._next // self._accumulate)

    def __next__(self) -> list[Batch]:
        objective = self._objective
        if objective.stopped_at is not None:
            self._written()
            raise objective.interruption()
        if self._begun and objective.asked_to_stop():
            objective.stopped_at = self._done
            raise StopIteration
        batches = super().__next__()
        self._begun = True
        return batches

    def reset(self) -> None:
        """Begin again at the front, but not for an epoch that has not come to its end."""
        if self._objective.stopped_at is None:
            super().reset()

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint: every process is asked for it.

        Raises:
            TrainingError: the trained values are not finite: nothing could go on from them.
        """
        self._objective.check_finite(self._done)
        return super().state_dict()


class Training(Task):
    """fairseq2's trainer, whose signal to stop (SIGUSR1) ends it as SIGTERM does."""

    def __init__(self, trainer: Task) -> None:
        self._trainer = trainer

    def run(self) -> None:
        """Train."""
        self._trainer.run()

    def request_stop(self) -> None:
        """End after this step, with a checkpoint."""
        signal.raise_signal(signal.SIGTERM)

    def close(self) -> None:
        """Close what it has open."""
        self._trainer.close()

    @property
    def step_nr(self) -> int:
        """The last step."""
        return self._trainer.step_nr


class Unit(TrainUnit[Batch]):
    """What is done with a batch: the objective's loss, and a line of the log for a step."""

    def __init__(
        self, objective: Objective, model: nn.Module, rate: Callable[[], float], train_log: TrainLog
    ) -> None:
        self._objective = objective
        self.holder = model
        self._rate = rate
        self._train_log = train_log
        self._step = 0
        self._left = 0
        self._output: Tensor | None = None
        self.measured: set[int] = set()

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        """The loss, for fairseq2's recorders."""
        metric_bag.add("loss", Mean())

    def set_step_nr(self, step_nr: int) -> None:
        """Before a step; an epoch may have ended with the one before it."""
        self.end_epoch(step_nr - 1)
        self._step = step_nr
        self._left = len(self._objective.batches_of(step_nr - 1))

    def end_epoch(self, step: int) -> None:
        """Measure the dev loss if an epoch ended with this step, and it was not measured yet."""
        objective = self._objective
        if objective.dev and step in objective.ends - self.measured:
            self._train_log.note(step, dev_loss=objective.dev_loss(self._run))
            self.measured.add(step)

    def _run(self, **inputs: Any) -> Any:
        output = self.holder(**inputs)
        self._output = output.logits
        return output

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> tuple[Tensor, None]:
        """The loss to differentiate; it is normalised already, as the transformers engine does."""
        objective, batches = self._objective, len(self._objective.batches_of(self._step - 1))
        loss = objective.loss(batch.tensors, self._step - 1, self._run)
        assert self._output is not None
        # no logit at all, so 0: but FSDP2 gathers where the gradient comes through the output
        loss = loss + self._output.sum()
        self._output = None
        self._left -= 1
        if self._left == 0:
            objective.end_step(self._train_log, self._step, self._rate())
            metric_bag.get("loss", Mean).update(objective.last_loss)
        return loss * batches, None  # the trainer divides by them


def _shard(holder: Tuned, granularity: str, wrapper: FSDPWrapper) -> Tuned:
    """Each layer a unit of FSDP2's; what is left (embeddings, head) is gathered once a step."""
    apply_fsdp_to_hg_transformer_lm(holder.model, granularity, wrapper)
    return holder


class TrainingRecipe(Recipe):
    """Trains a model at hand, on examples at hand.

    Args:
        objective: model, examples and loss.
        train_log: given the step to start from, the log.
        folder: for checkpoints.
        log: ``train_log.jsonl``.
        layout: over which processes it is spread.
        started: called when fairseq2 has logged its environment.
    """

    def __init__(
        self,
        objective: Objective,
        train_log: Callable[[int], TrainLog],
        folder: Path,
        log: Path,
        layout: str,
        started: Callable[[], None],
    ) -> None:
        self.objective = objective
        self.unit: Unit | None = None
        self._open = train_log
        self._folder = folder
        self._log = log
        self._layout = layout
        self._started = started
        self._trained = {f"model.{name}" for name in objective.trained}

    @property
    def config_kls(self) -> type[object]:
        """:class:`TrainingConfig`."""
        return TrainingConfig

    def register(self, container: DependencyContainer) -> None:
        """The family of the model at hand, and our extension where it is not installed."""
        for handler in logging.getLogger().handlers:  # the terminal's; the log's file has it all
            handler.setLevel(logging.ERROR)
        logging.getLogger("fairseq2").setLevel(logging.NOTSET)
        if f"{PREFIX}hf" not in set(container.iter_keys(ModelFamily)):
            setup(container)
        register_model_family(
            container,
            TUNED,
            Tuned,
            Nothing,
            factory=lambda config: Tuned(),  # empty: fairseq2 would unfreeze all that it holds
            supports_meta=False,
            fsdp_applier=_shard,
        )

    def setup_model(
        self, context: RecipeContext, model: nn.Module, newly_initialized: bool
    ) -> nn.Module:
        """Put the model at hand, its tuner applied, in."""
        model.model = self.objective.model
        return model

    def has_static_autograd_graph(self, context: RecipeContext) -> bool:
        """DistributedDataParallel looks for parameters without a gradient only if there are."""
        return not self.objective.leaves_out()

    def create_task(self, context: RecipeContext) -> Task:
        """fairseq2's trainer."""
        self._started()
        objective = self.objective
        model = context.get_data_parallel_model()
        inner = get_data_parallel_facade(model)
        set_data_parallel_facade(model, Trained(inner, self._trained, self._folder))
        manager = context.get_checkpoint_manager()
        checkpoints.use(manager)
        start = manager.maybe_get_last_step_number(exclude_model_only=True) or 0
        optimizer = context.get_optimizer()
        train_log = self._open(start)
        self.unit = Unit(
            objective, model, lambda: float(optimizer.param_groups[0]["lr"]), train_log
        )
        self.unit.measured = parallel.on_main(
            lambda: {line["step"] for line in read_log(self._log) if "dev_loss" in line}
        )
        reader = Steps(objective, lambda: manager.maybe_complete_save_operation(blocking=True))
        trainer = context.create_trainer(self.unit, reader)
        trainer.register_checkpoint_save_hook(self._seal)
        return Training(trainer)

    def _seal(self, args: TrainStepHookArgs) -> None:
        parallel.on_main(lambda: checkpoints.seal(self._folder, args.step_nr, self._layout))
