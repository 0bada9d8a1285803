"""``bench.json``: what a benchmark's folder was made with, and what was asked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt_lottery import __version__
from mt_lottery.benchmark.plan import BLOCKS, Bench
from mt_lottery.errors import RecordError, argument, plural
from mt_lottery.reading import read_json
from mt_lottery.runs.folder.record import converted
from mt_lottery.system.atomic import write_text

SETTINGS = "bench.json"
SCHEMA = 1


@dataclass
class _Settings:
    """What ``settings`` holds."""

    overrides: dict[str, str]
    tune: int = 0
    command: str = ""


@dataclass
class _Command:
    """One command, and the cells that it asked for: each method in each language and seed."""

    command: str
    methods: list[str]
    langs: list[str]
    seeds: list[int]


@dataclass
class _Asked:
    """What ``asked`` holds; of the commands those that together ask for all of it."""

    methods: list[str] = field(default_factory=list)
    langs: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    commands: list[_Command] = field(default_factory=list)


def other_settings(bench: Bench) -> list[str]:
    """How a benchmark differs from the one in its folder; nothing where there is none.

    Raises:
        RecordError: the folder holds something else.
    """
    if not (bench.out / SETTINGS).is_file():
        return []
    return difference(read_settings(bench.out)["settings"], bench.settings())


def check_settings(bench: Bench, *, force: bool, command: str) -> list[str]:
    """Compare with the settings in the folder, and write the new ones there.

    Returns:
        folders of finished cells that are to be made anew: of settings before these.

    Raises:
        RecordError: the folder holds a benchmark with other settings (the difference is listed),
            or something else, and ``force`` is off; or some of its finished cells, which the new
            settings change, are not asked for.
    """
    path = bench.out / SETTINGS
    new = bench.settings()
    asked: dict[str, list[Any]] = {}
    changes: list[str] = []
    anew: set[str] = set()
    if path.is_file():
        old = read_settings(bench.out)
        asked = _with_commands(old)
        changes = difference(old["settings"], new)
        if changes and not force:
            listed = "\n".join(f"  {line}" for line in changes)
            raise RecordError(
                f"{bench.out} holds a benchmark with other settings:\n{listed}\n"
                f"Give another {argument('out')}, or {argument('force', True)} to go on with the "
                "new ones (cells that they change are run again)."
            )
        anew = {*old["anew"], *(_changed_cells(bench, old["settings"], new) if changes else ())}
    cells: dict[str, list[Any]] = {
        "methods": bench.recipes,
        "langs": bench.langs,
        "seeds": bench.seeds,
    }
    for key, values in cells.items():
        known = asked.setdefault(key, [])
        known += [value for value in values if value not in known]
    before = [] if changes else asked.get("commands", [])  # with other settings: of other cells
    asked["commands"] = _added(before, {"command": command, **cells})
    new["command"] = command  # the last one; no difference by itself
    content = {"schema": SCHEMA, "mt_lottery": __version__, "settings": new, "asked": asked}
    _write(path, content, anew)
    return sorted(anew)


def _write(path: Path, content: dict[str, Any], anew: Collection[str]) -> None:
    content = {key: value for key, value in content.items() if key != "anew"}
    content |= {"anew": sorted(anew)} if anew else {}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def to_be_made_anew(out: Path) -> list[str]:
    """Folders of finished cells with earlier settings; none where there is no benchmark."""
    anew: list[str] = read_settings(out)["anew"] if (out / SETTINGS).is_file() else []
    return anew


def made_anew(out: Path, done: Iterable[str]) -> None:
    """Note of cells that :func:`check_settings` returned that they have been made."""
    content = read_settings(out)
    _write(out / SETTINGS, content, {*content["anew"]} - {*done})


#: Settings that a run of the original model does not depend on.
_TRAINING = ("train.", "probe.", "tuner.", "tune", "data.train_templates")


def _changed_cells(bench: Bench, old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    """Folders of the finished cells that other settings change.

    Raises:
        RecordError: some of them are not asked for: they would stand beside the others.
    """
    keys = changed(old, new)

    def is_changed(recipe: str) -> bool:
        own = [key.rpartition(":")[2] for key in keys if key.rpartition(":")[0] in ("", recipe)]
        return any(recipe != "none" or not key.startswith(_TRAINING) for key in own)

    records = bench.out.glob("*/*/**/seed-*/record.json")
    finished = {record.parent.relative_to(bench.out).as_posix() for record in records}
    found = {f for f in finished if f.split("/")[0] in BLOCKS and is_changed(f.split("/")[1])}
    if left := sorted(found - {cell.folder for cell in bench.cells()}):
        more = ", …" if left[3:] else ""
        raise RecordError(
            f"{bench.out}: the other settings change {plural(len(left), 'finished cell')} that "
            f"{'is' if len(left) == 1 else 'are'} not asked for ({', '.join(left[:3])}{more}), and "
            "would stand in one table with the new ones. Ask for those recipes, languages and "
            f"seeds too, or give another {argument('out')}."
        )
    return found


def read_settings(out: Path) -> dict[str, Any]:
    """What ``bench.json`` holds.

    Raises:
        RecordError: missing, damaged, or of another schema.
    """
    path = out / SETTINGS
    if not path.exists():
        raise RecordError(f"{path}: no such file; {out} is no benchmark of mt-bench.")
    content: dict[str, Any] = read_json(path, RecordError)
    if content.get("schema") != SCHEMA or isinstance(content["schema"], bool):
        raise RecordError(f"{path}: schema {content.get('schema')!r}; this version reads {SCHEMA}.")
    for kind, key in ((_Settings, "settings"), (_Asked, "asked")):
        converted(kind, content.setdefault(key, {}), f"{path}: damaged: {key}")
    converted(list[str], content.setdefault("anew", []), f"{path}: damaged: anew")
    return content


def _with_commands(content: dict[str, Any]) -> dict[str, list[Any]]:
    """What was asked for; of a folder of an earlier version its last command stands for all."""
    asked: dict[str, list[Any]] = content.get("asked", {})
    if asked.get("methods") and not asked.get("commands"):
        keys = ("methods", "langs", "seeds")
        last = content["settings"].get("command", "mt-bench")
        one = {"command": last} | {key: list(asked.get(key, [])) for key in keys}
        asked["commands"] = [one]
    return asked


def _added(known: list[dict[str, Any]], new: dict[str, Any]) -> list[dict[str, Any]]:
    """Commands and one more, without those whose cells another asks for too."""

    def within(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return all({*one[key]} <= {*other[key]} for key in ("methods", "langs", "seeds"))

    kept = [one for one in known if not within(one, new)]
    return kept if any(within(new, one) for one in kept) else [*kept, new]


def command_of(asked: dict[str, list[Any]], settings: dict[str, Any]) -> str:
    """The commands that make a benchmark's folder anew, as one line.

    Args:
        asked, settings: as ``bench.json`` holds them.
    """
    commands = [one["command"] for one in asked.get("commands", [])]
    return "; ".join(dict.fromkeys(commands)) or settings.get("command", "mt-bench")


def changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ → what they were, and are; None where one was not given."""
    one, other = ({"tune": s.get("tune", 0), **s["overrides"]} for s in (old, new))
    for settings in (one, other):
        settings.pop("user_dir", None)  # which folders of before have
    both = {key: (one.get(key), other.get(key)) for key in sorted({*one, *other})}
    return {key: values for key, values in both.items() if values[0] != values[1]}


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines such as ``train.epochs: 2, now 3``."""
    lines = []
    for key, values in changed(old, new).items():
        before, after = ("not given" if v is None else v for v in values)
        lines.append(f"{key}: {before}, now {after}")
    return lines
