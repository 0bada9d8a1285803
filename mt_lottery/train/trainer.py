"""Training on top of transformers' Trainer: batches, loss, checkpoints, a journal."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from mt_lottery.config import TrainConfig
from mt_lottery.data.batches import BucketBatchSampler, Example, collate
from mt_lottery.errors import TrainingError
from mt_lottery.registry import CRITERIA, OPTIMIZERS
from mt_lottery.train.journal import Journal, read_log
from mt_lottery.train.label_loss import IGNORED, check_logits, label_loss
from mt_lottery.train.trackers import Tracker

TRAINED = "trained.safetensors"
CHECKPOINT = "checkpoint-"


@dataclass(frozen=True)
class TrainResult:
    """What training cost and where it ended.

    Attributes:
        steps: optimizer steps in all, those before a resume included.
        seconds: wall-clock time, that of the steps before a resume included.
        tokens_per_second: unpadded tokens, this process.
        loss: mean loss of the last step, nats a label.
        dev_loss: mean loss on the dev set after the last epoch, or None.
    """

    steps: int
    seconds: float
    tokens_per_second: float
    loss: float
    dev_loss: float | None


def _computing(device: str, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Computation in another dtype than the parameters', or in their own (None)."""
    return contextlib.nullcontext() if dtype is None else torch.autocast(device, dtype=dtype)


class EpochBatches:
    """The batches of all epochs, one after the other, so that a resume skips a prefix."""

    def __init__(self, sampler: BucketBatchSampler, epochs: int) -> None:
        self.batches: list[list[int]] = []
        self.ends: list[int] = []
        for epoch in range(epochs):
            self.batches += sampler.planned(epoch)
            self.ends.append(len(self.batches))

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints of an interrupted training, oldest first."""
    found = [p for p in folder.glob(f"{CHECKPOINT}*") if (p / "trainer_state.json").is_file()]
    return sorted(found, key=lambda p: int(p.name.removeprefix(CHECKPOINT)))


class LotteryTrainer(Trainer):  # type: ignore[misc]
    """Trainer with the label-position loss, our batches, and small atomic checkpoints."""

    def __init__(
        self,
        model: Any,
        arguments: TrainingArguments,
        config: TrainConfig,
        examples: Sequence[Example],
        batches: EpochBatches,
        pad_id: int,
        autocast: torch.dtype | None,
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=examples)  # type: ignore[arg-type]
        self.settings = config
        self.examples = examples
        self.batches = batches
        self.pad_id = pad_id
        self.compute_dtype = autocast
        self.criterion = CRITERIA.get(config.criterion)
        # the loss is divided by the labels of the whole optimizer step (below)
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True
        self.step_loss = 0.0
        self.step_tokens = 0
        self.last_batch: list[int] = []

    def collate(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Tensors [B, T] of one batch, and which examples they are, [B]."""
        batch = collate(examples, self.pad_id)
        batch["example"] = torch.tensor([e.index for e in examples])
        return batch

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            self.examples,  # type: ignore[arg-type]
            batch_sampler=self.batches,  # type: ignore[arg-type]
            collate_fn=self.collate,
        )

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:  # type: ignore[has-type]
            trained = [p for p in self.model.parameters() if p.requires_grad]  # type: ignore[union-attr]
            self.optimizer = OPTIMIZERS.get(self.settings.optimizer)(trained, self.settings)
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def sum_loss(self, inputs: dict[str, Tensor], run: Callable[..., Any] | None = None) -> Tensor:
        """Summed loss of one batch."""
        with _computing(inputs["input_ids"].device.type, self.compute_dtype):
            return label_loss(
                self.model,
                {k: inputs[k] for k in ("input_ids", "attention_mask")},
                inputs["labels"],
                lambda logits, labels: self.criterion(logits, labels, self.settings),
                run=run,
                widen=not getattr(self.criterion, "any_dtype", False),
            )

    def compute_loss(  # type: ignore[override]
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        self.last_batch = inputs["example"].tolist()
        total = self.sum_loss(inputs, model)
        labels = num_items_in_batch
        if labels is None:
            labels = (inputs["labels"][:, 1:] != IGNORED).sum()
        loss = total / labels
        value = float(loss.detach())
        if not torch.isfinite(loss.detach()):
            raise TrainingError(
                f"The loss is {value} at step {self.state.global_step + 1}; training pairs of the "
                "batch (0-based, in the order of the corpus): "
                f"{', '.join(map(str, self.last_batch))}. A lower train.lr, or "
                "train.max_grad_norm, usually mends it."
            )
        self.step_loss += value
        self.step_tokens += int(inputs["attention_mask"].sum())
        return loss

    def check_finite(self) -> None:
        """Refuse trained values that the last update broke (no loss was computed since).

        Raises:
            TrainingError: NaN or infinity among them.
        """
        broken = [n for n, p in self._trained().items() if not bool(torch.isfinite(p).all())]
        if broken:
            raise TrainingError(
                f"{broken[0]} is not finite after step {self.state.global_step}, the last one; "
                "training pairs of its last batch (0-based, in the order of the corpus): "
                f"{', '.join(map(str, self.last_batch))}. A lower train.lr usually mends it."
            )

    def dev_loss(self, examples: Sequence[Example]) -> float:
        """Mean loss over the labels of the dev examples, in nats."""
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt_ids))
        size = self.settings.batch_size
        total, count = 0.0, 0
        self.model.eval()  # type: ignore[union-attr]
        with torch.no_grad():
            for start in range(0, len(order), size):
                batch = collate([examples[i] for i in order[start : start + size]], self.pad_id)
                batch = {k: v.to(self.args.device) for k, v in batch.items()}
                total += float(self.sum_loss(batch))
                count += int((batch["labels"][:, 1:] != IGNORED).sum())
        return total / max(count, 1)

    # -- checkpoints: the trained parameters alone, and whole or not there at all

    def _get_output_dir(self, trial: Any) -> str:
        return os.path.join(str(self.args.output_dir), ".partial")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        staging = Path(self._get_output_dir(trial))
        shutil.rmtree(staging, ignore_errors=True)
        super()._save_checkpoint(model, trial)
        name = f"{CHECKPOINT}{self.state.global_step}"
        final = Path(str(self.args.output_dir)) / name
        shutil.rmtree(final, ignore_errors=True)
        os.replace(staging / name, final)
        shutil.rmtree(staging, ignore_errors=True)
        for old in checkpoints(final.parent):
            if old != final:
                shutil.rmtree(old, ignore_errors=True)

    def _trained(self) -> dict[str, nn.Parameter]:
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}  # type: ignore[union-attr]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        assert output_dir is not None
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        tensors = {n: p.detach().contiguous() for n, p in self._trained().items()}
        save_file(tensors, Path(output_dir) / TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        try:
            saved = load_file(Path(resume_from_checkpoint) / TRAINED)
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"{resume_from_checkpoint}: the checkpoint is damaged ({error}); remove it to "
                "start anew."
            ) from error
        trained = self._trained()
        if saved.keys() != trained.keys():
            raise TrainingError(
                f"{resume_from_checkpoint}: holds other parameters than this run's."
            )
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(saved[name])


