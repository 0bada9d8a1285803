"""Tiny models in folders, and the commands run on them, in this process or in a separate one."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mt_lottery

MINI = Path(mt_lottery.__file__).parent / "data" / "mini"
VOCABULARY, DIMENSION = 600, 32
SMALL = (
    "data=mini",
    "data.train_pairs=24",
    "data.test_pairs=6",
    "data.dev_pairs=4",
    "translate.max_new_tokens=8",
    "metrics=[chrf]",
)


def latin_text() -> list[Path]:
    """mini without Ukrainian: Cyrillic falls into bytes, as it does in many vocabularies."""
    return sorted(p for p in MINI.glob("*.txt") if ".uk." not in p.name)


def _write_tokenizer(*folders: Path) -> None:
    """Byte-level BPE over the mini corpus in Latin script: every text comes back as it was."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train([str(p) for p in latin_text()], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    for folder in folders:
        tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class Models:
    """Folders of random models.

    Attributes:
        untied: Llama, float32, separate output head.
        tied: Gemma 3, bfloat16, one table.
    """

    untied: Path
    tied: Path


def make_models(folder: Path) -> Models:
    """Write both models under a folder."""
    import torch
    import transformers as tf

    made = Models(folder / "tiny-llama", folder / "tiny-gemma")
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": DIMENSION,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "initializer_range": 0.2,
    }
    torch.manual_seed(0)
    llama: Any = tf.LlamaForCausalLM(tf.LlamaConfig(**shape, tie_word_embeddings=False))
    llama.save_pretrained(made.untied)
    gemma: Any = tf.Gemma3ForCausalLM(
        tf.Gemma3TextConfig(
            **shape,
            sliding_window=16,
            # as in the published ones, some layer sees all: else no label looks back to a prefix
            layer_types=["sliding_attention", "full_attention"],
            tie_word_embeddings=True,
        )
    )
    gemma.to(torch.bfloat16).save_pretrained(made.tied)
    _write_tokenizer(made.untied, made.tied)
    return made


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def mistake(self) -> str:
        """The one message of a user's mistake."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert "Traceback" not in self.err and "bug in mt-lottery" not in self.err
        assert self.err.count("error: ") == 1, self.err
        return self.err[self.err.index("error: ") + 7 :].strip()


class Commands:
    """``mt-train`` and ``mt-translate``, in ``folder``, with its own cache there."""

    def __init__(self, folder: Path, capture: Callable[[], tuple[str, str]]) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self._capture = capture
        self.started: list[subprocess.Popen[bytes]] = []

    def train(self, *arguments: object) -> Ended:
        """Run ``mt-train`` in this process: imports cost seconds, dozens of runs need them once."""
        return self.call("train", *arguments)

    def call(self, module: str, *arguments: object) -> Ended:
        """Run the command of a module of ``mt_lottery.cli`` in this process."""
        from mt_lottery.cli.shared import guarded

        command = importlib.import_module(f"mt_lottery.cli.{module}").command
        self._capture()
        code = guarded(lambda: command([str(a) for a in arguments]))
        return Ended(code, *self._capture())

    def environment(self) -> dict[str, str]:
        return os.environ | {"OMP_NUM_THREADS": "1", "MT_LOTTERY_CACHE": str(self.cache)}

    def line(self, program: str, *arguments: object) -> list[str]:
        """The installed program where there is one, else the module behind it."""
        installed = Path(sys.executable).with_name(program)
        module = f"mt_lottery.cli.{program.removeprefix('mt-')}"
        start = [str(installed)] if installed.is_file() else [sys.executable, "-m", module]
        return [*start, *(str(a) for a in arguments)]

    def process(self, program: str, *arguments: object, **settings: Any) -> Ended:
        """Run a program as a user does; ``stdin`` in bytes, ``cwd`` as given."""
        done = subprocess.run(
            self.line(program, *arguments),
            cwd=settings.get("cwd", self.folder),
            env=self.environment(),
            input=settings.get("stdin", b""),
            capture_output=True,
            timeout=300,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))

    def start(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a program that the test interrupts."""
        process = subprocess.Popen(
            self.line(program, *arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # a shell's background job ignores Ctrl-C, and so would what it starts
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.started.append(process)
        return process


def model(folder: Path) -> list[str]:
    """Arguments that choose a local model."""
    return ["model=hf", f"model.name_or_path={folder}"]


def small(folder: Path, recipe: str, *more: object) -> list[object]:
    """Arguments of a run of seconds."""
    return [f"recipe={recipe}", "lang=en-es", *model(folder), *SMALL, *more]


def contents(folder: Path) -> set[str]:
    """Every file under a folder, by relative name, but for the lock that stays."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)) for p in files}


def record(folder: Path) -> dict[str, Any]:
    """A run's record, as any JSON reader sees it."""
    found: dict[str, Any] = json.loads((folder / "record.json").read_text("utf-8"))
    return found


def hypotheses(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's ``hypotheses.jsonl``."""
    text = (folder / "hypotheses.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.rstrip("\n").split("\n")]


def few_positions(like: Path, count: int) -> Path:
    """A tiny GPT-2, with a table of so many positions, and the tokenizer of another model."""
    import transformers

    folder = Path(f"gpt2-{count}")
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    shape = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=count, **special
    )
    made: Any = transformers.GPT2LMHeadModel(shape)
    made.save_pretrained(folder)
    for file in like.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder
