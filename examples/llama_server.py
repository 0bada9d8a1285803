"""llama.cpp's server from the wheel ``xllamacpp``: one base, a ticket for each language.

    pip install xllamacpp
    python llama_server.py base/model.gguf ro/adapter.gguf es/adapter.gguf --port 8080

``llama-server`` of a llama.cpp of your own does the same (docs/serving.md). Adapters are numbered
in the order of the command line and start at scale 0. Name one in every request: ``"lora":
[{"id": 1, "scale": 1}]`` is the second; at scale 0 the base alone answers.
"""

from __future__ import annotations

import argparse
import os
import signal

import xllamacpp


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; the address is printed once requests are answered."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="GGUF file of the base")
    parser.add_argument("adapters", nargs="*", help="adapter.gguf of each language")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--parallel", type=int, default=4, help="requests at a time")
    parser.add_argument("--context", type=int, default=512, help="tokens of each request")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--exact", action="store_true", help="float32 wherever it can be")
    given = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = given.model
    params.port = given.port
    params.n_parallel = given.parallel
    params.n_ctx = given.parallel * given.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    if given.exact:
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.cache_ram_mib = 0  # it keeps prompts by their tokens, whatever adapter read them
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in given.adapters]
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # in the server's threads too
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.sigwait(ends)
    os._exit(0)  # taking the server down can hang where it has only just begun


if __name__ == "__main__":
    main()
