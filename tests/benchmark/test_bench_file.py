"""``bench.json``: which commands a benchmark's folder was made by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mt_lottery.benchmark.bench_file import SETTINGS, check_settings, command_of, read_settings
from mt_lottery.benchmark.plan import Bench


def bench(out: Path, recipes: str, langs: str, seeds: int = 1, **overrides: str) -> Bench:
    return Bench(
        out=out, recipes=recipes.split(","), langs=langs.split(","), seeds=[*range(seeds)],
        overrides=overrides,
    )  # fmt: skip


def test_the_commands_that_together_ask_for_every_cell_are_kept(tmp_path: Path) -> None:
    def ask(command: str, *what: Any, force: bool = False, **overrides: str) -> str:
        check_settings(bench(tmp_path, *what, **overrides), force=force, command=command)
        content = read_settings(tmp_path)
        return command_of(content["asked"], content["settings"])

    assert ask("a", "none,lora", "en-ro") == "a"
    assert ask("a --jobs 2", "none,lora", "en-ro") == "a --jobs 2"  # the same cells: the last one
    assert ask("b", "none", "en-ro") == "a --jobs 2"  # nothing more
    assert ask("c", "none", "en-es") == "a --jobs 2; c"
    assert ask("d", "embed", "en-ro", 2) == "a --jobs 2; c; d"
    assert ask("e", "none,lora", "en-ro,en-es") == "d; e"  # all that the first two asked for
    asked = read_settings(tmp_path)["asked"]
    assert (asked["methods"], asked["seeds"]) == (["none", "lora", "embed"], [0, 1])
    # cells of other settings are run again, by this command alone
    assert ask("f", "none", "en-ro", force=True, seed="1") == "f"


def test_a_folder_of_before_has_its_last_command(tmp_path: Path) -> None:
    check_settings(bench(tmp_path, "none,lora", "en-ro"), force=False, command="a")
    content = json.loads((tmp_path / SETTINGS).read_text())
    del content["asked"]["commands"]
    (tmp_path / SETTINGS).write_text(json.dumps(content))
    assert command_of(content["asked"], content["settings"]) == "a"
    check_settings(bench(tmp_path, "embed", "en-ro"), force=False, command="b")
    content = read_settings(tmp_path)
    assert command_of(content["asked"], content["settings"]) == "a; b"
