"""What a run is about to do, how long that takes here, and how it translates meanwhile."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import BucketBatchSampler, Encoded
from mt_lottery.errors import MTLotteryError, assigned, by_caller, plural
from mt_lottery.model.loading import LoadedModel
from mt_lottery.report.plain import visible
from mt_lottery.report.progress import beside_bars, duration
from mt_lottery.runs.decode import decode
from mt_lottery.runs.finished import Run
from mt_lottery.runs.planning.plan import Echo, Plan
from mt_lottery.runs.summary import clip, examples
from mt_lottery.system import parallel
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.objective import computing

MEASURED = 4  # steps after which a first estimate is made; the first one warms up
SHORT = 20.0  # seconds of which nothing is said
SHOWN = 2  # translations of the original model, and of the model at each epoch but the last
TOKENS = 64  # of each of these


def _steps(config: TrainConfig, encoded: Encoded) -> int:
    lengths = [len(e.prompt_ids) + len(e.target_ids) for e in encoded.examples]
    batches = BucketBatchSampler(lengths, config.batch_size, config.max_tokens).planned(0)
    return -(-len(batches) * config.epochs // config.accumulate)


class Watch(Tracker):
    """Counts the steps of one training, to say when all of the run will be done.

    Args:
        course: of the run.
        stage: ``probe`` or ``training``.
        total: its steps.
        loaded: the model that is trained, which is shown at work; None for never.
    """

    def __init__(
        self, course: Course, stage: str, total: int, loaded: LoadedModel | None = None
    ) -> None:
        super().__init__({}, "")
        self._course, self._stage, self._total, self._loaded = course, stage, total, loaded
        self._begun: tuple[int, float] | None = None
        self._end = 0.0  # when everything is done, as it was said last

    def log(self, step: int, values: dict[str, float]) -> None:
        """Estimate anew at each step; say it first, and when it has turned out wrong."""
        now = time.monotonic()
        if "loss" not in values:  # of the dev set: an epoch is done
            if self._loaded is not None and step < self._total:
                self._course.show(self._loaded, f"After step {step} of {self._total}")
                if self._begun is not None:  # no step's time
                    self._begun = (self._begun[0], self._begun[1] + time.monotonic() - now)
            return
        if self._begun is None:
            self._begun = (step, now)
        first, began = self._begun
        if step - first < MEASURED - 1:
            return
        pace = (now - began) / (step - first)
        own = pace * (self._total - step)
        left = own + self._course.after(self._stage, pace)
        if left > SHORT and abs(now + left - self._end) > max(SHORT, left / 4):
            self._end = now + left
            self._course.tell(self._stage, own, left)


def announce(plan: Plan, echo: Echo) -> None:
    """Say what a run will do, in order."""
    config, tuner, corpora = plan.config, plan.tuner, plan.corpora
    sentences = plural(len(plan.test.pairs), "test sentence")
    pairs = "" if corpora.train is None else plural(len(corpora.train.pairs), "pair")
    stages = []
    if config.baseline and config.tuner.name != "none":
        stages.append(f"the original model translates {sentences} (once)")
    if config.tune and tuner.search_space:
        stages.append(f"{plural(config.tune, 'trial')} on dev")
    if tuner.probe is not None:
        stages.append(f"the embedding table is tuned on {pairs} (kept for later runs)")
    if tuner.trains:
        stages.append(f"{config.recipe} is trained on {pairs}")
    stages.append(f"{config.recipe} translates {sentences} and is scored")
    again = f"the same {by_caller('command', 'call')}"
    again += "" if config.resume else f" with {assigned({'resume': True})}"
    echo(f"To do: {'; '.join(f'{n}. {stage}' for n, stage in enumerate(stages, 1))}.")
    if len(stages) > 1:
        echo(f"Ctrl-C stops after the step at hand; {again} goes on.")


class Course:
    """The stages of a run, timed while they last.

    Args:
        plan: of the run.
        echo: prints a line for the user.
    """

    def __init__(self, plan: Plan, echo: Echo) -> None:
        self.plan = plan
        self._echo = echo
        self._later = 0  # steps of the training that follows a probe
        self._decoding = 0.0  # seconds of the original model: it seldom stops, so at most
        self._shown: list[str] = []  # sources

    def original(self, run_dir: Path) -> None:
        """Note how long the original model took, and show how it translates."""
        if not parallel.is_main():
            return
        with contextlib.suppress(MTLotteryError):  # damaged: whoever needs it says so
            run = Run(run_dir)
            self._decoding = run.record.cost.decode_seconds
            for shown in examples(run.hypotheses, None, "original")[:SHOWN]:
                self._shown.append(shown[0][1])
                for name, text in shown:
                    self._say(name, text)

    def show(self, loaded: LoadedModel, title: str) -> None:
        """Translate what the original model was shown with, with the model as it is by now."""
        part = self.plan.parts[0]  # of several directions the first
        sources = [source for source in self._shown if source in part.test.sources]
        if not sources or parallel.processes() > 1:  # the others do not wait here
            return
        most = min(TOKENS, part.config.translate.max_new_tokens)
        config = replace(part.config, translate=replace(part.config.translate, max_new_tokens=most))
        try:
            with computing(loaded.model.device.type, self.plan.tuner.autocast):
                outputs = decode(
                    config, loaded, sources, self.plan.tuner, quiet=True, text=part.text
                )
        except (MTLotteryError, RuntimeError) as error:  # no room beside the training's memory
            self._shown = []
            reason = str(error).strip().partition("\n")[0]
            beside_bars(self._echo, f"{title}: no translations can be shown ({reason}).")
            return
        beside_bars(self._echo, f"{title}:")
        for source, output in zip(sources, outputs, strict=True):
            self._say("source", source)
            self._say("by now", clip(output.text))

    def _say(self, name: str, text: str) -> None:
        beside_bars(self._echo, f"  {name:<9}  {visible(' '.join(text.split()))}")

    def watch(
        self, stage: str, config: TrainConfig, encoded: Encoded, loaded: LoadedModel
    ) -> list[Tracker]:
        """A tracker for a training of ``encoded``; none in the other processes of a run."""
        if not parallel.is_main():
            return []
        if self._more(stage):
            self._later = _steps(self.plan.config.train, encoded)
        return [Watch(self, stage, _steps(config, encoded), loaded)]

    def after(self, stage: str, pace: float) -> float:
        """Seconds of what follows a stage, whose steps take ``pace`` seconds each."""
        later = self._later * pace if self._more(stage) else 0.0
        return later + self._decoding

    def tell(self, stage: str, own: float, left: float) -> None:
        """Say what is left."""
        parts = [f"{stage} {duration(own)}"]
        if self._more(stage):
            parts.append(f"training {duration(left - own - self._decoding)}")
        if self._decoding >= 1:
            parts.append(f"translating {duration(self._decoding)} at most")
        listed = ", ".join(parts)
        beside_bars(self._echo, f"About {duration(left)} left at this speed: {listed}.")

    def _more(self, stage: str) -> bool:
        return stage == "probe" and self.plan.tuner.trains
