"""What a training minimises, whichever engine trains: batches, their loss, the dev loss.

An engine (transformers' Trainer, fairseq2's) brings the loop, the data parallelism and the
checkpoints; the numbers are these.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import set_seed

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import (
    IGNORE,
    BucketBatchSampler,
    EpochBatches,
    Example,
    collate,
)
from mt_lottery.errors import TrainingError, assigned, by_caller
from mt_lottery.model.sharding import is_sharded, local
from mt_lottery.registry import CRITERIA
from mt_lottery.system import interrupts, parallel
from mt_lottery.training.engine import Engine as Engine  # where plugins of version 0.1 find it
from mt_lottery.training.engine import TrainResult as TrainResult
from mt_lottery.training.gradients import GradientWatch
from mt_lottery.training.label_loss import check_logits, label_loss
from mt_lottery.training.train_log import TrainLog, read_log
from mt_lottery.training.trained import trained_parameters


def computing(device: str, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Computation in another dtype than the parameters', or in their own (None)."""
    return contextlib.nullcontext() if dtype is None else torch.autocast(device, dtype=dtype)


class Objective:
    """The loss of a model on its training batches, and on the dev set.

    Args:
        model: causal LM with its tuner applied, on its device.
        config: the ``train`` (or ``probe``) section.
        examples: training examples; their ``index`` is named in errors.
        pad_id: token id that fills up batches.
        seed: of batch order and dropout; PyTorch's random state is set to it.
        dev: examples whose loss is measured after each epoch.
        autocast: dtype of the computation, where the parameters are wider.

    Attributes:
        batches: of all epochs; iterated, this process's share of each.
        total: optimizer steps in all.
        ends: the steps after which an epoch has ended.
        stopped_at: the step after which the training ended because it was asked to.
        last_loss: mean loss a label of the last step, in nats.

    Raises:
        TrainingError: no example.
        ModelError: a model whose logits are not understood.
    """

    def __init__(
        self,
        model: Any,
        config: TrainConfig,
        examples: Sequence[Example],
        *,
        pad_id: int,
        seed: int,
        dev: Sequence[Example] | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        if not examples:
            raise TrainingError("No training example is left; see data.max_length.")
        self.model = model
        self.config = config
        self.examples = examples
        self.dev = dev
        self.pad_id = pad_id
        self.criterion = CRITERIA.get(config.criterion)
        self._autocast = autocast
        model.eval()
        first = examples[0].prompt_ids + examples[0].target_ids
        with computing(model.device.type, autocast):
            check_logits(model, torch.tensor([first[:8]], device=model.device))
        set_seed(seed)
        lengths = [len(e.prompt_ids) + len(e.target_ids) for e in examples]
        sampler = BucketBatchSampler(lengths, config.batch_size, config.max_tokens, seed=seed)
        self.batches = EpochBatches(sampler, config.epochs, parallel.rank(), parallel.processes())
        self.total = -(-len(self.batches) // config.accumulate)
        self.ends = {-(-end // config.accumulate) for end in self.batches.ends}
        self.last_loss = math.nan
        self._step_loss = 0.0
        self._step_tokens = 0
        self._last_batch: list[int] = []
        self._step = 0
        self._asked = False
        self.stopped_at: int | None = None
        self._watch = GradientWatch(self.trained)

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """Name → parameter of all that is trained."""
        return trained_parameters(self.model)

    def collate(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Tensors [B, T] of one batch, which examples they are, and their tokens if they count."""
        # a process without a share computes one too: the others wait for its gradient
        present = examples or [min(self.examples, key=len)]
        batch: dict[str, Any] = dict(collate(present, self.pad_id))
        # lists and numbers stay on the host, which need not wait for the device to read them
        batch["example"] = [e.index for e in present]
        batch["tokens"] = sum(map(len, examples))
        return batch

    def sum_loss(self, inputs: dict[str, Tensor], run: Callable[..., Any] | None = None) -> Tensor:
        """Summed loss of one batch.

        Args:
            inputs: from :meth:`collate`, on the model's device.
            run: what to call instead of the model (a data-parallel wrapper of it).
        """
        with computing(inputs["input_ids"].device.type, self._autocast):
            return label_loss(
                self.model,
                {k: inputs[k] for k in ("input_ids", "attention_mask")},
                inputs["labels"],
                lambda logits, labels: self.criterion(logits, labels, self.config),
                run=run,
                widen=not getattr(self.criterion, "any_dtype", False),
            )

    def loss(
        self, inputs: dict[str, Any], step: int, run: Callable[..., Any] | None = None
    ) -> Tensor:
        """What to differentiate for one batch: its share of the step's mean loss a label.

        Gradients are to be summed over the batches of a step and averaged over the processes.

        Args:
            inputs: from :meth:`collate`, on the model's device.
            step: optimizer steps done so far.
            run: what to call instead of the model (a data-parallel wrapper of it).

        Raises:
            TrainingError: it is not finite.
        """
        self._last_batch = inputs["example"]
        total = self.sum_loss(inputs, run)
        if not inputs["tokens"]:
            total = total * 0.0
        loss = total / self.labels_of(step)
        asked = float(interrupts.asked())
        value, count, asked = parallel.add(float(loss.detach()), inputs["tokens"], asked)
        self._asked = self._asked or asked > 0
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss is {value} at step {step + 1}; training pairs of the "
                "batch (0-based, in the order of the corpus): "
                f"{self._named_batch()}. A lower train.lr, or train.max_grad_norm, usually "
                "helps."
            )
        if not loss.requires_grad:
            raise TrainingError(self._why_no_gradient(step))
        self._step_loss += value
        self._step_tokens += int(count)
        # gradients are averaged over the processes, this loss is summed over them
        return loss * parallel.processes() if parallel.started() else loss

    def _why_no_gradient(self, step: int) -> str:
        names = list(self.trained)
        if not names:
            return (
                f"No tensor of the model requires a gradient at step {step + 1}, so that nothing "
                "would be learnt: something has set requires_grad=False (the optimizer is "
                f"{self.config.optimizer})."
            )
        return (
            "The loss does not depend on any of the trained tensors "
            f"({', '.join(names[:3])}{', …' if len(names) > 3 else ''}): the model's output is "
            "computed without them, so that nothing would be learnt."
        )

    def batches_of(self, step: int) -> list[list[int]]:
        """The batches of an optimizer step, numbered from 0: of all processes together."""
        first = step * self.config.accumulate
        return self.batches.batches[first : first + self.config.accumulate]

    def labels_of(self, step: int) -> int:
        """Labels of a whole optimizer step: of all its batches, on all processes."""
        return sum(len(self.examples[i].target_ids) for b in self.batches_of(step) for i in b)

    def end_step(self, train_log: TrainLog, step: int, lr: float) -> None:
        """Write a step's line, from what :meth:`loss` gave for its batches.

        Args:
            train_log: to write it to.
            step: number of the step, from 1.
            lr: learning rate of the step.
        """
        self.last_loss, self._step = self._step_loss, step
        train_log.step(step, self._step_loss, lr, self._step_tokens)
        self._step_loss, self._step_tokens = 0.0, 0

    def _named_batch(self) -> str:
        """The training pairs of the last batch; every process must ask."""
        pairs = (pair for share in parallel.gather(self._last_batch) for pair in share)
        return ", ".join(map(str, dict.fromkeys(pairs)))

    def check_reached(self) -> None:
        """As :meth:`GradientWatch.check`, where there was a step and no other way to learn."""
        # weight decay alone may be what moves rows that no training input has
        if self._last_batch and self.config.weight_decay == 0:
            self._watch.check()

    def asked_to_stop(self) -> bool:
        """Whether Ctrl-C or SIGTERM came to any process; at the same step on all of them."""
        alone = not parallel.started()
        return self._asked or (alone and interrupts.asked())

    def interruption(self) -> KeyboardInterrupt:
        """What to raise once the training has ended at ``stopped_at`` with a checkpoint."""
        return interrupts.ended(
            f"Interrupted after step {self.stopped_at} of {self.total}; a checkpoint was written. "
            f"The same {by_caller('command', 'call')} goes on from it "
            f"({by_caller('mt-train', 'mtl.train')}: with {assigned({'resume': True})})."
        )

    def check_finite(self, step: int | None = None) -> None:
        """Refuse trained values that the last update broke (no loss was computed since).

        Every process must ask.

        Args:
            step: after which it is; the last one if None.

        Raises:
            TrainingError: NaN or infinity among them.
        """
        # of divided values each process sees its own
        own = {name: local(parameter) for name, parameter in self.trained.items()}
        bad = [name for name, part in own.items() if not bool(torch.isfinite(part).all())]
        broken = [name for part in parallel.gather(bad) for name in part]
        if broken:
            raise TrainingError(
                f"{broken[0]} is not finite after step {self.total if step is None else step}; "
                "training pairs of its last batch (0-based, in the order of the corpus): "
                f"{self._named_batch()}. A lower train.lr usually helps."
            )

    def leaves_out(self) -> bool:
        """Whether some trained parameters get no gradient (parts that text does not pass)."""
        example = self.to_device(self.collate([]))
        trained = list(self.trained.values())
        grads = torch.autograd.grad(self.sum_loss(example), trained, allow_unused=True)
        return any(gradient is None for gradient in grads)

    def to_device(self, batch: dict[str, Any]) -> dict[str, Any]:
        """What the model reads of a batch on its device; the labels stay, to be counted."""
        device = self.model.device
        read = ("input_ids", "attention_mask")
        return batch | {k: batch[k].to(device, non_blocking=True) for k in read}

    def dev_loss(self, run: Callable[..., Any] | None = None) -> float:
        """Mean loss over the labels of the dev examples, in nats; leaves the model in train mode.

        Args:
            run: what to call instead of the model (a data-parallel wrapper of it).
        """
        assert self.dev is not None
        examples, size = self.dev, self.config.batch_size
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt_ids))
        total, count = 0.0, 0.0
        divided = is_sharded(self.model)
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(order), size):
                share = parallel.share(order[start : start + size])
                batch = self.to_device(self.collate([examples[i] for i in share]))
                if run is None and not share and not divided:
                    continue
                summed = float(self.sum_loss(batch, run))
                if share:  # else computed only because other processes hold parts of the model
                    total += summed
                    count += int((batch["labels"][:, 1:] != IGNORE).sum())
        self.model.train()
        total, count = parallel.add(total, count)
        if not math.isfinite(total):
            raise TrainingError(
                f"The loss on the dev pairs is {total} after step {self._step}: the training "
                "diverged. A lower train.lr, or train.max_grad_norm, usually helps."
            )
        return total / max(count, 1.0)

    def result(self, train_log: TrainLog, log: Path, seconds: float) -> TrainResult:
        """What the training cost; every process must ask, and gets the main one's.

        Args:
            train_log: closed.
            log: ``train_log.jsonl``.
            seconds: since the start or the resume, those of the trackers included.
        """

        def read() -> TrainResult:
            own = seconds - train_log.apart
            lines = read_log(log)
            loss, dev_loss = (
                next((float(line[k]) for line in reversed(lines) if k in line), None)
                for k in ("loss", "dev_loss")  # a resumed run may not have measured it itself
            )
            return TrainResult(
                steps=self.total,
                seconds=train_log.before + own,
                tokens_per_second=train_log.tokens / max(own, 1e-9),
                loss=math.nan if loss is None else loss,
                dev_loss=dev_loss,
            )

        return parallel.on_main(read)
