"""Training on top of transformers' Trainer: batches, loss, checkpoints, a journal."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from mt_lottery import parallel
from mt_lottery.config import TrainConfig
from mt_lottery.data.batches import BucketBatchSampler, EpochBatches, Example, collate
from mt_lottery.errors import TrainingError
from mt_lottery.registry import CRITERIA, OPTIMIZERS
from mt_lottery.train.arguments import training_arguments
from mt_lottery.train.checkpoints import CHECKPOINT, CheckpointTrainer, checkpoints
from mt_lottery.train.journal import Journal, Silence, read_log
from mt_lottery.train.label_loss import IGNORED, check_logits, label_loss
from mt_lottery.train.trackers import Tracker


@dataclass(frozen=True)
class TrainResult:
    """What training cost and where it ended.

    Attributes:
        steps: optimizer steps in all, those before a resume included.
        seconds: wall-clock time, that of the steps before a resume included.
        tokens_per_second: unpadded tokens, of all processes.
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


class LotteryTrainer(CheckpointTrainer):
    """Trainer with the label-position loss and our batches."""

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
        # the loss is divided by the labels of the whole optimizer step, of all processes (below)
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True
        self.step_loss = 0.0
        self.step_tokens = 0
        self.last_batch: list[int] = []

    def collate(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Tensors [B, T] of one batch, which examples they are, [B], and whether they count."""
        # a process without a share goes through the motions: the others wait for its gradient
        present = examples or [min(self.examples, key=len)]
        batch: dict[str, Any] = dict(collate(present, self.pad_id))
        batch["example"] = torch.tensor([e.index for e in present])
        batch["counts"] = bool(examples)
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
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        self.last_batch = inputs["example"].tolist()
        total = self.sum_loss(inputs, model)
        tokens = inputs["attention_mask"].sum()
        if not inputs["counts"]:
            total, tokens = total * 0.0, tokens * 0
        loss = total / torch.tensor(self.labels_of_step(), device=total.device)
        value, count = parallel.add(float(loss.detach()), int(tokens))
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss is {value} at step {self.state.global_step + 1}; training pairs of the "
                "batch (0-based, in the order of the corpus): "
                f"{self.named_batch()}. A lower train.lr, or train.max_grad_norm, usually mends it."
            )
        self.step_loss += value
        self.step_tokens += int(count)
        # gradients are averaged over the processes, this loss is summed over them
        return loss * parallel.processes() if parallel.started() else loss

    def labels_of_step(self) -> int:
        """Labels of the whole optimizer step: of all its batches, on all processes."""
        first = self.state.global_step * self.settings.accumulate
        batches = self.batches.batches[first : first + self.settings.accumulate]
        return sum(len(self.examples[i].target_ids) for batch in batches for i in batch)

    def named_batch(self) -> str:
        """The training pairs of the last batch; every process must ask."""
        pairs = (pair for share in parallel.gather(self.last_batch) for pair in share)
        return ", ".join(map(str, dict.fromkeys(pairs)))

    def check_finite(self) -> None:
        """Refuse trained values that the last update broke (no loss was computed since).

        Raises:
            TrainingError: NaN or infinity among them.
        """
        broken = [n for n, p in self.trained().items() if not bool(torch.isfinite(p).all())]
        if broken:
            raise TrainingError(
                f"{broken[0]} is not finite after step {self.state.global_step}, the last one; "
                "training pairs of its last batch (0-based, in the order of the corpus): "
                f"{self.named_batch()}. A lower train.lr usually mends it."
            )

    def find_unreached(self) -> None:
        """Tell DistributedDataParallel of parameters without a gradient: it would wait for them.

        It looks for them in every step only if there are any (parts of a model that text does
        not pass through).
        """
        example = self._prepare_inputs(self.collate([]))
        trained = list(self.trained().values())
        grads = torch.autograd.grad(self.sum_loss(example), trained, allow_unused=True)
        unreached = any(gradient is None for gradient in grads)
        self.args.ddp_find_unused_parameters = unreached  # transformers 4 looks here
        if self.accelerator.ddp_handler is not None:
            self.accelerator.ddp_handler.find_unused_parameters = unreached

    def dev_loss(self, examples: Sequence[Example]) -> float:
        """Mean loss over the labels of the dev examples, in nats."""
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt_ids))
        size = self.settings.batch_size
        total, count = 0.0, 0.0
        self.model.eval()  # type: ignore[union-attr]
        with torch.no_grad():
            for start in range(0, len(order), size):
                share = parallel.share(order[start : start + size])
                if not share:
                    continue
                batch = collate([examples[i] for i in share], self.pad_id)
                batch = {k: v.to(self.args.device) for k, v in batch.items()}
                total += float(self.sum_loss(batch))
                count += int((batch["labels"][:, 1:] != IGNORED).sum())
        total, count = parallel.add(total, count)
        return total / max(count, 1.0)


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
    batches = EpochBatches(sampler, config.epochs, parallel.rank(), parallel.processes())
    total = -(-len(batches) // config.accumulate)

    def last_checkpoint() -> Path | None:
        found = checkpoints(folder) if resume else []
        if not found:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        return found[-1] if found else None

    last = parallel.on_main(last_checkpoint)
    start = int(last.name.removeprefix(CHECKPOINT)) if last else 0
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    arguments = training_arguments(model, config, folder, total, seed)
    trainer = LotteryTrainer(model, arguments, config, examples, batches, pad_id, autocast)
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    if parallel.started():
        trainer.find_unreached()
        torch.manual_seed(seed + (parallel.rank() << 32))  # each process has a dropout of its own
    main = parallel.is_main()
    journal = Journal(log, title, total, start, trackers) if main else Silence()
    trainer.add_callback(_Steps(trainer, journal, dev))
    began = time.monotonic()
    try:
        if last is None or start < total:
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        else:
            trainer._load_from_checkpoint(str(last))
        trainer.check_finite()
    finally:
        journal.close()
        if config.gradient_checkpointing:
            model.gradient_checkpointing_disable()
        model.eval()
    seconds = time.monotonic() - began

    def result() -> TrainResult:
        lines = read_log(log)
        return TrainResult(
            steps=total,
            seconds=journal.before + seconds,
            tokens_per_second=journal.tokens / max(seconds, 1e-9),
            loss=math.nan if (loss := _last(lines, "loss")) is None else loss,
            dev_loss=_last(lines, "dev_loss"),
        )

    return parallel.on_main(result)


def _last(lines: Sequence[dict[str, Any]], key: str) -> float | None:
    """The last value of ``key`` in the log: a resumed run may not have measured it itself."""
    values = [float(line[key]) for line in lines if key in line]
    return values[-1] if values else None
