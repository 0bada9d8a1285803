"""``engine=fairseq2``: a training of ours, done by fairseq2's trainer.

fairseq2 itself is imported when a run asks for it.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mt_lottery.config import RunConfig, TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.errors import TrainingError, plural
from mt_lottery.model.attention import of_any_shape
from mt_lottery.model.kernels import fused
from mt_lottery.registry import register_engine
from mt_lottery.system import interrupts, parallel
from mt_lottery.system.diskfault import disk_error
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.engine import TrainResult
from mt_lottery.training.objective import Objective
from mt_lottery.training.train_log import NullLog, TrainLog

OUTPUT = Path("fairseq2/train")  # its log and metrics, beside our own


@register_engine("fairseq2", needs=["fairseq2==0.8.1"])
class Fairseq2Engine:
    """fairseq2's trainer; several processes with DDP or FSDP2.

    Args:
        config: the run's settings.
        trainer, gang, common: fairseq2's sections, where given.
    """

    def __init__(
        self, config: RunConfig, trainer: Any = None, gang: Any = None, common: Any = None
    ) -> None:
        self._config = config
        self._sections = {"trainer": trainer, "gang": gang, "common": common}

    def problems(self) -> list[str]:
        """What is missing on this machine, or does not fit."""
        try:
            import fairseq2.recipe  # noqa: F401  first: others of its modules import in circles
        except OSError as error:
            return [
                f"`engine` is fairseq2, which cannot be imported ({error}). It needs libsndfile: "
                "apt install libsndfile1, or brew install libsndfile."
            ]
        if self._config.data_parallelism == "fsdp" and self._config.tuner.name == "qlora":
            return ["`data_parallelism` is fsdp, but recipe=qlora has 4-bit weights; allowed: ddp."]
        return []

    def train(
        self,
        model: Any,
        config: TrainConfig,
        examples: Sequence[Example],
        *,
        pad_id: int,
        seed: int,
        folder: Path,
        log: Path,
        title: str,
        dev: Sequence[Example] | None = None,
        autocast: torch.dtype | None = None,
        resume: bool = False,
        trackers: Sequence[Tracker] = (),
    ) -> TrainResult:
        """As :meth:`mt_lottery.training.engine.Engine.train`."""
        from fairseq2.checkpoint import CheckpointError, CheckpointNotFoundError
        from fairseq2.error import OperationalError
        from fairseq2.recipe.run import run

        from mt_lottery.fairseq2 import checkpoints
        from mt_lottery.fairseq2.isolation import (
            only_harmless_variables,
            own_logging,
            shared_group,
        )
        from mt_lottery.fairseq2.training import TrainingRecipe

        sharded = self._config.data_parallelism == "fsdp" and parallel.processes() > 1
        # FSDP2 shards a model irreversibly: it gets a copy
        worked_on = copy.deepcopy(model) if sharded else model
        objective = Objective(
            worked_on, config, examples, pad_id=pad_id, seed=seed, dev=dev, autocast=autocast
        )
        if config.gradient_checkpointing:
            worked_on.gradient_checkpointing_enable({"use_reentrant": False})
        layout = _layout(sharded)
        parallel.on_main(lambda: checkpoints.begin(folder, resume, layout))
        opened: list[TrainLog] = []

        def train_log(start: int) -> TrainLog:
            main = parallel.is_main()
            opened.append(
                TrainLog(log, title, objective.total, start, trackers) if main else NullLog()
            )
            return opened[0]

        began = time.monotonic()
        try:
            quiet = not parallel.is_main()
            with (
                only_harmless_variables() as reveal,
                own_logging(),
                shared_group(),
                interrupts.until_step_ends(
                    quiet=quiet,
                    patience=interrupts.PATIENCE if parallel.processes() > 1 else None,
                ),
            ):
                recipe = TrainingRecipe(objective, train_log, folder, log, layout, reveal)
                sections = self._training_config(objective, seed, folder, str(worked_on.device))
                output = log.parent / OUTPUT
                with of_any_shape(), fused(worked_on, config.kernels):
                    run(
                        recipe,
                        sections,
                        output,
                        checkpoint_dir=folder,
                        no_rich=True,
                        no_progress=True,
                    )
                assert recipe.unit is not None
                recipe.unit.end_epoch(objective.total)
                if objective.asked_to_stop():  # in the last step
                    objective.stopped_at = objective.total
                    raise objective.interruption()
            if not sharded:  # FSDP2 puts other parameters in place of those that are watched
                objective.check_reached()
            if sharded:
                _put_back(objective, recipe.unit.holder, model)
            objective.check_finite()
        except (CheckpointError, CheckpointNotFoundError) as error:
            raise TrainingError(
                f"{folder}: the checkpoint is damaged ({error}); remove it to start anew."
            ) from error
        except OperationalError as error:  # fairseq2's word for what the machine did
            raise _reason(error, folder) from error
        finally:
            for each in opened:
                each.close()
            if config.gradient_checkpointing:
                worked_on.gradient_checkpointing_disable()
            model.eval()
        return objective.result(opened[0], log, time.monotonic() - began)

    def _training_config(self, objective: Objective, seed: int, folder: Path, device: str) -> Any:
        """Our settings in fairseq2's words."""
        import os

        from fairseq2.recipe import config as fs2

        from mt_lottery.fairseq2.extension import PREFIX, SCHEDULE
        from mt_lottery.fairseq2.training import TrainingConfig

        os.environ["FAIRSEQ2_DEVICE"] = device
        settings = objective.config
        trainer = copy.deepcopy(self._sections["trainer"]) or fs2.TrainerSection()
        trainer.data_parallelism = self._config.data_parallelism
        trainer.mixed_precision.mode = "off"  # the objective computes in the tuner's dtype
        trainer.max_grad_norm = settings.max_grad_norm or None
        trainer.grad_accumulation.num_batches = settings.accumulate
        common = copy.deepcopy(self._sections["common"]) or fs2.CommonSection()
        common.seed = seed
        common.no_sweep_dir = True
        common.torch.num_threads = torch.get_num_threads()
        return TrainingConfig(
            optimizer=fs2.OptimizerSection(name=PREFIX + settings.optimizer, config=settings),
            lr_scheduler=fs2.LRSchedulerSection(name=SCHEDULE, config=settings),
            regime=fs2.RegimeSection(
                num_steps=objective.total,
                checkpoint_every_n_steps=settings.save_steps,
                checkpoint_every_n_data_epochs=1,  # where it is asked to end: see Steps
                keep_last_n_checkpoints=parallel.on_main(lambda: _kept(objective, folder)),
                publish_metrics_every_n_steps=1,
            ),
            trainer=trainer,
            gang=self._sections["gang"] or fs2.GangSection(),
            common=common,
        )


