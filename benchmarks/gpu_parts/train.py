"""Part *train*: tokens a second and memory of mt-train's own training loop, and of its peers.

Sequences of 60 to 400 tokens, half of each the target; batches by a budget of padded tokens.
Ours are trained by what ``mt-train`` calls, with log, checkpoint and checks.  The peers get the
same batches in a plain loop: forward, backward, clip, step.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from gpu_parts import peers
from gpu_parts.work import (
    H100_PEAK,
    Given,
    Report,
    attempt,
    bf16_peak,
    clear,
    make_model,
    matmul_parameters,
    peak,
    profiled,
    wait,
)
from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import BucketBatchSampler, Example, collate
from mt_lottery.model.attention import of_any_shape
from mt_lottery.registry import TUNERS
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.trainer import train
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.module import attach, detach

WARM, TIMED = 2, 6  # optimizer steps
ROWS = 18
PAD, EOS = 0, 2


class Work:
    """The text: as many batches as there are steps, in one order for every arm."""

    def __init__(self, vocabulary: int, check: bool, steps: int = WARM + TIMED) -> None:
        self.budget = 512 if check else 8192
        self.longest, shortest = (60, 12) if check else (400, 60)
        choose = random.Random(0)
        self.examples: list[Example] = []
        while True:
            half = choose.randint(shortest // 2, self.longest // 2)
            parts = [choose.choices(range(3, vocabulary), k=half) for _ in range(2)]
            self.examples.append(Example(len(self.examples), parts[0], [*parts[1][:-1], EOS]))
            if len(self.examples) % 8 == 0 and len(self._planned()) >= steps:
                break
        self.batches = self._planned()

    def _planned(self) -> list[list[int]]:
        lengths = [len(example) for example in self.examples]
        return BucketBatchSampler(lengths, len(lengths), self.budget, seed=0).planned(0)

    def tokens(self, batch: list[int]) -> int:
        """Unpadded tokens."""
        return sum(len(self.examples[i]) for i in batch)

    def rows(self) -> torch.Tensor:
        """Ids that occur: the first of the first prompts."""
        seen = dict.fromkeys(i for example in self.examples for i in example.prompt_ids)
        return torch.tensor(list(seen)[:ROWS])

    def config(self, **settings: Any) -> TrainConfig:
        many = len(self.examples)
        return TrainConfig(
            epochs=1, lr=1e-4, batch_size=many, max_tokens=self.budget, save_steps=10**6, **settings
        )


class Clock(Tracker):
    """Notes when each step ended."""

    def __init__(self) -> None:
        super().__init__({}, "")
        self.ends: list[float] = []

    def log(self, step: int, values: dict[str, float]) -> None:
        if "loss" in values:
            self.ends.append(time.perf_counter())


def ours(model: Any, work: Work, given: Given, **settings: Any) -> list[float]:
    """When each step ended, by mt-train's loop; the last one is waited for."""
    clock = Clock()
    autocast = settings.pop("autocast", None)
    with tempfile.TemporaryDirectory() as folder:
        train(
            model, work.config(**settings), work.examples, pad_id=PAD, seed=0,
            folder=Path(folder) / "checkpoints", log=Path(folder) / "log.jsonl", title="ours",
            autocast=autocast, trackers=(clock,),
        )  # fmt: skip
        wait(given.device)
    return clock.ends


