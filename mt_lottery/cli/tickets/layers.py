"""``mt-ticket layers``: which parameters of a model moved, layer by layer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mt_lottery.cli.options import Commands, add_options, alpha, subcommand
from mt_lottery.cli.outputs import check_results
from mt_lottery.cli.shared import echo
from mt_lottery.errors import plural

if TYPE_CHECKING:
    from mt_lottery.paper.find.tables import ModelFolder
    from mt_lottery.paper.layers.parameters import Layers

EXAMPLES = """\
  mt-ticket layers gemma3_270m runs/en-es/full/seed-0 --out layers
  mt-ticket layers BEFORE AFTER --alpha 0.5 --no-plot
  mt-ticket layers gemma3_270m ./full-tuned --out layers --overwrite
"""


def layers(given: argparse.Namespace) -> int:
    """``mt-ticket layers``."""
    from pathlib import Path

    from mt_lottery.errors import ModelError
    from mt_lottery.paper.find.sides import is_run
    from mt_lottery.paper.find.tables import open_model
    from mt_lottery.paper.layers.parameters import compare_layers, write_layers
    from mt_lottery.report.figures import check_matplotlib

    draws = given.out is not None and given.plot
    if draws:
        check_matplotlib()
    if given.out is not None:
        kinds = ("json", "csv", "png", "svg") if draws else ("json", "csv")
        reads = [given.before, given.after]
        check_results(given, Path(given.out).expanduser(), ["layers"], kinds, reads=reads)
    folders = []
    for where in (given.before, given.after):
        path: Path | str = where
        if is_run(where):
            path = Path(where).expanduser() / "model"
            if not path.is_dir():
                raise ModelError(
                    f"{where}: a run that keeps no whole model; write one with mt-ticket merge "
                    f"{where} FOLDER and give that folder."
                )
        folders.append(open_model(path))
    compared = compare_layers(folders[0], folders[1], given.alpha)
    _say_if_unrelated(folders[0], folders[1])
    _print(compared)
    if given.out is not None:
        out = Path(given.out).expanduser()
        written = write_layers(compared, out)
        if draws:
            from mt_lottery.paper.layers.figure import draw_layers

            written += draw_layers(compared, out / "layers")
        echo(f"Written: {', '.join(map(str, written))}")
    return 0


def _say_if_unrelated(before: ModelFolder, after: ModelFolder) -> None:
    """As ``mt-ticket find`` does; nothing where the embedding tables cannot be compared."""
    from contextlib import suppress

    from mt_lottery.errors import ModelError
    from mt_lottery.paper.find.pair import two_models_note

    with suppress(ModelError):
        one, other = before.table(), after.table()
        if one.shape[1] == other.shape[1]:
            rows = min(one.shape[0], other.shape[0])
            note = two_models_note((before.shown, after.shown), one, other, rows)
            if note is not None:
                echo(f"{note} D compares two models then.")


def _print(compared: Layers) -> None:
    from mt_lottery.paper.layers.parameters import KINDS
    from mt_lottery.report.printing import Grid, printer

    console = printer()
    groups = compared.groups()
    cells: dict[Any, dict[str, str]] = {}
    for group in groups:
        row = cells.setdefault(group.layer, {})
        row[group.kind] = f"{100 * group.share:.1f}" if group.rejected else "0"  # 0.0 is some
    kinds = [kind for kind in KINDS if any(g.kind == kind for g in groups)]
    title = f"Rows that reject at α = {compared.alpha:g}, in % (nominal p)"
    table = Grid(title, ["layer", *(kind.replace("attention ", "attn ") for kind in kinds)])
    for layer, row in cells.items():
        table.add("—" if layer is None else str(layer), *(row.get(k, "") for k in kinds))
    console.print(table)
    heads = ("kind", "parameters", "rows", "rejecting", "share", "tied", "largest D", "d")
    total = Grid("All layers together", heads)
    for kind in kinds:
        mine = [g for g in groups if g.kind == kind]
        rows, rejected = sum(g.rows for g in mine), sum(g.rejected for g in mine)
        sizes = sorted({p.change.dimension for p in compared.parameters if p.kind == kind})
        total.add(
            kind,
            f"{sum(g.parameters for g in mine):,}",
            f"{rows:,}",
            f"{rejected:,}",
            f"{100 * rejected / rows:.2f}%",
            f"{sum(g.tied for g in mine):,}",
            f"{max(g.largest for g in mine):.4f}",
            ", ".join(map(str, sizes[:4])) + (", …" if len(sizes) > 4 else ""),
        )
    console.print(total)
    console.print(
        "A row of a matrix is one sample of its d coordinates, a vector is one sample. p depends "
        "on d, so shares are comparable between parameters of the same d only; p is nominal."
    )
    if any(g.tied for g in groups):
        console.print(
            "tied: rejecting rows in which at least a share D of the coordinates held one and the "
            "same value before (weights that were quantised once). Taking such coordinates apart "
            "makes a D of that size, however small the move."
        )
    notes = [
        (f"only in {compared.before}", compared.only_before),
        (f"only in {compared.after}", compared.only_after),
        ("of unequal shape", [f"{n}: {shapes}" for n, shapes in compared.unequal.items()]),
        ("not tested", [f"{n}: {why}" for n, why in compared.skipped.items()]),
    ]
    for what, names in notes:
        if names:
            listed = "; ".join(names[:8]) + ("; …" if len(names) > 8 else "")
            console.print(f"{plural(len(names), 'parameter')} {what}: {listed}")


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    part = subcommand(
        commands,
        layers,
        EXAMPLES,
        help="test every parameter of a model, layer by layer",
        description=(
            "The KS test on every parameter of two model folders, row by row (the paper's Figure "
            "6), streamed from safetensors: neither model is loaded. A run of full stands for its "
            "model; of other runs write one with mt-ticket merge."
        ),
    )
    part.add_argument("before", metavar="BEFORE", help="model folder, or gemma3_270m")
    part.add_argument("after", metavar="AFTER", help="model folder, or a run of full")
    part.add_argument(
        "--alpha", type=alpha, default=0.05, metavar="A", help="rows with nominal p ≤ A [0.05]"
    )
    part.add_argument(
        "--out", metavar="DIR", help="write layers.csv, layers.json and the figure there"
    )
    part.add_argument(
        "--plot", action=argparse.BooleanOptionalAction, default=True, help="draw it [yes]"
    )
    add_options(part, "--overwrite")
