"""``mtl.certify``: Theorem 2 on numbers, or Algorithm 1 on a finished run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from torch import Tensor

from mt_lottery.errors import ArgumentError, ConfigError, check_keywords, checked_keywords
from mt_lottery.system.quiet import quietly
from mt_lottery.system.values import plain_number

if TYPE_CHECKING:
    from mt_lottery.paper.certify.certificate import Certificate
    from mt_lottery.runs.finished import Run
    from mt_lottery.ticket.certify import Certification


@overload
def certify(
    run: Tensor, predictions: Tensor, references: Tensor, tau: float, /
) -> Certification: ...


@overload
def certify(
    *, margins: Tensor, predictions: Tensor, references: Tensor, tau: float
) -> Certification: ...


@overload
def certify(
    run: Tensor, /, predictions: Tensor, references: Tensor, *, tau: float
) -> Certification: ...


@overload
def certify(
    run: Run | str | Path, *, more: Sequence[Run | str | Path] = (), **settings: Any
) -> Certificate: ...


@quietly()
def certify(run: Any = None, *numbers: Any, more: Sequence[Any] = (), **settings: Any) -> Any:
    """Which predictions of the embed-tuned model no row outside the ticket can change (Theorem 2).

        >>> import torch, mt_lottery as mtl
        >>> margins, said = torch.tensor([0.9, 0.1]), torch.tensor([3, 5])
        >>> mtl.certify(margins, said, said, tau=0.2).certified_accuracy
        0.5
        >>> found = mtl.certify("run", alphas=[0.05, 1.0], sentences=4, echo=lambda line: None)
        >>> [level.alpha for level in found.levels if level.alpha in (0.05, 1.0)]
        [0.05, 1.0]

    Args:
        run: a finished run with an embedding-tuned probe, or its directory; or the margins,
            [N], of :func:`mt_lottery.ticket.certify.certify`, with predictions, references and
            τ after them.
        numbers: predictions [N], references [N] and τ, after margins.
        more: for a run: runs of partial tuning at other α, for the accuracy there.
        settings: for a run: ``alphas``, ``margin``, ``tau``, ``positions``, ``sentences``,
            ``check_alphas``, ``suggest``, ``seed``
            (:class:`mt_lottery.paper.certify.settings.Settings`), ``device``, ``echo``.

    Returns:
        for numbers, which positions are certified; for a run, the certificate at every α, with
        the test of what it promises.

    Raises:
        ConfigError: an unknown setting, with the nearest match, or one out of its range.
        TuningError: shapes that differ; a run without a probe.
        RecordError: no finished run there.
    """
    if isinstance(run, Tensor) or "margins" in settings:
        from mt_lottery.ticket.certify import certify as of_numbers

        return checked_keywords(of_numbers)(*([] if run is None else [run]), *numbers, **settings)
    import dataclasses

    from mt_lottery.paper.certify.certificate import certify_runs
    from mt_lottery.paper.certify.settings import Settings

    if numbers or run is None:
        raise ConfigError("certify takes one run (others: more=[…]), or margins and what follows.")
    known = [field.name for field in dataclasses.fields(Settings)]
    check_keywords("certify", settings, ["more", *known, *HOW])
    how = {key: settings.pop(key) for key in HOW if key in settings}
    settings = {key: plain_number(value) for key, value in settings.items()}
    for key in ("alphas", "check_alphas"):
        if hasattr(settings.get(key), "tolist"):  # an array, a tensor
            settings[key] = settings[key].tolist()
    runs = [getattr(each, "folder", each) for each in (run, *([more] if _is_run(more) else more))]
    for each in runs:
        if not _is_run(each):
            raise ArgumentError(f"run: {type(each).__name__}; a run or its folder is needed.")
    return certify_runs(runs, Settings(**settings), **how)


HOW = ("device", "echo")


def _is_run(given: Any) -> bool:
    return isinstance(given, str | os.PathLike) or hasattr(given, "folder")
