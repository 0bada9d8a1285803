"""``comet-score``, the program of unbabel-comet: found, checked, and run.

unbabel-comet needs numpy < 2, transformers < 5 and huggingface_hub < 1, so it lives in an
environment of its own (``mt-bench setup-comet``); only lines of text go there, and scores
come back.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_lottery.config import CometConfig, digest
from mt_lottery.errors import ScoreError, plural
from mt_lottery.model.cache import sha256_file
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import write_text
from mt_lottery.system.values import cache_folder

PROGRAM = "comet-score"
MADE = "mt-lottery.json"  # in an environment of mt-bench setup-comet: it is whole
HOW = (
    "mt-bench setup-comet makes its environment; metric.comet.command=PATH names one that is there"
)
TRIAL_SECONDS = 900.0  # the first load of a large model, from a slow disk

#: A source, a hypothesis and a reference, each one line.
Triple = tuple[str, str, str]

# What torchrun and Slurm tell their processes: Lightning would wait for the other ones.
_FOREIGN = re.compile(
    r"SLURM_.*|TORCHELASTIC_.*|PMI_.*|OMPI_.*|(LOCAL_|GROUP_|NODE_|ROLE_)?RANK|MASTER_(ADDR|PORT)"
    r"|(LOCAL_|ROLE_|GROUP_)?WORLD_SIZE|PYTHONPATH|PYTHONHOME|VIRTUAL_ENV|PIP_CONSTRAINT"
)


@dataclass(frozen=True)
class Checkpoint:
    """A COMET model on this disk.

    Attributes:
        name: hub id, or the name of its folder.
        path: the ``.ckpt`` file.
        identity: ``sha256:…`` of the file, or ``revision:…`` on the hub.
    """

    name: str
    path: Path
    identity: str


def environment_folder() -> Path:
    """Where ``mt-bench setup-comet`` makes the environment, unless told otherwise."""
    return cache_folder() / "comet-env"


def find_program(command: str | None) -> Path:
    """The program ``comet-score``.

    Args:
        command: path or name of it; None for the one on PATH, else the one that
            ``mt-bench setup-comet`` made.

    Raises:
        ScoreError: it is not there, or cannot be run.
    """
    if command is not None:
        found = shutil.which(str(Path(command).expanduser()))
        if found is None:
            raise ScoreError(
                f"metric.comet.command={command}: no such program, or it may not be run. {HOW}."
            )
        return Path(found).absolute()
    found = shutil.which(PROGRAM)
    if found is not None:
        return Path(found).absolute()
    made = environment_folder() / "bin" / PROGRAM
    if made.is_file() and (environment_folder() / MADE).is_file():
        return made
    raise ScoreError(
        f"The metric 'comet' needs the program {PROGRAM} of unbabel-comet, which is neither on "
        f"PATH nor in {environment_folder()}. {HOW}."
    )


def version_of(program: Path) -> str:
    """Version of unbabel-comet behind a program, asked of the Python beside it.

    Raises:
        ScoreError: there is no Python beside it, or it has no unbabel-comet.
    """
    python = program.resolve().parent / "python"
    code = "import importlib.metadata as m; print(m.version('unbabel-comet'))"
    try:
        done = subprocess.run(
            [str(python), "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=own_environment(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ScoreError(
            f"{program}: the Python beside it ({python}) has no unbabel-comet "
            f"({_last_line(getattr(error, 'stderr', None)) or error}). {HOW}."
        ) from error
    return done.stdout.strip()


def find_checkpoint(model: str) -> Checkpoint:
    """The checkpoint of ``metric.comet.model``; from the hub it is downloaded, once.

    Args:
        model: a folder with ``hparams.yaml`` and ``checkpoints/model.ckpt``, a ``.ckpt`` file in
            such a folder, or a hub id.

    Raises:
        ScoreError: it is not there, or not in COMET's layout.
    """
    path = Path(model).expanduser()
    if path.exists():
        file = path / "checkpoints" / "model.ckpt" if path.is_dir() else path
        folder = file.absolute().parent.parent
        for needed in (file, folder / "hparams.yaml"):
            if not needed.is_file():
                raise ScoreError(
                    f"metric.comet.model={model}: {needed} is missing. COMET's layout is a folder "
                    "with hparams.yaml and checkpoints/model.ckpt."
                )
        return Checkpoint(folder.name, file.absolute(), f"sha256:{sha256_file(file)}")
    if model.startswith(("/", ".", "~")) or model.endswith(".ckpt") or model.count("/") != 1:
        raise ScoreError(
            f"metric.comet.model={model}: no such file or folder, and no hub id (OWNER/NAME)."
        )
    return _from_hub(model)


def _from_hub(model: str) -> Checkpoint:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model, local_files_only=True))
        if not (folder / "checkpoints" / "model.ckpt").is_file():
            raise FileNotFoundError(folder)
    except Exception:  # not in the hub's cache, or only a part of it
        try:
            folder = Path(snapshot_download(model, etag_timeout=5))
        except Exception as error:
            root: BaseException = error
            while (deeper := root.__cause__ or root.__context__) is not None:
                root = deeper
            raise ScoreError(
                f"metric.comet.model={model}: it is not in the hub's cache, and cannot be "
                f"downloaded ({type(root).__name__}: {' '.join(str(root).split())[:160]}). Where "
                f"there is a network: hf download {model}; or metric.comet.model=FOLDER (with "
                "hparams.yaml and checkpoints/model.ckpt)."
            ) from error
    file = folder / "checkpoints" / "model.ckpt"
    if not file.is_file() or not (folder / "hparams.yaml").is_file():
        raise ScoreError(f"metric.comet.model={model}: no COMET model (no checkpoints/model.ckpt).")
    return Checkpoint(model, file, f"revision:{folder.name}")


def identity(config: CometConfig) -> str:
    """What the scores depend on, for the run's hash; nothing is downloaded or refused for it."""
    path = Path(config.model).expanduser()
    file = path / "checkpoints" / "model.ckpt" if path.is_dir() else path
    return f"sha256:{sha256_file(file)}" if file.is_file() else config.model


