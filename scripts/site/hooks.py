"""What mkdocs calls: pages from outside of docs/, generated parts, and the checks of the site."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import generated
import public_names
import repository
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

log = logging.getLogger("mkdocs.hooks.site")  # a warning of it ends a strict build


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    repository.add(files, config)
    for problem in public_names.undocumented():
        log.warning(problem)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in what is generated, and the site's links."""
    source = page.file.src_uri

    def address(found: str) -> str:
        file = files.get_file_from_path(found)
        if file is None:
            log.warning(f"{source} links to {found}, which the site has not")
            return found
        return get_relative_url(file.url, page.file.url)

    def part(match: re.Match[str]) -> str:
        make: Callable[[], str] | None = generated.PARTS.get(match[1])
        if make is None:
            log.warning(f"{source}: nothing is generated as '{match[1]}'")
            return ""
        return make()

    text = re.sub(r"^<!-- generated: (\w+) -->$", part, markdown, flags=re.MULTILINE)
    return repository.rewritten(text, source, address, log.warning)


def on_post_build(config: MkDocsConfig) -> None:
    """The search's index as a script: a page that is opened from the disk cannot read JSON."""
    folder = Path(config.site_dir) / "search"
    index = (folder / "search_index.json").read_text("utf-8")
    (folder / "search_index.js").write_text(f"var __index = {index}", encoding="utf-8")
