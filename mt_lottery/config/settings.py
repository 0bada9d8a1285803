"""The settings of a run: typed, documented, with their ranges.

Each dataclass is one section.  A field says what it means (``help``), and what
is allowed (``ge``, ``gt``, ``le``, ``lt``, ``choices``);
:func:`mt_lottery.config.checking.problems` checks
an instance against that and returns every violation, so that a user sees all
mistakes at once.  :mod:`mt_lottery.config.compose` fills the sections from the recipes
and the command line.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: How the names of settings end that are paths: data.path, out_dir, data.train_source, …
PATHS = ("path", "dir", "source", "target", "command", "file")


def setting(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    most: float | None = None,
    choices: Sequence[str] | None = None,
    file: bool = False,
    counts: bool | str = True,
) -> Any:
    """A dataclass field with a meaning and a range.

    Args:
        default: value, or for a list a tuple that is copied into a new list; a dictionary, which
            is copied too, makes a free-form section, whose keys the tuner (or corpus) checks.
        help: one line for ``--help``.
        ge, gt, le, lt: bounds of a number (≥, >, ≤, <).
        most: of a whole number: above it, it can only be a slip; ``--help`` does not tell it.
        choices: the allowed strings.
        file: the path of a file that decides the result by its content.
        counts: it can change the result, and so belongs to the ``config_hash``; ``"if set"``:
            once it is not the default (a setting that earlier versions did not have).
    """
    metadata: dict[str, Any] = {"help": help, "ge": ge, "gt": gt, "le": le, "lt": lt}
    metadata |= {"most": most, "choices": choices, "file": file, "counts": counts}
    if isinstance(default, tuple):
        return field(default_factory=lambda: list(default), metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class ModelConfig:
    """Which model, and how it is loaded."""

    name: str = setting("hf", "registered loader: hf, gemma3_270m, or a plugin's")
    name_or_path: str | None = setting(None, "local folder, GGUF file or hub id (model=hf)")
    revision: str | None = setting(None, "branch, tag or commit on the hub")
    dtype: str = setting(
        "auto",
        "weights in memory; auto is the checkpoint's own",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    device_map: str | None = setting(
        None,
        "auto: its layers on all GPUs of the machine, then in its memory, then on disk; to "
        "translate, not to train",
        choices=("auto",),
        counts=False,
    )
    trust_remote_code: bool = setting(False, "run Python code that comes with a model")


@dataclass
class DataConfig:
    """Which parallel text, how much of it, and how a pair becomes a prompt."""

    name: str = setting(
        "mini",
        "registered corpus: mini, files, hub, ntrex, flores101, flores200, flores_plus, wmt24pp, "
        "opus100, lego_mt, tatoeba, or a plugin's",
    )
    path: str | None = setting(None, "folder or file of the corpus")
    train_pairs: int | None = setting(
        None, "training pairs, from the front; all if null", ge=1, most=10**9
    )
    dev: str | None = setting(None, "corpus of the dev set, if another")
    dev_path: str | None = setting(None, "its folder or file")
    dev_pairs: int | None = setting(
        None, "dev pairs; all if null (100 where training shares the corpus)", ge=1, most=10**9
    )
    test: str | None = setting(None, "corpus of the test set, if another")
    test_path: str | None = setting(None, "its folder or file")
    test_pairs: int | None = setting(
        None, "test pairs; all if null (200 where training shares the corpus)", ge=1, most=10**9
    )
    train_source: str | None = setting(
        None, "data=files: training text, source side (or TSV, JSONL, Parquet)"
    )
    train_target: str | None = setting(None, "data=files: training text, target side")
    dev_source: str | None = setting(
        None, "data=files: dev text, source side (or TSV, JSONL, Parquet)"
    )
    dev_target: str | None = setting(None, "data=files: dev text, target side")
    test_source: str | None = setting(
        None, "data=files: test text, source side (or TSV, JSONL, Parquet)"
    )
    test_target: str | None = setting(None, "data=files: test text, target side")
    shuffle_targets: int | None = setting(
        None,
        "a control: each training source gets another's target; seed of the shuffle",
        ge=0,
        most=2**32 - 1,
    )
    sampling: str = setting(
        "proportional",
        "several directions: all pairs of each, or as many of each, smaller ones repeated",
        choices=("proportional", "uniform"),
        counts="if set",
    )
    template: str | None = setting(
        None,
        "registered prompt: plain, alpaca, chat (the tokenizer's own), prompt (data.prompt), or a "
        "plugin's; chat for instruct models, else plain, if null",
    )
    prompt: str | None = setting(
        None, "a prompt of your own: 'Translate to {target_language}: {source}'; see the docs"
    )
    system: str | None = setting(None, "system text of data.template=chat")
    train_templates: list[str] | None = setting(
        None,
        "wordings of the training pairs, in turn: [plain, alpaca], or prompts of your own; "
        "data.template, in which the run is asked, if null",
        counts="if set",
    )
    max_length: int = setting(
        512,
        "tokens of prompt and target; longer training pairs are dropped and counted",
        ge=8,
        most=10**7,
    )


@dataclass
class TrainConfig:
    """How the trained parameters are optimised."""

    epochs: int = setting(2, "passes over the training pairs", ge=1, most=100_000)
    lr: float = setting(1e-3, "peak learning rate", gt=0.0)
    batch_size: int = setting(
        8, "pairs a batch, at most, on all processes together", ge=1, most=10**6
    )
    max_tokens: int | None = setting(
        None, "padded tokens a batch, at most, on all processes together", ge=1, most=10**9
    )
    accumulate: int = setting(1, "batches an optimizer step", ge=1, most=10**6)
    optimizer: str = setting(
        "adamw", "registered optimizer: adamw, adamw_8bit, sparse_adam, sgd, or a plugin's"
    )
    criterion: str = setting(
        "cross_entropy",
        "registered loss: cross_entropy, label_smoothed_cross_entropy, or a plugin's",
    )
    label_smoothing: float = setting(0.1, "ε of label_smoothed_cross_entropy", ge=0.0, lt=1.0)
    weight_decay: float = setting(0.0, "decoupled weight decay", ge=0.0)
    schedule: str = setting(
        "linear", "learning rate after warm-up", choices=("linear", "cosine", "constant")
    )
    warmup_steps: int = setting(0, "steps from 0 to the peak learning rate", ge=0, most=10**9)
    max_grad_norm: float = setting(1.0, "gradient norm is clipped to this; 0 for never", ge=0.0)
    gradient_checkpointing: bool = setting(False, "recompute activations: less memory, slower")
    kernels: str = setting(
        "torch",
        "of norms, rotary positions and MLPs; fused on a GPU: liger (package liger-kernel)",
        choices=("torch", "liger"),
        counts="if set",
    )
    sharding: str = setting(
        "none",
        "several processes: each holds a part of every layer (train.sharding, of the whole run)",
        choices=("none", "fsdp"),
        counts=False,
    )
    save_steps: int = setting(
        20, "optimizer steps between checkpoints", ge=1, most=10**9, counts=False
    )


@dataclass
class TranslateConfig:
    """How the test set is decoded."""

    beam_size: int = setting(1, "1 is greedy search", ge=1, most=1000)
    max_new_tokens: int = setting(128, "limit on a translation, in tokens", ge=1, most=10**6)
    batch_size: int = setting(128, "sentences a batch, at most", ge=1, most=10**6)
    max_tokens: int = setting(
        32_768,
        "tokens a batch, at most: prompts, beams and translations, padding included",
        ge=1,
        most=10**9,
    )
    length_penalty: float = setting(1.0, "exponent on length in beam search", ge=-100.0, le=100.0)


@dataclass
class CometConfig:
    """The COMET metric (``metrics=[spbleu,comet]``): a program of an environment of its own."""

    command: str | None = setting(
        None, "comet-score program; null: on PATH, or made by mt-bench setup-comet"
    )
    model: str = setting(
        "Unbabel/wmt22-comet-da", "hub id, folder with hparams.yaml, or .ckpt file in one"
    )
    batch_size: int = setting(16, "segments a batch", ge=1, most=10**6)
    gpus: int | None = setting(
        None, "GPUs of the program; null: one if the run has one", ge=0, most=1024
    )


@dataclass
class MetricsConfig:
    """Settings of metrics that have any."""

    comet: CometConfig = field(default_factory=CometConfig)


@dataclass
class TrackingConfig:
    """What every tracker gets, and how long one may take."""

    project: str = setting("mt-lottery", "project (MLflow: experiment) that runs go to")
    group: str | None = setting(None, "what runs belong together, a tag; mt-bench sets it")
    name: str | None = setting(None, "name of the run; RECIPE LANG seed N if null")
    offline: bool = setting(False, "write to the run directory only, whatever keys there are")
    deadline: float = setting(
        15.0, "seconds a tracker has to start, and to end; then it is given up", gt=0.0
    )
    samples: int = setting(20, "translations that are shown", ge=0, most=10**6)
    adapter: bool = setting(False, "keep the adapter there too, as an artifact")


@dataclass
class TunerConfig:
    """Settings that every tuner has; a tuner's own schema extends it."""

    name: str = setting("none", "registered tuner")