class _Steps(TrainerCallback):  # type: ignore[misc]
    """Hands each optimizer step to the journal, and the end of an epoch to the dev loss."""

    def __init__(
        self, trainer: LotteryTrainer, journal: Journal, dev: Sequence[Example] | None
    ) -> None:
        self.trainer = trainer
        self.journal = journal
        self.dev = dev
        self.lr = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        optimizer = self.trainer.optimizer
        assert optimizer is not None
        self.lr = float(optimizer.param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        self.journal.step(state.global_step, trainer.step_loss, self.lr, trainer.step_tokens)
        trainer.step_loss, trainer.step_tokens = 0.0, 0
        accumulate = trainer.settings.accumulate
        ends = {-(-end // accumulate) for end in trainer.batches.ends}
        if self.dev and state.global_step in ends:
            self.journal.note(state.global_step, dev_loss=trainer.dev_loss(self.dev))
            trainer.model.train()  # type: ignore[union-attr]


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
    """Train the parameters of ``model`` that require a gradient.

    Args:
        model: causal LM with its tuner applied, on its device.
        config: the ``train`` (or ``probe``) section.
        examples: training examples; their ``index`` is named in errors.
        pad_id: token id that fills up batches.
        seed: of batch order and dropout.
        folder: for checkpoints; emptied by the caller when the run is done.
        log: ``train_log.jsonl``.
        title: what the progress bar says.
        dev: examples whose loss is measured after each epoch.
        autocast: dtype of the computation, where the parameters are wider.
        resume: go on from the last checkpoint in ``folder``, if there is one.
        trackers: where else the numbers go.

    Raises:
        TrainingError: nothing to train, or a loss that is not finite.
    """
    if not examples:
        raise TrainingError("No training example is left; see data.max_length.")
    model.eval()
    first = examples[0].prompt_ids + examples[0].target_ids
    with _computing(model.device.type, autocast):
        check_logits(model, torch.tensor([first[:8]], device=model.device))
    set_seed(seed)
    sampler = BucketBatchSampler(
        [len(e.prompt_ids) + len(e.target_ids) for e in examples],
        config.batch_size,
        config.max_tokens,
        seed=seed,
    )
    batches = EpochBatches(sampler, config.epochs)
    total = -(-len(batches) // config.accumulate)
    found = checkpoints(folder) if resume else []
    if not found:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    start = int(found[-1].name.removeprefix(CHECKPOINT)) if found else 0
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    arguments = _arguments(model, config, folder, total, seed)
    trainer = LotteryTrainer(model, arguments, config, examples, batches, pad_id, autocast)
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    journal = Journal(log, title, total, start, trackers)
    steps = _Steps(trainer, journal, dev)
    trainer.add_callback(steps)
    began = time.monotonic()
    try:
        if start < total:
            trainer.train(resume_from_checkpoint=str(found[-1]) if found else None)
        else:
            trainer._load_from_checkpoint(str(found[-1]))
        trainer.check_finite()
    finally:
        journal.close()
        if config.gradient_checkpointing:
            model.gradient_checkpointing_disable()
        model.eval()
    seconds = time.monotonic() - began
    lines = read_log(log)
    return TrainResult(
        steps=total,
        seconds=journal.before + seconds,
        tokens_per_second=journal.tokens / max(seconds, 1e-9),
        loss=math.nan if (last := _last(lines, "loss")) is None else last,
        dev_loss=_last(lines, "dev_loss"),
    )


def _last(lines: Sequence[dict[str, Any]], key: str) -> float | None:
    """The last value of ``key`` in the log: a resumed run may not have measured it itself."""
    values = [float(line[key]) for line in lines if key in line]
    return values[-1] if values else None


def _arguments(
    model: Any, config: TrainConfig, folder: Path, total: int, seed: int
) -> TrainingArguments:
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
        save_strategy="steps",
        save_steps=config.save_steps,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=model.device.type == "cpu",
        dataloader_pin_memory=False,
        ignore_data_skip=False,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # never DataParallel: one process, one device
    return arguments
