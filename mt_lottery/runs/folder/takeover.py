"""``overwrite=true``: the new run is made beside the old one, and takes its place when it is done.

It is made in :data:`NEW`, a folder in the run directory: what a user keeps there stays where it
is, and the lock and the file system are the same. The old run is whole until the new one is, and
is then replaced by renames alone; a journal (:data:`SWAP`) lets the next start finish them if
they are cut short.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path

from mt_lottery.config import RunConfig
from mt_lottery.errors import RecordError
from mt_lottery.reading import read_json
from mt_lottery.runs.folder.claims import check_inputs, check_ours, state_hash
from mt_lottery.runs.folder.preparing import OURS, STATE, finished, is_begun, prepare, tidy
from mt_lottery.runs.folder.record import NAME, SWAP, Record
from mt_lottery.runs.planning.plan import Echo
from mt_lottery.system.atomic import DiskError, sync, write_data
from mt_lottery.system.removing import remove

NEW, OLD = ".mt_lottery.new", ".mt_lottery.old"
#: Folders of a run in which a file that came later than the record may be the user's.
KEPT_IN = ("adapter", "model", "control", "trials", "checkpoints")
#: Names that a run, PEFT or transformers gives to what it writes there.
KNOWN = {
    *(Path(name).name for name in OURS),
    *("adapter_config.json", "adapter_model.safetensors", "README.md", "trained.safetensors"),
    *("forced_prefix.json", "few_shot_pool.json"),
    *("eos_bias.json", "few_shot.txt", "config.json", "generation_config.json", ".lock"),
    *("model.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer.model"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
    *("vocab.txt", "merges.txt", "chat_template.jinja", "spiece.model"),
}


def is_staged(run_dir: Path, config_hash: str) -> bool:
    """Whether a new run of this configuration has been begun beside the one that is there."""
    return state_hash(run_dir / NEW) == config_hash or done_beside(run_dir, config_hash) is not None


def done_beside(run_dir: Path, config_hash: str) -> Record | None:
    """The record of a new run that is done, but has not taken the old one's place yet."""
    return done_in(run_dir / NEW, config_hash)


def done_in(folder: Path, config_hash: str) -> Record | None:
    """The record of a finished run of this configuration in a folder; None if there is none."""
    with contextlib.suppress(RecordError):
        return finished(folder, config_hash, False)
    return None


def goes_on(run_dir: Path, config: RunConfig, config_hash: str) -> bool:
    """Whether ``resume=true`` means a new run that was to replace the one that is there."""
    if not config.resume or not is_staged(run_dir, config_hash):
        return False
    try:
        return finished(run_dir, config_hash, False) is None
    except RecordError:  # of another configuration, or damaged
        return True


def place(run_dir: Path, config: RunConfig, config_hash: str, echo: Echo) -> tuple[Path, bool]:
    """Make a folder ready for a run: ``run_dir``, or one in it while an old run is there.

    Nothing of an old run is touched with ``overwrite=true``. A new run that was interrupted
    goes on, with ``overwrite=true`` or ``resume=true``.

    Returns:
        the folder, and True if an interrupted training is to be continued.

    Raises:
        RecordError: what is there is not ours, or may not be replaced.
        ConfigError: a setting names an input that would be replaced.
    """
    staged = is_staged(run_dir, config_hash)
    standing = any((run_dir / name).exists() for name in (NAME, STATE))
    if not (config.overwrite and standing) and not (config.resume and staged):
        resume = prepare(run_dir, config, config_hash)
        remove(run_dir / NEW, quiet=True)  # given up: this run replaces it
        return run_dir, resume
    check_ours(run_dir, OURS)
    check_inputs(run_dir, OURS, config)
    new = run_dir / NEW
    if not staged:
        remove(new, quiet=True)
    try:
        new.mkdir(exist_ok=True)
    except OSError as error:
        raise DiskError(f"{run_dir} cannot be written: {error.strerror or error}.") from error
    goes_on = dataclasses.replace(config, resume=staged, overwrite=not staged)
    resume = prepare(new, goes_on, config_hash)
    if resume:
        echo(f"The new run for {run_dir} was interrupted: it goes on.")
    else:
        echo(f"{run_dir} keeps what it holds until the new run is done.")
    return new, resume


def discard_unbegun(work: Path) -> None:
    """Remove the folder of a new run that failed before there was anything to go on from."""
    if work.name == NEW and not is_begun(work) and not (work / NAME).exists():
        remove(work, quiet=True)


