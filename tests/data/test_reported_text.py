"""What a run says of its text before it begins."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from published import jsonl

import mt_lottery as mtl
from mt_lottery.config import RunConfig
from mt_lottery.config.compose import compose
from mt_lottery.data.joint import load_text
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.data.prompts.templates import template_of
from mt_lottery.data.text import decomposed
from mt_lottery.languages import parse_pairs
from mt_lottery.runs.planning.reporting import report_text

MINI = Path(__file__).parents[2] / "mt_lottery/data/mini"
Pairs = Sequence[tuple[str, str]]


def texts(role: str, first: int, last: int, codes: str = "en ro") -> Pairs:
    sides = [(MINI / f"{role}.{c}.txt").read_text("utf-8").splitlines() for c in codes.split()]
    return list(zip(*sides, strict=True))[first:last]


def said(folder: Path, lang: str = "en-ro", *more: str, **roles: Pairs) -> list[str]:
    """The lines of a run whose roles have these pairs."""
    settings = [f"lang={lang}", "recipe=ks_lottery", *more]
    for role, pairs in roles.items():
        rows: list[dict[str, Any]] = [{"source": s, "target": t} for s, t in pairs]
        settings += ["data=files", f"data.{role}_source={jsonl(folder / f'{role}.jsonl', rows)}"]
    config: RunConfig = compose(list(dict.fromkeys(settings)))
    text = PreparedText(template_of(config.data), *parse_pairs(lang))
    lines: list[str] = []
    report_text(config, load_text(config), text, lines.append)
    return lines


def test_text_that_two_roles_share(tmp_path: Path) -> None:
    train, test = texts("train", 0, 40), texts("test", 0, 30)
    assert said(tmp_path, train=train, dev=texts("dev", 0, 10), test=test) == []
    assert said(tmp_path, train=train, dev=train[:4], test=test) == [
        "Warning: 4 of 4 dev sources are in the training text too; what is chosen by the dev set "
        "favours what was memorised."
    ]
    dev = [test[0], *texts("dev", 0, 9)]
    assert said(tmp_path, train=train, dev=dev, test=test) == [
        "Warning: 1 of 30 test sources is in the dev set too; scores are too high where the dev "
        "set decides."
    ]
    lines = said(tmp_path, train=train, dev=train, test=train[:39])
    assert [line.partition(";")[0] for line in lines] == [
        "Warning: 39 of 39 test sources are in the training text too",
        "Warning: 40 of 40 dev sources are in the training text too",
        "Warning: 39 of 39 test sources are in the dev set too",
    ]
    cut = said(tmp_path, train=train, test=test)  # our own cut shares nothing
    assert cut == ["files: one text, cut into 20 training and 20 dev pairs (data.dev_pairs)."]


def test_a_language_that_is_in_no_table_is_named(tmp_path: Path) -> None:
    """A typing error (`rom` for `ron`) may be a language, too."""
    roles = {"train": texts("train", 0, 40), "dev": texts("dev", 0, 9), "test": texts("test", 0, 9)}
    assert said(tmp_path, "en-rom", **roles) == ["rom is Romany, by ISO 639."]
    assert said(tmp_path, "en-ron", **roles) == []


@pytest.mark.parametrize(
    ("turned", "whose"),
    [("train", "training"), ("test", "test"), ("train test", "training and test")],
)
def test_sides_that_look_swapped(tmp_path: Path, turned: str, whose: str) -> None:
    roles = {
        "train": texts("train", 0, 60),
        "dev": texts("dev", 0, 10),
        "test": texts("test", 0, 30),
    }
    for role in turned.split():
        roles[role] = [(target, source) for source, target in roles[role]]
    (line,) = said(tmp_path, **roles)
    assert line == (
        f"Warning: the {whose} sources look like Romanian and their translations like English, "
        "but lang=en-ro is asked for: are the two sides swapped?"
    )
    del roles["test"]  # other corpora name their languages
    found = said(tmp_path, "en-ro", "data.test=mini", **roles)
    assert len(found) == ("train" in turned) and not any("test sources" in line for line in found)


def test_sides_that_are_the_same_text(tmp_path: Path) -> None:
    train, test = ([(source, source) for source, _ in texts(r, 0, 30)] for r in ("train", "test"))
    assert said(tmp_path, train=train, dev=texts("dev", 0, 10), test=test) == [
        "Warning: each training source of en-ro is the same text as its target.",
        "Warning: each test source of en-ro is the same text as its reference.",
    ]


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def test_references_whose_letters_are_apart_from_their_marks(tmp_path: Path) -> None:
    test = [(source, nfd(target)) for source, target in texts("test", 0, 30)]
    roles = {"train": texts("train", 0, 30), "dev": texts("dev", 0, 10), "test": test}
    (line,) = said(tmp_path, **roles)
    number = sum(nfd(target) != target for _, target in texts("test", 0, 30))
    assert line.startswith(
        f"Warning: en-ro: {number} of 30 references are not in Unicode's form NFC"
    )


@pytest.mark.parametrize(
    ("references", "number"),
    [
        ([nfd("ă"), "a", "b"], 1),
        ([nfd("ă"), nfd("é"), "ă"], 2),
        ([nfd("한국어"), "abc"], 1),
        (["ă", "é", nfd("ă")], 0),  # most are NFC
        (["a", "कि", "שָׁלוֹם", "क\u093c"], 0),  # marks that are no part of a letter
        (["\u0924\u0958", "\u09a1\u09bc", "\u05e9\u05bc\u05c1"], 0),  # not NFC, not apart either
        ([], 0),
    ],
)
def test_which_references_are_decomposed(references: list[str], number: int) -> None:
    told = decomposed(references)
    assert (told or "0").startswith(str(number)) and (told is None) == (number == 0)


def test_score_warns_at_the_line_of_its_caller() -> None:
    found = ["Marea Neagră este în est.", "Un măr și o pară."]
    with pytest.warns(UserWarning, match="2 of 2 references are not in Unicode's form NFC") as told:
        mtl.score(found, list(map(nfd, found)), metrics=["chrf"], bootstrap=2)
    assert [Path(warning.filename).name for warning in told] == [Path(__file__).name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mtl.score(list(map(nfd, found)), found, metrics=["chrf"], bootstrap=2)
