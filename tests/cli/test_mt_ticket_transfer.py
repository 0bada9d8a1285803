"""``mt-ticket transfer``: the same model as a run of ``ks_transfer``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import MOVED, changed, move_rows, tensors
from tiny_runs import Commands, Models, small
from transformers import AutoModelForCausalLM

import mt_lottery as mtl

pytestmark = pytest.mark.slow

IDS = torch.arange(600).reshape(12, 50)  # every token of the vocabulary
EMBED = "model.embed_tokens.weight"


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


def plain(folder: str) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "scope"), [("untied", "input"), ("tied", "input"), ("tied", "tied")]
)
def test_equals_the_tuner(kind: str, scope: str, commands: Commands, models: Models) -> None:
    folder = getattr(models, kind)
    more = ("baseline=false", "probe.lr=0.02", "tuner.tickets=30", f"tuner.scope={scope}")
    ended = commands.train(*small(folder, "ks_transfer", "out_dir=run", *more))
    assert ended.code == 0, ended.err
    ended = commands.call("ticket", "transfer", "run", "out", "--top", 30, "--scope", scope)
    assert ended.code == 0, ended.err
    tuned, _ = mtl.load_tuned("run")
    ours = plain("out")
    assert ours.dtype is plain(folder).dtype
    assert torch.equal(logits(ours), logits(tuned))
    assert not torch.equal(logits(ours), logits(plain(folder)))
    assert Path("out/tickets.csv").read_bytes() == Path("run/tickets.csv").read_bytes()
    own_head = kind == "untied" or scope == "input"
    assert json.loads(Path("out/config.json").read_text())["tie_word_embeddings"] is not own_head
    assert ("lm_head.weight" in tensors(Path("out"))) is own_head
    assert ("output head now has its own table" in ended.out) is (kind == "tied" and own_head)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_folders_and_rows(dtype: torch.dtype, commands: Commands, models: Models) -> None:
    before = changed(models.untied, Path("before"), lambda _: None, dtype=dtype)
    after = changed(models.untied, Path("after"), move_rows, dtype=dtype)
    Path("rows.txt").write_text("598\n3  # two of those that moved\n0\n")
    ended = commands.call("ticket", "transfer", before, after, "out", "--rows", "rows.txt")
    assert ended.code == 0, ended.err
    one, other, got = tensors(before), tensors(after), tensors(Path("out"))
    assert set(got) == set(one) and all(t.dtype is dtype for t in got.values())
    rows = torch.arange(600)
    taken = (rows == 598) | (rows == 3)
    assert torch.equal(got[EMBED][taken], other[EMBED][taken])
    assert torch.equal(got[EMBED][~taken], one[EMBED][~taken])
    assert all(torch.equal(got[name], one[name]) for name in one if name != EMBED)
    # every row that moved: AFTER itself
    count = len(MOVED)
    ended = commands.call("ticket", "transfer", before, after, "all", "--selector", "cos",
                          "--top", count)  # fmt: skip
    assert ended.code == 0, ended.err
    assert torch.equal(tensors(Path("all"))[EMBED], other[EMBED])


def test_mistakes(commands: Commands, models: Models) -> None:
    after = changed(models.untied, Path("after"), move_rows)
    call = ("ticket", "transfer", models.untied, after)
    assert "got 1 paths" in commands.call("ticket", "transfer", after).mistake()
    Path("taken").mkdir()
    assert commands.call(*call, "taken").mistake().startswith("taken exists")
    said = commands.call(*call, "out", "--scope", "tied").mistake()
    assert "has its own table; allowed for it: input" in said
    Path("rows.txt").write_text("3\n600\n")
    said = commands.call(*call, "out", "--rows", "rows.txt").mistake()
    assert said.startswith("--rows rows.txt, line 2: token id 600 is outside the vocabulary")
    assert "No row" in commands.call(*call, "out", "--alpha", "1e-30").mistake()
    assert not Path("out").exists()
    assert commands.call(*call, "taken", "--overwrite").code == 0
    assert tensors(Path("taken"))


@pytest.mark.parametrize("choice", [("--top", 5), ("--selector", "random", "--top", 600)])
def test_no_infinity_is_copied(
    choice: tuple[object, ...], commands: Commands, models: Models
) -> None:
    def spoil(model: Any) -> None:
        model.get_input_embeddings().weight[7, 3] = torch.inf

    after = changed(models.untied, Path("after"), spoil)
    said = commands.call("ticket", "transfer", models.untied, after, "out", *choice).mistake()
    assert "after" in said and "holds an infinity" in said and not Path("out").exists()


def test_tickets_of_another_vocabulary(commands: Commands, models: Models) -> None:
    after = changed(models.untied, Path("after"), move_rows)
    assert commands.call("ticket", "find", models.untied, after).code == 0
    call = ("ticket", "transfer", models.untied, after, "out", "--rows", "tickets.csv")
    show = ("ticket", "show", "tickets.csv", "--no-plot", "--tokenizer", models.untied)
    assert commands.call(*call).code == 0 and commands.call(*show).code == 0
    head, *lines = Path("tickets.csv").read_text().splitlines()
    cells = [line.partition(",") for line in lines]
    shifted = [f"{(int(number) + 100) % 600},{rest}" for number, _, rest in cells]
    Path("tickets.csv").write_text("\n".join([head, *shifted, ""]))
    says = "tickets.csv: its tokens are of another vocabulary: 18 of 18 selected rows"
    assert f"--rows {says}" in commands.call(*call, "--overwrite").mistake()
    assert commands.call(*show).mistake().startswith(says)
