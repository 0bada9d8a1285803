"""The KS test on every parameter of a model, read in parts (the paper's Figure 6)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mt_lottery.errors import ModelError, MTLotteryError, TuningError
from mt_lottery.paper.find.tables import (
    DTYPES,
    ModelFolder,
    all_finite,
    not_finite,
    row_bytes,
    row_parts,
)
from mt_lottery.report.plain import csv_records
from mt_lottery.report.progress import progress_bar
from mt_lottery.system.atomic import write_text
from mt_lottery.ticket.ks import ks_test
from mt_lottery.ticket.level import Level
from mt_lottery.ticket.rows import ParameterChange, as_rows, largest_tie, summarise

#: In the order in which a model uses them.
KINDS = (
    "embeddings", "attention q", "attention k", "attention v", "attention qkv", "attention o",
    "attention", "mlp", "norms", "head", "other",
)  # fmt: skip

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?|block)\.(\d+)\.")
_HEADS = ("lm_head", "embed_out", "output_projection")
_ATTENTION = {
    "attention qkv": r"(?:qkv_proj|c_attn|query_key_value|in_proj|w_?pack|wqkv)",
    "attention q": r"(?:q_proj|query|q_[ab]_proj|wq)",
    "attention k": r"(?:k_proj|key|wk)",
    "attention v": r"(?:v_proj|value|wv)",
    "attention o": r"(?:o_proj|out_proj|c_proj|dense|wo)",
}


def kind_of(name: str) -> tuple[str, int | None]:
    """What a parameter is (one of :data:`KINDS`), and in which layer, by its name.

    A bias counts with its weight. Names are those of transformers' decoder-only models.
    """
    found = _LAYER.search(name)
    layer = int(found.group(1)) if found else None
    inside = name[found.end() :] if found else name
    if re.search(r"norm|(?:^|[._])ln_", inside, re.IGNORECASE):
        return "norms", layer
    if layer is None:
        if any(part in inside.split(".") for part in _HEADS):
            return "head", None
        if re.search(r"embed|(?:^|\.)w[tp]e\.", inside):
            return "embeddings", None
        return "other", None
    if re.search(r"attn|attention|(?:^|\.)wq|(?:^|\.)[qkvo]_proj", inside):
        for kind, pattern in _ATTENTION.items():
            if re.search(rf"(?:^|\.){pattern}(?:\.|$)", inside, re.IGNORECASE):
                return kind, layer
        return "attention", layer
    if re.search(r"mlp|ffn|feed_forward|expert|moe|fc[12_]|_proj|dense|router", inside):
        return "mlp", layer
    return "other", layer


@dataclass
class Parameter:
    """A parameter that was tested.

    Attributes:
        name: in AFTER's files.
        kind, layer: from :func:`kind_of`.
        shape: as stored.
        change: what the tests of its rows say.
    """

    name: str
    kind: str
    layer: int | None
    shape: tuple[int, ...]
    change: ParameterChange

    def to_dict(self) -> dict[str, Any]:
        """Flat JSON-like content."""
        change = asdict(self.change) | {"share": self.change.share}
        return {
            "name": self.name, "kind": self.kind, "layer": self.layer,
            "shape": list(self.shape), **change,
        }  # fmt: skip


@dataclass
class Group:
    """The parameters of one kind in one layer together (``layer`` None: outside of layers)."""

    layer: int | None
    kind: str
    parameters: int
    rows: int
    rejected: int
    tied: int
    largest: float

    @property
    def share(self) -> float:
        """Share of rejecting rows, in [0, 1]."""
        return self.rejected / self.rows


@dataclass
class Layers:
    """Every parameter of two model folders compared.

    Attributes:
        before, after: the folders.
        alpha: rows with nominal p ≤ alpha reject.
        parameters: those that were tested, in the order of their names.
        only_before, only_after: parameters that the other folder lacks.
        unequal: parameter → both shapes, where they differ.
        skipped: parameter → why it was not tested.
    """

    before: str
    after: str
    alpha: float
    parameters: list[Parameter] = field(default_factory=list)
    only_before: list[str] = field(default_factory=list)
    only_after: list[str] = field(default_factory=list)
    unequal: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def groups(self) -> list[Group]:
        """Per layer and kind, layers first, each in order."""
        found: dict[tuple[int | None, str], list[ParameterChange]] = {}
        for each in self.parameters:
            found.setdefault((each.layer, each.kind), []).append(each.change)
        made = [
            Group(
                layer,
                kind,
                len(changes),
                sum(c.rows for c in changes),
                sum(c.rejected for c in changes),
                sum(c.tied for c in changes),
                max(c.largest for c in changes),
            )
            for (layer, kind), changes in found.items()
        ]
        last = 1 << 30
        return sorted(
            made, key=lambda g: (last if g.layer is None else g.layer, KINDS.index(g.kind))
        )


def compare_layers(before: ModelFolder, after: ModelFolder, alpha: float = 0.05) -> Layers:
    """Test every parameter that both folders have, one after the other, in parts.

    Each row of a matrix is a sample of its coordinates, a vector is one sample; the rows of
    GPT-2's transposed matrices are their columns. The head of a tied model is its input
    table, so a head of AFTER's own is compared with that.

    Args:
        before: the original model.
        after: the tuned one.
        alpha: in [0, 1].

    Raises:
        TuningError: alpha out of range, or a NaN or ∞ (the parameter is named).
        ModelError: nothing in common, or a damaged file.
    """
    made = Layers(before.shown, after.shown, Level(alpha).alpha)
    matched = _match(before, after, made)
    columns = _stored_as_columns(after, matched)
    total = sum(torch.Size(after.shapes[other]).numel() for _, other in matched)
    with progress_bar(total, unit=" values", unit_scale=True, leave=False) as bar:
        for mine, name in matched:
            bar.set_description(name)
            change = _test(before, mine, after, name, alpha, name in columns)
            kind, layer = kind_of(name)
            made.parameters.append(Parameter(name, kind, layer, after.shapes[name], change))
            bar.update(torch.Size(after.shapes[name]).numel())
    if not made.parameters:
        raise ModelError(
            f"{before.shown} and {after.shown} have no parameter in common that could be "
            f"compared: {before.shown} holds {_some(before.shapes)}; {after.shown} holds "
            f"{_some(after.shapes)}."
        )
    return made


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (", …" if len(listed) > 3 else "")


def _match(before: ModelFolder, after: ModelFolder, made: Layers) -> list[tuple[str, str]]:
    """Names in BEFORE and in AFTER of what can be tested; the rest is noted in ``made``."""
    pairs = {name: name for name in after.shapes if name in before.shapes}
    lone = [name for name in after.shapes if name not in pairs]
    for name in lone:
        if kind_of(name)[0] == "head" and _is_tied_to(before, name):
            pairs[name] = before.embedding
    made.only_after = sorted(name for name in lone if name not in pairs)
    made.only_before = sorted(name for name in before.shapes if name not in pairs.values())
    matched = []
    for name in sorted(pairs, key=_order):
        mine = pairs[name]
        if before.shapes[mine] != after.shapes[name]:
            made.unequal[name] = f"{[*before.shapes[mine]]} and {[*after.shapes[name]]}"
            continue
        kinds = {before.stored[mine], after.stored[name]} - DTYPES.keys()
        if kinds or 0 in after.shapes[name]:
            made.skipped[name] = f"stored as {', '.join(sorted(kinds))}" if kinds else "empty"
            continue
        matched.append((mine, name))
    return matched


def _is_tied_to(folder: ModelFolder, name: str) -> bool:
    try:
        return folder.tied and f"{name}".endswith("weight")
    except MTLotteryError:  # an architecture that transformers does not know
        return False


def _order(name: str) -> list[Any]:
    """Layer 10 after layer 9."""
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in name.split(".")]


def _stored_as_columns(folder: ModelFolder, matched: list[tuple[str, str]]) -> set[str]:
    """Matrices that are stored transposed: a unit's coordinates lie in a column (GPT-2)."""
    try:
        named = folder.model.named_modules()
    except MTLotteryError:
        return set()
    found = [f"{name}.weight" for name, m in named if type(m).__name__ == "Conv1D"]
    prefix = f"{folder.model.base_model_prefix}."
    either = {*found, *(name.removeprefix(prefix) for name in found)}
    return {name for _, name in matched if name in either and len(folder.shapes[name]) == 2}