@dataclass
class RunConfig:
    """One run: one recipe, one language pair, one seed."""

    recipe: str = setting("none", "what is run, a file of recipes/recipe")
    preset: str | None = setting(
        None, "variant of the recipe: paper gives the paper's schedule", counts=False
    )
    lang: str = setting(
        "", "source and target language, for example en-ro; several directions: en-ro,en-es"
    )
    test_lang: str | None = setting(
        None, "directions that are tested and not trained: en-pt,en-ca", counts="if set"
    )
    seed: int = setting(0, "of batches, initialisation and sampling", ge=0, lt=2**32)
    out_dir: str | None = setting(
        None, "run directory; runs/LANG/RECIPE/seed-N if null", counts=False
    )
    resume: bool = setting(False, "continue a run that was interrupted", counts=False)
    overwrite: bool = setting(
        False,
        "make the run again; what is in out_dir stays until the new one is done",
        counts=False,
    )
    tune: int = setting(
        0,
        "trials of other settings on the dev set first; the best one is then run",
        ge=0,
        most=10_000,
    )
    baseline: bool = setting(
        True, "score the original model too (once; later runs reuse it)", counts=False
    )
    user_dir: str | None = setting(None, "folder of plugins to import first", counts=False)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps")
    deterministic: bool = setting(
        False,
        "on a GPU, training that repeats to the bit, and is slower; the CPU's always does",
        counts="if set",
    )
    engine: str = setting("transformers", "registered trainer: transformers, fairseq2")
    data_parallelism: str = setting(
        "ddp",
        "several processes: each holds all of the model, or a part of it (engine=fairseq2)",
        choices=("ddp", "fsdp"),
        counts=False,
    )
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    tuner: TunerConfig = field(default_factory=TunerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    # dense Adam would go on moving the rows of rare tokens after their one batch; the rate was
    # chosen on dev, over four language pairs (docs/the-probe.md)
    probe: TrainConfig = field(
        default_factory=lambda: TrainConfig(lr=3e-3, optimizer="sparse_adam")
    )
    translate: TranslateConfig = field(default_factory=TranslateConfig)
    metrics: list[str] = setting(("spbleu", "chrf"), "registered metrics; the first one ranks")
    # a metric says itself which of its settings count (``identity``)
    metric: MetricsConfig = field(default_factory=MetricsConfig, metadata={"counts": False})
    tracker: Any = setting("none", "registered tracker, or a list of them", counts=False)
    tracking: TrackingConfig = field(default_factory=TrackingConfig, metadata={"counts": False})


def counted(config: Any) -> dict[str, Any]:
    """The settings of a section, or of a whole run, that belong to its ``config_hash``.

    Args:
        config: a settings dataclass.

    Returns:
        as :func:`dataclasses.asdict`, without the settings whose ``counts`` is False.
    """
    content = dataclasses.asdict(config)
    for f in dataclasses.fields(config):
        value, counts = getattr(config, f.name), f.metadata.get("counts", True)
        if not counts or (counts == "if set" and value == f.default):
            del content[f.name]
        elif dataclasses.is_dataclass(value):
            content[f.name] = counted(value)
    return content


def file_settings(config: Any) -> list[str]:
    """Names of the settings of a section that are set and name a file."""
    named = [f.name for f in dataclasses.fields(config) if f.metadata.get("file")]
    return [name for name in named if getattr(config, name) is not None]


def digest(content: Any) -> str:
    """sha256 (hex) of JSON-like content, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
