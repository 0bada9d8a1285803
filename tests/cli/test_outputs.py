"""Files that the user names are not written over without being asked to, by any command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from pairs import changed, move_rows
from tiny_runs import Commands, Models, model, small

from mt_lottery.cli.ticket import parser
from mt_lottery.ticket.ticket import COLUMNS as TICKET_COLUMNS

pytestmark = pytest.mark.slow


def test_show_and_layers(commands: Commands, models: Models) -> None:
    with Path("tickets.csv").open("w", newline="") as file:
        csv.writer(file).writerows([TICKET_COLUMNS, [3, "a", 0.5, 0.01, "true", 7]])
    for name in ("mine.csv", "mine.png", "link.csv"):
        Path(name).write_text("years of work")
    call = ("ticket", "show", "tickets.csv", "--no-plot", "--csv")
    assert commands.call(*call, "mine.csv").mistake().startswith("mine.csv exists; give another")
    figure = ("ticket", "show", "tickets.csv", "--figure", "mine")
    assert commands.call(*figure).mistake().startswith("mine.png exists; give another name, or")
    assert "is a folder" in commands.call(*call, "/tmp", "--overwrite").mistake()
    assert "no regular file" in commands.call(*call, "/dev/null", "--overwrite").mistake()
    assert "cannot be written" in commands.call(*call, "mine.csv/x", "--overwrite").mistake()
    assert Path("mine.csv").read_text() == Path("mine.png").read_text() == "years of work"
    assert not Path("mine.svg").exists()
    assert commands.call(*call, "mine.csv", "--overwrite").code == 0
    assert "0.5" in Path("mine.csv").read_text()

    after = changed(models.untied, Path("after"), move_rows)
    Path("out").mkdir()
    Path("out/layers.json").write_text("mine")
    call = ("ticket", "layers", models.untied, after, "--out", "out", "--no-plot")
    assert commands.call(*call).mistake().startswith("out/layers.json exists")
    assert Path("out/layers.json").read_text() == "mine" and not Path("out/layers.csv").exists()
    assert commands.call(*call, "--overwrite").code == 0
    assert json.loads(Path("out/layers.json").read_text())


@pytest.mark.parametrize(
    "command",
    ["find", "show", "certify", "compare", "sweep", "layers", "explain", "merge", "export"],
)
def test_every_command_that_writes_can_be_asked_to(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([command, "--help"])
    assert "--overwrite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "mine"),
    [
        (("certify", "nosuch", "--out", "out"), "certificate.csv"),
        (("compare", "nosuch", "other", "--out", "out"), "null.csv"),
        (("explain", "nosuch", "--out", "out"), "explain.csv"),
    ],
)
def test_results_are_refused_before_anything_is_read(
    call: tuple[str, ...], mine: str, commands: Commands
) -> None:
    path = Path("out", mine)
    path.parent.mkdir()
    path.write_text("years of work")
    assert commands.call("ticket", *call).mistake().startswith(f"{path} exists; give another")
    # with --overwrite, the run that is missing is what keeps it from going on
    assert "nosuch" in commands.call("ticket", *call, "--overwrite").mistake()
    path.unlink()
    path.mkdir()
    assert f"{path} is a folder" in commands.call("ticket", *call, "--overwrite").mistake()


def test_a_figure_beside_a_table_is_drawn_over_in_a_run_only(commands: Commands) -> None:
    with Path("tickets.csv").open("w", newline="") as file:
        csv.writer(file).writerows([TICKET_COLUMNS, [3, "a", 0.5, 0.01, "true", 7]])
    Path("ticket.png").write_text("years of work")
    call = ("ticket", "show", "tickets.csv")
    assert commands.call(*call).mistake().startswith("ticket.png exists; give another name, or")
    assert Path("ticket.png").read_text() == "years of work"
    assert commands.call(*call, "--no-plot").code == 0
    assert commands.call(*call, "--overwrite").code == 0
    assert Path("ticket.png").read_bytes().startswith(b"\x89PNG")


def test_sweep_takes_no_file_of_the_users_for_its_own(commands: Commands, models: Models) -> None:
    call = (
        *("ticket", "sweep", "lang=en-es", *model(models.untied), "data=mini"),
        *("data.train_pairs=8", "data.test_pairs=2", "--out", "out"),
        *("--sizes", "1", "--methods", "ks_transfer"),  # an alias of --recipes
    )
    for name in ("sweep.md", "sweep.svg"):
        path = Path("out", name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("years of work")
        assert commands.call(*call).mistake().startswith(f"{path} exists; give another name, or")
        assert path.read_text() == "years of work"
        path.unlink()


def test_an_empty_name_is_no_folder(commands: Commands) -> None:
    said = commands.call("ticket", "merge", "nosuch", "").mistake()
    assert said.startswith("No name of a folder is given")


def test_no_input_is_written_over(commands: Commands, models: Models) -> None:
    """Of every command, with --overwrite; a run's folder takes results under other names."""
    base = Path("base")
    after = changed(models.untied, Path("after"), move_rows)
    changed(models.untied, base, lambda _: None)
    more = ("baseline=false", "data.test_pairs=2", "out_dir=run")
    assert commands.train(*small(base, "ks_lottery", *more)).code == 0
    assert commands.call("ticket", "find", base, after, "--out", "t.csv").code == 0
    Path("link").symlink_to("after")
    Path("file").symlink_to("after/config.json")
    kept = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    two = ("find", base, after, "--out")
    show = ("show", "run", "--no-plot", "--csv")
    model, run = "one of the model's files, in the input", "own files, in the input run"
    for call, says in (
        ((*two, "after/model.safetensors"), f"{model} after"),
        ((*two, base / "config.json"), f"{model} base"),
        ((*two, "after/generation_config.json"), f"{model} after"),
        ((*two, "link/config.json"), f"{model} after"),
        ((*two, "file"), f"{model} after"),
        ((*two, Path("run/../after/config.json")), f"{model} after"),
        (("find", "run", "--out", "run/record.json"), run),
        (("find", "run", "--out", "run/tickets.csv"), run),
        (("find", "run", "--out", base / "config.json"), "model.name_or_path of run"),
        (("find", "run", after, "--out", "run/adapter/x.csv"), run),
        ((*show, "run/record.json"), run),
        (("show", "run", "--figure", "run/adapter/x"), run),
        (("show", "t.csv", "--no-plot", "--csv", "t.csv"), "t.csv is the input t.csv"),
        (("show", "t.csv", "--no-plot", "--tokenizer", base, "--csv", base / "config.json"), model),
        (("certify", "run", "--out", "run/adapter"), run),
        (("explain", "run", "--out", "run/adapter"), run),
        (("compare", "run", "run2", "--out", "run/adapter"), run),
    ):
        said = commands.call("ticket", *call, "--overwrite").mistake()
        assert says in said and "which is read: nothing is written there" in said, said
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == kept
    assert commands.call("ticket", *two, "after/new.csv").code == 0  # nothing is lost
    for _ in range(2):
        assert commands.call("ticket", *show, "run/mine.csv", "--overwrite").code == 0
    assert commands.call("ticket", "layers", base, after, "--out", "run/layers").code == 0
