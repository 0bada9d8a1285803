"""The steps of one run: from the original model to the tuned one, translations and a record."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import Encoded
from mt_lottery.errors import plural
from mt_lottery.model.attention import repeatable
from mt_lottery.model.loading import LoadedModel
from mt_lottery.model.sharding import on_main as on_main_in_step
from mt_lottery.model.sharding import shard
from mt_lottery.registry import TUNERS
from mt_lottery.runs.card import describe_folder
from mt_lottery.runs.context import make_context, put_together
from mt_lottery.runs.decode import check_room, decode_test, pad_id
from mt_lottery.runs.folder.preparing import LOG, TICKETS
from mt_lottery.runs.folder.record import Record, read_record
from mt_lottery.runs.folder.sections import CostRecord
from mt_lottery.runs.outcome import make_record, peak_memory, score_outputs, start_peak
from mt_lottery.runs.planning.plan import Echo, Plan
from mt_lottery.runs.planning.sharding import divided
from mt_lottery.runs.search import choose_forced
from mt_lottery.runs.stages.checked import train_checked
from mt_lottery.runs.stages.course import Course
from mt_lottery.runs.stages.gradients import gradients_of
from mt_lottery.runs.stages.probe import probe_of
from mt_lottery.system import parallel
from mt_lottery.system.parallel import on_main
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.engine import TrainResult
from mt_lottery.training.sealing import TRAINED
from mt_lottery.training.trained import load_trained, save_trained
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.declared import declare
from mt_lottery.tuners.kept import finish, note_logits


@dataclass
class Steps:
    """A run whose folder is prepared.

    Attributes:
        plan: what it depends on.
        loaded: the original model, used up; then the tuned one.
        run_dir: where to.
        resume: go on from a checkpoint.
        trackers: are told how the training goes.
        echo: prints a line for the user.
        best: the trial with these settings, whose trained parameters serve again.
        course: says how long it takes.
        is_trial: keep what was trained, but write no adapter.
        cost: fills as the steps are taken.
    """

    plan: Plan
    loaded: LoadedModel
    run_dir: Path
    resume: bool
    trackers: Sequence[Tracker]
    echo: Echo
    best: Path | None
    course: Course | None
    is_trial: bool
    cost: CostRecord = field(default_factory=CostRecord)

    def run(self) -> Record:
        """All of them, in order.

        Returns:
            the record, not yet written.

        Raises:
            MTLotteryError: what the tuner, the text or the model does not allow.
        """
        plan = self.plan
        config, tuner = plan.config, plan.tuner
        start_peak(plan.device)
        if divided(config) and not tuner.trains_weights:
            shard(self.loaded.model, plan.device)
        context, encoded, dev = make_context(plan, self.loaded, self.echo)
        check_room(plan, self.loaded, self.echo)
        if tuner.probe is not None or tuner.gradient_pairs is not None:
            assert encoded is not None
            self._measure_rows(context, encoded, dev)
        declare(tuner, context)
        self.loaded = dataclasses.replace(self.loaded, model=context.model)  # it may be wrapped
        if tuner.reads_dev:
            assert encoded is not None
            choose_forced(plan, self.loaded, encoded, self.echo)
        if tuner.trains:
            assert encoded is not None
            self._tune(context, encoded, dev)
        on_main_in_step(context.model, lambda: self._save(context))
        if divided(config):
            shard(context.model, plan.device)
        began = time.monotonic()
        outputs = decode_test(plan, self.loaded, tuner)
        self.cost.decode_seconds = time.monotonic() - began
        for remark in tuner.remarks():
            self.echo(remark)
        self.cost.peak_memory_bytes = max(parallel.gather(peak_memory(plan.device)))

        def score() -> Record:
            # a trial is judged by the first metric; another one may cost as much as the trial
            names = config.metrics[:1] if self.is_trial else config.metrics
            judged = score_outputs(plan, self.loaded, outputs, self.run_dir, names, self.echo)
            return make_record(plan, self.loaded, context, self.cost, encoded, judged)

        return on_main(score)

    def _measure_rows(self, context: TuningContext, encoded: Encoded, dev: Encoded | None) -> None:
        """What rows are chosen by: the probe, and gradients of the original model."""
        plan, tuner, cost = self.plan, self.plan.tuner, self.cost
        if tuner.probe is not None:
            section = getattr(plan.config, tuner.probe_section)
            watch = self._watch("probe", section, encoded)
            trained = probe_of(plan, context, encoded, dev, self.trackers, self.echo, watch)
            context.probe = trained.probe
            if tuner.is_probe:
                cost.train_seconds, cost.train_steps = trained.probe.seconds, trained.steps
                cost.train_tokens_per_second = trained.tokens_per_second
                if parallel.is_main():
                    shutil.copyfile(trained.log, self.run_dir / LOG)
            else:
                cost.probe_seconds = trained.probe.seconds
        if tuner.gradient_pairs is not None:
            found = gradients_of(plan, context, encoded, tuner.gradient_pairs, self.echo)
            context.gradients = found
            cost.probe_seconds += found.seconds

    def _tune(self, context: TuningContext, encoded: Encoded, dev: Encoded | None) -> None:
        """Train what the tuner declared, or take what a trial has trained."""
        plan, tuner, cost = self.plan, self.plan.tuner, self.cost
        if tuner.cannot_move(context) and plan.config.train.weight_decay == 0:
            for line in (
                "None of the rows occurs in a training input: no gradient can reach them, and they",
                "stay as they are; training is skipped (it would end with exactly this model).",
            ):
                self.echo(line)
            return
        if self.best is not None and (self.best / TRAINED).is_file():
            load_trained(context.model, self.best / TRAINED)
            tried = read_record(self.best).cost
            cost.train_seconds, cost.train_steps = tried.train_seconds, tried.train_steps
            cost.train_tokens_per_second = tried.train_tokens_per_second
            if parallel.is_main():
                shutil.copyfile(self.best / LOG, self.run_dir / LOG)
        else:
            if divided(plan.config):
                shard(context.model, plan.device)
            result = self._train(context, encoded, dev)
            cost.train_seconds, cost.train_steps = result.seconds, result.steps
            cost.train_tokens_per_second = result.tokens_per_second
            if self.is_trial:
                save_trained(context.model, self.run_dir / TRAINED)
            if divided(plan.config) and tuner.trains_weights:
                self.loaded = put_together(plan, context)
        finish(tuner, context)

    def _train(self, context: TuningContext, encoded: Encoded, dev: Encoded | None) -> TrainResult:
        config, tuner = self.plan.config, self.plan.tuner
        watch = self._watch("training", config.train, encoded)
        count = tuner.trainable_parameters(context)
        self.echo(
            f"Training {plural(count, 'parameter')} on {plural(len(encoded.examples), 'pair')} "
            f"({config.recipe})."
        )
        with repeatable(config.deterministic):
            return train_checked(
                config.engine,
                self.plan.engine,
                context.model,
                config.train,
                encoded.examples,
                pad_id=pad_id(context.tokenizer),
                seed=config.seed,
                folder=self.run_dir / "checkpoints",
                log=self.run_dir / LOG,
                title=config.recipe,
                dev=dev.examples if dev else None,
                autocast=tuner.autocast,
                resume=self.resume,
                trackers=[*self.trackers, *watch],
            )

    def _watch(self, name: str, section: TrainConfig, encoded: Encoded) -> list[Tracker]:
        if self.course is None:
            return []
        return self.course.watch(name, section, encoded, self.loaded)

    def _save(self, context: TuningContext) -> None:
        """What was tuned and which rows, in the run's folder."""
        config, tuner = self.plan.config, self.plan.tuner
        if not (self.run_dir / LOG).exists():
            (self.run_dir / LOG).touch()
        saved = None if self.is_trial else tuner.save(context, self.run_dir)
        if not self.is_trial and (tuner.by_others or TUNERS.is_plugin(config.tuner.name)):
            note_logits(tuner, context.model, self.run_dir)
        if saved is not None:
            sizes = (file.stat().st_size for file in saved.rglob("*") if file.is_file())
            self.cost.adapter_bytes = sum(sizes)
            describe_folder(saved, config, self.plan.text, self.loaded, tuner.lead)
        if tuner.chosen is not None:
            named = tuner.chosen.named(self.loaded.tokenizer, context.counts)
            named.save(self.run_dir / TICKETS)
