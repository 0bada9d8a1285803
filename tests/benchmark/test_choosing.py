"""What a benchmark runs: recipes by their names, a user's own among them; languages; folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest_cli import Commands
from tiny_runs import Models

from mt_lottery.benchmark.board.collect import in_order
from mt_lottery.benchmark.choosing import choose_langs, choose_recipes
from mt_lottery.benchmark.plan import depends_on_seed, presets_of, searchable
from mt_lottery.benchmark.recipes import (
    PEFT_FAMILY,
    label,
    leaderboard_recipes,
    others,
    settings_of,
)
from mt_lottery.errors import ConfigError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recipes under names that are no tuner's, and a YAML of another kind."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "bench_lora_r64.yaml").write_text(
        "# LoRA of rank 4, which this test calls 64.\n"
        "defaults: [lora, _self_]\ntuner: {name: lora, r: 4}\n"
    )
    (folder / "recipe").mkdir()
    (folder / "recipe" / "bench_gentle.yaml").write_text("tuner: {name: none}\n")
    (folder / "compose.yaml").write_text("services: {web: {image: nginx}}\n")
    return folder


def test_a_recipe_of_any_name_is_run(commands: Commands, models: Models, mine: Path) -> None:
    listed = json.loads(commands.call("bench", "list", "--json", "--user-dir", str(mine)).out)
    own = {x["method"]: x for x in listed if not x["groups"]}
    assert set(own) == {"bench_lora_r64", "bench_gentle"}
    assert own["bench_lora_r64"]["what"] == "LoRA of rank 4, which this test calls 64."
    ended = commands.call(
        "bench", "bench_lora_r64", "lora", "--langs", "ro", "--user-dir", str(mine), "--out", "out",
        "--preset", "smoke", "--model", models.untied, "metrics=[chrf]", "data.train_pairs=16",
        "data.test_pairs=6", "data.dev_pairs=4", "translate.max_new_tokens=4",
        "bench_lora_r64:train.epochs=2",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    board = json.loads(Path("out/leaderboard.json").read_text())
    [block] = board["blocks"]
    rows = {row["method"]: row for row in block["rows"]}
    assert list(rows) == ["none", "lora", "bench_lora_r64"]
    assert (
        rows["bench_lora_r64"]["trainable_parameters"] * 2 == rows["lora"]["trainable_parameters"]
    )
    assert rows["bench_lora_r64"]["cells"]["en-ro"]["state"] == "done"
    steps = {
        name: json.loads(Path(f"out/runs/{name}/en-ro/seed-0/record.json").read_text())["cost"]
        for name in ("lora", "bench_lora_r64")
    }
    assert steps["bench_lora_r64"]["train_steps"] == 2 * steps["lora"]["train_steps"]

    hint = commands.call("bench", "bench_lora_r46", "--langs", "ro", "--out", "x").mistake()
    assert "bench_lora_r64" in hint
    odd = commands.call("bench", "compose", "--langs", "ro", "--out", "x").mistake()
    assert "compose" in odd and not Path("x").exists()

    # what is asked of a method is asked of its recipe's tuner
    assert settings_of("bench_lora_r64").name == "lora"
    assert depends_on_seed("bench_lora_r64") and not depends_on_seed("bench_gentle")
    assert searchable("bench_lora_r64") and not searchable("bench_gentle")
    assert presets_of("bench_lora_r64") == {"paper"}
    assert not {"bench_lora_r64", "bench_gentle"} & set(leaderboard_recipes())
    assert others() == ["bench_gentle", "bench_lora_r64"]
    assert choose_recipes(["all"]) == leaderboard_recipes()


@pytest.mark.parametrize(
    ("given", "pairs"),
    [
        ("ro,es", ["en-ro", "en-es"]),
        ("ro,ro", ["en-ro"]),
        (" ro , ron ", ["en-ro"]),
        ("ro,fr-es", ["en-ro", "fr-es"]),
        ("pt-BR", ["en-pt_br"]),
    ],
)
def test_languages(given: str, pairs: list[str]) -> None:
    found = choose_langs("en", given.split(","))
    assert [x.lower().replace("-br", "_br") for x in found] == pairs


@pytest.mark.parametrize("given", ["", ",", "ro,,es", " ", "ro,", "ro٢", "en", "ro\x1b"])
def test_languages_that_are_none(given: str) -> None:
    with pytest.raises(ConfigError, match="langs"):
        choose_langs("en", given.split(","))


@pytest.mark.parametrize("made", ["file", "dangling", "loop", "long", "nul"])
def test_out_that_can_be_no_folder(made: str, commands: Commands) -> None:
    out = Path("o" * 300 if made == "long" else "out\0x" if made == "nul" else "out")
    if made == "file":
        out.write_text("a thesis")
    elif made in ("dangling", "loop"):
        out.symlink_to("nowhere" if made == "dangling" else "out")
    for more in ([], ["--dry-run"]):
        said = commands.call("bench", "lora", "--langs", "ro", "--out", str(out), *more).mistake()
        assert "--out" in said
    assert made != "file" or out.read_text() == "a thesis"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seeds", "٣"], ["--seeds", "0,,1"], ["--seeds", "9" * 5000], ["--jobs", "٣"],
        ["--tune", "1_0"], ["--jobs", "9" * 5000],
    ],
)  # fmt: skip
def test_numbers_that_are_none(arguments: list[str], commands: Commands) -> None:
    try:
        code = commands.call("bench", "lora", "--langs", "ro", "--out", "x", *arguments).code
    except SystemExit as ended:  # argparse
        code = int(ended.code or 0)
    assert code == 2 and not Path("x").exists()


def test_the_group_of_pefts_methods(commands: Commands, models: Models) -> None:
    family = choose_recipes(["peft"])
    assert set(family) == set(PEFT_FAMILY) and family[0] == "none" and "peft" not in family
    assert choose_recipes(["peft", "full"]) == choose_recipes(["full", *PEFT_FAMILY])
    assert not set(choose_recipes(["all"])) & {"oft", "dora", "peft"}
    small = [
        *("--langs", "ro", "--preset", "smoke", "--model", models.untied, "metrics=[chrf]"),
        *("data.train_pairs=16", "data.test_pairs=4", "data.dev_pairs=4"),
        "translate.max_new_tokens=4",
    ]
    # found before anything runs
    wrong = commands.call("bench", "oft", "ia3", *small, "--out", "x", "oft:tuner.options.x=1")
    assert "OFTConfig of PEFT" in wrong.mistake() and not Path("x").exists()
    planned = commands.call("bench", "peft", *small, "--out", "out", "--dry-run")
    assert planned.code == 0 and f"to do: {', '.join(family)}" in planned.out
    assert in_order(["ia3", "mine", "oft", "full"]) == ["full", "oft", "ia3", "mine"]
    assert label("ia3") == "IA3"
