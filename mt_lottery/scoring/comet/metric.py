"""COMET (Rei et al. 2020): a neural metric, computed by its own program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mt_lottery.config import CometConfig
from mt_lottery.errors import ScoreError, plural
from mt_lottery.registry import register_metric
from mt_lottery.scoring.comet import program as comet_program
from mt_lottery.scoring.metric import Floats, MetricContext, check_parallel, one_line
from mt_lottery.scoring.significance import ResampledMetric


@register_metric("comet")
class Comet(ResampledMetric):
    """The mean of the segments' COMET scores; no two models' scores are comparable.

    Args:
        context: with the sources and the section ``metric`` of the configuration, unless only
            scores that are known already are resampled.
    """

    key = "comet"
    #: Tables show scores times this: differences are in the second and third decimal.
    shown_times = 100
    #: The record keeps a score a segment.
    keeps_segments = True

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self._known: dict[comet_program.Triple, float] = {}
        self._signature = ""

    @property
    def config(self) -> CometConfig:
        """The section ``metric.comet``."""
        settings = self.context.settings
        return CometConfig() if settings is None else settings.comet  # type: ignore[no-any-return]

    @property
    def column(self) -> str:
        """Heading: the model's name belongs to the number."""
        name = self.config.model.rstrip("/").removesuffix("/checkpoints/model.ckpt")
        return f"COMET[{name.rpartition('/')[2]}]"

    @staticmethod
    def identity(settings: object) -> str:
        """What the scores depend on besides the texts, for the run's hash."""
        return comet_program.identity(settings.comet)  # type: ignore[attr-defined]

    @staticmethod
    def check(settings: object) -> None:
        """Before any work: score one sentence.

        Raises:
            ScoreError: the program or the model is missing, or does not work.
        """
        comet_program.check(settings.comet)  # type: ignore[attr-defined]

    def _triples(
        self, hypotheses: Sequence[str], references: Sequence[str]
    ) -> list[comet_program.Triple]:
        check_parallel(hypotheses, references)
        sources = self.context.sources
        if sources is None or len(sources) != len(references):
            count = "no" if sources is None else len(sources)
            raise ScoreError(
                f"Metric 'comet' needs the sources: {plural(count, 'source')}, "
                f"{plural(len(references), 'reference')}."
            )
        # the program reads lines: a line break within a text would shift all that follow
        return [
            (one_line(source), one_line(hypothesis), one_line(reference))
            for source, hypothesis, reference in zip(sources, hypotheses, references, strict=True)
        ]

    def ahead(self, systems: Sequence[Sequence[str]], references: Sequence[str]) -> None:
        """Score several systems' outputs in one call of the program, which loads its model once.

        A text that occurs in several (raw output and first line alike) is scored once, so its
        scores are equal: in half precision they depend a little on the batch.

        Raises:
            ScoreError: as :func:`comet_program.run`.
        """
        wanted = [t for system in systems for t in self._triples(system, references)]
        new = [t for t in dict.fromkeys(wanted) if t not in self._known]
        if not new:
            return
        config = self.config
        program = comet_program.find_program(config.command)
        checkpoint = comet_program.find_checkpoint(config.model)
        version = comet_program.version_of(program)
        scores = comet_program.run(
            program,
            checkpoint,
            new,
            batch_size=config.batch_size,
            gpus=comet_program.gpus_for(config, self.context.device),
            device=self.context.device,
        )
        self._known |= dict(zip(new, scores, strict=True))
        kind, _, number = checkpoint.identity.partition(":")
        self._signature = (
            f"model:{checkpoint.name}|{kind}:{number[:16]}|nrefs:1|unbabel-comet:{version}"
        )

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
        """Each segment's score and its weight, [N, 2]: their sums give the mean.

        Raises:
            ScoreError: unequal numbers of texts, or none; or the program fails.
        """
        self.ahead([hypotheses], references)
        scores = [self._known[triple] for triple in self._triples(hypotheses, references)]
        return np.array([[score, 1.0] for score in scores], dtype=np.float64)

    def corpus_score(self, totals: Floats) -> float:
        """The mean, from sums over segments, [2]."""
        return float(totals[0] / totals[1])

    def signature(self) -> str:
        """Model with sha256 or revision, and version; known once something has been scored."""
        return self._signature
