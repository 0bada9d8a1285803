"""A run directory: whether it may be used, and the files in it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mt_lottery.config import RunConfig, counted, file_settings, shown
from mt_lottery.config.compose import to_yaml
from mt_lottery.config.stored import flat
from mt_lottery.config.written import text_of
from mt_lottery.errors import RecordError, assigned
from mt_lottery.reading import parse_yaml, read_yaml
from mt_lottery.registry.code import code_of
from mt_lottery.runs.folder.claims import CONFIG as CONFIG
from mt_lottery.runs.folder.claims import STATE as STATE
from mt_lottery.runs.folder.claims import check_inputs, check_ours
from mt_lottery.runs.folder.files import read_code, read_state
from mt_lottery.runs.folder.record import NAME, Record, read_record
from mt_lottery.system import parallel
from mt_lottery.system.atomic import DiskError, sweep, write_text
from mt_lottery.system.removing import remove
from mt_lottery.system.values import about_cache

HYPOTHESES = "hypotheses.jsonl"
SENTENCES = "sentence_scores.jsonl"
TICKETS = "tickets.csv"
LOG = "train_log.jsonl"
TRIALS = "trials"
# the record first: while it is there, the folder counts as a finished run
FOLDERS = (
    *("adapter", "model", "control", TRIALS, "checkpoints"),
    *("trackers", "fairseq2/train"),
)
#: What a run that is resumed goes on with.
RESUMED = ("checkpoints", LOG, TRIALS, "trackers", "fairseq2/train")
#: What mt-ticket writes into a run directory where no other place is given.
FINDINGS = ("certificate", "explain", "ticket.png", "ticket.svg")
OURS = (NAME, CONFIG, HYPOTHESES, SENTENCES, TICKETS, LOG, STATE, *FOLDERS)


def default_folder(config: RunConfig) -> Path:
    """``runs/LANG/METHOD/seed-N``; several directions are joined, ``en-ro+en-es``."""
    directions = config.lang.split(",")
    if config.test_lang:
        directions += [f"test-{lang}" for lang in config.test_lang.split(",")]
    return Path("runs") / "+".join(directions) / config.recipe / f"seed-{config.seed}"


@contextlib.contextmanager
def locked(run_dir: Path, *, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a run directory; a second run that wants it fails, or waits.

    Of several processes of one run, the main one holds it for all.

    Args:
        run_dir: the folder.
        wait: prints a line for the user, that this run waits for another one; None for failing.

    Raises:
        RecordError: another process holds it.
        DiskError: the folder cannot be made.
    """
    lock = FileLock(run_dir / ".lock")

    def hold() -> None:
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if wait is None:
                    raise
                wait(f"Another run is making what this one needs ({run_dir}): waiting for it.")
                lock.acquire()
            sweep(run_dir)  # what a killed process left half-written
        except Timeout as error:
            raise RecordError(f"{run_dir}: another run is working in this directory.") from error
        except OSError as error:
            reason = error.strerror or str(error)
            if about := about_cache(run_dir):
                raise DiskError(f"{run_dir} cannot be written: {reason}. {about}") from error
            raise DiskError(f"out_dir={run_dir}: cannot be written: {reason}.") from error

    parallel.on_main(hold)
    try:
        yield
    finally:
        lock.release()  # the file stays: without it a third process could lock a new one


#: Settings that a message names; the others are counted.
_NAMED = 5


def _apart(run_dir: Path, config: RunConfig) -> str | None:
    """What sets a finished run apart from the one that is asked for, setting by setting.

    None where its settings cannot be read.
    """
    new = with_full_paths(config)
    asked = dict(flat(parse_yaml(to_yaml(new), "this run", RecordError)))
    there: dict[str, Any] = {}
    with contextlib.suppress(RecordError):  # copied without it, or damaged: the record has a hash
        there = dict(flat(read_yaml(run_dir / CONFIG, RecordError)))
    if not there:
        return None
    counts = {key for key, _ in flat(counted(new))}
    lines = [
        f"{key}: {shown(there.get(key))}, now {shown(asked.get(key))}"
        # what only one of two recipes, or corpora, has at all comes last
        for key in sorted({**asked, **there}, key=lambda key: key not in asked or key not in there)
        if (key in counts or key not in asked or key.startswith("metric."))
        and there.get(key, {}) != asked.get(key, {})  # an empty section is as good as none
    ]
    more = f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    same = "the settings are the same: what they name (model, file, notebook's plugin) has changed"
    return f"{'; '.join(lines[:_NAMED])}{more}" if lines else same


