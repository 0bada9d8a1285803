"""What a training run reports: ``train_log.jsonl``, a progress bar, the trackers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from mt_lottery.errors import RecordError
from mt_lottery.reading import parse_json, read_bytes
from mt_lottery.report.progress import is_live, progress_bar
from mt_lottery.system.atomic import write_text
from mt_lottery.tracking.trackers import Tracker


def memory_in_use() -> int:
    """Bytes in use now: of the GPU, where there is one in use, or of this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.memory_allocated())
    return int(psutil.Process().memory_info().rss)


class TrainLog:
    """One line a step, on disk and on the terminal.

    Args:
        path: ``train_log.jsonl``.
        title: what is being trained, for the bar.
        total: optimizer steps in all.
        start: steps already done (a resumed run); later lines of the file are dropped.
        trackers: where else the numbers go.

    Attributes:
        before: seconds of the steps before a resume.
        apart: seconds that the trackers took, which are not the training's.
        tokens: of the steps since the start or the resume.
    """

    def __init__(
        self,
        path: Path,
        title: str,
        total: int,
        start: int = 0,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        kept = _lines_until(path, start) if start else []
        # what the steps cost before a resume: a recipe is charged for all of its training
        self.before = max((float(line.get("seconds", 0.0)) for line in kept), default=0.0)
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_text(path, text)  # atomic: a second crash must not lose the first run's lines
        self._file = path.open("a", encoding="utf-8")
        self._title = title
        self._total = total
        self._trackers = trackers
        self._began = self._spoke = self._last = time.monotonic()
        self.apart = 0.0
        self._live = is_live()
        self._bar: Any = progress_bar(total, title, initial=start, unit="step")
        self.tokens = 0

    def step(self, step: int, loss: float, lr: float, tokens: int, **more: float) -> None:
        """Note one optimizer step.

        Args:
            step: number of the step, from 1.
            loss: mean over its labels, in nats.
            lr: learning rate that was used.
            tokens: unpadded tokens of its batches.
            more: anything else (gradient norm, dev loss).
        """
        now = time.monotonic()
        speed = tokens / max(now - self._last, 1e-9)
        self._last = now
        self.tokens += tokens
        spent = round(self.before + now - self._began, 3)
        values = {"loss": loss, "lr": lr, "tokens_per_second": round(speed, 1), "seconds": spent}
        values["memory_bytes"] = memory_in_use()
        values |= more
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        self._tell(step, values)
        self._bar.update(1)
        self._bar.set_postfix_str(f"loss {loss:.3f}, {speed:.0f} tokens/s")
        if not self._live and (now - self._spoke > 15 or step == self._total):
            self._spoke = now
            average = self.tokens / max(now - self._began, 1e-9)
            print(
                f"{self._title}: step {step} of {self._total}, loss {loss:.3f}, "
                f"{average:.0f} tokens/s",
                file=sys.stderr,
                flush=True,
            )

    def note(self, step: int, **values: float) -> None:
        """Numbers that belong to no single step (the dev loss after an epoch)."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        self._tell(step, values)

    def _tell(self, step: int, values: dict[str, float]) -> None:
        """Hand numbers to the trackers, whose time (to show translations, say) costs no step."""
        began = time.monotonic()
        for tracker in self._trackers:
            tracker.log(step, values)
        took = time.monotonic() - began
        self.apart += took
        self._began += took
        self._last += took

    def close(self) -> None:
        """Close the file and the bar."""
        self._bar.close()
        self._file.close()


class NullLog(TrainLog):
    """What the other processes of a run have in place of a log: one of them writes it."""

    def __init__(self) -> None:
        self.before = self.apart = 0.0
        self.tokens = 0

    def step(self, step: int, loss: float, lr: float, tokens: int, **more: float) -> None:
        """Nothing."""

    def note(self, step: int, **values: float) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _lines_until(path: Path, start: int) -> list[dict[str, Any]]:
    """The lines of a log up to a step; a power cut may have damaged some, which are left out."""
    kept = []
    text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip(" \x00"):
            continue
        try:
            content = parse_json(line, f"{path}: line {number}", RecordError)
            if 0 < int(content["step"]) <= start:
                float(content.get("seconds", 0.0))
                kept.append(content)
        except (RecordError, KeyError, TypeError, ValueError):
            continue
    return kept


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``train_log.jsonl``; a last line that was cut short is left out.

    Raises:
        RecordError: another line is damaged.
    """
    if not path.exists():
        return []
    lines = []
    content = read_bytes(path, RecordError).split(b"\n")  # a cut can go through a character
    texts = [(number, text) for number, text in enumerate(content, 1) if text.strip()]
    for number, text in texts:
        where = f"{path}: line {number}"
        try:
            # a loss that is not finite was written as NaN
            line = parse_json(text, where, RecordError, finite=False)
        except RecordError:
            if number < texts[-1][0]:
                raise
            continue
        for key, least in (("step", 0), ("seconds", 0.0)):
            value = line.get(key, least)
            kinds = (int, float) if key == "seconds" else int
            if not isinstance(value, kinds) or isinstance(value, bool) or not value >= least:
                raise RecordError(
                    f"{where}: damaged: `{key}` must be a number ≥ 0, not {value!r:.60}."
                )
        if "step" not in line:
            raise RecordError(f"{where}: damaged: `step` is missing.")
        lines.append(line)
    return lines
