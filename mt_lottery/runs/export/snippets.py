"""The lines of each engine in a card: the text that the tests run.

Placeholders are filled by :meth:`mt_lottery.runs.card.Spoken.fill`.
"""

from __future__ import annotations

import json
from typing import Any

from mt_lottery.runs.card import Spoken
from mt_lottery.runs.export.card import base_name, request
from mt_lottery.runs.export.engines import Fit
from mt_lottery.runs.export.formats import ENGINES
from mt_lottery.runs.finished import Run

VLLM = """
```python
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

folder = "."  # where this file is
base = {base}
llm = LLM(base, enable_lora=True, {arguments})
tokenizer = llm.get_tokenizer()
TEMPLATE = {template}


def translate(sentence):
    prompt = TEMPLATE.replace({place!r}, " ".join(sentence.strip().splitlines()))
    ids = tokenizer(prompt{how})["input_ids"]{cut_list}
    settings = SamplingParams(temperature=0, max_tokens={new}, stop_token_ids={eos})
    lora = LoRARequest({name!r}, 1, folder)
    (output,) = llm.generate({{"prompt_token_ids": ids}}, settings, lora_request=lora)
    return output.outputs[0].text.strip().partition("\\n")[0].rstrip()
```

A server (of `vllm serve` the arguments are the same), and a request. Several languages share one
base: `--lora-modules` takes one `NAME=FOLDER` after the other. `--generation-config vllm` leaves
out penalties that BASE's own `generation_config.json` may have: the run decodes without them.

```sh
python -m vllm.entrypoints.openai.api_server --model BASE --enable-lora {options} \\
    --generation-config vllm --lora-modules {name}=FOLDER
curl localhost:8000/v1/completions -H 'Content-Type: application/json' -d {request}
```
"""

SGLANG = """
Written from SGLang's source; we have not run it there.

```sh
python -m sglang.launch_server --model-path BASE --enable-lora {options} \\
    --lora-paths {name}=FOLDER
curl localhost:30000/generate -H 'Content-Type: application/json' -d {request}
```
"""


def lines_of(run: Run, spoken: Spoken, engine: str, wanted: Fit) -> list[tuple[str, str]]:
    """Name and lines of each engine that loads an adapter.

    Args:
        run, spoken: as for :func:`~mt_lottery.runs.export.card.model_card`.
        engine: that the adapter was written for.
        wanted: how it is started.
    """
    base, name = base_name(run), spoken.direction
    peft = [("PEFT", spoken.python(base))] if wanted.peft else []
    if engine == "peft":
        return peft
    words = {
        "base": json.dumps(base),
        "name": name,
        "arguments": ", ".join(f"{key}={value!r}" for key, value in wanted.arguments.items()),
        "options": wanted.options,
        # what the run's stop rule drops need not be generated
        "request": request(spoken, **_asked(engine, name, spoken)),
        "cut_list": spoken.cut.replace("[:, ", "["),
    }
    own = {"vllm": VLLM, "sglang": SGLANG}[engine]
    return [(ENGINES[engine], spoken.fill(own, **words)), *peft]


def _asked(engine: str, name: str, spoken: Spoken) -> dict[str, Any]:
    if engine == "vllm":
        whole = {"add_special_tokens": False} if spoken.how else {}  # the text has all of them
        return {
            "model": name,
            "prompt": "{prompt}",
            **whole,
            "max_tokens": spoken.new,
            "temperature": 0,
            "stop": ["\n"],
        }
    settings = {"max_new_tokens": spoken.new, "temperature": 0, "stop": ["\n"]}
    return {"text": "{prompt}", "lora_path": name, "sampling_params": settings}