def _layout(sharded: bool) -> str:
    """Over which processes a training, and so its checkpoints, is spread."""
    count = parallel.processes()
    if count == 1:
        return "1 process"
    return f"{plural(count, 'process')} with {'fsdp' if sharded else 'ddp'}"


def _kept(objective: Objective, folder: Path) -> int:
    """How many checkpoints: one to fall back to, where the disk has room for it."""
    size = sum(p.numel() * p.element_size() for p in objective.trained.values())
    folder.mkdir(parents=True, exist_ok=True)
    # each holds the parameters and (Adam's) two moments; a third is written beside them
    return 2 if shutil.disk_usage(folder).free > 4 * 3 * size else 1


def _reason(error: BaseException, folder: Path) -> BaseException:
    """The cause of fairseq2's error."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    name = str(getattr(cause, "filename", None) or "")
    return disk_error(cause, name if name.startswith(str(folder)) else None) or cause


def _put_back(objective: Objective, holder: Any, model: Any) -> None:
    """The trained values of a sharded copy, which ``holder`` holds, in the whole model."""
    from torch.distributed.fsdp import FSDPModule

    for module in holder.modules():
        if isinstance(module, FSDPModule):  # the dev loss has gathered some parameters
            module.reshard()
    whole = dict(model.named_parameters())
    with torch.no_grad():
        for name, part in objective.trained.items():
            whole[name].copy_(part.full_tensor())  # type: ignore[attr-defined]
    objective.model = model
