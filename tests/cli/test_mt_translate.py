"""``mt-translate``: what a run has learnt, line by line, and clear words where there is no run."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from tiny_runs import Commands, Ended, Models, few_positions, hypotheses, small

pytestmark = pytest.mark.slow

Translate = Callable[..., Ended]


@pytest.fixture
def translate(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> Translate:
    """Run ``mt-translate`` in this process with these bytes as standard input."""

    def run(stdin: bytes, *arguments: object) -> Ended:
        from mt_lottery.cli.shared import guarded
        from mt_lottery.cli.translate import command

        commands._capture()
        output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="ascii"))
            patch.setattr(sys, "stdout", output)
            code = guarded(lambda: command([str(a) for a in arguments]))
        output.flush()
        content = output.buffer.getvalue().decode("utf-8")
        return Ended(code, content, commands._capture()[1])

    return run


def tune(commands: Commands, folder: Path, recipe: str, *more: object) -> Path:
    out = Path(f"{folder.name}-{recipe}")
    ended = commands.train(*small(folder, recipe, f"out_dir={out}", "baseline=false", *more))
    assert ended.code == 0, ended.err
    return out


@pytest.mark.parametrize("recipe", ["none", "full", "embed", "ks_lottery", "ks_transfer", "lora"])
@pytest.mark.parametrize("kind", ["untied", "tied"])
def test_it_says_what_the_run_said(
    kind: str, recipe: str, commands: Commands, models: Models, translate: Translate
) -> None:
    import torch

    import mt_lottery as mtl

    more = [] if recipe == "none" else ["train.lr=0.02"]
    # in bfloat16 `generate` itself differs between batches of another shape, on near ties
    run = tune(commands, getattr(models, kind), recipe, "model.dtype=float32", *more)
    expected = hypotheses(run)
    stdin = "".join(x["source"] + "\n" for x in expected).encode()
    ended = translate(stdin, "--run", run)
    assert ended.code == 0, ended.err
    assert ended.out == "".join(x["first_line"] + "\n" for x in expected)

    model, tokenizer = mtl.load_tuned(run, torch.device("cpu"))
    assert not model.training
    for line in expected[:2]:
        prompt = f"Translate English to Spanish.\nEnglish: {line['source']}\nSpanish:"
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )[0, ids.shape[1] :]  # fmt: skip
        text = tokenizer.decode(made, skip_special_tokens=True)
        assert text.removeprefix(" ") == line["hypothesis"]


def test_tuning_changes_the_translation(
    commands: Commands, models: Models, translate: Translate
) -> None:
    outputs = set()
    for recipe in ("none", "full", "embed", "ks_lottery"):
        more = [] if recipe == "none" else ["train.lr=0.05"]
        run = tune(commands, models.untied, recipe, *more)
        outputs.add(translate(b"How deep is this lake?\nGood morning.\n", "--run", run).out)
    assert len(outputs) == 4


def test_line_by_line(commands: Commands, models: Models, translate: Translate) -> None:
    run = tune(commands, models.untied, "ks_lottery")
    sentences = [x["source"] for x in hypotheses(run)]
    first = [x["first_line"] for x in hypotheses(run)]
    text = f"\n{sentences[0]}\n\n   \n{sentences[1]}\r\n{sentences[2]}"
    ended = translate(text.encode(), "--run", run, "--batch-size", 1)
    assert ended.code == 0, ended.err
    assert ended.out == f"\n{first[0]}\n\n\n{first[1]}\n{first[2]}\n"
    assert translate(b"", "--run", run).out == ""
    assert translate(b"\n\n", "--run", run).out == "\n\n"
    # only LF ends a line; a byte order mark is no text
    odd = f"\ufeff{sentences[0]}\none\u2028two\x0bthree\x85four\n".encode()
    ended = translate(odd, "--run", run)
    assert ended.out.count("\n") == 2 and ended.out.startswith(first[0] + "\n")
    # more lines than a block
    many = "".join(f"{s}\n" for s in sentences * 6).encode()
    ended = translate(many, "--run", run, "--batch-size", 2)
    assert ended.out == "".join(f"{x}\n" for x in first * 6)
    shorter = translate(sentences[0].encode(), "--run", run, "--max-new-tokens", 1).out
    assert len(shorter) <= len(first[0]) + 1
    assert translate(sentences[0].encode(), "--run", run, "--beam-size", 3).code == 0


def test_input_that_is_no_utf8(commands: Commands, models: Models, translate: Translate) -> None:
    run = tune(commands, models.untied, "none")
    good = hypotheses(run)[0]
    ended = translate(good["source"].encode() + b"\nhall\xe5!\nmore\n", "--run", run)
    message = ended.mistake()
    assert "line 2" in message and "UTF-8" in message and "0xe5" in message
    assert ended.out == good["first_line"] + "\n"  # what came before is not lost


def test_a_sentence_that_the_model_has_no_positions_for(
    commands: Commands, models: Models, translate: Translate
) -> None:
    import mt_lottery as mtl

    folder = few_positions(models.untied, 120)
    run = tune(commands, folder, "none")
    good = hypotheses(run)
    long = f"{good[2]['source']} " * 40
    lines = [good[0]["source"], "", good[1]["source"], long.strip(), good[2]["source"]]
    ended = translate("\n".join(lines * 2).encode(), "--run", run, "--max-new-tokens", 9)
    told = ended.mistake()
    assert told.startswith("standard input, line 4: its prompt has "), told
    assert "with --max-new-tokens 9 that is more than the model's 120 positions" in told
    shorter = translate("\n".join(lines[:3]).encode(), "--run", run, "--max-new-tokens", 9)
    assert ended.out == shorter.out and shorter.out.count("\n") == 3  # what came before it
    told = translate("\n".join(lines * 2).encode(), "--run", run, "--batch-size", 1).mistake()
    assert told.startswith("standard input, line 4: ")
    with pytest.raises(mtl.MTLotteryError, match=r"^sentences\[3\]: .* with max_new_tokens=8 that"):
        mtl.Run(run).translate(lines)
    ended = commands.train(*small(folder, "none", "baseline=false", "translate.max_new_tokens=110"))
    told = ended.mistake()
    assert re.search(r"Test sentence \d+ \(en-es\): its prompt has", told), told
    assert "with translate.max_new_tokens=110 that is" in told


def test_a_sentence_beyond_the_positions_of_its_training(
    commands: Commands, models: Models, caplog: pytest.LogCaptureFixture, translate: Translate
) -> None:
    run = tune(commands, models.untied, "none")
    long = "How deep is this lake? " * 60
    ended = translate(f"Hello.\n{long}\nHello.\n".encode(), "--run", run)
    assert ended.code == 0 and ended.out.count("\n") == 3
    (said,) = [each.getMessage() for each in caplog.records if "beyond" in each.getMessage()]
    assert said.startswith("1 prompt (the longest has ") and "512 positions" in said
    more = ("baseline=false", "translate.max_new_tokens=600", "data.test_pairs=1")
    told = commands.train(*small(models.untied, "none", *more, "out_dir=long"))
    assert told.code == 0 and "1 prompt (the longest has" in told.err and "512 pos" in told.err


def test_runs_that_cannot_be_opened(
    commands: Commands, models: Models, translate: Translate
) -> None:
    def refused(run: Path, *parts: str) -> None:
        message = translate(b"Hello.\n", "--run", run).mistake()
        for part in (run.name, *parts):
            assert part in message, (part, message)

    run = tune(commands, models.untied, "ks_lottery")
    refused(Path("nowhere"), "no such file")
    Path("empty").mkdir()
    refused(Path("empty"), "record.json", "not finished")

    def damaged(name: str, content: bytes | None) -> Path:
        copy = Path("copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        if content is None:
            (copy / name).unlink()
        else:
            (copy / name).write_bytes(content)
        return copy

    record = json.loads((run / "record.json").read_text())
    running = json.dumps(record | {"status": "running"}).encode()
    refused(damaged("record.json", running), "running", "done")
    refused(damaged("record.json", json.dumps(record | {"schema": 9}).encode()), "9", "schema")
    refused(damaged("record.json", b'{"schema": 1'), "damaged")
    refused(damaged("record.json", None), "record.json")
    refused(damaged("config.yaml", None), "config.yaml")
    refused(damaged("config.yaml", b"lang: ["), "config.yaml")
    weights = "adapter/adapter_model.safetensors"
    refused(damaged(weights, (run / weights).read_bytes()[:100]), "damaged")
    refused(damaged(weights, None), "adapter_model.safetensors", "missing")
    refused(damaged("adapter/adapter_config.json", b"{}"), "adapter")
    refused(damaged("adapter/adapter_config.json", None), "adapter_config.json", "missing")

    full = tune(commands, models.untied, "full")
    (full / "model/model.safetensors").write_bytes(b"")
    refused(full, "model.safetensors")


def test_a_model_that_changed_since(
    commands: Commands, models: Models, translate: Translate
) -> None:
    shutil.copytree(models.untied, "mine")
    run = tune(commands, Path("mine"), "ks_lottery")
    weights = Path("mine/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    message = translate(b"Hello.\n", "--run", run).mistake()
    assert "mine" in message and "hash" in message and run.name in message
    shutil.rmtree("mine")
    assert "mine" in translate(b"Hello.\n", "--run", run).mistake()


def test_arguments(commands: Commands, models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    from mt_lottery.cli.translate import command

    for arguments, status, shown in (
        (["--help"], 0, ("examples:", "--beam-size", "--max-new-tokens", "--device", "< input.en")),
        (["--version"], 0, (version("mt-lottery"),)),
        ([], 2, ("--run",)),
        (["--run", "x", "--beam-size", "0"], 2, ("--beam-size", "≥ 1", "0")),
        (
            ["--run", "x", "--input", "f"],
            2,
            ("--input f. It reads standard input", "< FILE > FILE"),
        ),
        (["--run", "x", "--batch-size", "many"], 2, ("--batch-size", "many")),
    ):
        with pytest.raises(SystemExit) as ended:
            command(arguments)
        assert ended.value.code == status
        out, err = capsys.readouterr()
        for part in shown:
            assert part in out + err, part


def test_as_a_program(commands: Commands, models: Models) -> None:
    run = tune(commands, models.tied, "ks_lottery").resolve()
    expected = hypotheses(run)
    stdin = "".join(x["source"] + "\n" for x in expected).encode()
    elsewhere = commands.folder / "elsewhere"
    elsewhere.mkdir()
    ended = commands.process("mt-translate", "--run", run, stdin=stdin, cwd=elsewhere)
    assert ended.code == 0, ended.err
    assert ended.out == "".join(x["first_line"] + "\n" for x in expected)
    assert ended.err == ""  # nothing but translations in a pipe
    gone = commands.process("mt-translate", "--run", "nowhere", stdin=stdin)
    assert gone.mistake() and gone.out == "" and gone.err.count("\n") == 1