def theirs(
    model: Any, work: Work, given: Given, loss_of: peers.Loss, optimizer: Any = None
) -> list[float]:
    """When each step ended, by the plainest loop there is."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = optimizer or torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
    model.train()
    ends = []
    for batch in work.batches:
        inputs = collate([work.examples[i] for i in batch], PAD)
        loss = loss_of(model, {k: v.to(given.device) for k, v in inputs.items()})
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        wait(given.device)
        ends.append(time.perf_counter())
    model.eval()
    return ends


def measured(
    run: Callable[[], list[float]], work: Work, given: Given, flops: float, best: float
) -> dict[str, Any]:
    """Speed over the timed steps, peak memory, share of the device's peak.

    Args:
        run: trains; gives when each step ended.
        flops: of a token.
        best: FLOPs a second of a large product on this device.
    """
    clear(given.device)
    began = time.perf_counter()
    ends = run()
    wait(given.device)
    tokens = sum(work.tokens(batch) for batch in work.batches[WARM : len(ends)])
    speed = tokens / (ends[-1] - ends[WARM - 1])
    return {
        "tokens_per_second": round(speed, 1),
        "peak_bytes": peak(given.device),
        "share_of_measured_peak": round(flops * speed / best, 4),
        "share_of_h100_peak": round(flops * speed / H100_PEAK, 4),
        "steps": len(ends) - WARM,
        "seconds_in_all": round(time.perf_counter() - began, 3),
        "seconds_of_steps": [round(b - a, 4) for a, b in itertools.pairwise(ends)],
    }


@contextmanager
def tuned(model: Any, method: str, work: Work) -> Iterator[Any]:
    """The model with a method of mt-lottery applied, and as it was afterwards."""
    context = TuningContext(model, None, 0)
    if any(type(module).__name__ == "Linear4bit" for module in model.modules()):
        method = "lora"  # the base is in 4 bits since the turn before
    try:
        if method == "rows":
            attach(model, work.rows(), tied=False)
        else:
            schema = TUNERS.dataclass_of(method)
            assert schema is not None
            settings: dict[str, Any] = {"r": 8} if "lora" in method else {"init": "random"}
            TUNERS.get(method)(schema(method, **settings)).apply(context)
        yield context.model
    finally:
        if method == "rows":
            detach(model)
        elif "lora" in method and context.model is not model:
            context.model.unload()
        model.requires_grad_(False)


def mine(
    model: Any, method: str, work: Work, given: Given, kernels: str = "torch"
) -> Callable[[], list[float]]:
    """Trains a model by a method of mt-lottery."""

    def trains() -> list[float]:
        with tuned(model, method, work) as made:
            return ours(made, work, given, kernels=kernels)

    return trains


def peer(
    model: Any, method: str, loss_of: peers.Loss, work: Work, given: Given
) -> Callable[[], list[float]]:
    """Trains a model as PEFT's users do."""

    def trains() -> list[float]:
        with peers.wrapped(model, method, work.rows()) as made:
            return theirs(made, work, given, loss_of)

    return trains


def rows_arms(model: Any, work: Work, given: Given) -> dict[str, Callable[[], list[float]]]:
    """Token rows, ours and PEFT's, with and without cuDNN's attention and the mask of padding."""
    ours, theirs = mine(model, "rows", work, given), peer(model, "rows", peers.plain, work, given)
    return {
        "rows: ours": ours,
        "rows: PEFT, transformers' loss": theirs,
        "rows: ours, with cuDNN's attention": with_cudnn(ours),
        "rows: ours, without a mask": without_mask(model, ours),
        "rows: PEFT, without cuDNN's attention": without_cudnn(theirs),
    }


def with_cudnn(run: Callable[[], list[float]]) -> Callable[[], list[float]]:
    """Our training with PyTorch's own choice of attention kernels."""

    def trains() -> list[float]:
        with mock.patch("mt_lottery.training.trainer.of_any_shape", contextlib.nullcontext):
            return run()

    return trains


def without_cudnn(run: Callable[[], list[float]]) -> Callable[[], list[float]]:
    """A peer's training with the attention kernels that ours has."""

    def trains() -> list[float]:
        with of_any_shape():
            return run()

    return trains


def without_mask(model: Any, run: Callable[[], list[float]]) -> Callable[[], list[float]]:
    """Padding on the right is behind all that counts: causal attention needs no mask for it."""

    def trains() -> list[float]:
        handle = model.register_forward_pre_hook(
            lambda _, args, given: (args, given | {"attention_mask": None}), with_kwargs=True
        )
        try:
            return run()
        finally:
            handle.remove()

    return trains


