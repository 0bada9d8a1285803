"""What an engine is to a run: it trains the parameters that are given to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from mt_lottery.config import RunConfig, TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.tracking.trackers import Tracker


@dataclass(frozen=True)
class TrainResult:
    """What training cost and where it ended.

    Attributes:
        steps: optimizer steps in all, those before a resume included.
        seconds: wall-clock time, that of the steps before a resume included, and without that of
            the trackers (at the end of an epoch a run shows translations).
        tokens_per_second: unpadded tokens, of all processes.
        loss: mean loss of the last step, nats a label; NaN where it is not known.
        dev_loss: mean loss on the dev set after the last epoch, or None.
    """

    steps: int
    seconds: float
    tokens_per_second: float
    loss: float
    dev_loss: float | None


class Engine(Protocol):
    """What a registered engine offers; it is made from the whole run's settings."""

    def __init__(self, config: RunConfig) -> None: ...

    def problems(self) -> list[str]:
        """What it cannot do of the run's settings, one sentence each."""
        ...

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
        ...
