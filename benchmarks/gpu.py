"""One command for a machine with a GPU: is it right there, and how fast is it?

    python benchmarks/gpu.py --minutes 8 --out DIR
    python benchmarks/gpu.py --check               # tiny shapes, on the CPU

Its parts run in order of worth, each in a process of its own with a time limit, and each writes
into DIR/gpu.json as it goes; what there was no time for is said.  Beside it are profiles.txt and,
of the tests, right.log: three files, for rented machines that give few back.  No network and no
model is needed: the shapes of LLaMA-7B and Gemma 3 270M, random weights made on the device, token
ids made up.  Packages to compare with (bitsandbytes, trl, liger-kernel, cut-cross-entropy) are
tried, and their absence is said in the result.  Every comparison is of arms that ran in one
process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
from gpu_parts import PARTS, Given, run_part
from gpu_parts.work import Results, versions


@dataclass(frozen=True)
class Share:
    """What a part may take: seconds at most, and of the time that is left."""

    seconds: float
    of_rest: float


SHARES = {
    "right": Share(240, 0.45),
    "repeat": Share(100, 0.4),
    "train_rows": Share(130, 0.4),
    "decode": Share(150, 0.5),
    "decode_small": Share(90, 0.4),
    "ks": Share(45, 0.4),
    "train": Share(300, 0.8),
    "train_liger": Share(130, 0.8),
    "decode_compiled": Share(240, 0.8),
    "full": Share(120, 1.0),
}
ENDING = 5.0  # seconds to write what there is


def start_part(name: str, given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run a part in a process of its own; how that went."""
    began = time.monotonic()
    path = os.pathsep.join(filter(None, (str(common.ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, __file__, "--part", name, "--seconds", str(seconds)]
    command += ["--out", str(given.out), "--device", given.device]
    command += ["--check"] if given.check else []
    environment = os.environ | {"PYTHONPATH": path}
    environment.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    try:
        code: int | None = subprocess.run(
            command, env=environment, timeout=seconds + 15, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        code = None
    return {
        "ended": "stopped at its limit"
        if code is None
        else "well"
        if code == 0
        else f"exit {code}",
        "seconds": round(time.monotonic() - began, 1),
        "limit": round(seconds, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--out", type=Path, default=Path("gpu_results"), help="folder of results")
    parser.add_argument("--check", action="store_true", help="tiny shapes: does every part run?")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--device", default=None, help="cuda, or cpu with --check")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=1e9, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.device = given.device or ("cpu" if given.check else "cuda")
    given.out.mkdir(parents=True, exist_ok=True)
    if given.part:
        deadline = time.monotonic() + given.seconds
        run_part(given.part, Given(given.device, given.check, deadline, given.out))
        return 0
    names = given.parts.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"--parts: {', '.join(sorted(unknown))}; allowed: {', '.join(PARTS)}")
    deadline = time.monotonic() + 60 * given.minutes
    results, ended = Results(given.out), {}
    results.begin(check=given.check, device=given.device, versions=versions())
    for name in names:
        left = deadline - time.monotonic() - ENDING
        share = SHARES[name]
        seconds = min(share.seconds, left if name == names[-1] else left * share.of_rest)
        if seconds < 20:
            ended[name] = "no time was left for it"
            results.add(name, ended=ended[name])
            continue
        print(f"== {name}: {seconds:.0f} s at most", flush=True)
        how = start_part(name, given, seconds)
        ended[name] = how["ended"]
        results.add(name, **how)
        print(f"== {name}: ended {ended[name]}", flush=True)
    print(json.dumps(ended))
    return int(given.check and any(how != "well" for how in ended.values()))


if __name__ == "__main__":
    sys.exit(main())
