"""Check an installed mt-lottery against its checkout: python installed.py CHECKOUT (scripts/dist).

Runs outside the checkout, in an environment that has the wheel alone; writes a tiny model beside
itself for the quickstart.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import mt_lottery
from mt_lottery.config.recipe_files import recipes_folder


def main() -> None:
    """Compare, and end with a message that names what is missing."""
    checkout, package = Path(sys.argv[1]), Path(mt_lottery.__file__).parent
    assert not package.is_relative_to(checkout), f"{package} is the checkout, not the wheel"
    listed = subprocess.run(
        ["git", "ls-files", "mt_lottery", "recipes"],
        cwd=checkout, check=True, capture_output=True, text=True,
    ).stdout.split("\n")  # fmt: skip
    files = [file for file in listed if file]
    places = {f: package.parent / f for f in files if not f.startswith("recipes/")}
    places |= {f: recipes_folder().parent / f for f in files if f.startswith("recipes/")}
    lacking = [file for file, place in places.items() if not place.is_file()]
    assert files and not lacking, f"not in the wheel: {', '.join(lacking)}"
    assert (package / "py.typed").is_file()
    (sdist,) = (checkout / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in (*files, "Makefile", "scripts/dist", "CHANGELOG.md", "tests/test_packaging.py"):
        assert wanted in names, f"not in the sdist: {wanted}"
    number = version("mt-lottery")
    assert number == mt_lottery.__version__
    for command in ("mt-train", "mt-bench", "mt-ticket", "mt-translate"):
        said = subprocess.run([command, "--version"], check=True, capture_output=True, text=True)
        assert said.stdout == f"mt-lottery {number}\n", said.stdout
        subprocess.run([command, "--help"], check=True, capture_output=True)
    from tiny_runs import make_models

    make_models(Path.cwd())
    print(f"mt-lottery {number}: {len(files)} files, four commands")


if __name__ == "__main__":
    main()
