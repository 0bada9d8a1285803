"""A finished run, written so that others serve it: a format a module (:mod:`.formats`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mt_lottery.runs.export.formats import Exported, Options, chosen

if TYPE_CHECKING:
    from mt_lottery.runs.finished import Run

__all__ = ["Exported", "Options", "export"]


def export(
    run: Run,
    out: str | Path,
    format: str,
    *,
    engine: str | None = None,
    base: str | Path | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """As :meth:`mt_lottery.runs.finished.Run.export`."""
    from mt_lottery.runs.folder.targets import check_model_folder, inputs_of

    form, options = chosen(format, engine=engine, base=base, dtype=dtype)
    inputs = inputs_of(run.folder) | {"the base": options.base}
    folder = check_model_folder(out, overwrite=overwrite, inputs=inputs)
    return form.writer()(run, folder, options)
