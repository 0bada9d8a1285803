"""docs/troubleshooting.md: its messages, provoked, are those that it quotes."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from test_documented_blocks import make_models
from test_quoted import QUOTED

from mt_lottery.cli.shared import guarded

pytestmark = pytest.mark.slow
RUN = "mt-train recipe=lora lang=en-ro"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = make_models(tmp_path_factory.mktemp("models")).untied
    return f"model=hf model.name_or_path={folder}"


@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        ("mt-train recipe=ks_lotery lang=en-ro", "Unknown recipe"),
        (f"{RUN} train.epoch=3", "Unknown key"),
        ("mt-train ks_lottery lang=en-ro recipe=lora", "'ks_lottery' is not of the form"),
        ("mt-train recipe=lora lang=en-de TINY", "The corpus 'mini'"),
        ("mt-train recipe=lora lang=en-xx", "Unknown language"),
        (f"{RUN} model.name_or_path=models/llama", "model.name_or_path=models/llama"),
        (f"{RUN} TINY data.template=chat", "…: the tokenizer has no chat template"),
        (f"{RUN} model=hf model.name_or_path=adapter", "… has no config.json. It is an adapter"),
        (f"{RUN} TINY data=ntrex", "The corpus 'ntrex' needs"),
        (f"{RUN} TINY data=files data.path=null FILES", "a.en:2: this line has no partner"),
        (f"{RUN} TINY data=files data.train_source=a.en", "data.train_source=a.en without"),
        (f"{RUN} TINY data.train_pairs=4000", "data.train_pairs=4000"),
        ("mt-translate --run nowhere", "…/record.json: no such file"),
        ("mt-ticket merge nowhere adapter", "… exists; give another folder"),
        ("mt-bench report .", "… is no benchmark of mt-bench."),
    ],
)
def test_the_message_is_the_quoted_one(
    line: str,
    quoted: str,
    tiny: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.en").write_text("one\ntwo\n", "utf-8")
    Path("a.ro").write_text("unu\n", "utf-8")
    for folder, file in (("adapter", "adapter_config.json"), ("nowhere", "mine.txt")):
        Path(folder).mkdir()
        Path(folder, file).write_text("{}", "utf-8")
    files = "data.train_source=a.en data.train_target=a.ro data.test=mini"
    program, *words = line.replace("TINY", tiny).replace("FILES", files).split()
    module = importlib.import_module(f"mt_lottery.cli.{program.removeprefix('mt-')}")
    assert guarded(lambda: module.command(words)) == 2
    said = capfd.readouterr().err.rpartition("error: ")[2].replace(f"{tmp_path}/", "")
    (wanted,) = [message for message in QUOTED if message.startswith(quoted)]
    parts = (re.escape(part) for part in wanted.split("…"))
    assert re.search(".*".join(parts), said.replace("\n", " ")), f"{wanted}\n{said}"