def finished(
    run_dir: Path, config_hash: str, overwrite: bool, config: RunConfig | None = None
) -> Record | None:
    """The record in ``run_dir`` if it is this very run, done; None if there is none.

    Args:
        run_dir: the folder.
        config_hash: of the run that is asked for.
        overwrite: whatever is there, it is made again.
        config: that run's settings, for the message.

    Raises:
        RecordError: a run of another configuration is there, and ``overwrite`` is off.
    """
    if overwrite or not (run_dir / NAME).exists():
        return None
    record = read_record(run_dir)
    if record.config_hash == config_hash:
        return record
    apart = (_apart(run_dir, config) if config else None) or (
        f"method {record.method}, lang {record.lang}, seed {record.seed}, config_hash "
        f"{record.config_hash[:12]}; this one is {config_hash[:12]}"
    )
    raise RecordError(
        f"{run_dir} holds a finished run of another configuration ({apart}). "
        f"Give another out_dir, or {assigned({'overwrite': True})} to replace it."
    )


def is_begun(run_dir: Path) -> bool:
    """Whether there is anything in a folder that a run could go on from."""
    kinds = ("checkpoints/checkpoint-*", "checkpoints/step_*", f"trials/*/{NAME}")  # both engines'
    return any(path for kind in kinds for path in run_dir.glob(kind))


def prepare(run_dir: Path, config: RunConfig, config_hash: str) -> bool:
    """Make ``run_dir`` ready for a run.

    Returns:
        True if an interrupted training of the same configuration is to be continued.

    Raises:
        RecordError: an interrupted run is there that the request neither
            continues (``resume=true``) nor replaces (``overwrite=true``); or a folder of
            somebody else's.
        ConfigError: a setting names an input that would be replaced.
    """
    state = run_dir / STATE
    go_on, anew = assigned({"resume": True}), assigned({"overwrite": True})
    check_ours(run_dir, OURS)
    check_inputs(run_dir, OURS, config)
    interrupted = None
    begun = state.is_file() and is_begun(run_dir)
    if begun and not config.overwrite:
        try:
            interrupted = read_state(state)
        except RecordError as error:
            raise RecordError(f"{error} {anew} starts anew.") from error
    same, code = interrupted == config_hash, code_of(config)
    if interrupted is not None:
        if not same:
            apart = _apart(run_dir, config)
            raise RecordError(
                f"{run_dir} holds an interrupted run of another configuration"
                f"{f' ({apart})' if apart else ''}; "
                f"{go_on} continues the same one only. {anew} starts anew."
            )
        if not config.resume:
            raise RecordError(
                f"{run_dir} holds an interrupted run with a checkpoint: "
                f"{go_on} continues it, {anew} starts anew."
            )
        if edited := _edited(read_code(state), code):
            raise RecordError(
                f"{run_dir} holds an interrupted run, and the plugin of {edited} has changed since "
                f"it began; {go_on} continues the same one only. {anew} starts anew."
            )
    resume = config.resume and same
    if not resume:  # before the new hash is written: it must never go with old checkpoints
        for name in ("checkpoints", TRIALS):
            if (run_dir / name).is_dir() and not (run_dir / name).is_symlink():
                remove(run_dir / name, quiet=True)  # a file or link goes after the record
    # then at once: what says that this folder is ours must outlive a kill further down
    began = {"status": "running", "config_hash": config_hash}
    write_text(state, json.dumps(began | ({"code": code} if code else {})) + "\n")
    for name in OURS:
        if name == STATE or (resume and name in RESUMED):
            continue
        remove(run_dir / name)
    kept = dataclasses.replace(with_full_paths(config), resume=False, overwrite=False)
    write_text(run_dir / CONFIG, to_yaml(kept))
    return resume


def _edited(before: dict[str, str], now: dict[str, str]) -> str:
    """What a plugin registered otherwise than before; empty for nothing."""
    return ", ".join(sorted(key for key in before if now.get(key) not in (None, before[key])))


def with_full_paths(config: RunConfig) -> RunConfig:
    """The configuration with absolute paths, so that ``config.yaml`` works from any folder."""

    def full(section: Any, prefix: str, *keys: str) -> Any:
        found = {}
        for key in keys:
            value = getattr(section, key, None)
            if not value:
                continue
            path = Path(value).expanduser()
            if path.exists() and text_of(prefix + key, value) is None:  # else as it was written
                found[key] = str(path.resolve())
        return dataclasses.replace(section, **found)

    data = full(config.data, "data.", "path", "dev_path", "test_path")
    if config.data.path is None:  # else they may be in that folder
        roles = ("train", "dev", "test")
        names = [f"{role}_{side}" for role in roles for side in ("source", "target")]
        data = full(data, "data.", *names)
    whole: RunConfig = full(config, "", "user_dir")
    comet = full(config.metric.comet, "metric.comet.", "command", "model")
    return dataclasses.replace(
        whole,
        metric=dataclasses.replace(config.metric, comet=comet),
        model=full(config.model, "model.", "name_or_path"),
        data=data,
        tuner=full(config.tuner, "tuner.", *file_settings(config.tuner)),
    )


def tidy(run_dir: Path) -> None:
    """Remove what only an unfinished run needs."""
    remove(run_dir / "checkpoints", quiet=True)
    for pattern in ("trials/*/*.safetensors", f"trials/*/{STATE}"):
        for file in run_dir.glob(pattern):
            file.unlink()
    (run_dir / STATE).unlink(missing_ok=True)
