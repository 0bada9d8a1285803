"""What vLLM says, in a process without anything of ours: it changes classes of transformers.

Standard input is a JSON object with ``model``, ``settings`` (arguments of ``vllm.LLM``), ``new``
(tokens) and ``asked``: a list of objects with ``adapter`` (a folder or null) and ``prompts`` (token
ids). The file named on the command line gets a JSON list, an object for each that was asked:
``answers`` (``tokens`` and their ``logprobs``, token id to logarithm), or ``refused``, the message.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Ask and write."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    task = json.load(sys.stdin)
    engine = LLM(task["model"], **task["settings"])
    sampling = SamplingParams(temperature=0, max_tokens=task["new"], logprobs=5)
    said: list[dict[str, Any]] = []
    for number, one in enumerate(task["asked"], 1):
        request = LoRARequest(str(number), number, one["adapter"]) if one["adapter"] else None
        prompts = [{"prompt_token_ids": ids} for ids in one["prompts"]]
        try:
            found = engine.generate(prompts, sampling, lora_request=request, use_tqdm=False)
        except ValueError as error:
            said.append({"refused": str(error)})
            continue
        answers = [
            {
                "tokens": list(output.token_ids),
                "logprobs": [
                    {token: one.logprob for token, one in step.items()} for step in output.logprobs
                ],
            }
            for output in (request_output.outputs[0] for request_output in found)
        ]
        said.append({"answers": answers})
    Path(sys.argv[1]).write_text(json.dumps(said), "utf-8")


if __name__ == "__main__":
    main()
