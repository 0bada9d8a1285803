"""The page as text: self-contained, escaped, marked up for everyone, and full of the numbers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from page_board import ARABIC, HOSTILE, LANGUAGES, METHODS, make_board, make_sentences

from mt_lottery.benchmark.page.document import SCRIPTS, render_page
from mt_lottery.benchmark.page.numbers import COLUMNS, duration, percent, plain, signed, size
from mt_lottery.errors import RecordError

VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """The elements of a page; an end tag that does not fit is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> at line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            attributes, text = self.scripts.pop()
            self.scripts.append((attributes, text + data))
        else:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return render_page(make_board(several_seeds=True, blocks=2), make_sentences(blocks=2))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def rows_of(text: str, method: str, scope: str = "average") -> str:
    """The row of a method in the first table's body for a scope."""
    body = text.split(f'<tbody data-scope="{scope}"')[1].split("</tbody>")[0]
    (row,) = [line for line in body.split("\n") if f"<code>{method}</code>" in line]
    return row


def test_nothing_is_fetched(page: Page, text: str) -> None:
    for tag, attributes in page.elements:
        assert "src" not in attributes, tag
        address = attributes.get("href") or "#"
        assert address.startswith("#") or address == "data:,", (tag, address)
    assert "url(" not in text and "@import" not in text


