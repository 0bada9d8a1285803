"""``--slurm key=value``: what a benchmark's jobs ask of the cluster."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from mt_lottery.errors import ConfigError, argument, unknown

#: Keys that may be given, each with what it is; the names are sbatch's.
OPTIONS = {
    "account": "whose budget",
    "comment": "shown by squeue",
    "constraint": "features of the node",
    "cpus_per_gpu": "cores a GPU",
    "cpus_per_task": "cores a cell; Slurm's own default is one",
    "exclude": "nodes not to use",
    "exclusive": "true: the whole node",
    "gpus": "GPUs a cell: 1, or a100:1",
    "gres": "other resources",
    "mail_type": "END, FAIL, …",
    "mail_user": "address",
    "mem": "memory a cell: 32G",
    "mem_per_cpu": "memory a core",
    "mem_per_gpu": "memory a GPU",
    "nodelist": "nodes to use",
    "partition": "queue",
    "qos": "quality of service",
    "setup": "shell command before the cell, such as 'module load cuda'; may be repeated",
    "time": "limit a cell: minutes, or [DAYS-]HOURS:MINUTES:SECONDS; else the partition's own",
    "wckey": "key of the workload",
}

#: What submitit calls it, where it has another name.
_SUBMITIT = {"gpus": "gpus_per_node"}

_COUNTS = ("cpus_per_gpu", "cpus_per_task")
_MEMORY = ("mem", "mem_per_cpu", "mem_per_gpu")


def seconds(text: str) -> int | None:
    """Slurm's ``[D-]H:M:S`` and ``M:S`` (``D-H`` and ``D-H:M`` too); None if it is neither."""
    match = re.fullmatch(r"(?:(\d+)-(\d+)(?::(\d+))?(?::(\d+))?|(?:(\d+):)?(\d+):(\d+))", text)
    if match is None:
        return None
    days, h, m, s, hours, minutes, rest = (int(g or 0) for g in match.groups())
    return 86400 * days + 3600 * (h + hours) + 60 * (m + minutes) + s + rest


def _value(key: str, text: str) -> Any:
    """A value as submitit takes it.

    Raises:
        ValueError: what is allowed.
    """
    if not text or not text.isprintable():  # it becomes one line of a shell script
        raise ValueError("one line of text")
    if key == "time":
        length = 60 * int(text) if text.isdecimal() else seconds(text)
        if not length:
            raise ValueError("minutes (90), or [DAYS-]HOURS:MINUTES:SECONDS (1-12:00:00)")
        return math.ceil(length / 60)
    if key in _COUNTS:
        if not text.isdecimal() or int(text) < 1:
            raise ValueError("a whole number ≥ 1")
        return int(text)
    if key in _MEMORY and not re.fullmatch(r"\d+[KMGT]B?", text, re.IGNORECASE):
        raise ValueError("a number with its unit: 32G, 500M")  # without one Slurm takes megabytes
    if key == "exclusive" and text == "true":
        return True
    return text


def parse_options(given: Sequence[str]) -> dict[str, Any]:
    """Parameters of submitit's Slurm executor, without its prefix ``slurm_``.

    Args:
        given: ``key=value`` each; a dash in a key is read as an underscore.

    Raises:
        ConfigError: with every mistake.
    """
    parameters: dict[str, Any] = {}
    problems, own = [], argument("slurm")
    for pair in given:
        name, equals, text = pair.partition("=")
        key = name.strip().replace("-", "_")
        if not equals:
            problems.append(f"{own} {pair}: give key=value, for example {own} partition=gpu.")
        elif key not in OPTIONS:
            problems.append(f"{own} {pair}: {unknown('key', key, OPTIONS)}")
        elif _SUBMITIT.get(key, key) in parameters and key != "setup":
            problems.append(f"{own} {pair}: {key} is given twice.")
        else:
            try:
                value = _value(key, text.strip())
            except ValueError as error:
                problems.append(f"{own} {pair}: {key} must be {error}.")
                continue
            if key == "setup":
                parameters.setdefault(key, []).append(value)
            else:
                parameters[_SUBMITIT.get(key, key)] = value
    if problems:
        raise ConfigError(problems)
    return parameters
