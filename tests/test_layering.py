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
ORDER = (
    *(
        "errors",
        "interrupts",
        "quiet",
        "plain",
        "printing",
        "parallel",
        "secrets",
        "diskfault",
        "atomic",
        "reading",
        "replacing",
        "values",
        "contracts",
        "conformity",
        "plugins",
        "registry",
        "blame",
        "languages",
        "config",
        "overrides",
        "recipe_files",
        "written",
        "stored",
        "compose",
        "lottery",
    ),
    *("data", "model", "tuner", "train", "translate", "score", "record", "pipeline"),
    "fairseq2",
    "bench",
    "evidence",
    "cli",
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


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_point_to_the_left(file: Path) -> None:
    own = layer(module_of(file))
    if not own:  # mt_lottery/__init__.py names what lies in all layers, and imports it lazily
        return
    for line, name in imports(file):
        if name in ("mt_lottery", "mt_lottery.__version__") or not name.startswith("mt_lottery."):
            continue
        other = layer(name)
        assert ORDER.index(other) <= ORDER.index(own), f"{file}:{line}: {own} imports {other}"


@pytest.mark.parametrize("file", sorted((PACKAGE / "lottery").glob("*.py")), ids=module_of)
def test_the_science_needs_little(file: Path) -> None:
    allowed = {"torch", "numpy", "scipy", "numba", *sys.stdlib_module_names}
    ours = ("mt_lottery.errors", "mt_lottery.registry", "mt_lottery.lottery")
    for line, name in imports(file):
        if name.startswith("mt_lottery"):
            assert name.startswith(ours), f"{file}:{line}: {name}"
        elif name != "tqdm":  # its progress bar; inside a function only, checked below
            assert name.split(".")[0] in allowed, f"{file}:{line}: {name}"


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_fairseq2_is_imported_by_its_layer_alone(file: Path) -> None:
    ours = layer(module_of(file)) == "fairseq2"
    for line, name in imports(file):
        assert ours or name.split(".")[0] != "fairseq2", f"{file}:{line}"
        assert ours or not name.startswith("mt_lottery.fairseq2"), f"{file}:{line}"  # by its name


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
        "import mt_lottery.registry, mt_lottery.record, mt_lottery.config, mt_lottery.languages",
        "import mt_lottery.lottery, mt_lottery.cli.train, mt_lottery.cli.translate",
    ],
)
def test_importing_costs_nothing(code: str) -> None:
    assert not loaded_by(code) & HEAVY


def test_ks_test_loads_no_transformers() -> None:
    code = "import torch, mt_lottery as m; m.ks_test(torch.rand(3, 8), torch.rand(3, 8))"
    assert not loaded_by(code) & {"transformers", "peft", "sacrebleu", "hydra"}


def test_composing_loads_no_model_code() -> None:
    code = "from mt_lottery.compose import compose; compose(['recipe=ks_lottery', 'lang=en-ro'])"
    assert not loaded_by(code) & {"transformers", "peft", "sacrebleu"}


def test_the_public_names_are_there_and_stay() -> None:
    """``mtl.x`` twice: a submodule of that name must not take its place."""
    code = (
        "import mt_lottery as m, mt_lottery.compose, mt_lottery.pipeline, mt_lottery.lottery\n"
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
    *("reading.json_files", "reading.yaml_files", "parallel", "data.blind", "model.saving"),
    *("train.tracker_process", "train.tracked", "train.remote_trackers", "data.files"),
    *("bench.worker", "bench.runner"),
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