def arms_of(model: Any, work: Work, given: Given) -> dict[str, Callable[[], list[float]]]:
    """Name → what trains it, in order of worth."""
    return {
        "lora: ours": mine(model, "lora", work, given),
        "lora: PEFT, transformers' loss": peer(model, "lora", peers.plain, work, given),
        "lora: PEFT, TRL's chunked loss": peer(model, "lora", peers.trl, work, given),
        "prefix: ours": mine(model, "prefix", work, given),
        "prefix: PEFT, transformers' loss": peer(model, "prefix", peers.plain, work, given),
        "lora: PEFT, cut-cross-entropy": peer(model, "lora", peers.cut_cross_entropy, work, given),
    }


def liger_arms(model: Any, work: Work, given: Given) -> dict[str, Callable[[], list[float]]]:
    """Liger's kernels for norms, rotary positions and MLPs, in our training and in PEFT's."""
    kernels = "liger" if given.cuda else "torch"
    return {
        "rows: ours": mine(model, "rows", work, given),
        "rows: ours, Liger's kernels": mine(model, "rows", work, given, kernels),
        "lora: ours": mine(model, "lora", work, given),
        "lora: ours, Liger's kernels": mine(model, "lora", work, given, kernels),
        # these change the model for good: they come last in a turn, and there is one turn
        "lora: PEFT, Liger": peer(model, "lora", peers.liger, work, given),
        "rows: PEFT, Liger": peer(model, "rows", peers.liger, work, given),
        "rows: PEFT, Liger, again": peer(model, "rows", peers.liger, work, given),
        "lora: PEFT, Liger, again": peer(model, "lora", peers.liger, work, given),
    }


def run(given: Given, name: str) -> None:
    shape = "tiny" if given.check else "llama_7b"
    model = make_model(shape, given.device)
    work = Work(int(model.config.vocab_size), given.check)
    count = matmul_parameters(model)
    best = bf16_peak(given.device, 256 if given.check else 8192)
    report = Report(
        given, name, shape=shape, matmul_parameters=count, flops_a_token=4 * count,
        measured_peak_flops=best, padded_tokens_a_batch=work.budget, steps=[WARM, TIMED],
        weights_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
        unpadded_tokens_a_batch=[work.tokens(batch) for batch in work.batches],
    )  # fmt: skip

    def measure(
        arms: dict[str, Callable[[], list[float]]], turns: Sequence[str] = ("first_turn", "arms")
    ) -> None:
        """Twice, by turns: what is built once for a shape of batch is the first turn's."""
        room = 45 if name == "train_rows" else 20  # there are profiles to come
        for turn in turns:
            for arm, trains in arms.items():
                if given.left() < room and not given.check:
                    report.add(turn, arm, {"failed": "no time was left for it"})
                    continue
                attempt(
                    report, turn, arm,
                    lambda trains=trains: measured(trains, work, given, 4 * count, best),
                )  # fmt: skip

    if name == "train_rows":
        measure(rows_arms(model, work, given))
        few = Work(int(model.config.vocab_size), given.check, 3)
        for arm, trains in {
            "rows: ours": mine(model, "rows", few, given),
            "rows: PEFT": peer(model, "rows", peers.plain, few, given),
        }.items():
            if given.left() > 15:
                steps = len(few.batches)
                attempt(
                    report, "profiles", arm,
                    lambda arm=arm, trains=trains, n=steps: profiled(trains, n, arm, given),
                )  # fmt: skip
        return
    if name == "train_liger":
        arms = liger_arms(model, work, given)
        measure({arm: trains for arm, trains in arms.items() if "PEFT" not in arm})
        measure({arm: trains for arm, trains in arms.items() if "PEFT" in arm}, ["arms"])
        return
    measure(arms_of(model, work, given))
    # the base is put into 4 bits once, in place, by our own code, and serves both arms
    measure({
        "qlora: ours": mine(model, "qlora", work, given),
        "qlora: PEFT, transformers' loss": peer(model, "lora", peers.plain, work, given),
    })  # fmt: skip
    del model
    clear(given.device)
    model = make_model(shape, given.device)  # Liger changes it for good
    measure({"lora: PEFT, Liger": peer(model, "lora", peers.liger, work, given)})
