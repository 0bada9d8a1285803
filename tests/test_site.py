"""The site has every page of ``docs/``; `make docs` builds it whole and loads nothing from afar."""

from __future__ import annotations

import ast
import configparser
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
RECORD = TOP / "tests/fixtures/runs_0_1/out/runs/ks_lottery/en-es/seed-0/record.json"
NAVIGATION = (TOP / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r"([\w/-]+\.md)$", NAVIGATION, re.MULTILINE)
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"README.md"}
    missing = sorted(there - {*named})
    assert not missing, (
        f"add to `nav` in mkdocs.yml, where a reader would look for it: {', '.join(missing)}"
    )
    assert len(named) == len(set(named)), "mkdocs.yml names a page twice in `nav`"
    gone = {*named} - there - {"index.md", "all-pages.md", "contributing.md", "changelog.md"}
    assert not gone, f"take out of `nav` in mkdocs.yml, they are not in docs/: {gone}"


def test_tox_builds_it_as_make_does() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(TOP / "tox.ini", "utf-8")
    own = tox["testenv:docs"]
    assert own["extras"] == "docs" and "NO_MKDOCS_2_WARNING = 1" in own["set_env"]
    assert f"$(BIN)/{own['commands'].strip()}\n" in (TOP / "Makefile").read_text("utf-8")


def test_every_field_of_the_record_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra 'docs'")
    monkeypatch.syspath_prepend(TOP / "scripts" / "site")
    import generated
    from mkdocs.exceptions import PluginError

    from mt_lottery.runs.folder.record import Record

    text = generated.record()
    written = json.loads(RECORD.read_text("utf-8"))
    said = set(re.findall(r"^\| `(\w+)` ", text, re.MULTILINE))
    assert said >= {*written, *written["data"]["test"], *written["cost"], *written["generation"]}

    @dataclasses.dataclass
    class Undescribed(Record):
        """A record.

        Attributes:
            lang: the direction.
        """

    with pytest.raises(PluginError, match="`method` has no line under `Attributes:`"):
        generated.meanings(Undescribed)


def test_the_further_keys_of_a_record_are_on_the_page() -> None:
    page = (DOCS / "run-directory.md").read_text("utf-8")
    for file in (TOP / "mt_lottery" / "tuners").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "details":
                for made in (n.value for n in ast.walk(node) if isinstance(n, ast.Return)):
                    keys = made.keys if isinstance(made, ast.Dict) else []
                    for key in (k.value for k in keys if isinstance(k, ast.Constant)):
                        assert f"\n| `{key}` |" in page, (
                            f"{file}: docs/run-directory.md lacks {key}"
                        )


def test_every_setting_is_on_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra 'docs'")
    monkeypatch.syspath_prepend(TOP / "scripts" / "site")
    import generated

    from mt_lottery.config import RunConfig, describe

    text = generated.settings()
    said = set(re.findall(r"^\| `([\w.]+)` ", text, re.MULTILINE))
    chosen = {"tuner.name", "model.name", "data.name"}  # by recipe=, model= and data=
    keys = {key for key, _, _ in describe(RunConfig) if not key.startswith("probe.")}
    assert keys - chosen <= said
    assert {"tuner.tickets", "tuner.shots", "data.min_chars"} <= said
    line = next(line for line in text.splitlines() if line.startswith("| `train.label_smoothing`"))
    assert "| `0.1` | number; ≥ 0 and < 1 |" in line
    assert text == generated.settings()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="needs the extra 'docs'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=TOP,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_a_reader_loads_nothing_from_the_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    loads = re.compile(
        r"""<(?:script|img|iframe|source|video)[^>]*\b(?:src|srcset)=["']?(?:https?:)?//[^>]*"""
        r"""|<link[^>]*href=["']?(?:https?:)?//[^>]*|@import[^;]*//[^;]*|url\(["']?(?:https?:)?//[^)]*"""
    )
    texts = [*pages, *site.rglob("*.css")]
    found = {match for file in texts for match in loads.findall(file.read_text("utf-8"))}
    assert not found


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs chromium (apt: chromium)")
def test_the_search_works_from_the_disk(site: Path, tmp_path: Path) -> None:
    address = f"{(site / 'reference' / 'tickets.html').as_uri()}?q=gradient"
    alone = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    shown = subprocess.run(
        [str(CHROMIUM), *alone, "--virtual-time-budget=20000", "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert re.search(r"\d+ matching documents", shown)


@pytest.mark.slow
def test_links_to_files_of_the_repository_lead_to_pages(site: Path) -> None:
    page = (site / "python.html").read_text("utf-8")
    assert 'href="repository/examples/own_trainer.py.html"' in page
    assert 'href="contributing.html"' in page
    shown = (site / "repository" / "examples" / "own_trainer.py.html").read_text("utf-8")
    assert "get_ticket_model" in shown
    listed = (site / "recipes.html").read_text("utf-8")
    assert 'href="repository/benchmarks/results/methods_en-es/index.html"' in listed
    folder = site / "repository" / "benchmarks" / "results" / "methods_en-es"
    assert (folder / "leaderboard.html").is_file() and (folder / "index.html").is_file()


def test_a_public_name_without_a_place_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra 'docs'")
    monkeypatch.syspath_prepend(TOP / "scripts" / "site")
    import public_names

    assert list(public_names.undocumented()) == []
    for page in (DOCS / "reference").glob("*.md"):
        text = page.read_text("utf-8").replace("::: mt_lottery.plugin.Probe\n", "")
        (tmp_path / page.name).write_text(text.replace("::: mt_lottery.score\n", ""), "utf-8")
    monkeypatch.setattr(public_names, "REFERENCE", tmp_path)
    first, second = public_names.undocumented()
    assert first.startswith("mt_lottery.score is on no page of docs/reference: add a line")
    assert second.startswith("mt_lottery.plugin.Probe is on no page of docs/reference")


def test_links_are_those_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra 'docs'")
    monkeypatch.syspath_prepend(TOP / "scripts" / "site")
    import repository

    missing: list[str] = []

    def of(text: str, source: str) -> str:
        return repository.rewritten(text, source, lambda found: f"at:{found}", missing.append)

    page = "[a](../CONTRIBUTING.md#house-rules), [`c`](../examples/plugins)"
    assert of(page, "python.md") == (
        "[a](contributing.md#house-rules), [`c`](repository/examples/plugins/index.md)"
    )
    assert of("[a](docs/peft.md) `[b](docs/x.md)`", "index.md") == "[a](peft.md) `[b](docs/x.md)`"
    assert of("[a](../../examples/own_trainer.py)", "reference/runs.md") == (
        "[a](../repository/examples/own_trainer.py.md)"
    )
    assert (
        of('<img src="docs/figures/null.png">', "index.md") == '<img src="docs/figures/null.png">'
    )
    assert of('<img src="docs/figures/ticket-en-es.png">', "index.md") == (
        '<img src="at:figures/ticket-en-es.png">'
    )
    assert of("[a](https://x.org) [b](#here)", "index.md") == "[a](https://x.org) [b](#here)"
    assert missing == ["README.md links to docs/figures/null.png, which is not there"]
