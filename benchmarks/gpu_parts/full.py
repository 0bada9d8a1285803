"""Part *full*: full tuning with 8-bit Adam and gradient checkpointing, where it fits.

mt-lottery keeps a float32 master copy; the peer trains the bfloat16 weights themselves.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from gpu_parts import train
from gpu_parts.work import (
    Given,
    Report,
    attempt,
    bf16_peak,
    clear,
    make_model,
    matmul_parameters,
)
from mt_lottery.config import TunerConfig
from mt_lottery.registry import TUNERS
from mt_lottery.tuners.base import TuningContext

LAYERS = 12  # of LLaMA-7B's 32: 2.6 billion weights and their states fit 80 GB with room


def run(given: Given, name: str) -> None:
    more: dict[str, Any] = {} if given.check else {"num_hidden_layers": LAYERS}
    shape = "tiny" if given.check else "llama_7b"
    model = make_model(shape, given.device, **more)
    work = train.Work(int(model.config.vocab_size), given.check)
    count = matmul_parameters(model)
    best = bf16_peak(given.device, 256 if given.check else 8192)
    report = Report(
        given, name, shape=shape, layers=model.config.num_hidden_layers,
        matmul_parameters=count, flops_a_token=6 * count, measured_peak_flops=best,
    )  # fmt: skip
    del model
    optimizer = "adamw_8bit" if given.cuda else "adamw"

    def mine() -> list[float]:
        made = make_model(shape, given.device, **more)
        tuner = TUNERS.get("full")(TunerConfig("full"))
        tuner.apply(TuningContext(made, None, 0))
        return train.ours(
            made, work, given, autocast=tuner.autocast, optimizer=optimizer,
            gradient_checkpointing=True,
        )  # fmt: skip

    def peer() -> list[float]:
        made = make_model(shape, given.device, **more).requires_grad_(True)
        made.gradient_checkpointing_enable({"use_reentrant": False})
        trained: list[nn.Parameter] = list(made.parameters())
        return train.theirs(made, work, given, train.peers.plain, eight_bit(trained, given))

    for arm, trains in {"full: ours": mine, "full: transformers' loss": peer}.items():
        clear(given.device)
        attempt(
            report, "arms", arm,
            lambda trains=trains: train.measured(trains, work, given, 6 * count, best),
        )  # fmt: skip


def eight_bit(trained: list[nn.Parameter], given: Given) -> Any:
    """bitsandbytes' 8-bit AdamW; on the CPU PyTorch's."""
    if given.cuda:
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(trained, lr=1e-5)
    from torch.optim import AdamW

    return AdamW(trained, lr=1e-5)
