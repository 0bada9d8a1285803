"""The formats of an export: what each is, which options it takes, and the module that writes it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mt_lottery.errors import ArgumentError, argument, nearest, plural, unknown
from mt_lottery.report.numbers import size
from mt_lottery.system.values import user_path

if TYPE_CHECKING:
    from mt_lottery.runs.finished import Run

#: Programs that load a LoRA, each in a way of its own, and their names for a reader.
ENGINES = {"peft": "PEFT", "vllm": "vLLM", "sglang": "SGLang"}
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Options:
    """What was asked for beside the format; None where it was not, or is not the format's.

    Attributes:
        engine: one of :data:`ENGINES`.
        base: a GGUF file.
        dtype: of the weights.
    """

    engine: str | None = None
    base: Path | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        format: one of :data:`FORMATS`.
        folder: where it is, with its card.
        bytes: of the file that an engine loads.
        fits: what loads it, over which base, in one sentence.
        engine: that it was written for, where the format asks.
        sentences: how many of the run's test sentences were translated again with it.
        same: how many of them came out as in the run, word for word.
        notes: what else a user must know, a sentence each.
    """

    format: str
    folder: Path
    bytes: int
    fits: str
    engine: str | None = None
    sentences: int = 0
    same: int = 0
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        checked = (
            f"{self.same} of {plural(self.sentences, 'test sentence')} are translated word for "
            "word as in the run."
        )
        said = [f"{self.folder}: {self.fits} {size(self.bytes)}."]
        return "\n".join([*said, *([checked] if self.sentences else []), *self.notes])


Writer = Callable[["Run", Path, Options], Exported]


@dataclass(frozen=True)
class Format:
    """One of the formats.

    Attributes:
        module: has ``write(run, folder, options) -> Exported``; the folder was checked, and is
            written through ``written_folder(folder, marked=True)``.
        what: a line for the help.
        takes: the options (:class:`Options`) that it takes.
        needs: those of them that must be given.
    """

    module: str
    what: str
    takes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def writer(self) -> Writer:
        """Its function, imported now."""
        found: Writer = importlib.import_module(f"mt_lottery.runs.export.{self.module}").write
        return found


#: What an option is that some format needs.
NEEDED = {"base": "the original model's GGUF file"}
FORMATS = {
    "lora": Format("lora", "an adapter that an engine loads over the original model", ("engine",)),
    "merged": Format("merged", "a plain transformers model, as mt-ticket merge", ("dtype",)),
    "gguf": Format("gguf.whole", "the base's own GGUF with the rows in it", *2 * (("base",),)),
    "gguf-lora": Format("gguf.adapter", "an adapter of llama.cpp", *2 * (("base",),)),
    "gguf-base": Format("gguf.base", "what a gguf-lora is loaded over", *2 * (("base",),)),
}


def chosen(
    format: str, *, engine: str | None, base: str | Path | None, dtype: str | None
) -> tuple[Format, Options]:
    """A format by its name, and its options.

    Raises:
        ArgumentError: no such format or value; an option that it does not take, or lacks.
    """
    if format not in FORMATS:
        raise ArgumentError(unknown("format", format, FORMATS))
    form, given = FORMATS[format], {"engine": engine, "base": base, "dtype": dtype}
    for name, value in given.items():
        if value is None:
            if name in form.needs:
                raise ArgumentError(
                    f"{argument('format', format)} needs {argument(name)}: {NEEDED[name]}."
                )
        elif name not in form.takes:
            others = ", ".join(key for key, other in FORMATS.items() if name in other.takes)
            raise ArgumentError(
                f"{argument('format', format)} takes no {argument(name)}; formats that do: "
                f"{others or 'none'}."
            )
    for name, known in (("engine", ENGINES), ("dtype", DTYPES)):
        value = given[name]
        if value is not None and value not in known:
            raise ArgumentError(
                f"{argument(name, value)}: allowed: {', '.join(known)}.{nearest(str(value), known)}"
            )
    if engine is None and "engine" in form.takes:
        engine = next(iter(ENGINES))
    place = None if base is None else user_path(base, ArgumentError, f"{argument('base')}: ")
    return form, Options(engine, place, dtype)
