"""The environment of the COMET metric's program, made once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mt_lottery.errors import ScoreError
from mt_lottery.scoring.comet.program import (
    MADE,
    PROGRAM,
    environment_folder,
    own_environment,
    version_of,
)
from mt_lottery.system.atomic import write_text

#: Left in an environment from its first moment, so that one that was not finished is ours.
BEGUN = ".mt_lottery.begun"
#: torchmetrics 0.10, which unbabel-comet asks for, imports pkg_resources: gone in setuptools 81.
REQUIREMENTS = ("unbabel-comet==2.2.7", "setuptools<81")
#: numpy < 2 has no wheels for later ones.
PYTHONS = ("python3.12", "python3.11", "python3.10")


def find_python(given: str | None) -> str:
    """The Python of the environment: as given, this one, or another that numpy < 2 runs on.

    Raises:
        ScoreError: it is not there, or there is none.
    """
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise ScoreError(f"--python {given}: no such program.")
        return found
    if sys.version_info < (3, 13):
        return sys.executable
    found = next(filter(None, map(shutil.which, PYTHONS)), None)
    if found is None:
        raise ScoreError(
            f"unbabel-comet needs numpy < 2, which Python {sys.version_info[0]}."
            f"{sys.version_info[1]} cannot have, and none of {', '.join(PYTHONS)} is on PATH: "
            "give one with --python."
        )
    return found


def set_up(folder: Path | None, python: str | None, more: Sequence[str] = ()) -> Path:
    """Make the environment; one that is whole already is left alone.

    Args:
        folder: where; the cache's, which the metric finds by itself, if None.
        python: which Python; see :func:`find_python`.
        more: further requirements for pip (``torch==2.13.0``).

    Returns:
        the program.

    Raises:
        ScoreError: something else lies there, or pip fails (its output is on stderr).
    """
    folder = (folder or environment_folder()).expanduser().absolute()
    program = folder / "bin" / PROGRAM
    if (folder / MADE).is_file() and program.is_file() and not more:
        return program
    _check_ours(folder)
    _do([find_python(python), "-m", "venv", "--clear", str(folder)])
    write_text(folder / BEGUN, "mt-bench setup-comet makes this environment.\n")
    wanted = [*REQUIREMENTS, *more]
    _do([str(folder / "bin" / "python"), "-m", "pip", "install", *wanted])
    _do([str(program), "--help"], quiet=True)  # all of its imports work
    write_text(
        folder / MADE,
        json.dumps({"unbabel-comet": version_of(program), "requirements": wanted}) + "\n",
    )
    return program


def _check_ours(folder: Path) -> None:
    """That what ``venv --clear`` empties is an environment of ours, whole or half made.

    Raises:
        ScoreError: something else lies there, an environment of the user's included.
    """
    try:
        if not os.path.lexists(folder) or (not folder.is_symlink() and not any(folder.iterdir())):
            return
    except OSError as error:
        raise ScoreError(f"{folder}: {error.strerror or error}.") from error
    if not (folder / "pyvenv.cfg").is_file():
        raise ScoreError(f"{folder} holds something else than a virtual environment.")
    ours = folder == environment_folder().expanduser().absolute()
    ours = ours or any((folder / name).is_file() for name in (MADE, BEGUN))
    if folder.is_symlink() or not ours:
        raise ScoreError(
            f"{folder} is a virtual environment that setup-comet did not make, and would empty: "
            "give another folder, or remove it yourself."
        )


def _do(command: Sequence[str], quiet: bool = False) -> None:
    output = subprocess.DEVNULL if quiet else sys.stderr
    try:
        done = subprocess.run(command, stdout=output, check=False, env=own_environment())
    except OSError as error:
        raise ScoreError(f"{command[0]}: cannot be run: {error.strerror or error}.") from error
    if done.returncode != 0:
        raise ScoreError(f"'{' '.join(command)}' failed with code {done.returncode}; see above.")
