"""The parts of ``benchmarks/gpu.py``, a file each."""

from __future__ import annotations

import importlib

from gpu_parts.work import Given

PARTS = ["right", "repeat", "train_rows", "decode", "decode_small", "ks", "train", "train_liger",
         "decode_compiled", "full"]  # fmt: skip


def run_part(name: str, given: Given) -> None:
    """Run a part in this process; it writes its result as it goes."""
    module = importlib.import_module(f"gpu_parts.{name.partition('_')[0]}")
    module.run(given, name)


__all__ = ["PARTS", "Given", "run_part"]
