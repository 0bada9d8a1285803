"""sacrebleu's metrics: spBLEU, BLEU, chrF++, and BLEU over the model's own subwords."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from mt_lottery.data.prompts.tokenise import plain_ids
from mt_lottery.errors import ScoreError
from mt_lottery.registry import register_metric
from mt_lottery.scoring.metric import Floats, MetricContext, check_parallel, language_code, one_line
from mt_lottery.scoring.significance import ResampledMetric
from mt_lottery.scoring.spm import find_spm

#: Varieties of Chinese, which its tokenizer `zh` cuts into characters.
_CHINESE = frozenset(("yue", "wuu", "gan", "hak", "nan", "cdo", "hsn", "lzh", "cjy"))
#: Written without blanks between words: over 13a a sentence is one word, and BLEU is 0.0.
#: Thai, Lao, Khmer, Burmese, Tibetan, Dzongkha and others in the scripts of these.
_UNSPACED = frozenset(("th", "lo", "km", "my", "bur", "bo", "tib", "dz"))
_UNSPACED |= {"shn", "mnw", "rki", "ksw", "nod", "tts", "khb", "blt"}
_KEPT = 2**14  # sentences whose statistics a metric keeps


class SacrebleuMetric(ResampledMetric):
    """A corpus metric of sacrebleu with a bootstrap interval from its own sentence statistics.

    Args:
        context: see :class:`MetricContext`.
        metric: the configured sacrebleu metric.

    """

    key = ""
    column = ""

    def __init__(self, context: MetricContext, metric: Any) -> None:
        super().__init__(context)
        self._metric = metric
        self._counted: dict[tuple[str, str], list[float]] = {}

    def prepare(self, text: str) -> str:
        """What sacrebleu is given for a hypothesis or reference."""
        return one_line(text)

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
        """Sufficient statistics of each sentence, [N, S], as sacrebleu counts them.

        Each hypothesis is counted once: score, sentence statistics and first line (most often
        the whole output) share it.

        Raises:
            ScoreError: unequal numbers of hypotheses and references, or none.

        """
        check_parallel(hypotheses, references)
        prepared = [[self.prepare(text) for text in side] for side in (hypotheses, references)]
        pairs = list(zip(*prepared, strict=True))
        if len(self._counted) > _KEPT:
            self._counted.clear()
        if new := [pair for pair in dict.fromkeys(pairs) if pair not in self._counted]:
            ours, theirs = map(list, zip(*new, strict=True))
            counted = self._metric._extract_corpus_statistics(ours, [theirs])
            self._counted |= dict(zip(new, counted, strict=True))
        return np.array([self._counted[pair] for pair in pairs], dtype=np.float64)

    def corpus_score(self, totals: Floats) -> float:
        """The score from statistics summed over sentences, [S]."""
        return float(self._metric._compute_score_from_stats(totals).score)

    def signature(self) -> str:
        """Sacrebleu's own; known once something has been scored."""
        return str(self._metric.get_signature())


def _sacrebleu(name: str, **settings: Any) -> Any:
    """A sacrebleu metric by class name; imported here, so that listing metrics stays light."""
    import sacrebleu

    return getattr(sacrebleu, name)(**settings)


@register_metric("bleu")
class Bleu(SacrebleuMetric):
    """BLEU over words: tokenizer 13a, or sacrebleu's own for Chinese, Japanese and Korean.

    Where words are written without blanks (Thai, Lao, Khmer, Burmese, Tibetan, Dzongkha), over
    characters; varieties of Chinese as Chinese.  The signature says which (``tok:char``).

    Raises:
        ScoreError: the word segmenter for the language is not installed.

    """

    key = "bleu"
    column = "BLEU"

    def __init__(self, context: MetricContext) -> None:
        code = language_code(context.target)
        code = "zh" if code in _CHINESE else code
        chosen = {"tokenize": "char"} if code in _UNSPACED else {"trg_lang": code}
        try:
            # `force` silences a warning about hypotheses that look tokenised; scores are alike.
            metric = _sacrebleu("BLEU", force=True, **chosen)
        except (ImportError, RuntimeError) as error:
            raise ScoreError(
                f"Metric 'bleu' for the target language '{code}' needs a word segmenter: "
                f"pip install 'sacrebleu[{code}]', or take 'chrf' or 'spbleu'."
            ) from error
        super().__init__(context, metric)


@register_metric("chrf")
class ChrfPlusPlus(SacrebleuMetric):
    """chrF++: character n-grams up to 6, word n-grams up to 2 (Popović 2017)."""

    key = "chrf"
    column = "chrF++"

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context, _sacrebleu("CHRF", word_order=2))


class SpBleu(SacrebleuMetric):
    """BLEU over the pieces of the Flores-101 SentencePiece model (Goyal et al. 2022)."""

    key = "spbleu"
    column = "spBLEU"

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context, _sacrebleu("BLEU", tokenize="flores101", force=True))


@register_metric("bleu_subword")
class SubwordBleu(SacrebleuMetric):
    """BLEU over the subwords of the model's own tokenizer; never comparable across tokenizers.

    Raises:
        ScoreError: the context has no tokenizer.

    """

    key = "bleu_subword"

    def __init__(self, context: MetricContext) -> None:
        if context.tokenizer is None:
            raise ScoreError("Metric 'bleu_subword' needs the model's tokenizer; none was given.")
        super().__init__(context, _sacrebleu("BLEU", tokenize="none", force=True))
        # The name goes into a table heading and between the bars of a signature.
        self.name = re.sub(r"[\s|:]+", "-", context.tokenizer_name.strip().rstrip("/\\"))
        self.name = re.split(r"[/\\]", self.name)[-1] or "unnamed"
        self.column = f"BLEU[{self.name} subwords]"
        self._pieces = lru_cache(maxsize=2**16)(self._tokenize)

    def _tokenize(self, text: str) -> str:
        # Ids, not pieces: a piece may hold a blank, an id cannot.
        (ids,) = plain_ids(self.context.tokenizer, [text])
        return " ".join(map(str, ids))

    def prepare(self, text: str) -> str:
        """Token ids joined by blanks."""
        return self._pieces(one_line(text))

    def signature(self) -> str:
        """sacrebleu's, with the tokenizer named in place of ``tok:none``."""
        own = super().signature().split("|")
        return "|".join(
            f"tok:{self.name}-subwords" if part.startswith("tok:") else part for part in own
        )


@register_metric("spbleu")
def spbleu(context: MetricContext) -> SacrebleuMetric:
    """spBLEU, or BLEU over the model's own subwords where spBLEU's model cannot be had.

    Raises:
        ScoreError: neither can be computed.

    """
    if find_spm() is not None:
        return SpBleu(context)
    if context.tokenizer is None:
        raise ScoreError(
            "spBLEU's SentencePiece model cannot be had (see the log), and no tokenizer was "
            "given to take its place: give tokenizer=, or other metrics, as ['chrf', 'bleu']."
        )
    return SubwordBleu(context)