def test_no_script_but_the_pages_own_may_run(page: Page) -> None:
    (policy,) = [
        str(m["content"])
        for m in page.all("meta")
        if m.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    own = [body for attributes, body in page.scripts if attributes.get("type") is None]
    assert len(own) == 1
    digest = base64.b64encode(hashlib.sha256(own[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy


def test_what_comes_from_outside_stays_text(page: Page, text: str) -> None:
    data = [each for each in page.scripts if each[0].get("type") == "application/json"]
    assert len(data) == 1 + len(LANGUAGES)
    assert len(page.scripts) == len(data) + 1
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
    assert HOSTILE not in text
    assert HOSTILE in "".join(page.texts)  # the reason of a failure, unescaped by the parser


def test_titles_hold_hostile_text_too() -> None:
    board = make_board()
    board["title"] = board["blocks"][0]["name"] = HOSTILE
    for row in board["blocks"][0]["rows"]:
        row["label"] = row["what"] = row["method"] = HOSTILE
    read = Page(render_page(board, {}))
    assert len(read.scripts) == 2 + len(LANGUAGES)
    assert not read.all("b") or all("onmouseover" not in each for each in read.all("b"))


def test_sentences_come_back_from_the_page_as_they_were(page: Page) -> None:
    stored = {a.get("data-sentences"): body for a, body in page.scripts}
    lines = json.loads(stored["en-ro"])
    assert len(lines) == 25
    assert lines[0]["source"] == HOSTILE
    full, lora = ([name for name, *_ in METHODS].index(name) for name in ("full", "lora"))
    assert lines[0]["outputs"][full] == [HOSTILE, True]  # no first line: it is all of it
    assert lines[1]["outputs"][lora] == [ARABIC, True]
    assert lines[2]["outputs"][full] is None
    hypothesis, stopped, first = lines[3]["outputs"][0]
    assert stopped is False and hypothesis.strip().startswith(first) and "\n" in hypothesis
    assert len(lines[0]["outputs"]) == 2 * len(METHODS)


def test_half_a_surrogate_pair_can_be_written(text: str) -> None:
    assert b"half ?" in text.encode("utf-8")


def test_a_failed_cell_says_failed_and_why(text: str) -> None:
    row = rows_of(text, "qlora")
    assert row.count(">FAILED<") == 1
    assert 'title="FAILED: out of memory' in row
    assert '<span class="vh">: out of memory' in row
    assert "no average (failed: en-no)" in row
    assert "<li>QLoRA, en-no: " in text  # in the open too: a title needs a mouse
    assert rows_of(text, "qlora", "en-no").count(">FAILED<") == 3  # its column, raw, first line


def test_a_missing_cell_is_a_dash(text: str) -> None:
    row = rows_of(text, "few_shot")
    assert "FAILED" not in row
    assert "no average (not run: en-ca)" in row
    assert '<span class="vh">not run</span>' in row


def test_marks_are_bold_and_starred(text: str) -> None:
    for name, *_ in METHODS:
        marked = '<strong class="mark">' in rows_of(text, name)
        assert marked == (name in ("full", "lora", "ks_lottery"))
        assert marked == ("★" in rows_of(text, name))
        assert "<strong" not in rows_of(text, name, "en-ro")  # marks are for the average
    assert "p = 0.21" in rows_of(text, "full")
    alone = render_page(make_board(several_seeds=False), {})
    assert "★" not in alone and "±" not in alone


def test_numbers_are_rounded_and_exact_in_the_title(text: str) -> None:
    row = rows_of(text, "ks_lottery", "en-ro")
    assert '<span class="score">16.4</span>' in row
    assert "12.8–19.8" in row and "±&nbsp;0.3" in row
    assert "standard deviation over seeds 0.31; seeds 0, 1, 2" in row
    assert 'title="11,520 trained parameters (18 vocabulary rows)">11.5K<' in row
    assert 'title="probe 167.2 s + training 167.0 s + decoding 8.3 s">5.71 min<' in row
    assert 'title="57,175 bytes">57.2 kB<' in row
    assert ">94%<" in row and ">+4.3<" in row and ">+9.0<" in row


def test_tables_are_marked_up(page: Page, text: str) -> None:
    tables = [a for a in page.all("table") if a.get("class") == "board"]
    assert len(tables) == 2
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(each.get("scope") in ("col", "row", "colgroup") for each in page.all("th"))
    sortable = [each for each in page.all("th") if "aria-sort" in each]
    assert len(sortable) == 2 * (2 + len(LANGUAGES) + len(COLUMNS))
    buttons = [each for each in page.all("button") if each.get("class") == "sort"]
    assert len(buttons) == len(sortable)
    shown = [each for each in page.all("tbody") if "data-scope" in each and "hidden" not in each]
    assert [each["data-scope"] for each in shown] == ["average", "average"]
    width = 2 + len(LANGUAGES) + len(COLUMNS)
    assert rows_of(text, "full").count("<td ") + 1 == width


def test_ids_are_unique_and_every_reference_meets_one(page: Page) -> None:
    ids = [str(a["id"]) for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        wanted = (attributes.get("aria-labelledby") or "").split()
        if (attributes.get("href") or "").startswith("#"):
            wanted.append(str(attributes["href"])[1:])
        assert set(wanted) <= set(ids)


def test_controls_have_labels(text: str) -> None:
    inside = re.findall(r"<label.*?</label>", text, flags=re.S)
    labelled = sum(len(re.findall(r"<(?:select|input)\b", label)) for label in inside)
    assert labelled == len(re.findall(r"<(?:select|input)\b", text)) > 0


def test_the_plot_names_each_method_and_has_words(page: Page, text: str) -> None:
    assert len([a for a in page.all("svg") if a.get("role") == "img"]) == 4  # 2 blocks, 2 widths
    wide = text.split('<svg class="plot wide"')[1].split("</svg>")[0]
    assert "BLEU[gemma3 subwords]" in wide
    for name, label, *_ in METHODS:
        assert (f">{name}" in wide) == (name not in ("qlora", "few_shot"))
        assert (f"<title>{label}: " in wide) == (name not in ("qlora", "few_shot"))
    assert "for want of an average: Few-shot prompt; QLoRA." in text
    assert "<desc" in wide and "The plot in words" in text


def _without_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        kept = ("schema", "seeds")
        return {k: v if k in kept else _without_numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_numbers(each) for each in value]
    return None if isinstance(value, int | float) else value


def test_every_number_may_be_null() -> None:
    board = _without_numbers(make_board(several_seeds=True))
    text = render_page(board, {})
    Page(text)
    assert "No recipe has an average score to draw yet." in text
    assert "None" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)


def test_an_empty_board_is_a_page() -> None:
    board = make_board()
    board["blocks"] = [{"name": "recipe settings", "trials": None, "explanation": "", "rows": []}]
    board |= {"notes": [], "contamination": [], "provenance": []}
    Page(render_page(board, {}))
    Page(render_page(board | {"blocks": [], "languages": []}, {}))


def test_another_schema_is_refused() -> None:
    with pytest.raises(RecordError, match="schema 2"):
        render_page(make_board() | {"schema": 2}, {})


def test_one_point_and_equal_points_can_be_drawn() -> None:
    board = make_board()
    rows = board["blocks"][0]["rows"]
    for row in rows:
        row["trainable_parameters"] = 18
        row["average"] = row["average"] and row["average"] | {"raw": {"score": 0.0}}
    Page(render_page(board, {}))
    board["blocks"][0]["rows"] = rows[:1]
    Page(render_page(board, {}))


def test_the_scripts_are_plain() -> None:
    text = render_page(make_board(), {})
    assert len(SCRIPTS) == 3 and "innerHTML" not in text and "eval(" not in text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (plain(-0.04), "0.0"),
        (plain(-1.25, 2), "−1.25"),
        (plain(None), "—"),
        (signed(0.0), "0.0"),
        (signed(2.0), "+2.0"),
        (signed(-2.0), "−2.0"),
        (signed(0.01), "0.0"),
        (percent(0.0), "0%"),
        (percent(0.001), "<1%"),
        (percent(0.999), ">99%"),
        (percent(1.0), "100%"),
        (duration(8.276), "8.28 s"),
        (duration(342.0), "5.7 min"),
        (duration(7200.0), "2.0 h"),
        (size(0), "0 B"),
        (size(57_175), "57.2 kB"),
        (size(4_446_650_368), "4.45 GB"),
        (size(1_234e9), "1,234 GB"),
    ],
)
def test_how_numbers_are_written(written: str, expected: str) -> None:
    assert written == expected