def _test(
    before: ModelFolder, mine: str, after: ModelFolder, name: str, alpha: float, columns: bool
) -> ParameterChange:
    statistics, pvalues, dimension, tied = [], [], 1, 0
    for x, y in _parts(before, mine, after, name, columns):
        dimension = x.shape[1]
        for folder, part in ((before, x), (after, y)):
            if not all_finite(part):
                raise TuningError(
                    f"{folder.shown}: {name} holds {not_finite(part)}: no distance is defined."
                )
        result = ks_test(x, y)
        statistics.append(result.statistic)
        pvalues.append(result.pvalue)
        rejects = (result.pvalue <= alpha) & (result.statistic > 0)
        # multiples of 1/d: a hair more than the tie is the tie
        room = largest_tie(x[rejects]) + 1e-9 if bool(rejects.any()) else 0.0
        tied += int((result.statistic[rejects] <= room).sum())
    return summarise(torch.cat(statistics), torch.cat(pvalues), alpha, dimension, tied)


def _parts(
    before: ModelFolder, mine: str, after: ModelFolder, name: str, columns: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples of both, [rows, d] at a time."""
    shape = after.shapes[name]
    if columns:  # a column lies scattered over the whole tensor
        yield before.read(mine).T.contiguous(), after.read(name).T.contiguous()
        return
    if len(shape) < 2:
        yield as_rows(before.read(mine)), as_rows(after.read(name))
        return
    wider = max(before.dtype(mine), after.dtype(name), key=lambda kind: kind.itemsize)
    for start, stop in row_parts(shape[0], row_bytes(shape, wider)):
        yield as_rows(before.read(mine, start, stop)), as_rows(after.read(name, start, stop))


_COLUMNS = (
    "name", "kind", "layer", "shape", "rows", "dimension", "changed", "rejected", "share",
    "tied", "largest", "median",
)  # fmt: skip


def write_layers(found: Layers, folder: Path) -> list[Path]:
    """``layers.csv`` (a line a parameter) and ``layers.json`` (groups and what differs as well)."""
    lines = []
    for each in found.parameters:
        line = each.to_dict()
        line["shape"] = "x".join(map(str, each.shape))
        lines.append(line)
    content = {
        "before": found.before,
        "after": found.after,
        "alpha": found.alpha,
        "groups": [asdict(group) | {"share": group.share} for group in found.groups()],
        "parameters": [each.to_dict() for each in found.parameters],
        "only_before": found.only_before,
        "only_after": found.only_after,
        "unequal": found.unequal,
        "skipped": found.skipped,
    }
    paths = [folder / "layers.csv", folder / "layers.json"]
    write_text(paths[0], csv_records(_COLUMNS, lines))
    write_text(paths[1], json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return paths