def check(config: CometConfig) -> None:
    """Make sure that COMET will work after a training of hours: score one sentence with it.

    Done once for a program and a model; the cache remembers it. On the CPU: mt-bench asks on a
    machine that may have no GPU, for jobs that have one.

    Args:
        config: the section ``metric.comet``.

    Raises:
        ScoreError: the program or the model is missing, or does not work; with what to do.
    """
    program = find_program(config.command)
    checkpoint = find_checkpoint(config.model)
    about = [str(program), program.stat().st_mtime_ns, str(checkpoint.path), checkpoint.identity]
    note = cache_folder() / "comet-checked" / f"{digest(about)}.json"
    if note.is_file():
        return
    sentence = ("A first sentence.", "A first sentence.", "A first sentence.")
    run(program, checkpoint, [sentence], seconds=TRIAL_SECONDS)
    write_text(note, json.dumps({"program": str(program), "model": checkpoint.name}) + "\n")


def gpus_for(config: CometConfig, device: str) -> int:
    """GPUs that the program is given: what the settings say, else one if the run has one."""
    if config.gpus is not None:
        return config.gpus
    return 1 if device.startswith("cuda") else 0


def run(
    program: Path,
    checkpoint: Checkpoint,
    triples: Sequence[Triple],
    *,
    batch_size: int = 16,
    gpus: int = 0,
    device: str = "cpu",
    seconds: float | None = None,
) -> list[float]:
    """Segment scores of N triples, in their order.

    Args:
        program: from :func:`find_program`.
        checkpoint: from :func:`find_checkpoint`.
        triples: texts without line breaks.
        batch_size: segments a batch.
        gpus: 0 is the CPU.
        device: the run's; of ``cuda:1`` the program takes GPU 1 too.
        seconds: after which the program is ended.

    Raises:
        ScoreError: the program fails, or does not answer with one score a triple.
    """
    with tempfile.TemporaryDirectory(prefix="mt-lottery-comet-") as name:
        folder = Path(name)
        arguments = []
        for place, option in enumerate(("sources", "translations", "references")):
            file = folder / f"{option}.txt"
            file.write_text("".join(f"{t[place]}\n" for t in triples), encoding="utf-8")
            arguments += [f"--{option}", file.name]
        arguments += ["--model", str(checkpoint.path), "--to_json", "scores.json"]
        arguments += ["--gpus", str(gpus), "--batch_size", str(batch_size)]
        arguments += ["--quiet", "--only_system"]
        try:
            done = subprocess.run(
                [str(program), *arguments],
                cwd=folder,
                env=own_environment(device if gpus == 1 else None),
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ScoreError(f"{program}: no answer in {seconds:g} s.") from error
        except OSError as error:
            raise ScoreError(f"{program}: cannot be run: {error.strerror or error}.") from error
        if done.returncode != 0:
            raise ScoreError(
                f"{program} failed with code {done.returncode} on model {checkpoint.path}: "
                f"{_last_line(done.stderr) or 'it said nothing'}"
            )
        try:
            content = read_json(folder / "scores.json", ScoreError, object, finite=False)
        except ScoreError as error:
            raise ScoreError(f"{program}: its scores cannot be read: {error}") from error
    return parse(content, triples, program)


def parse(content: Any, triples: Sequence[Triple], program: Path) -> list[float]:
    """The scores in what ``--to_json`` wrote: one list of segments for the one file.

    Raises:
        ScoreError: another number of segments, another order, or a score that is no number.
    """
    segments = next(iter(content.values())) if isinstance(content, dict) and content else None
    if not isinstance(segments, list) or len(segments) != len(triples):
        count = len(segments) if isinstance(segments, list) else "no"
        raise ScoreError(
            f"{program}: {plural(count, 'segment')} scored, but {len(triples)} were given."
        )
    scores = []
    for number, (segment, triple) in enumerate(zip(segments, triples, strict=True)):
        if not isinstance(segment, dict) or segment.get("mt") != triple[1]:
            raise ScoreError(f"{program}: segment {number} of its answer is not the one given.")
        score = segment.get("COMET")
        if not isinstance(score, (int, float)) or not math.isfinite(score):
            raise ScoreError(f"{program}: segment {number} has the score {score!r}.")
        scores.append(float(score))
    return scores


def own_environment(device: str | None = None) -> dict[str, str]:
    """The environment without what belongs to this process's own Python, torchrun or Slurm."""
    found = {k: v for k, v in os.environ.items() if not _FOREIGN.fullmatch(k)}
    found["TOKENIZERS_PARALLELISM"] = "false"
    index = (device or "").partition(":")[2]
    if index:
        visible = found.get("CUDA_VISIBLE_DEVICES", "")
        known = visible.split(",") if visible else []
        found["CUDA_VISIBLE_DEVICES"] = known[int(index)] if int(index) < len(known) else index
    return found


def _last_line(said: bytes | str | None) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said or ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else ""
