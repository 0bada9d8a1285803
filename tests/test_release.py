"""The version, the changelog and the workflow say one thing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

import mt_lottery

ROOT = Path(mt_lottery.__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="needs the checkout, not an installed package"
)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_version_is_in_one_place() -> None:
    declared = project()
    assert declared["project"]["dynamic"] == ["version"] and "version" not in declared["project"]
    assert declared["tool"]["hatch"]["version"]["path"] == "mt_lottery/__init__.py"
    own = re.compile(rf"(?<![\w.]){re.escape(mt_lottery.__version__)}(?![\w.])")
    found = [
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "mt_lottery").rglob("*.py")
        if own.search(file.read_text("utf-8"))
    ]
    assert found == ["mt_lottery/__init__.py"]


def test_the_changelog_has_the_version() -> None:
    """The next version under "Unreleased", until it is released and has a heading of its own."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    heads = re.findall(r"^## (.*)$", text, re.M)
    assert heads[0] == "[Unreleased]"
    released = []
    for head in heads[1:]:
        version = head.partition(" - ")[0]
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", head)
        released.append(Version(version.strip("[]")))
    assert released == sorted(released, reverse=True)
    current = Version(mt_lottery.__version__)
    if not released or current > released[0]:
        assert f"\n## [Unreleased]\n\nIt will be {current}.\n" in text
    else:
        assert current == released[0]
    kinds = re.findall(r"^### (.*)$", text, re.M)
    allowed = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    assert kinds and set(kinds) <= set(allowed)
    for part in re.split(r"^## ", text, flags=re.M)[1:]:
        own = re.findall(r"^### (.*)$", part, re.M)
        assert own == [kind for kind in allowed if kind in own]


def test_the_workflow_calls_make() -> None:
    """Only targets that are there, on the versions of Python that are promised."""
    content = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    promised = sorted(
        c.rpartition(" ")[2]
        for c in project()["project"]["classifiers"]
        if re.search(r"Python :: 3\.", c)
    )
    called: set[str] = set()
    for job in content["jobs"].values():
        matrix = job["strategy"]["matrix"]
        assert sorted(matrix.get("python", promised)) == promised
        for step in job["steps"]:
            if "run" not in step:
                continue
            words = step["run"].replace("${{ matrix.target }}", "/".join(matrix.get("target", [])))
            make, names, python = words.split()
            assert (make, python) == ("make", "PYTHON=python")
            called |= set(names.split("/"))
    assert called == {"check", "test", "dist", "docs"} and called <= targets
