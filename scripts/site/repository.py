"""The site's pages that are not in docs/, and links as the site needs them.

A link in a page is written for a reader of the repository: ``../examples/plugins``.  In the site
README, CONTRIBUTING and CHANGELOG are pages, and whatever else a page links to is there too: a
text file as a page, a folder as a list of what is in it, all other files as they are.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

TOP = Path(__file__).resolve().parents[2]
#: Pages that the navigation has, by where they are in the repository.
PAGES = {
    "README.md": "index.md",
    "docs/README.md": "all-pages.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
ELSEWHERE = "repository"
#: Shown as a page; other files are copied.
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash", ".txt": "text"}
#: A fence or code, in which nothing is a link; a link; an address in HTML.
LINK = re.compile(
    r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)$|`[^`\n]+`"
    r"|(?P<before>\]\()(?P<link>[^)\s]+)(?P<after>\))"
    r'|(?P<key>\b(?:src|srcset|href)=")(?P<address>[^"]+)(?P<end>")',
    re.MULTILINE | re.DOTALL,
)


def place_of(source: str) -> str:
    """Where a page of the site is in the repository."""
    made = {page: place for place, page in PAGES.items()}
    if source.startswith(f"{ELSEWHERE}/"):
        return source.removeprefix(f"{ELSEWHERE}/")
    return made.get(source, f"docs/{source}")


def source_of(place: str) -> str:
    """What a file or folder of the repository is in the site."""
    if place in PAGES:
        return PAGES[place]
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    if (TOP / place).is_dir():
        return f"{ELSEWHERE}/{place}/index.md"
    is_code = Path(place).suffix in LANGUAGES or "." not in posixpath.basename(place)
    return f"{ELSEWHERE}/{place}" + (".md" if is_code else "")


def _local(target: str) -> bool:
    return not re.match(r"[a-z]+:|#|/", target)


def _place_of_link(target: str, page: str) -> tuple[str, str]:
    """What a link of a page (by its place) leads to, and its ``#part``."""
    path, mark, part = target.partition("#")
    place = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    return place, mark + part


def links(text: str, page: str) -> Iterator[str]:
    """The places that a page of the repository links to."""
    for match in LINK.finditer(text):
        target = match["link"] or match["address"]
        if target and _local(target):
            yield _place_of_link(target, page)[0]


def rewritten(
    text: str, source: str, address: Callable[[str], str], complain: Callable[[str], None]
) -> str:
    """A page's text with the site's links.

    Args:
        text: Markdown, as in the repository.
        source: of the page in the site.
        address: of a source, relative to the page, for links in HTML.
        complain: is called with each link to what is not there.
    """
    page = place_of(source)

    def new(match: re.Match[str]) -> str:
        target = match["link"] or match["address"]
        if not target or not _local(target):
            return match[0]
        place, part = _place_of_link(target, page)
        if place.startswith("..") or not (TOP / place).exists():
            complain(f"{page} links to {target}, which is not there")
            return match[0]
        found = source_of(place)
        if match["address"]:
            return f"{match['key']}{address(found)}{part}{match['end']}"
        relative = posixpath.relpath(found, posixpath.dirname(source) or ".")
        return f"{match['before']}{relative}{part}{match['after']}"

    return LINK.sub(new, text)


def _shown(place: str) -> str:
    text = (TOP / place).read_text("utf-8")
    kind = LANGUAGES.get(Path(place).suffix, "text")
    return f"{_head(place)}~~~~~{kind}\n{text.rstrip()}\n~~~~~\n"


def _listed(place: str) -> str:
    names = sorted(f"{place}/{name}" for name in os.listdir(TOP / place) if _kept(name))
    rows = (f"- [{posixpath.basename(name)}]({posixpath.basename(name)})" for name in names)
    return _head(f"{place}/") + "\n".join(rows) + "\n"


def _kept(name: str) -> bool:
    return not name.startswith(".") and name != "__pycache__"


def _head(title: str) -> str:
    return f"---\nsearch: {{exclude: true}}\n---\n\n# {title}\n\n"


def add(files: Files, config: MkDocsConfig) -> None:
    """Put the pages, and whatever they link to outside of docs/, among the site's files."""
    files.remove(files.src_uris["README.md"])
    for place, source in PAGES.items():
        files.append(File.generated(config, source, abs_src_path=str(TOP / place)))
    waiting = [place_of(file.src_uri) for file in files.documentation_pages()]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        for place in sorted(set(links((TOP / page).read_text("utf-8"), page)) - seen):
            seen.add(place)
            if place.startswith(("..", "docs/")) or not (TOP / place).exists():
                continue
            waiting += [one for one in _added(place, files, config) if one not in seen]


def _added(place: str, files: Files, config: MkDocsConfig) -> Iterator[str]:
    """Add a file, or a folder and what is in it; yields its Markdown, to be looked through."""
    source, path = source_of(place), TOP / place
    if source in files.src_uris:
        return
    unlisted = InclusionLevel.NOT_IN_NAV
    if path.is_dir():
        files.append(File.generated(config, source, content=_listed(place), inclusion=unlisted))
        for name in sorted(filter(_kept, os.listdir(path))):
            yield from _added(f"{place}/{name}", files, config)
    elif source == f"{ELSEWHERE}/{place}":
        files.append(File.generated(config, source, abs_src_path=str(path), inclusion=unlisted))
        if path.suffix == ".md":
            yield place
    else:
        files.append(File.generated(config, source, content=_shown(place), inclusion=unlisted))
