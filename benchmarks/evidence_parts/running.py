"""Running cells: a command each, under a lock if asked, and its numbers kept at once."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import common

from evidence_parts.cells import Cell, Setting
from evidence_parts.questions import plan, questions
from evidence_parts.results import UNKNOWN, Results, Row, made_by, row_of_analysis, row_of_run
from mt_lottery.data.prompts.prepared import UNLIKE
from mt_lottery.model.loading import tokenizer_of
from mt_lottery.report.tokens import shown_tokens, token_strings
from mt_lottery.runs.finished import Run
from mt_lottery.system.atomic import write_text

PLUGINS = Path(__file__).parent / "plugins"
_running: set[subprocess.Popen[bytes]] = set()
_stopped = threading.Event()


class Failed(Exception):
    """A command ended with an error."""


def stop() -> None:
    """End the commands that are running: each keeps its checkpoint."""
    _stopped.set()
    for process in [*_running]:
        process.terminate()


def prepare(setting: Setting, data: Path) -> None:
    """The folder of the runs, the text linked into it so that no setting names this machine's."""
    setting.out.mkdir(parents=True, exist_ok=True)
    link = setting.out / "data"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(data.resolve(), target_is_directory=True)
    shutil.copytree(PLUGINS, setting.out / "plugins", dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip


def command(cell: Cell, setting: Setting) -> list[str]:
    """The cell as a command, to be run in ``setting.out``."""
    folder = str(setting.folder(cell).relative_to(setting.out))
    if cell.arm.analysis:
        runs = [str(setting.folder(c).relative_to(setting.out)) for c in needed(cell, setting)]
        more = ["--user-dir", "plugins"] if cell.arm.analysis == "explain" else []
        more += ["--device", setting.device] if setting.device else []
        return ["mt_lottery.cli.ticket", cell.arm.analysis, *runs, "--out", folder,
                "--no-plot", *cell.arm.options, *more]  # fmt: skip
    settings = {
        "recipe": cell.arm.recipe,
        "lang": f"en-{cell.lang}",
        "seed": str(cell.seed),
        **setting.settings(cell),
        "out_dir": folder,
        "baseline": "false",  # the arm `none` is that
        "resume": "true",
    }
    if cell.arm.rows:
        settings["tuner.rows_file"] = str(setting.beside(cell, "rows").relative_to(setting.out))
    if settings.get("data.template") not in (None, "plain", "alpaca"):
        settings["user_dir"] = "plugins"
    return ["mt_lottery.cli.train", *(f"{key}={value}" for key, value in settings.items())]


def needed(cell: Cell, setting: Setting) -> list[Cell]:
    """The cells whose runs a cell reads."""
    every = plan([*questions(setting)], setting)
    return [next(c for c in every if c.key == (name, cell.lang, cell.seed)) for name in cell.arm.of]


def run_cell(cell: Cell, setting: Setting, results: Results) -> Row | None:
    """Run a cell, and what it needs first, and keep its numbers.

    Returns:
        its row; None where the prompt has no such token.

    Raises:
        Failed: its command did; the log's name is in the message.
    """
    for one in needed(cell, setting):
        if not (setting.folder(one) / "record.json").is_file():
            run_cell(one, setting, results)
    began = time.monotonic()
    folder = setting.folder(cell)
    for kind in ("log", "rows", "made"):
        setting.beside(cell, kind).parent.mkdir(exist_ok=True)
    words: list[str] = []
    if cell.arm.rows:
        rows, words = chosen_rows(cell.arm.rows, setting.folder(needed(cell, setting)[0]))
        if not rows:
            results.add(cell, {"recipe": None, "absent": True}, 0.0, made_by(setting.device))
            return None
        setting.beside(cell, "rows").write_text("".join(f"{row}\n" for row in rows))
    finished = bool(cell.arm.recipe) and (folder / "record.json").is_file()
    note = setting.beside(cell, "made")  # for whoever finds the run, if this process ends before
    if not finished:
        write_text(note, json.dumps(made_by(setting.device)))
        _call(command(cell, setting), setting.out, setting.beside(cell, "log"))
    analysis = cell.arm.analysis
    row = row_of_analysis(folder, analysis) if analysis else row_of_run(folder)
    row |= {"words": words} if words else {}
    seconds = time.monotonic() - began
    if finished:  # by a process that ended before it could say so
        cost = row["cost"]
        seconds = sum(cost[f"{p}_seconds"] or 0.0 for p in ("probe", "train", "decode"))
    made = json.loads(note.read_text("utf-8")) if note.is_file() else UNKNOWN
    results.add(cell, row, seconds, made)
    return row


def _call(arguments: list[str], where: Path, log: Path) -> None:
    path = os.pathsep.join(filter(None, (str(common.ROOT), os.environ.get("PYTHONPATH"))))
    with log.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=where,
            env={**os.environ, "PYTHONPATH": path},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours, and ends it by `stop`
        )
        try:
            _running.add(process)
            if _stopped.is_set():  # between its start and the line above
                process.terminate()
            status = process.wait()
        except BaseException:
            # it keeps its checkpoint; a background process of a shell does not hear SIGINT
            process.terminate()
            process.wait()
            raise
        finally:
            _running.discard(process)
    if status and _stopped.is_set():
        raise KeyboardInterrupt
    if status:
        said = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        raise Failed(f"ended with {status}; {log}: {' '.join(said)[:200]}")


def chosen_rows(asked: str, folder: Path) -> tuple[list[int], list[str]]:
    """Token ids of :attr:`Arm.rows`, by a run whose ticket is ranked.

    Returns:
        the ids; and the words of those that are the template's, as a reader knows them.
    """
    kind, _, number = asked.partition(":")
    run = Run(folder)
    tokenizer, _ = tokenizer_of(run.config.model) or (run.original.tokenizer, 0)
    one, other = run.text.prompts(UNLIKE, tokenizer)  # what no sentence decides
    template = [i for i in dict.fromkeys(one) if i in set(other)]
    if kind == "token":
        names = token_strings(tokenizer, template)
        rest = [i for i, name in zip(template, names, strict=True)
                if i != tokenizer.bos_token_id and "\n" not in name]  # fmt: skip
        chosen = rest[int(number) - 1 : int(number)]
    else:
        with (folder / "tickets.csv").open(encoding="utf-8", newline="") as file:
            ranked = [int(line["token_id"]) for line in csv.DictReader(file)]
        if kind == "outside":
            return [i for i in ranked if i not in set(template)][: int(number)], []
        if kind == "turned":
            (line_break,) = (i for i in template if "\n" in tokenizer.decode([i]))
            count = int(number)
            if line_break in ranked[:count]:
                return [i for i in ranked if i != line_break][:count], []
            return [*ranked[: count - 1], line_break], []
        inside = [i for i in ranked if i in set(template)]
        chosen = inside[: int(number)]
    return chosen, shown_tokens(token_strings(tokenizer, chosen)) if chosen else []
