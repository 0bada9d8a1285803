"""``mt-train`` several times over in the same processes: imports cost seconds.

torchrun --nproc-per-node 2 ddp_commands.py FILE, with a JSON list of argument lists in FILE;
FILE.out gets a list of what each process said of each (null: it went well).
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from mt_lottery.cli.train import command
from mt_lottery.errors import MTLotteryError
from mt_lottery.system import parallel
from mt_lottery.system.quiet import quieten


def main() -> None:
    quieten()
    answers = []
    for arguments in json.loads(Path(sys.argv[1]).read_text("utf-8")):
        answer = None
        try:
            assert command(arguments) == 0
        except MTLotteryError as error:
            answer = f"{type(error).__name__}: {error}"
        answers.append(parallel.gather(answer))
        gc.collect()
        gc.freeze()
    if parallel.is_main():
        Path(f"{sys.argv[1]}.out").write_text(json.dumps(answers), "utf-8")
    parallel.stop()


if __name__ == "__main__":
    main()
