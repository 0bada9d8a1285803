"""``mt-ticket certify``: Algorithm 1 on a finished run, and the test of what it promises."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mt_lottery.errors import ConfigError, argument, plural
from mt_lottery.paper.certify.check import (
    Check,
    alphas_to_check,
    compare,
    permuted,
    transferred,
)
from mt_lottery.paper.certify.predictions import (
    Positions,
    Predictions,
    make_positions,
    predict,
    rows_in,
)
from mt_lottery.paper.certify.runs import GivenRun, common_correction, read_runs
from mt_lottery.paper.certify.settings import Settings
from mt_lottery.report.numbers import shown_alpha
from mt_lottery.report.printing import Grid, as_text
from mt_lottery.runs.decode import pad_id as pad_id_of
from mt_lottery.runs.finished import Run
from mt_lottery.runs.outcome import peak_memory, start_peak
from mt_lottery.runs.planning.plan import Echo
from mt_lottery.ticket.certify_levels import (
    LevelCertificate,
    Suggestion,
    certify_levels,
    margin_quantiles,
    suggest_alpha,
)
from mt_lottery.training.label_loss import check_logits
from mt_lottery.tuners.rows.adapter_file import load_rows
from mt_lottery.tuners.rows.module import detach


@dataclass(frozen=True, eq=False)
class PartialResult:
    """A partially tuned model at the positions.

    Attributes:
        run: the given run.
        rows: rows that it trained; where a count chose them, rows with the distance of the
            last one may be left out, though their p is at most α too.
        predictions: what it says.
    """

    run: GivenRun
    rows: int
    predictions: Predictions


@dataclass(frozen=True, eq=False, repr=False)
class Certificate:
    """What ``mt-ticket certify`` found; it prints, and shows in a notebook, as tables.

    Attributes:
        run: the first one.
        runs: run directories, in the order given.
        settings: as asked for.
        correction: of p before it is compared with α.
        vocabulary, dimension: V and d of the embedding table.
        probe_rows: rows that the embed-tuned model trained.
        positions: where predictions were made.
        original, embed: what the two models say there.
        partial: α → the partially tuned model.
        levels: the certificates, α ascending.
        checks: the certificates' tests, α ascending.
        quantiles: of half the margin: (share of positions, value).
        suggestion: the answer to ``settings.suggest``.
        seconds: of the forward passes and tests, loading left out.
        peak_memory: bytes.
    """

    run: Run
    runs: list[Path]
    settings: Settings
    correction: str
    vocabulary: int
    dimension: int
    probe_rows: int
    positions: Positions
    original: Predictions
    embed: Predictions
    partial: dict[float, PartialResult]
    levels: list[LevelCertificate]
    checks: list[Check]
    quantiles: list[tuple[float, float]]
    suggestion: Suggestion | None
    seconds: float
    peak_memory: int

    def accuracy(self, predictions: Predictions) -> float:
        """Share of positions at which a model predicts the reference token."""
        return predictions.accuracy(self.positions.references)

    def _grids(self) -> list[Grid]:
        from mt_lottery.paper.certify.tables import checks_table, levels_table

        return [levels_table(self).grid(), *([checks_table(self).grid()] if self.checks else [])]

    def __repr__(self) -> str:
        return f"<Certificate of {self.run!r} at {plural(len(self.levels), 'level')}>"

    def __str__(self) -> str:
        return "\n".join(as_text(grid, 120) for grid in self._grids())

    def _repr_html_(self) -> str:
        return "".join(grid.html() for grid in self._grids())

    def check_of(self, alpha: float, model: str) -> Check | None:
        """The test of one model at one α, where it was made."""
        return next((c for c in self.checks if c.alpha == alpha and c.model == model), None)


def certify_runs(
    run_dirs: Sequence[str | Path],
    settings: Settings | None = None,
    *,
    device: str = "auto",
    echo: Echo = print,
) -> Certificate:
    """Certify a run's test set at every α, and check the certificate.

    Args:
        run_dirs: a finished run whose method has an embedding-tuned probe; behind it, runs of
            partial tuning at other α.
        settings: how.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        echo: prints a line for the user.

    Raises:
        ConfigError: a setting out of its range, or runs that do not belong together.
        RecordError, TuningError, ModelError: a run that cannot be opened.
    """
    settings = settings or Settings()
    settings.check()
    given = read_runs(run_dirs, device, echo)
    wanted, have = settings.sentences, len(given[0].plan.test.pairs)
    if wanted is not None and wanted > have:
        raise ConfigError(
            f"{argument('sentences')} is {wanted}; the test set of {run_dirs[0]} has {have}."
        )
    run = given[0]
    _ = run.probe
    start_peak(run.plan.device)
    began = time.monotonic()
    work = _Work(run, settings, echo)
    correction = common_correction(given)
    ks = run.ks()
    statistic, pvalue = ks.statistic, ks.adjusted(correction)
    original = work.predict("Original model")
    probe = run.probe
    embed = work.predict("Embed-tuned model", probe.token_ids, probe.values)
    partial = {
        each.alpha: work.partially_tuned(each, pvalue) for each in given if each.alpha is not None
    }
    checked = work.alphas_to_check(statistic, pvalue, list(partial))
    margins = (embed if settings.margin == "embed" else original).margins
    levels = certify_levels(
        margins,
        embed.tokens,
        work.positions.references,
        statistic=statistic,
        pvalue=pvalue,
        dimension=run.table.shape[1],
        alphas=sorted({*map(float, settings.alphas), *partial, *checked}),
        tau=settings.tau,
    )
    checks = []
    for level in levels:
        found = partial.get(level.alpha)
        if level.alpha in checked or found is not None:
            checks += work.check(level, pvalue, original, embed, found, level.alpha in checked)
    suggestion = None
    if settings.suggest is not None:
        suggestion = suggest_alpha(
            margins,
            statistic=statistic,
            pvalue=pvalue,
            dimension=run.table.shape[1],
            share=settings.suggest,
            tau=settings.tau,
        )
    return Certificate(
        run=run,
        runs=[each.folder for each in given],
        settings=settings,
        correction=correction,
        vocabulary=int(run.table.shape[0]),
        dimension=int(run.table.shape[1]),
        probe_rows=len(probe.token_ids),
        positions=work.positions,
        original=original,
        embed=embed,
        partial=partial,
        levels=levels,
        checks=checks,
        quantiles=margin_quantiles(margins),
        suggestion=suggestion,
        seconds=time.monotonic() - began,
        peak_memory=peak_memory(run.plan.device),
    )


class _Work:
    """The forward passes: one model in memory, whose rows are replaced in turn."""

    def __init__(self, run: Run, settings: Settings, echo: Echo) -> None:
        self.run, self.settings, self.echo = run, settings, echo
        tokenizer = run.original.tokenizer
        self.model = run.original.model
        self.scope = run.tuner.scope or "input"
        self.pad_id = pad_id_of(tokenizer)
        self.positions = make_positions(
            run.plan.test.pairs[: settings.sentences],
            run.text.template,
            run.pair,
            tokenizer,
            settings.positions,
        )
        first = self.positions.examples[0].prompt_ids[:8]
        check_logits(self.model, torch.tensor([first], device=self.model.device))
        echo(
            f"{plural(len(self.positions.examples), 'sentence')}, "
            f"{plural(len(self.positions.references), 'position')} (the first "
            f"{plural(settings.positions, 'reference token')} of each)."
        )

    def predict(
        self, title: str, token_ids: Tensor | None = None, values: Tensor | None = None
    ) -> Predictions:
        """One pass of the original model, or of it with some rows replaced."""
        began = time.monotonic()
        if token_ids is None or values is None:
            found = predict(self.model, self.positions, self.pad_id, title=title)
        else:
            with rows_in(self.model, token_ids, values, self.scope) as model:
                found = predict(model, self.positions, self.pad_id, title=title)
        self._said(title, found, began)
        return found

    def partially_tuned(self, run: GivenRun, pvalue: Tensor) -> PartialResult:
        """One pass of a given run's model."""
        began = time.monotonic()
        title = f"Partially tuned model ({run.folder}, α = {run.alpha:.6g})"
        run.check_files()
        try:
            model = run.tuner.restore(self.model, run.folder)
            found = predict(model, self.positions, self.pad_id, title="Partially tuned model")
        finally:
            detach(self.model)
        self._said(title, found, began)
        rows = load_rows(run.folder / "adapter")[0]
        assert run.alpha is not None
        beyond = int((pvalue[rows] > run.alpha).sum())
        if beyond:
            self.echo(
                f"{run.folder}: {beyond} of its {plural(len(rows), 'row')} have p > α now: the "
                "probe was trained again, with another result."
            )
        return PartialResult(run, len(rows), found)

    def alphas_to_check(self, statistic: Tensor, pvalue: Tensor, runs: list[float]) -> list[float]:
        """α at which transfer and permutation are tried, a forward pass each."""
        if self.settings.check_alphas is not None:
            return sorted(map(float, set(self.settings.check_alphas)))
        return alphas_to_check(statistic, pvalue, runs)

    def check(
        self,
        level: LevelCertificate,
        pvalue: Tensor,
        original: Predictions,
        embed: Predictions,
        partial: PartialResult | None,
        passes: bool,
    ) -> list[Check]:
        """Transfer, partial tuning and the permutation, at one α."""
        ticket = (pvalue <= level.alpha).nonzero().flatten()
        probe, table = self.run.probe, self.run.table
        at = f"α = {shown_alpha(level.alpha)}, {plural(len(ticket), 'row')}"
        tried: list[tuple[str, int, Predictions, str | None, float | None]] = []
        if passes:
            rows, values = transferred(ticket, probe)
            found = self.predict(f"Transfer ({at})", rows, values) if len(rows) else original
            tried.append(("transfer", len(ticket), found, None, None))
        if partial is not None:
            run = str(partial.run.folder)
            tried.append(("partial", partial.rows, partial.predictions, run, None))
        if passes:
            rows = self.positions.tokens if self.scope == "input" else torch.arange(len(table))
            values, distance = permuted(table, probe, ticket, rows, self.settings.seed)
            found = self.predict(f"Permutation control ({at})", rows, values)
            tried.append(("permuted", len(ticket), found, None, distance))
        return [
            compare(
                level.alpha,
                model,
                level.certification.certified,
                embed.tokens,
                predictions.tokens,
                self.positions.references,
                self.positions.sentence,
                rows=rows_changed,
                run=run_name,
                largest_distance=distance,
            )
            for model, rows_changed, predictions, run_name, distance in tried
        ]

    def _said(self, title: str, found: Predictions, began: float) -> None:
        share = found.accuracy(self.positions.references)
        self.echo(
            f"{title}: {share:.1%} of the references predicted, {time.monotonic() - began:.0f} s."
        )
