"""Blocks of the pages run as they stand, on a tiny model: those of Python in README.md and
docs/python.md, and in every page those under ``<!-- tested -->``, in their order.

A block under ``<!-- prints -->`` has lines that the one before it prints; ``…`` is any text.
"""

from __future__ import annotations

import importlib
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from documented import PAGES, PROGRAMS, TOP, Command, command, lines, marked_blocks

import mt_lottery as mtl
from mt_lottery.cli.shared import guarded

sys.path.insert(0, str(Path(__file__).parent / "cli"))
from tiny_runs import MINI, SMALL, Models, make_models

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "python.md"


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_table_has_every_name() -> None:
    table = PAGE.read_text("utf-8").partition("## Every name")[2].partition("\n## ")[0]
    firsts = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for cell in firsts for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(mtl.__all__)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


def names(models: Models, folder: Path) -> dict[str, Any]:
    """What the blocks find already there."""
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    base = str(models.untied)
    tuned = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        tuned.get_input_embeddings().weight[20:60] += torch.randn(40, 1)
    tuned.save_pretrained(folder / "tuned")
    texts = [(MINI / f"train.{code}.txt").read_text("utf-8").splitlines() for code in ("en", "ro")]
    pairs = list(zip(*texts, strict=True))
    labelled = [{"input_ids": [0, 5, 9, 1], "labels": [-100, 5, 9, 1]}] * 4
    return {
        "mtl": mtl,
        "Trainer": Trainer,
        "arguments": TrainingArguments(str(folder / "out"), report_to="none", use_cpu=True),
        "base": base,
        "tuned": str(folder / "tuned"),
        "model": AutoModelForCausalLM.from_pretrained(base),
        "original": AutoModelForCausalLM.from_pretrained(base),
        "data": labelled,
        "pairs": pairs[:48],
        "test_pairs": pairs[48:54],
        "outputs": ["Unde este gara?\n\nEnglish:"],
        "references": ["Unde este gara?"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", [ROOT / "README.md", PAGE], ids=lambda path: path.name)
def test_the_blocks_run(
    path: Path, models: Models, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    there = names(models, tmp_path)
    ran = [text for text in blocks(path) if "mtl." in text]
    for text in ran:
        exec(compile(text, path.name, "exec"), there)
    assert len(ran) >= 3 and (tmp_path / "adapter" / "adapter_config.json").is_file()
    assert isinstance(there["run"], mtl.Run) and isinstance(there["board"], mtl.Leaderboard)
    assert not there["board"].failed and len(there["ticket"]) == 18


def write_text_files(folder: Path) -> None:
    """A reader's own text: two files, or a TSV, for training and for the test; one TSV for all."""
    for role, count in (("train", 60), ("test", 12)):
        texts = [(MINI / f"{role}.{c}.txt").read_text("utf-8").splitlines() for c in ("en", "ro")]
        for code, text in zip(("en", "ro"), texts, strict=True):
            (folder / f"{role}.{code}").write_text("\n".join(text[:count]) + "\n", "utf-8")
        pairs = ["\t".join(pair) + "\n" for pair in zip(*texts, strict=True)]
        (folder / f"{role}.tsv").write_text("".join(pairs[:count]), "utf-8")
        if role == "train":
            (folder / "pairs.tsv").write_text("".join(pairs), "utf-8")


def tiny_settings(given: tuple[str, ...], models: Models) -> list[str]:
    """What makes a command of a page one of seconds: a tiny model and little text, where the
    page says nothing else."""
    if given[0] not in ("mt-train", "mt-bench") or given[1] in ("list", "report", "compare"):
        return []
    own = [f"model.name_or_path={models.untied}", "model=hf", *SMALL]
    if given[0] == "mt-bench":
        own = [word for word in own if not word.startswith("model")]
        own = own if "--model" in given else [*own, "--model", str(models.untied)]
    keys = {word.partition("=")[0] for word in given}
    return [word for word in own if word.partition("=")[0] not in keys]


def called(found: Command, models: Models, capture: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a command in this process; what it printed."""
    if found.said is not None or found.reads is not None:
        text = found.said if found.reads is None else Path(found.reads).read_text("utf-8")
        assert text is not None
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    module = importlib.import_module(f"mt_lottery.cli.{found.words[0].removeprefix('mt-')}")
    words = [*found.words[1:], *tiny_settings(found.words, models)]
    capture.readouterr()
    code = guarded(lambda: module.command(words))
    out, err = capture.readouterr()
    assert code == 0, f"{found.where}: exit status {code}\n{out}{err}"
    if found.writes is not None:
        Path(found.writes).write_text(out, "utf-8")
    return f"{out}{err}"


def check_printed(wanted: str, printed: str, where: str) -> None:
    """Each line must be there, after the one before it."""
    place = 0
    for line in wanted.splitlines():
        pattern = "[^\n]*".join(re.escape(part) for part in line.strip().split("…"))
        found = re.compile(rf"^[ ]*{pattern}[ ]*$", re.MULTILINE).search(printed, place)
        assert found, f"{where}: not printed: {line}\n{printed}"
        place = found.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if marked_blocks(page)], ids=lambda page: page.name
)
def test_the_marked_blocks_run(
    page: Path,
    models: Models,
    tmp_path: Path,
    cache: Path,
    one_thread: None,
    registered: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "examples").symlink_to(TOP / "examples")
    (tmp_path / "my-model").symlink_to(models.untied)
    write_text_files(tmp_path)
    there = names(models, tmp_path)
    printed = ""
    for mark, kind, text in marked_blocks(page):
        if mark == "prints":
            check_printed(text, printed, page.name)
        elif kind == "python":
            capfd.readouterr()
            exec(compile(text, page.name, "exec"), there)
            printed = capfd.readouterr().out
        else:
            printed = ""
            for _, line in lines(text):
                line = line.strip().removeprefix("$ ")
                found = command(line, page.name) if any(p in line for p in PROGRAMS) else None
                if found is not None:
                    printed += called(found, models, capfd, monkeypatch)
                elif line and not line.startswith("#"):
                    done = subprocess.run(
                        ["bash", "-ec", line], capture_output=True, text=True, timeout=60
                    )
                    assert done.returncode == 0, f"{page.name}: {line}\n{done.stderr}"
                    printed += done.stdout


def test_a_line_that_is_not_printed_is_found() -> None:
    check_printed("This run: runs/…\nchrF++ …", "a\nThis run: runs/en-ro\n  chrF++ 3.4", "here")
    with pytest.raises(AssertionError, match="here: not printed: This run: runs/…"):
        check_printed("This run: runs/…", "That run: runs/en-ro", "here")
    with pytest.raises(AssertionError, match="not printed: a"):
        check_printed("b\na", "a\nb", "here")
