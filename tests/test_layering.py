"""A module imports only to its left, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mt_lottery

PACKAGE = Path(mt_lottery.__file__).parent
#: Data flows to the right: a room imports from rooms to its left, and from itself.
ORDER = (
    *(
        "moved",
        "errors",
        "reading",
        "system",
        "report",
        "registry",
        "languages",
        "config",
        "ticket",
    ),
    *(
        "data",
        "model",
        "tuners",
        "ticket_model",
        "tracking",
        "training",
        "decoding",
        "scoring",
        "runs",
    ),
    *("fairseq2", "benchmark", "paper", "plugin", "api", "cli"),
)
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if node.module == "mt_lottery" else node.module


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_module_has_its_place() -> None:
    assert {layer(module_of(f)) for f in FILES} - {""} <= set(ORDER)


def ours(file: Path) -> Iterator[tuple[int, str]]:
    """Line and name of the package's own modules among a file's imports."""
    for line, name in imports(file):
        if name.startswith("mt_lottery.") and name != "mt_lottery.__version__":
            yield line, name


def test_imports_point_to_the_left() -> None:
    wrong = []
    for file in FILES:
        own = layer(module_of(file))
        if not own:  # mt_lottery/__init__.py names what all rooms hold, and imports it lazily
            continue
        for line, name in ours(file):
            if ORDER.index(layer(name)) > ORDER.index(own):
                wrong.append(f"{file}:{line}: {own} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_the_science_needs_little() -> None:
    allowed = {"torch", "numpy", "scipy", "numba", "tqdm", *sys.stdlib_module_names}
    science = ("mt_lottery.errors", "mt_lottery.registry", "mt_lottery.ticket")
    for file in sorted((PACKAGE / "ticket").glob("*.py")):
        # a ticket knows its file, and how it is shown
        more = ("reading", "report", "system") if file.stem == "ticket" else ()
        rooms = (*science, *(f"mt_lottery.{room}" for room in more))
        for line, name in imports(file):
            known = name.startswith(rooms) or name.split(".")[0] in allowed
            assert known, f"{file}:{line}: {name}"


def test_fairseq2_is_imported_by_its_room_alone() -> None:
    for file in FILES:
        if layer(module_of(file)) == "fairseq2":
            continue
        for line, name in imports(file):  # an engine is asked for by its name
            assert name.split(".")[0] != "fairseq2", f"{file}:{line}"
            assert not name.startswith("mt_lottery.fairseq2"), f"{file}:{line}"


def test_rooms_are_small() -> None:
    """A folder is a room with at most a dozen chapters, a file a chapter of about 350 lines."""
    rooms = {file.parent for file in FILES}
    for room in sorted(rooms):
        names = [file.stem for file in room.glob("*.py") if file.stem != "__init__"]
        assert len(names) <= 13, f"{room.relative_to(PACKAGE)}: {len(names)} files"


def loaded_by(code: str) -> set[str]:
    """Top-level modules in memory after ``code``, in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


HEAVY = {"torch", "transformers", "numpy", "scipy", "numba", "peft", "sacrebleu", "hydra", "tqdm"}


@pytest.mark.parametrize(
    "code",
    [
        "import mt_lottery; mt_lottery.__version__; dir(mt_lottery)",
        "import mt_lottery.registry, mt_lottery.runs.folder.record, mt_lottery.config",
        "import mt_lottery.languages",
        "import mt_lottery.ticket, mt_lottery.cli.train, mt_lottery.cli.translate",
    ],
)
def test_importing_costs_nothing(code: str) -> None:
    assert not loaded_by(code) & HEAVY


@pytest.mark.slow
def test_ks_test_loads_no_transformers() -> None:
    code = "import torch, mt_lottery as m; m.ks_test(torch.rand(3, 8), torch.rand(3, 8))"
    assert not loaded_by(code) & {"transformers", "peft", "sacrebleu", "hydra"}


@pytest.mark.slow
def test_composing_loads_no_model_code() -> None:
    given = "['recipe=ks_lottery', 'lang=en-ro']"
    code = f"from mt_lottery.config.compose import compose; compose({given})"
    assert not loaded_by(code) & {"transformers", "peft", "sacrebleu"}


@pytest.mark.slow
def test_the_public_names_are_there_and_stay() -> None:
    """``mtl.x`` twice: a submodule of that name must not take its place."""
    code = (
        "import mt_lottery as m, mt_lottery.config.compose, mt_lottery.runs, mt_lottery.ticket\n"
        "for _ in range(2):\n"
        "    for name in m.__all__:\n"
        "        thing = getattr(m, name)\n"
        "        assert name == '__version__' or callable(thing), name\n"
        "try:\n    m.nothing\nexcept AttributeError as error:\n    assert 'nothing' in str(error)\n"
        "else:\n    raise SystemExit('no AttributeError')\n"
    )
    loaded_by(code)


#: Where a parser is called directly: what a process of ours sent or the package holds.
OWN_WORDS = {
    *("reading.json_files", "reading.yaml_files", "system.parallel", "data.files"),
    *("data.prompts.blind", "model.folder.saving", "tracking.client_process"),
    *("tracking.content", "tracking.remote", "benchmark.executors.worker"),
    "benchmark.executors.runner",
}


def test_files_are_parsed_in_one_place() -> None:
    """JSON or YAML that anybody may have written goes through ``reading``, which bounds it."""
    parsers = ("json.loads(", "json.load(", "yaml.load(", "yaml.safe_load(", "OmegaConf.load(")
    found = {
        module_of(file).removeprefix("mt_lottery.")
        for file in FILES
        if any(parser in file.read_text("utf-8") for parser in parsers)
    }
    assert found <= OWN_WORDS, f"use mt_lottery.reading in {sorted(found - OWN_WORDS)}"
