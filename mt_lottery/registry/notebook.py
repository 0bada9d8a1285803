"""What a plugin without a file does, as a hash: one that a notebook, or a prompt, registered.

Its compiled code counts, and what that reads: functions, classes and values of other cells, and
the files of the user's own modules. Names and lines of cells do not: they are others each time.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)  # fmt: skip
from typing import Any

from mt_lottery.errors import MTLotteryError
from mt_lottery.reading import sha256_of
from mt_lottery.registry.imports import is_of_library, with_helpers

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
#: Of what ``repr`` says all.
_SAID = {"torch.dtype", "torch.device", "pathlib.PosixPath", "re.Pattern"}
_BYTES = 2**26  # of an array that is hashed
_FILES = 100  # of a package that is


class _UnknownError(MTLotteryError):
    """A value of which nothing is known that another process would find again."""


def is_cell(file: str) -> bool:
    """Whether code is of a notebook's cell, a prompt or ``python -c``, and of no file."""
    # a kernel that is debugged writes the cells there
    return Path(file).parent.name.startswith("ipykernel_") or not Path(file).is_file()


def digest_of(target: Any) -> str | None:
    """sha256 of what a function or class does now; None where it reads what cannot be hashed.

    Args:
        target: what was registered; a model, say, or an open file that it reads has no hash.
    """
    try:
        return hashlib.sha256("\n".join(_said(target, {})).encode()).hexdigest()
    except Exception:  # of somebody's __getattr__, too
        return None


def _said(value: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[str]:
    """Lines that say what a value is; ``seen``: what was said already, by identity."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if type(value) in _PLAIN or kind in _SAID:
        yield f"{kind} {value!r}"
        return
    if id(value) in seen:
        yield f"again {seen[id(value)][0]}"
        return
    if not isinstance(value, tuple):  # Python may or may not make one of two equal tuples
        seen[id(value)] = len(seen), value
    yield kind
    if isinstance(value, set | frozenset):
        yield from sorted("\n".join(_said(each, {})) for each in value)
        return
    for part in _parts(value):
        yield from _said(part, seen)
    yield "end"


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, CodeType):
        yield value.co_code, value.co_exceptiontable, value.co_flags, value.co_argcount
        yield value.co_kwonlyargcount, value.co_posonlyargcount, value.co_consts
        yield value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars
    elif isinstance(value, FunctionType):
        yield from _of_function(value)
    elif isinstance(value, type):
        yield from _of_class(value)
    elif isinstance(value, ModuleType):
        yield value.__name__
        yield from _of_module(value.__name__)
    elif isinstance(value, MethodType | staticmethod | classmethod):
        yield value.__func__, getattr(value, "__self__", None)
    elif isinstance(value, property):
        yield value.fget, value.fset
    elif isinstance(value, functools.partial):
        yield value.func, value.args, value.keywords
    elif isinstance(value, BuiltinFunctionType):
        yield value.__qualname__, value.__self__
    elif hasattr(value, "__wrapped__"):  # functools.cache
        yield value.__wrapped__
    elif hasattr(value, "dtype") and hasattr(value, "shape"):
        yield from _of_array(value)
    else:
        yield from _of_instance(value)


def _of_function(function: FunctionType) -> Iterator[Any]:
    code = function.__code__
    cells = [_content(cell) for cell in function.__closure__ or ()]
    if not is_cell(code.co_filename):
        yield function.__module__, function.__qualname__
        yield from _of_file(Path(code.co_filename), function.__module__)
        # a decorator's, around a function of a cell
        yield [each for each in cells if isinstance(each, FunctionType)]
        return
    yield code, function.__defaults__, function.__kwdefaults__, cells, vars(function)
    known = function.__globals__
    yield [(name, known[name]) for name in sorted(_globals_of(code)) if name in known]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


def _globals_of(code: CodeType) -> set[str]:
    reads = ("LOAD_GLOBAL", "LOAD_NAME")
    found = {step.argval for step in dis.get_instructions(code) if step.opname in reads}
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return found.union(*map(_globals_of, inner))


def _of_class(kind: type) -> Iterator[Any]:
    yield kind.__module__, kind.__qualname__
    file = _file_of_class(kind)
    if file is None:  # in C
        return
    if not is_cell(file):
        yield from _of_file(Path(file), kind.__module__)
        return
    yield kind.__bases__
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    for field in fields:
        said = (field.name, field.default, field.default_factory)
        yield [each for each in said if each is not dataclasses.MISSING]
    methods = (FunctionType, staticmethod, classmethod)
    for name, value in sorted(vars(kind).items()):
        dunder = name.startswith("__")
        made = isinstance(value, FunctionType) and value.__code__.co_filename == "<string>"
        generated = dunder and made and fields  # by the dataclass
        if not generated and (not dunder or isinstance(value, methods)) and name != "_abc_impl":
            yield name, value


def _file_of_class(kind: type) -> str | None:
    module = sys.modules.get(kind.__module__)
    functions = [each for each in vars(kind).values() if isinstance(each, FunctionType)]
    files = {f.__code__.co_filename for f in functions if f.__module__ == kind.__module__}
    written = (
        each for each in sorted(files) if each != "<string>"
    )  # of which a dataclass has some
    if own := next((each for each in written if not is_of_library(Path(each))), None):
        return own
    file = getattr(module, "__file__", None)
    if file and kind.__module__ != "__main__":
        return str(file)
    return "<string>" if files or kind.__module__ == "__main__" else None


def _of_module(name: str) -> Iterator[str]:
    top = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
    if top is None or is_of_library(Path(top)):
        return
    inside = [each for each in sys.modules.copy() if each == name or each.startswith(f"{name}.")]
    if len(inside) > _FILES:
        raise _UnknownError
    for each in sorted(inside):
        if file := getattr(sys.modules[each], "__file__", None):
            yield from _of_file(Path(file), each)


def _of_file(file: Path, module: str) -> Iterator[str]:
    """Hashes of a file of the user's own, and of those that it imports."""
    if not is_of_library(file):
        depth = module.count(".") + (file.name == "__init__.py")
        root = file.parents[min(depth, len(file.parents) - 1)]
        yield from (sha256_of(each, _UnknownError) for each in with_helpers([file], root))


def _of_array(value: Any) -> Iterator[Any]:
    array = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    if array.nbytes > _BYTES or array.dtype.hasobject:
        raise _UnknownError
    yield str(array.dtype), tuple(array.shape), array.tobytes()


def _of_instance(value: Any) -> Iterator[Any]:
    functions = [each for each in vars(type(value)).values() if isinstance(each, FunctionType)]
    ours = any(is_cell(each.__code__.co_filename) for each in functions)
    if not isinstance(value, SimpleNamespace) and not (ours and hasattr(value, "__dict__")):
        raise _UnknownError
    yield type(value), vars(value)
