"""After decoding: scores, provenance and cost, put together as the run's record."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import importlib.metadata
import platform
import resource
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mt_lottery.data.corpora import Split
from mt_lottery.data.joint import JointSplit, parts_of
from mt_lottery.data.prompts.batches import Encoded
from mt_lottery.data.prompts.prepared import PROMPT
from mt_lottery.decoding.translation import Hypothesis
from mt_lottery.errors import plural
from mt_lottery.model.loading import LoadedModel
from mt_lottery.runs.folder.directions import DirectionRecord
from mt_lottery.runs.folder.files import write_hypotheses, write_sentence_scores
from mt_lottery.runs.folder.preparing import HYPOTHESES, SENTENCES
from mt_lottery.runs.folder.record import DIRECTIONS, Record
from mt_lottery.runs.folder.sections import (
    CostRecord,
    DataRecord,
    GenerationRecord,
    ModelRecord,
    SplitRecord,
    TicketRecord,
)
from mt_lottery.runs.planning.plan import Echo, Plan
from mt_lottery.scoring.averaging import Resampled, average_scores, resampled_of
from mt_lottery.scoring.generation import generation_statistics
from mt_lottery.scoring.metric import MetricContext
from mt_lottery.scoring.report import evaluate, make_metrics, sentence_statistics
from mt_lottery.scoring.trial import doubts_of
from mt_lottery.system import parallel
from mt_lottery.tuners.base import TuningContext


def start_peak(device: str) -> None:
    """Begin a new measurement of peak memory: a process may do several runs (Linux, CUDA)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what an earlier run has freed is none of this one's
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):  # elsewhere the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> int:
    """Peak memory since :func:`start_peak` in bytes: of the GPU, or of this process."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak if sys.platform == "darwin" else peak * 1024)


def environment(device: str) -> dict[str, str]:
    """Versions of what a number depends on, the device, and how many processes had one."""
    versions = {"python": platform.python_version(), "device": device}
    versions["processes"] = str(parallel.processes())
    if device.startswith("cuda"):
        versions["device"] = f"{device} ({torch.cuda.get_device_name(device)})"
    for package in ("mt_lottery", "torch", "transformers", "peft", "sacrebleu"):
        try:
            versions[package] = importlib.metadata.version(package.replace("_", "-"))
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _environment(plan: Plan) -> dict[str, str]:
    made = environment(plan.device)
    if plan.config.engine != "transformers":
        made["engine"] = plan.config.engine
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # a plugin's
            made[plan.config.engine] = importlib.metadata.version(plan.config.engine)
    return made


def tokenizer_name(loaded: LoadedModel) -> str:
    """What a column over the model's own subwords is called: ``gemma3``."""
    kind = str(getattr(loaded.model.config, "model_type", "")).removesuffix("_text")
    return kind or loaded.info.name


def metric_context(plan: Plan, loaded: LoadedModel) -> MetricContext:
    """What the metrics of a run are given."""
    return MetricContext(
        loaded.tokenizer,
        tokenizer_name(loaded),
        plan.pair.target.code,
        sources=plan.test.sources,
        settings=plan.config.metric,
        device=plan.device,
    )


def split_record(split: Split, dropped: int = 0) -> SplitRecord:
    """What a record says of a corpus; ``dropped`` pairs were too long."""
    made = SplitRecord(split.name, len(split.pairs), split.sha256, dropped)
    if split.report is not None:
        made.records, made.available = split.report.records, split.report.available
        made.filters = dict(split.report.filters)
    return made


def generation_of(plan: Plan, outputs: Sequence[Hypothesis]) -> GenerationRecord:
    """How the translations of a plan's test set ended: stopped, empty, off target, length."""
    statistics = generation_statistics(
        outputs,
        plan.test.targets,
        source=plan.pair.source.code,
        target=plan.pair.target.code,
        beam_size=plan.config.translate.beam_size,
        max_new_tokens=plan.config.translate.max_new_tokens,
    )
    return GenerationRecord(**statistics)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Judged:
    """What a run's translations are worth, as a record has it.

    Attributes:
        scores: by metric; of several directions, the mean over those that were trained.
        generation: how they ended; likewise.
        directions: direction → the same of each; empty for a run of one.
    """

    scores: dict[str, Any]
    generation: GenerationRecord
    directions: dict[str, Judged] = field(default_factory=dict)


