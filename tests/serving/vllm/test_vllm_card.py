"""The lines of an export's card, run as they are written: what a user copies works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from vllm_runs import ENGINE, make_base, make_run, whole
from vllm_there import environment

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["Llama", "Gemma3"])
def test_the_python_of_the_card_translates_as_the_run(kind: str, tmp_path: Path) -> None:
    base = make_base(kind, tmp_path / "base")
    run = make_run(base, tmp_path / "run")
    run.export(tmp_path / "lora", format="lora", engine="vllm")
    card = (tmp_path / "lora" / "README.md").read_text("utf-8")
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "vllm" in c)
    # a card names the base as the hub does; float32 so that rounding changes no word
    small = "".join(f"{k}={ENGINE[k]!r}, " for k in ("dtype", "enforce_eager", "max_model_len"))
    code = code.replace('base = "base"', f"base = {str(base)!r}")
    code = code.replace("enable_lora=True, ", f"enable_lora=True, {small}")
    sources = [line["source"] for line in run.hypotheses]
    code += (
        f"\nimport json\nsaid = [translate(s) for s in {sources!r}]\n"
        "open('said.json', 'w').write(json.dumps(said))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "lora",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads((tmp_path / "lora" / "said.json").read_text("utf-8"))
    assert whole(said) == whole(run.translate(sources))
