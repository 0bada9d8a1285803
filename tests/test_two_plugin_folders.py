"""A Python process has one module per name: a plugin never gets the helper of another folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mt_lottery.errors import PluginError
from mt_lottery.registry import SELECTORS, load_user_dir

pytestmark = pytest.mark.usefixtures("registered")

SELECTOR = """
from mt_lottery.plugin import register_selector

@register_selector("{name}")
def {name}(before, after):
    {inside}
    return (after - before).abs().sum(1)
"""


def plugins(folder: Path, name: str, first: str = "", inside: str = "pass", **files: str) -> Path:
    """A folder with a selector ``name``, which begins with a line, and other files."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {f"plug_{name}": first + SELECTOR.format(name=name, inside=inside)}
    for stem, text in (own | files).items():
        file = folder / f"{stem.replace('__in__', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("first", "inside", "file"),
    [
        ("import twin_helper\n", "pass", "twin_helper"),
        ("from twin_helper import NAME\n", "pass", "twin_helper"),
        ("", "import twin_helper", "twin_helper"),
        ("import twin_lib.names\n", "pass", "twin_lib__in____init__"),
        ("import twin_space.names\n", "pass", "twin_space__in__names"),
    ],
)
def test_two_folders_with_a_helper_of_one_name(
    tmp_path: Path, first: str, inside: str, file: str
) -> None:
    more = {"twin_lib__in__names": ""} if "twin_lib" in file else {}
    one = plugins(tmp_path / "A", "sel_a", first, inside, **{file: "NAME = 'A'\n"}, **more)
    two = plugins(tmp_path / "B", "sel_b", first, inside, **{file: "NAME = 'B'\n"}, **more)
    load_user_dir(one)
    path = [*sys.path]
    with pytest.raises(PluginError) as caught:
        load_user_dir(two)
    for part in (two / "plug_sel_b.py", one / "twin_", two / "twin_", "another name"):
        assert str(part) in str(caught.value)
    assert "sel_b" not in SELECTORS.names() and sys.path == path
    plugins(two, "sel_b")  # it imports none now
    load_user_dir(two)
    assert {"sel_a", "sel_b"} <= {*SELECTORS.names()}


def test_a_helper_of_a_helper(tmp_path: Path) -> None:
    load_user_dir(plugins(tmp_path / "A", "sel_a", deep_twin="NAME = 'A'\n"))
    own = {"deep__in____init__": "", "deep__in__other": "def late():\n    import deep_twin\n"}
    plugins(tmp_path / "B", "sel_b", "import deep.other\n", deep_twin="", **own)
    with pytest.raises(PluginError, match=r"B/deep/other\.py imports deep_twin: .*A/deep_twin\.py"):
        load_user_dir(tmp_path / "B")


def test_a_helper_before_it_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the folder of a notebook is; nothing has imported that file yet."""
    (tmp_path / "notebook").mkdir()
    (tmp_path / "notebook" / "near_helper.py").write_text("NAME = 'notebook'\n")
    folder = plugins(tmp_path / "P", "sel_p", "import near_helper\n", near_helper="NAME = 'P'\n")
    monkeypatch.syspath_prepend(tmp_path / "notebook")
    with pytest.raises(PluginError, match=r"would be .*notebook/near_helper\.py, not .*P/near"):
        load_user_dir(folder)


def test_a_plugin_that_puts_its_folder_on_the_path_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebook").mkdir()
    (tmp_path / "notebook" / "far_helper.py").write_text("NAME = 'notebook'\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "notebook"), *sys.path])
    first = "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport far_helper\n"
    load_user_dir(plugins(tmp_path / "P", "sel_p", first, far_helper="NAME = 'P'\n"))
    assert sys.modules["far_helper"].NAME == "P"


def test_copies_of_one_helper(tmp_path: Path) -> None:
    for name in "AB":
        helper = {"copied_helper": "NAME = 'copy'\n"}
        load_user_dir(plugins(tmp_path / name, f"sel_{name}", "import copied_helper\n", **helper))
    assert {"sel_A", "sel_B"} <= {*SELECTORS.names()}


def test_two_packages_of_one_name(tmp_path: Path) -> None:
    for name, place in {"A": ".", "B": "twins", "C": "."}.items():
        folder = tmp_path / name / "twins"
        plugins(
            folder,
            f"sel_{name}",
            __init__=f"from {place} import names\n",
            names=f"NAME = '{name}'\n",
        )
    load_user_dir(tmp_path / "A" / "twins")
    load_user_dir(tmp_path / "C" / "twins")  # relative imports are its own
    with pytest.raises(PluginError, match=r"B/twins/__init__\.py imports twins: that would be .*A"):
        load_user_dir(tmp_path / "B" / "twins")


def test_what_is_no_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries, files that none imports, and the folder that is on the path already."""
    load_user_dir(plugins(tmp_path / "A", "sel_a", same_name="", spaces__in__one=""))
    monkeypatch.syspath_prepend(tmp_path / "B")
    first = "import json, random, torch, spaces.two, own_helper\n"
    folder = plugins(tmp_path / "B", "sel_b", first, json="", random="", torch="", same_name="",
                     spaces__in__two="", own_helper="")  # fmt: skip
    load_user_dir(folder)
    assert "sel_b" in SELECTORS.names()
    assert hasattr(sys.modules["json"], "dumps")
