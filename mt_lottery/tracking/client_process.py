"""The process of a tracker's client: reads messages line by line, ends with the run.

Started as ``python -m mt_lottery.tracking.client_process NAME``.  The first message is
``{"start": …}``, then come ``{"step": N, "values": {…}}`` and
``{"end": report or null}``; the end of the input (a run that was killed) ends it too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from mt_lottery.system.secrets import without_secrets
from mt_lottery.tracking.processes import adopt_orphans, end_all, when_parent_ends
from mt_lottery.tracking.reachable import Unreachable

#: Seconds that a client has to close once its run is gone (killed, say).
ALONE = 5.0


def _end(code: int) -> None:
    """End now, with all that the client has started; exit handlers may only wait."""
    end_all(os.getpid())
    os._exit(code)


def _watch(seconds: float) -> None:
    """End the process after some seconds: a client may wait at exit for minutes."""
    timer = threading.Timer(seconds, lambda: _end(1))
    timer.daemon = True
    timer.start()


def work(name: str, lines: Any, answer: Any) -> None:
    """Do what the messages say.

    Args:
        name: of the tracker.
        lines: iterable of messages, one JSON object a line.
        answer: sends a message to the run: ``started``, ``say``, ``ended``.
    """
    from mt_lottery.tracking.clients import CLIENTS

    first = json.loads(next(lines))
    client = CLIENTS[name](first["start"])
    answer({"started": True})
    report: dict[str, Any] | None = None
    for line in lines:
        message = json.loads(line)
        if "end" in message:
            report = message["end"]
            break
        client.log(message["step"], message["values"])
    else:
        _watch(ALONE)  # the run was killed
    _watch(first["start"]["deadline"] + 5.0)  # the run's own deadline comes first, if it lives
    answer({"say": client.end(report), "ended": True})


def main() -> None:
    """Speak on standard output, keep it from the client, and end without its last words."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    when_parent_ends(lambda: _watch(ALONE))  # seen even where a client is busy with starting
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        protocol.write(json.dumps(without_secrets(content)) + "\n")
        protocol.flush()

    try:
        work(sys.argv[1], iter(sys.stdin), answer)
    except BrokenPipeError:
        pass
    except Exception as error:
        gone = isinstance(error, Unreachable)
        said = str(error) if gone else f"{type(error).__name__}: {error}"
        answer({"error": said.partition("\n")[0], "unreachable": gone})
    _end(0)  # all is written


if __name__ == "__main__":
    main()