def _later(run_dir: Path) -> list[str]:
    """Files in the old run's folders that came after its record, under names that no run gives.

    A file that is moved or copied gets a new ``ctime``, even where its modification time is kept.
    """
    try:
        done = (run_dir / NAME).stat().st_ctime_ns
    except OSError:
        return []
    found = []
    for name in KEPT_IN:
        if (run_dir / name).is_symlink():
            continue  # the link goes, not what it leads to
        for top, _, files in os.walk(run_dir / name):
            for file in files:
                path = os.path.join(top, file)
                if file not in KNOWN and os.lstat(path).st_ctime_ns >= done:
                    found.append(os.path.relpath(path, run_dir))
    return found


def swap(run_dir: Path) -> None:
    """Put a finished new run in the place of the old one.

    Raises:
        DiskError: it could not be done; the old run is there as before, the new one beside it.
    """
    new = run_dir / NEW
    tidy(new)
    _retell(new, run_dir)
    coming = [name for name in os.listdir(new) if name not in (NAME, "fairseq2", ".lock")]
    coming += [name for name in ("fairseq2/train",) if (new / name).exists()]
    # the record goes first and comes last: with it the folder counts as a finished run
    going = [x for x in dict.fromkeys((*OURS, *coming)) if os.path.lexists(run_dir / x)]
    plan = {"out": going, "in": [*coming, NAME], "keep": _later(run_dir)}
    write_data(run_dir / SWAP, json.dumps(plan) + "\n")
    try:
        _go_on(run_dir, plan)
    except OSError as error:
        with contextlib.suppress(OSError):
            _go_back(run_dir, plan)
        raise DiskError(
            f"{run_dir}: the new run is done, in {new}, but cannot take the old one's place: "
            f"{error.strerror or error}. The same command tries it again."
        ) from error


def settle(run_dir: Path) -> bool:
    """Finish a swap that was cut short, and remove what one left.

    Returns:
        whether there was one.

    Raises:
        RecordError: its journal is damaged.
    """
    journal = run_dir / SWAP
    if journal.is_file():
        try:
            plan = read_json(journal, RecordError)
            names = {kind: [str(x) for x in plan[kind]] for kind in ("out", "in", "keep")}
            if any(
                ".." in Path(x).parts or Path(x).is_absolute() for n in names.values() for x in n
            ):
                raise ValueError
        except (RecordError, ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"{journal}: damaged; {run_dir / OLD} holds the old run, {run_dir / NEW} the new "
                "one: move one of them into its place."
            ) from error
        try:
            _go_on(run_dir, names)
        except OSError as error:
            raise DiskError(f"{run_dir} cannot be written: {error.strerror or error}.") from error
        return True
    remove(run_dir / OLD, quiet=True)
    return False


def _go_on(run_dir: Path, plan: dict[str, list[str]]) -> None:
    """All of a swap that has not been done yet."""
    new, old = run_dir / NEW, run_dir / OLD
    for name in plan["out"]:
        if not os.path.lexists(old / name) and os.path.lexists(run_dir / name):
            _move(run_dir / name, old / name)
    for name in plan["in"]:
        if os.path.lexists(new / name):
            _move(new / name, run_dir / name)
    for name in plan["keep"]:  # last: they must come after the record, to be known another time
        if os.path.lexists(old / name):
            aim = run_dir / name
            if os.path.lexists(aim):
                aim = aim.with_name(f"{aim.name}.kept")
            _move(old / name, aim)
    sync(run_dir)
    (run_dir / SWAP).unlink(missing_ok=True)
    for each in (new, old):
        remove(each, quiet=True)


def _go_back(run_dir: Path, plan: dict[str, list[str]]) -> None:
    new, old = run_dir / NEW, run_dir / OLD
    for name in plan["in"]:
        came = name not in plan["out"] or os.path.lexists(old / name)
        if came and os.path.lexists(run_dir / name) and not os.path.lexists(new / name):
            _move(run_dir / name, new / name)
    for name in reversed(plan["out"]):
        if os.path.lexists(old / name):
            _move(old / name, run_dir / name)
    (run_dir / SWAP).unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(source, target)


def _retell(new: Path, run_dir: Path) -> None:
    """Where MLflow's files name the folder in which they were written, the one to come."""
    here, there = new.resolve().as_uri(), run_dir.resolve().as_uri()
    for path in (new / "trackers").rglob("meta.yaml"):
        with contextlib.suppress(OSError, UnicodeError):
            text = path.read_text("utf-8")
            if here in text:
                write_data(path, text.replace(here, there))


def told_of(echo: Echo, work: Path, run_dir: Path) -> Echo:
    """What is said of the folder in which a new run is made, said of where it will be."""
    names = [(str(work.resolve()), str(run_dir.resolve())), (str(work), str(run_dir))]

    def told(text: str) -> None:
        for name, final in names:
            text = text.replace(name, final)
        echo(text)

    return told
