"""The packages that a plugin needs beside those of mt-lottery."""

from __future__ import annotations

import importlib.metadata
from typing import Any


def requirement_problems(needs: Any) -> list[str]:
    """What is wrong with the ``needs=`` of a registration, one sentence each."""
    from packaging.requirements import InvalidRequirement, Requirement

    if not needs:
        return []
    if isinstance(needs, str) or not all(isinstance(need, str) for need in needs):
        return [f"needs= must be a list of packages, not {needs!r}"]
    problems = []
    for need in needs:
        try:
            Requirement(need)
        except InvalidRequirement as error:
            problems.append(
                f"needs=['{need}'] is not as pip writes it: {str(error).splitlines()[0]}"
            )
    return problems


def is_installed(need: str) -> bool:
    """Whether a package is installed, in a version that the requirement allows."""
    from packaging.requirements import Requirement

    requirement = Requirement(need)
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)
