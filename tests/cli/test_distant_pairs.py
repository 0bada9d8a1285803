"""Pairs of unlike languages and scripts through the commands, on tiny models."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Models, hypotheses, model, record

import mt_lottery as mtl
from mt_lottery.scoring.generation import off_target_share

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("MT_LOTTERY_TEST_DATA", ROOT.parent / "shared" / "data"))
FEW = (
    "data.train_pairs=24", "data.test_pairs=6", "data.dev_pairs=4", "data.max_length=512",
    "translate.max_new_tokens=8", "metrics=[bleu,chrf]", "probe.lr=0.01", "out_dir=run",
)  # fmt: skip
#: Two sentences a side; Arabic goes from right to left, Japanese has no blanks.
ELSEWHERE = {
    "ar": ("لم تُفتح القلعة قط.", "تسكن أختي فوق مخبز."),
    "ja": ("その城は一度も征服されなかった。", "姉はパン屋の上に住んでいます。"),
}
ENGLISH = ("The castle was never conquered.", "My sister lives above a bakery.")


def flores(*codes: str) -> pytest.MarkDecorator:
    """Skip where Flores-101 has no text of a language."""
    missing = [
        f"{part}/{code}.{part}" for code in codes for part in ("dev", "devtest")
        if not (SHARED / f"flores101_dataset/{part}/{code}.{part}").is_file()
    ]  # fmt: skip
    reason = f"not in {SHARED}/flores101_dataset (MT_LOTTERY_TEST_DATA): {', '.join(missing)}"
    return pytest.mark.skipif(bool(missing), reason=reason)


def done(commands: Commands, *arguments: object) -> dict[str, Any]:
    ended = commands.train(*arguments)
    assert ended.code == 0, ended.err
    return record(Path("run")) | {"said": ended.out + ended.err}


def test_english_to_ukrainian_in_a_byte_level_vocabulary(
    commands: Commands, models: Models
) -> None:
    found = done(commands, "recipe=ks_lottery", "lang=en-uk", *model(models.untied), *FEW)
    assert (found["lang"], found["data"]["test"]["name"]) == ("en-uk", "mini")
    assert found["generation"]["off_target"] is not None
    assert found["scores"]["bleu"]["signature"].split("tok:")[1].startswith("13a")
    assert "Чи можна ще склеїти цю розбиту вазу?" in found["said"]
    assert "<0xD0>" in found["said"]  # half of a Cyrillic letter, as a reader can tell it
    with Path("run/tickets.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["token"]: int(row["train_frequency"]) for row in csv.DictReader(file)}
    assert rows["Ð"] > 500  # the vocabulary's own spelling of the byte 0xD0
    run = mtl.Run("run")
    assert "Ukrainian" in run.prompt("Hello.") and "English" in run.prompt("Hello.")


@pytest.mark.parametrize("lang", ["uk-en", "uk-ca"])
def test_other_directions_of_mini(commands: Commands, models: Models, lang: str) -> None:
    found = done(commands, "recipe=one_row", f"lang={lang}", *model(models.untied), *FEW)
    assert found["lang"] == lang and found["data"]["overlap"] == 0


@pytest.mark.parametrize("code", ELSEWHERE)
def test_from_right_to_left_and_without_blanks(
    commands: Commands, models: Models, code: str
) -> None:
    lines = [
        f"{number}. {english}\t{number}. {other}\n"
        for number in range(20)
        for english, other in zip(ENGLISH, ELSEWHERE[code], strict=True)
    ]
    Path("pairs.tsv").write_text("".join(lines), "utf-8")
    files = ("data=files", "data.path=pairs.tsv", "metrics=[chrf]")
    found = done(commands, "recipe=none", f"lang=en-{code}", *model(models.untied), *FEW, *files)
    assert hypotheses(Path("run"))[0]["reference"].endswith(ELSEWHERE[code][0])
    assert ELSEWHERE[code][0] in " ".join(found["said"].split())
    assert off_target_share(ELSEWHERE[code], source="en", target=code) == 0.0
    assert off_target_share(ENGLISH, source="en", target=code) == 1.0


def test_a_reference_scores_100_and_is_on_target() -> None:
    lines = (ROOT / "mt_lottery/data/mini/test.uk.txt").read_text("utf-8").splitlines()
    scores = mtl.score(lines, lines, metrics=["bleu", "chrf"])
    assert {round(each["raw"]["score"], 6) for each in scores.values()} == {100.0}
    everything = [
        line for part in ("train", "dev", "test")
        for line in (ROOT / f"mt_lottery/data/mini/{part}.uk.txt").read_text("utf-8").splitlines()
    ]  # fmt: skip
    share = off_target_share(everything, source="en", target="uk")
    assert share is not None and share < 0.04  # short sentences that are Russian or Serbian too


@pytest.mark.skipif(
    not (SHARED / "NTREX-128/newstest2019-ref.deu.txt").is_file(),
    reason=f"no German of NTREX-128 in {SHARED} (MT_LOTTERY_TEST_DATA)",
)
def test_english_to_german_of_ntrex(commands: Commands, models: Models) -> None:
    found = done(
        commands, "recipe=ks_lottery", "lang=en-de", *model(models.untied), *FEW,
        "data=ntrex", f"data.path={SHARED}",
    )  # fmt: skip
    lines = (SHARED / "NTREX-128/newstest2019-ref.deu.txt").read_text("utf-8").split("\n")
    blocks = {line["reference"] for line in hypotheses(Path("run"))}
    assert blocks <= set(map(str.rstrip, lines)) and len(blocks) == 6
    assert found["data"]["train"]["pairs"] == 24 and found["data"]["overlap"] == 0


@pytest.mark.parametrize(
    ("code", "name"),
    [
        pytest.param("deu", "de", marks=flores("eng", "deu")),
        pytest.param("ukr", "uk", marks=flores("eng", "ukr")),
    ],
)
def test_flores_dev_trains_and_devtest_tests(
    commands: Commands, models: Models, code: str, name: str
) -> None:
    found = done(
        commands, "recipe=ks_lottery", f"lang=en-{name}", *model(models.untied), *FEW,
        "data=flores101", f"data.path={SHARED}",
    )  # fmt: skip
    assert "flores101: trained on its dev set; it has no training text." in found["said"]
    tested = (SHARED / f"flores101_dataset/devtest/{code}.devtest").read_text("utf-8").split("\n")
    assert [x["reference"] for x in hypotheses(Path("run"))] == [x.rstrip() for x in tested[:6]]
    assert found["data"]["train"]["pairs"] == 24 and found["data"]["overlap"] == 0
