"""What the parts share: results written as they come, time, memory, models with random weights."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import torch

PACKAGES = (
    *("torch", "triton", "transformers", "peft", "accelerate", "numpy", "scipy", "numba"),
    *("sacrebleu", "hydra-core", "omegaconf", "py3langid", "bitsandbytes", "liger-kernel"),
    *("trl", "cut-cross-entropy", "vllm"),
)
PROFILES = "profiles.txt"  # in the folder of results
H100_PEAK = 989e12  # dense bfloat16 FLOPs a second, by the data sheet

SHAPES: dict[str, dict[str, Any]] = {
    "llama_7b": {
        "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096,
        "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "tie_word_embeddings": False,
        "max_position_embeddings": 2048,
    },
    "gemma3_270m": {
        "model_type": "gemma3_text", "vocab_size": 262144, "hidden_size": 640,
        "intermediate_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 256, "query_pre_attn_scalar": 256,
        "sliding_window": 512, "tie_word_embeddings": True,
    },
    "tiny": {
        "model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "tie_word_embeddings": False, "max_position_embeddings": 2048,
    },
    "tiny_gemma3": {
        "model_type": "gemma3_text", "vocab_size": 512, "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 32, "query_pre_attn_scalar": 32,
        "sliding_window": 512, "tie_word_embeddings": True,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Given:
    """How a part is to run: where, how small, until when (``time.monotonic``), where to write."""

    device: str
    check: bool
    deadline: float
    out: Path

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")

    def left(self) -> float:
        """Seconds that are left."""
        return self.deadline - time.monotonic()


class Results:
    """The one file of all parts' results: rented machines may give few files back."""

    def __init__(self, out: Path) -> None:
        self.path = out / "gpu.json"

    def begin(self, **content: Any) -> None:
        """An empty report, and no profiles."""
        (self.path.parent / PROFILES).unlink(missing_ok=True)
        self._write({**content, "parts": {}})

    def add(self, part: str, **content: Any) -> None:
        """Write more of a part."""
        whole = json.loads(self.path.read_text("utf-8")) if self.path.is_file() else {"parts": {}}
        whole["parts"].setdefault(part, {}).update(content)
        self._write(whole)

    def _write(self, whole: dict[str, Any]) -> None:
        partial = self.path.with_suffix(".partial")
        common.write("gpu", whole, partial)
        partial.replace(self.path)  # a part may be stopped at any time


class Report:
    """A part's result; every change of it is written at once."""

    def __init__(self, given: Given, part: str, **content: Any) -> None:
        self.results = Results(given.out)
        self.part = part
        self.content: dict[str, Any] = {"machine": machine(given.device), **content}
        self.write()

    def write(self) -> None:
        self.results.add(self.part, result=self.content)

    def add(self, section: str, name: str, content: dict[str, Any]) -> None:
        self.content.setdefault(section, {})[name] = content
        self.write()
        shown = {k: v for k, v in content.items() if not isinstance(v, (list, dict))}
        print(f"{self.part} {name}: {shown}"[:600], flush=True)


def versions() -> dict[str, str]:
    """Versions of the packages that matter, those that are absent too."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine(device: str) -> dict[str, Any]:
    found: dict[str, Any] = common.machine() | {"versions": versions()}
    if device.startswith("cuda"):
        about = torch.cuda.get_device_properties(device)
        found |= {"gpu": about.name, "gpu_bytes": about.total_memory}
    return found


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], device: str, repeats: int = 3) -> list[float]:
    """Wall-clock seconds of each of some calls, after one that does not count."""
    work()
    found = []
    for _ in range(repeats):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - start)
    return found


def median(values: list[float]) -> float:
    return round(statistics.median(values), 6)


def clear(device: str) -> None:
    """Give memory back, and start a new measurement of its peak."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        common.reset_peak()


def peak(device: str) -> int | None:
    """Peak memory since :func:`clear`, bytes."""
    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else common.peak()


CALLS = ("cudaStreamSynchronize", "cudaMemcpyAsync", "cudaLaunchKernel", "cuLaunchKernelEx")


def profiled(work: Callable[[], object], steps: int, name: str, given: Given) -> dict[str, Any]:
    """Profile some steps: tables of kernels and of what the host does, and counts a step."""
    from torch.profiler import ProfilerActivity

    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * given.cuda
    start = time.perf_counter()
    with torch.profiler.profile(activities=kinds) as profile:
        work()
        wait(given.device)
    spent = time.perf_counter() - start
    found = profile.key_averages()
    orders = ["self_cpu_time_total", *["self_device_time_total"] * given.cuda]
    text = "\n".join(found.table(sort_by=order, row_limit=15) for order in orders)
    with (given.out / PROFILES).open("a", encoding="utf-8") as file:
        file.write(f"== {name}, {steps} steps\n{text}\n")
    busy = sum(event.self_device_time_total for event in found) / 1e6
    counts = {event.key: round(event.count / steps, 1) for event in found}
    return {
        "steps": steps,
        "seconds": round(spent, 3),
        "device_busy_seconds_a_step": round(busy / steps, 4),
        **{f"{call} a step": counts[call] for call in CALLS if call in counts},
    }


def bf16_peak(device: str, size: int = 8192) -> float:
    """FLOPs a second of a large bfloat16 product: what this very device reaches."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / median(seconds(lambda: a @ b, device, 10))


def make_model(shape: str, device: str, dtype: torch.dtype = torch.bfloat16, **more: Any) -> Any:
    """A causal LM of the shape with random weights, made on the device, frozen."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {**SHAPES[shape], **more}
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.eval().requires_grad_(False)


def matmul_parameters(model: Any) -> int:
    """Weights that are multiplied with for every token: all but the input table."""
    table = model.get_input_embeddings().weight
    head = model.get_output_embeddings().weight
    count = sum(p.numel() for p in model.parameters() if p.dim() == 2 and p is not table)
    return count + (head.numel() if head is table else 0)


def attempt(report: Report, section: str, name: str, work: Callable[[], dict[str, Any]]) -> Any:
    """Add what an arm gives; what it raises is its result too."""
    try:
        found = work()
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if "out of memory" in text.lower():
            found = {"failed": "out of memory", "error": text[:300]}
        elif isinstance(error, ImportError):
            found = {"failed": "not installed", "error": text[:300]}
        else:
            found = {"failed": text[:500], "traceback": traceback.format_exc()[-3000:].split("\n")}
    report.add(section, name, found)
    return found
