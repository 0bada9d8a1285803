"""The site has every page of ``docs/``; `make docs` builds it whole and loads nothing from afar."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
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
