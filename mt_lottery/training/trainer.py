"""Training on top of transformers' Trainer, ``engine=transformers``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from mt_lottery.config import RunConfig, TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.errors import TrainingError, assigned
from mt_lottery.model.attention import of_any_shape
from mt_lottery.model.kernels import fused
from mt_lottery.registry import OPTIMIZERS, register_engine
from mt_lottery.system import interrupts, parallel
from mt_lottery.system.removing import remove
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.checkpoints import CheckpointTrainer, last_checkpoint
from mt_lottery.training.engine import TrainResult
from mt_lottery.training.objective import Objective
from mt_lottery.training.sealing import step_of
from mt_lottery.training.train_log import NullLog, TrainLog


@contextmanager
def _trained_beside(model: Any) -> Iterator[None]:
    """Trainer refuses quantised weights without PEFT's adapters; ours are not of PEFT's making."""
    quantised = vars(model).get("is_quantized", False)
    if quantised:
        model.is_quantized = False
    try:
        yield
    finally:
        if quantised:
            model.is_quantized = True


#: What the loss is multiplied by where gradients pass through float16: of a mean over hundreds of
#: labels they lie below 6e-8, its smallest number. Gradients of 16 times the loss's own would fit.
FLOAT16_SCALE = 2.0**12


@contextmanager
def _within_range(model: Any, autocast: torch.dtype | None) -> Iterator[float]:
    """What to multiply the loss by; the trained (float32) gradients are divided by it again."""
    if (autocast or model.get_input_embeddings().weight.dtype) is not torch.float16:
        yield 1.0
        return
    trained = [p for p in model.parameters() if p.requires_grad]
    hooks = [p.register_hook(lambda gradient: gradient / FLOAT16_SCALE) for p in trained]
    try:
        yield FLOAT16_SCALE
    finally:
        for hook in hooks:
            hook.remove()


class LotteryTrainer(CheckpointTrainer):
    """Trainer with the objective's batches and loss."""

    scale = 1.0

    def __init__(self, model: Any, arguments: TrainingArguments, objective: Objective) -> None:
        with _trained_beside(model):
            super().__init__(model=model, args=arguments, train_dataset=objective.examples)
        if vars(model).get("is_quantized", False):
            # it is on its device: some cannot be moved at all; Trainer moves the batches itself
            self.accelerator.device_placement = False
        self.objective = objective
        # the objective divides by the labels of the whole optimizer step, of all processes
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            self.objective.examples,  # type: ignore[arg-type]
            batch_sampler=self.objective.batches,  # type: ignore[arg-type]
            collate_fn=self.objective.collate,
        )

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> int:
        # asked for so that Trainer leaves the loss as it is; its own count goes to the device,
        # and the host waits for that in every step
        return 1

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return self.objective.to_device(inputs)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:  # type: ignore[has-type]
            config = self.objective.config
            self.optimizer = OPTIMIZERS.get(config.optimizer)(list(self.trained().values()), config)
            self.one_by_one()
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.objective.check_finite(self.state.global_step)  # nothing could go on from it
        super()._save_checkpoint(model, trial)

    def compute_loss(  # type: ignore[override]
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        loss = self.objective.loss(inputs, self.state.global_step, model)
        return loss if self.scale == 1 else loss * self.scale

    def find_unreached(self) -> None:
        """Tell DistributedDataParallel of parameters without a gradient: it would wait for them.

        It looks for them in every step only if there are any (parts of a model that text does
        not pass through).
        """
        unreached = self.objective.leaves_out()
        self.args.ddp_find_unused_parameters = unreached  # transformers 4 looks here
        if self.accelerator.ddp_handler is not None:
            self.accelerator.ddp_handler.find_unused_parameters = unreached


class _Steps(TrainerCallback):  # type: ignore[misc]
    """Hands each optimizer step to the log, and the end of an epoch to the dev loss."""

    def __init__(self, trainer: LotteryTrainer, train_log: TrainLog) -> None:
        self.trainer = trainer
        self.train_log = train_log
        self.lr = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        optimizer = self.trainer.optimizer
        assert optimizer is not None
        self.lr = float(optimizer.param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        objective = self.trainer.objective
        objective.end_step(self.train_log, state.global_step, self.lr)
        if objective.dev and state.global_step in objective.ends:
            self.train_log.note(state.global_step, dev_loss=objective.dev_loss())
        if objective.asked_to_stop():
            objective.stopped_at = state.global_step
            control.should_save = control.should_training_stop = True


def train(
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
    objective = Objective(
        model, config, examples, pad_id=pad_id, seed=seed, dev=dev, autocast=autocast
    )
    total = objective.total

    def begin() -> Path | None:
        if not resume:
            remove(folder, quiet=True)
        return last_checkpoint(folder, model)

    last = parallel.on_main(begin)
    start = step_of(last) if last else 0
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    arguments = _arguments(model, config, folder, total, seed)
    trainer = LotteryTrainer(model, arguments, objective)
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if parallel.started():
        if not trainer.sharded:
            trainer.find_unreached()
        torch.manual_seed(seed + (parallel.rank() << 32))  # each process draws its own dropout
    main = parallel.is_main()
    train_log = TrainLog(log, title, total, start, trackers) if main else NullLog()
    trainer.add_callback(_Steps(trainer, train_log))
    began = time.monotonic()
    try:
        if last is None or start < total:
            patience = interrupts.PATIENCE if parallel.processes() > 1 else None
            stopping = interrupts.until_step_ends(quiet=not main, patience=patience)
            scaled = _within_range(model, autocast)
            kernels = fused(model, config.kernels)
            with of_any_shape(), kernels, stopping, scaled as trainer.scale:
                trainer.train(resume_from_checkpoint=None if last is None else str(last))
                if objective.stopped_at is not None:
                    raise objective.interruption()
        else:
            trainer._load_from_checkpoint(str(last))
        objective.check_reached()
        objective.check_finite()
    except RuntimeError as error:
        if "without overflow" not in str(error):
            raise
        raise TrainingError(
            f"The learning rate {config.lr:g} makes steps that the parameters' dtype cannot hold; "
            "a lower train.lr (probe.lr) helps."
        ) from error
    finally:
        train_log.close()
        if config.gradient_checkpointing:
            model.gradient_checkpointing_disable()
        model.eval()
    return objective.result(train_log, log, time.monotonic() - began)


@register_engine("transformers")
class TransformersEngine:
    """transformers' Trainer; several processes with DistributedDataParallel."""

    train = staticmethod(train)

    def __init__(self, config: RunConfig) -> None:
        self._config = config

    def problems(self) -> list[str]:
        """That it has no FSDP."""
        if self._config.data_parallelism == "ddp":
            return []
        here = f"`data_parallelism` is {self._config.data_parallelism}"
        here += ", which engine=fairseq2 alone has"
        if self._config.train.sharding != "none":
            return [f"{here}; allowed: ddp, as train.sharding=fsdp divides the model."]
        right = assigned({"train.sharding": "fsdp"})
        return [f"{here}; allowed: ddp. With engine=transformers {right} divides the model."]


def _arguments(
    model: Any, config: TrainConfig, folder: Path, total: int, seed: int
) -> TrainingArguments:
    """Trainer's arguments for a section of the configuration.

    Args:
        model: causal LM, on its device.
        config: the ``train`` (or ``probe``) section.
        folder: for checkpoints.
        total: optimizer steps in all.
        seed: the run's seed.
    """
    shared_cpu = parallel.started() and model.device.type == "cpu"
    if shared_cpu:  # not "cpu:0", where transformers 4 cannot load an optimizer's state
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    schedule = {"constant": "constant_with_warmup"}.get(config.schedule, config.schedule)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=total,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.lr,
        lr_scheduler_type=schedule,
        warmup_steps=config.warmup_steps,
        max_grad_norm=config.max_grad_norm,
        weight_decay=config.weight_decay,
        seed=seed,
        data_seed=seed,
        logging_strategy="no",
        logging_nan_inf_filter=False,  # the objective looks itself; this waits for the device
        save_strategy="steps",
        save_steps=config.save_steps,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=model.device.type == "cpu",
        dataloader_pin_memory=False,
        ignore_data_skip=False,
        # several processes: batches are shared out, and labels counted, by ourselves
        average_tokens_across_devices=False,
        ddp_backend="gloo" if shared_cpu else None,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # they never change, and some are as long as the vocabulary
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # never DataParallel: one process, one device
    if model.device.type == "cuda" and not parallel.started():
        # transformers takes the first GPU, and would move the model there
        vars(arguments)["_setup_devices"] = model.device
        torch.cuda.set_device(model.device)
    return arguments
