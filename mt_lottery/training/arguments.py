"""Our settings as arguments of transformers' Trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from mt_lottery.config import TrainConfig
from mt_lottery.system import parallel


def training_arguments(
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
