"""Whether vLLM can be tried here, and how its server is started."""

from __future__ import annotations

import importlib.util
import os
import sys

MISSING = (
    None
    if importlib.util.find_spec("vllm")
    else "vLLM is not installed here; tox -e vllm has an environment with it"
)

#: One thread, half a GB for the cache of keys and values, no calls home.
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}
#: ``vllm serve``; the command of the package vllm-cpu ends with PackageNotFoundError.
SERVE = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")


def environment() -> dict[str, str]:
    """Of a process with vLLM in it."""
    return os.environ | SETTINGS