def score_outputs(
    plan: Plan,
    loaded: LoadedModel,
    outputs: Sequence[Hypothesis],
    run_dir: Path,
    names: Sequence[str],
    echo: Echo,
) -> Judged:
    """Write a run's translations and what each sentence adds to its scores.

    Args:
        plan: what the run depends on.
        loaded: the model.
        outputs: one hypothesis a test sentence.
        run_dir: where to.
        names: of the metrics.
        echo: prints a line for the user.
    """
    parts = plan.parts
    langs = [str(part.pair) for part in parts for _ in part.test.pairs]
    write_hypotheses(
        *(run_dir / HYPOTHESES, plan.test.sources, plan.test.targets, outputs),
        langs if len(parts) > 1 else None,
    )
    judged: dict[str, Judged] = {}
    resampled: dict[str, Resampled] = {}
    lines: list[dict[str, Any]] = []
    for part in parts:
        lang, count = str(part.pair), len(part.test.pairs)
        own = outputs[len(lines) : len(lines) + count]
        about = metric_context(part, loaded)
        metrics = make_metrics(names, about)
        if any(hasattr(metric, "ahead") for metric in metrics):
            echo(f"Scoring {plural(count, 'translation')} with {', '.join(names)} …")
        scores = evaluate(own, part.test.targets, metrics, about)
        for line in doubts_of(scores):
            echo(f"Warning: {line}")
        statistics = sentence_statistics(own, part.test.targets, metrics, about)
        judged[lang] = Judged(scores, generation_of(part, own))
        if len(parts) > 1:
            resampled[lang] = resampled_of(metrics, statistics, about)
        lines += statistics
    write_sentence_scores(run_dir / SENTENCES, lines)
    if len(parts) == 1:
        return judged[langs[0]]
    trained = plan.config.lang.split(",")
    scores = average_scores([judged[x].scores for x in trained], [resampled[x] for x in trained])
    return Judged(scores, _mean_of([judged[x].generation for x in trained]), judged)


def _mean_of(parts: Sequence[GenerationRecord]) -> GenerationRecord:
    """The shares of several directions, each counting the same."""
    means: dict[str, Any] = {}
    for key in ("stopped", "empty", "truncated", "off_target", "length_ratio"):
        values = [getattr(part, key) for part in parts]
        means[key] = None if None in values else sum(values) / len(values)
    return dataclasses.replace(parts[0], **means)


def directions_record(plan: Plan, judged: Judged, dropped: Sequence[int] = ()) -> dict[str, Any]:
    """What a record says of each direction, under :data:`DIRECTIONS`; empty for a run of one.

    Args:
        plan: what the run depends on.
        judged: its translations.
        dropped: places of the training pairs that were too long.
    """
    if not judged.directions:
        return {}
    train, trained = plan.corpora.train, plan.config.lang.split(",")
    texts = {} if train is None else {str(p): own for p, own in parts_of(train, plan.pair)}
    lost = Counter(
        trained[train.order[i][0] if isinstance(train, JointSplit) else 0] for i in dropped
    )
    found: dict[str, Any] = {}
    for part in plan.parts:
        lang = str(part.pair)
        own = judged.directions[lang]
        text = texts.get(lang)
        one = DirectionRecord(
            trained=lang in trained,
            train=None if text is None else split_record(text, lost[lang]),
            test=split_record(part.test),
            scores=own.scores,
            generation=own.generation,
        )
        found[lang] = dataclasses.asdict(one)
    return {DIRECTIONS: found}


def make_record(
    plan: Plan,
    loaded: LoadedModel,
    context: TuningContext,
    cost: CostRecord,
    encoded: Encoded | None,
    judged: Judged,
) -> Record:
    """Put everything together.

    Args:
        plan: what the run depends on.
        loaded: the model.
        context: what the tuner worked on.
        cost: seconds, bytes.
        encoded: the training examples, where there are any.
        judged: the outputs, from :func:`score_outputs`.
    """
    config, tuner, info = plan.config, plan.tuner, loaded.info
    trains = tuner.trains or tuner.probe_section == "train"
    train_split, prompt = plan.corpora.train, plan.text.shown
    return Record(
        method=config.recipe,
        lang=config.lang,
        seed=config.seed,
        model=ModelRecord(
            info.name,
            info.sha256,
            info.revision,
            info.parameters,
            info.vocab_size,
            info.embedding_dim,
            info.tied_embeddings,
        ),
        trainable_parameters=tuner.trainable_parameters(context) if trains else 0,
        tickets=None
        if tuner.chosen is None
        else TicketRecord.of(tuner.chosen, tuner.scope or "input"),
        data=DataRecord(
            train=split_record(train_split, len(encoded.dropped) if encoded else 0)
            if train_split
            else None,
            test=split_record(plan.test),
            template=str(config.data.template),
            overlap=plan.corpora.overlap,
        ),
        scores=judged.scores,
        generation=judged.generation,
        cost=cost,
        environment=_environment(plan),
        config_hash=plan.config_hash,
        extra=tuner.details(context)
        | directions_record(plan, judged, encoded.dropped if encoded else ())
        | ({} if prompt is None else {PROMPT: prompt}),
    )
