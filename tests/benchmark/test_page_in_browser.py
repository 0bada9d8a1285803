"""The page in headless Chromium: sorting, searching, themes, at the width of a desk and a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from page_board import ARABIC, HOSTILE, METHODS, make_board, make_sentences

from mt_lottery.benchmark.page.document import render_page

pytest.importorskip("selenium", reason="selenium is in the extra `test`")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="needs chromium and chromedriver (apt: chromium-driver)",
    ),
]
ALONE = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)
DESK, PHONE = 1280, 390


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ALONE:
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # the driver is named: selenium would look for one on the network
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "leaderboard.html"
    file.write_text(render_page(make_board(True, 2), make_sentences(25, 2)), "utf-8")
    return file.as_uri()


class Reader:
    """Someone who looks at the page."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver, self.address = driver, address

    def open(self, width: int = DESK, theme: str = "light") -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": theme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.driver.get(self.address)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """The text of each element, hidden or not."""
        code = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return list(self.driver.execute_script(code, selector))

    def run(self, code: str) -> Any:
        return self.driver.execute_script(f"return {code}")

    def order(self) -> list[str]:
        """The methods of the first table from top to bottom."""
        return self.texts("table.board:first-of-type tbody:not([hidden]) th code")[: len(METHODS)]

    def header(self, label: str) -> WebElement:
        """The header of the first table with that label."""
        return self.driver.find_element(By.XPATH, f"//th[button[normalize-space()='{label}']]")

    def search(self, words: str) -> None:
        box = self.find("#query")
        box.clear()
        box.send_keys(words)
        self.wait(lambda: self.run("document.getElementById('query').value") == words)

    def wait(self, what: Any) -> None:
        WebDriverWait(self.driver, 10, poll_frequency=0.05).until(lambda _: what())

    def found(self) -> str:
        return self.find("#found").text


@pytest.fixture
def reader(chromium: webdriver.Chrome, address: str) -> Iterator[Reader]:
    someone = Reader(chromium, address)
    someone.open()
    chromium.get_log("browser")
    yield someone
    assert [e for e in chromium.get_log("browser") if e["level"] == "SEVERE"] == []
    chromium.execute_script("localStorage.clear()")


GIVEN = [name for name, *_ in METHODS]


def test_a_header_sorts(reader: Reader) -> None:
    assert reader.order() == GIVEN
    header = reader.header("First line")
    button = header.find_element(By.TAG_NAME, "button")
    ranked = sorted((m for m in METHODS if m[0] not in ("qlora", "few_shot")), key=lambda m: -m[4])
    best_first = [m[0] for m in ranked]
    button.click()
    assert header.get_attribute("aria-sort") == "descending"
    assert reader.order() == [*best_first, "few_shot", "qlora"]  # no number: last either way
    assert reader.find("#sorted").get_attribute("textContent") == "Sorted by First line, descending"
    button.send_keys(Keys.ENTER)
    assert header.get_attribute("aria-sort") == "ascending"
    assert reader.order()[-2:] == ["few_shot", "qlora"]
    assert reader.order()[:3] == ["none", "eos_bias", "random"]
    button.send_keys(Keys.SPACE)
    assert header.get_attribute("aria-sort") == "none"
    assert reader.order() == GIVEN


def test_one_header_is_sorted_at_a_time(reader: Reader) -> None:
    reader.header("Stopped").find_element(By.TAG_NAME, "button").click()
    cost = reader.header("Trained parameters")
    cost.find_element(By.TAG_NAME, "button").click()
    assert cost.get_attribute("aria-sort") == "ascending"  # the least first
    assert reader.header("Stopped").get_attribute("aria-sort") == "none"
    assert reader.order()[:3] == ["none", "few_shot", "eos_bias"]
    assert reader.order()[-1] == "full"
    reader.header("Recipe").find_element(By.TAG_NAME, "button").click()
    assert reader.order()[0] == "embed"


def test_a_language_of_choice_keeps_the_order(reader: Reader) -> None:
    reader.header("Raw").find_element(By.TAG_NAME, "button").click()
    Select(reader.find("#scope")).select_by_value("en-no")
    shown = reader.driver.find_elements(By.CSS_SELECTOR, "table.board tbody:not([hidden])")
    assert [each.get_attribute("data-scope") for each in shown] == ["en-no", "en-no"]
    assert set(reader.texts(".scope-name")) == {"en-no"}
    assert reader.order()[0] == "full" and reader.order()[-1] == "qlora"  # FAILED there


def test_columns_come_and_go(reader: Reader) -> None:
    assert reader.header("Time").is_displayed() and not reader.header("Empty").is_displayed()
    reader.find("input[name=cost]").click()
    reader.find("input[name=outputs]").click()
    assert not reader.header("Time").is_displayed() and reader.header("Empty").is_displayed()
    reader.open(PHONE)
    assert reader.header("Raw").is_displayed() and reader.header("First line").is_displayed()
    assert not reader.header("en-ro").is_displayed()


def test_search_finds_and_marks(reader: Reader) -> None:
    assert reader.found() == "1–10 of 25 sentences"
    reader.search("SOARECI in varsta de 4 luni, a adaugat el [17")  # șoareci în vârstă
    reader.wait(lambda: reader.found() == "1–1 of 1 found among 25 sentences")
    assert reader.texts("#list h3") == ["Sentence 17"]
    assert reader.texts("#list .given mark") == ["șoareci în vârstă de 4 luni, a adăugat el [17"]
    assert not reader.find("#pages").is_displayed()
    reader.search("nobody wrote this")
    reader.wait(lambda: reader.found() == "None of 25 sentences")
    reader.search("(lora)")  # in an output
    reader.wait(lambda: "found among" in reader.found())
    assert reader.texts("#list mark")[0] == "(lora)"
    reader.driver.find_element(By.XPATH, "//label[normalize-space()='LoRA']/input").click()
    assert reader.found() == "None of 25 sentences"  # outputs that are not shown are not searched


def test_pages_turn(reader: Reader) -> None:
    button = reader.find("#next")
    button.click()
    button.click()
    assert reader.found() == "21–25 of 25 sentences"
    assert reader.find("#page").text == "Page 3 of 3"
    assert button.get_attribute("aria-disabled") == "true"
    button.click()
    assert reader.found() == "21–25 of 25 sentences"
    assert reader.run("document.activeElement.id") == "next"
    reader.find("#previous").click()
    assert reader.found() == "11–20 of 25 sentences"


def test_methods_blocks_and_languages_are_chosen(reader: Reader) -> None:
    shown = reader.texts("#list article:nth-child(4) h4")
    assert shown == [
        "Original model did not stop",
        "Full tuning",
        "LoRA",
        "KS-Lottery (partial tuning)",
    ]
    reader.find("#show-all").click()
    assert len(reader.texts("#list article:nth-child(4) h4")) == len(METHODS)
    assert reader.find("#shown").text == f"{len(METHODS)} of {len(METHODS)}"
    Select(reader.find("#block")).select_by_visible_text("tuned on the dev set")
    assert len(reader.texts("#list article:nth-child(4) h4")) == 4
    Select(reader.find("#language")).select_by_value("en-es")
    assert reader.find("#list .given div:last-child dd").get_attribute("lang") == "es"
    assert reader.texts("#list h3")[0] == "Sentence 1"


def test_where_a_model_ran_on(reader: Reader) -> None:
    first = reader.find("#list article:nth-child(4) li:first-child")
    assert "did not stop" in first.text
    assert first.find_element(By.CLASS_NAME, "first").text.startswith("Acum avem")
    assert "English: It rained." in first.find_element(By.CLASS_NAME, "rest").text
    long = reader.find("#list article:nth-child(5) li:first-child")
    assert "420 characters" in long.text and "It rained" not in long.text
    long.find_element(By.TAG_NAME, "summary").click()
    assert "It rained" in long.text
    reader.find("#running").click()
    assert reader.found() == "1–10 of 25 sentences"
    reader.driver.find_element(
        By.XPATH, "//label[normalize-space()='Original model']/input"
    ).click()
    assert reader.found() == "None of 25 sentences"


def test_hostile_text_is_shown_as_text(reader: Reader) -> None:
    assert reader.driver.title == "mt-lottery leaderboard: gemma3_270m"
    article = reader.find("#list article:first-child")
    assert HOSTILE in article.find_element(By.CSS_SELECTOR, ".given dd").text
    assert reader.run("document.querySelectorAll('#list script, #list b').length") == 0
    arabic = reader.find("#list article:nth-child(2) li:nth-child(3) .words")
    assert arabic.text == ARABIC and arabic.get_attribute("dir") == "auto"
    assert (
        reader.run(
            "getComputedStyle(document.querySelector("
            "'#list article:nth-child(2) li:nth-child(3) .words')).direction"
        )
        == "rtl"
    )
    assert "(empty)" in reader.find("#list article:nth-child(2) li:nth-child(2)").text
    assert "no output" in reader.find("#list article:nth-child(3) li:nth-child(2)").text


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(reader: Reader, system: str) -> None:
    reader.open(theme=system)
    paper = "getComputedStyle(document.body).backgroundColor"
    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}
    other = {"light": "dark", "dark": "light"}[system]
    button = reader.find("#theme")
    assert reader.run(paper) == colours[system]
    assert button.get_attribute("aria-pressed") == str(system == "dark").lower()
    button.click()
    assert reader.run(paper) == colours[other]
    reader.open(theme=system)
    assert reader.run(paper) == colours[other]  # remembered
    reader.find("#theme").click()
    assert reader.run(paper) == colours[system]
    assert reader.run("localStorage.length") == 0  # as the system again


def test_a_method_leads_to_all_of_its_numbers(reader: Reader) -> None:
    goal = reader.find("#recipe-0-13")
    assert not goal.is_displayed()
    reader.find("a[href='#recipe-0-13']").click()
    reader.wait(goal.is_displayed)
    assert "11,520 trained parameters. 18 vocabulary rows." in goal.text


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_page_fits_its_width(reader: Reader, width: int) -> None:
    reader.open(width)
    assert reader.run("document.documentElement.scrollWidth") <= width
    shown = {DESK: "wide", PHONE: "narrow"}[width]
    assert reader.find(f".plot.{shown}").is_displayed()
    assert (
        len([s for s in reader.driver.find_elements(By.CSS_SELECTOR, ".plot") if s.is_displayed()])
        == 2
    )
    # no name of a method covers another
    boxes = reader.run(
        f"[...document.querySelectorAll('.plot.{shown}')].map((plot) => "
        "[...plot.querySelectorAll('.label')].map((text) => { const b = text.getBBox(); "
        "return [b.x, b.y, b.x + b.width, b.y + b.height]; }))"
    )
    for plot in boxes:
        assert len(plot) == len(METHODS) - 2
        for place, one in enumerate(plot):
            for two in plot[:place]:
                across = min(one[2], two[2]) - max(one[0], two[0])
                down = min(one[3], two[3]) - max(one[1], two[1])
                assert across <= 0 or down <= 3


def test_the_plot_is_first_and_tables_scroll_in_their_own_boxes(reader: Reader) -> None:
    reader.open(PHONE)
    tops = "['plots', 'scores', 'notes', 'sentences'].map((id) => "
    tops = reader.run(tops + "document.getElementById(id).getBoundingClientRect().top)")
    assert tops == sorted(tops)
    assert reader.find(".swipe").is_displayed()
    assert reader.run("[...document.querySelectorAll('table')].every((t) => t.closest('.scroll'))")
    for each in reader.driver.find_elements(By.CSS_SELECTOR, "details.recipes > summary"):
        each.click()
    assert reader.run("document.documentElement.scrollWidth") <= PHONE
    # the names of the columns and of the recipes stay in sight
    reader.run(
        "(() => { const b = document.querySelector('.scroll'); b.style.maxHeight = '300px'; "
        "b.scrollTo(150, 200); })()"
    )
    assert reader.run("document.querySelector('.scroll').scrollTop") == 200
    box, corner, row = reader.run(
        "['.scroll', 'thead .in-recipe', 'tbody tr:nth-child(9) th'].map((s) => { const r = "
        "document.querySelector(s).getBoundingClientRect(); return [r.left, r.top]; })"
    )
    assert corner == pytest.approx([box[0] + 1, box[1] + 1]) and row[0] == corner[0]


def test_nothing_was_fetched(reader: Reader) -> None:
    assert reader.run("performance.getEntriesByType('resource').length") == 0


def test_it_reads_without_javascript(reader: Reader) -> None:
    try:
        reader.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        reader.open()
        assert reader.header("Raw").is_displayed()
        assert reader.find(".plot.wide").is_displayed()
        assert (
            not reader.find("#filter").is_displayed() and not reader.find("#theme").is_displayed()
        )
    finally:
        reader.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
