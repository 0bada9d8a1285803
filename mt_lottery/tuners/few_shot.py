"""``few_shot``: the original model, with translated examples in its prompt."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mt_lottery.config import TunerConfig, setting
from mt_lottery.data.filters import normalised
from mt_lottery.data.prompts.tokenise import plain_ids
from mt_lottery.data.prompts.wording import Wording, is_whole, restored, sentences_of, stored
from mt_lottery.errors import RecordError, TuningError, plural
from mt_lottery.reading import read_json, read_text
from mt_lottery.registry import register_tuner
from mt_lottery.system.atomic import write_data
from mt_lottery.tuners.base import Tuner, TuningContext

FILE = "few_shot.txt"
PLACES = "few_shot.json"  # where the sentences are in it; runs before it existed have none
POOL = "few_shot_pool.json"  # retrieve=bm25: all training pairs, each text with its places


@dataclass
class FewShotConfig(TunerConfig):
    """How many examples, and which."""

    shots: int = setting(5, "training pairs in the prompt", ge=1)
    seed: int | None = setting(None, "of the choice of pairs; the run's seed if null", ge=0)
    retrieve: str = setting(
        "random",
        "the same pairs for every sentence, drawn; or for each those whose sources are nearest",
        choices=("random", "bm25"),
        counts="if set",
    )


Shot = tuple[str, str]  # prompt and target


class Nearest:
    """Training pairs by how near their sources are to a sentence: BM25 (Lucene's, k1 1.5, b 0.75).

    Terms are the subwords of the model's tokenizer, case folded: that needs no rule about word
    boundaries, which a script without blanks would break.

    Args:
        shots: prompt and target of every training pair.
        tokenizer: the model's.
    """

    def __init__(self, shots: Sequence[Shot], tokenizer: Any) -> None:
        import bm25s

        self._tokenizer = tokenizer
        sources = [_source(prompt) for prompt, _ in shots]
        self._same = [normalised(source) for source in sources]
        self._index = bm25s.BM25(k1=1.5, b=0.75, method="lucene", dtype="float64")
        self._index.index(self._terms(sources), show_progress=False)

    def _terms(self, texts: Sequence[str]) -> list[list[str]]:
        folded = [" " + normalised(text) for text in texts]
        return [[str(i) for i in ids] for ids in plain_ids(self._tokenizer, folded)]

    def scores(self, sentences: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """For each sentence the score of every pair, [N]."""
        for terms in self._terms(sentences):
            yield self._index.get_scores_from_ids(self._index.get_tokens_ids(terms))

    def __call__(self, sentences: Sequence[str], count: int) -> list[list[int]]:
        """The ``count`` nearest pairs of each sentence, nearest first, ties in their order.

        A pair whose source is the sentence itself (case and blanks aside) is left out.
        """
        found = []
        for sentence, scores in zip(sentences, self.scores(sentences), strict=True):
            own = normalised(sentence)
            ranked = np.argsort(-scores, kind="stable")
            others = (int(i) for i in ranked if self._same[i] != own)
            found.append(list(itertools.islice(others, count)))
        return found


def _source(prompt: str) -> str:
    """The sentence in a prompt; all of it where a template does not tell."""
    spans = sentences_of(prompt)
    return prompt[slice(*spans[0])] if spans else str(prompt)


@register_tuner("few_shot", dataclass=FewShotConfig)
class FewShotTuner(Tuner):
    """Training pairs in the template's own form, an empty line behind each.

    A chat template has them as earlier turns.

    No parameter is trained: what the text alone can teach.
    """

    trains = False
    reads_text = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.pool: list[Shot] = []
        self._shortened = self._bare = 0

    @property
    def retrieves(self) -> bool:
        """Whether each sentence gets examples of its own."""
        return bool(self.config.retrieve == "bm25")

    @property
    def seeded(self) -> bool:
        return not self.retrieves

    @property
    def outside_model(self) -> str:
        return "It puts translated examples before each prompt."

    @property
    def search_space(self) -> dict[str, list[Any]]:
        return {"tuner.shots": [1, 3, 5, 8]}

    def problems_with_pairs(self, pairs: int) -> list[str]:
        if pairs >= self.config.shots:
            return []
        return [
            f"tuner.shots={self.config.shots}, but there are only {plural(pairs, 'training pair')}."
        ]

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        context.model.requires_grad_(False)
        if context.tokenizer is None:
            return []
        self.tokenizer = context.tokenizer
        if not context.examples:
            raise TuningError(
                "The tokenizer's chat template words earlier turns in another way than the last "
                "one, so that few_shot has no place for its examples. Allowed: another "
                "data.template, or data.prompt."
            )
        if problems := self.problems_with_pairs(len(context.examples)):
            raise TuningError(problems[0])
        if self.retrieves:
            self.pool = list(context.examples)
            return []
        seed = context.seed if self.config.seed is None else self.config.seed
        chosen = random.Random(seed).sample(list(context.examples), self.config.shots)
        self.lead = _lead(chosen)
        return []

    @cached_property
    def _nearest(self) -> Nearest:
        return Nearest(self.pool, self.tokenizer)

    def leads(self, sources: Sequence[str], fewer: int = 0) -> list[str]:
        """The text before each prompt; retrieved examples with the nearest one last.

        Those that are left out of a prompt that is too long are the farthest.
        """
        if not self.retrieves:
            return super().leads(sources, fewer)
        count = max(0, self.config.shots - fewer)
        chosen = self._nearest(sources, max(1, count))
        if fewer == 1:
            self._shortened += len(sources)
        if fewer in (0, self.config.shots):  # none but the sentence itself; or none that fits
            self._bare += sum(bool(each) == bool(fewer) for each in chosen)
        return [_lead([self.pool[i] for i in reversed(each[:count])]) for each in chosen]

    def details(self, context: TuningContext) -> dict[str, Any]:
        if not self.retrieves:
            return {}
        shots = {"retrieve": self.config.retrieve, "shots": self.config.shots}
        counts = {"pool": len(self.pool), "shortened": self._shortened, "bare": self._bare}
        return {"few_shot": {**shots, **counts}}

    def remarks(self) -> Iterator[str]:
        if self._shortened:
            yield (
                f"{plural(self._shortened, 'prompt')} with tuner.shots={self.config.shots} would "
                "be longer than the model's positions allow, and have fewer examples."
            )
        if self._bare:
            these = "has no example at all: it is that"
            if self._bare > 1:
                these = "have no example at all: they are those"
            yield f"{plural(self._bare, 'prompt')} {these} of recipe=none."

    def save(self, context: TuningContext, run_dir: Path) -> Path:
        folder = run_dir / "control"
        content: dict[str, Any]
        if self.retrieves:
            pool = [[stored(text) for text in shot] for shot in self.pool]
            turns = {"turns": True} if is_whole(self.pool[0][0]) else {}  # of a chat
            content = {"pairs": pool, **turns}
            write_data(folder / POOL, json.dumps(content, ensure_ascii=False) + "\n")
            return folder
        write_data(folder / FILE, self.lead)
        content = {"sentences": sentences_of(self.lead)}
        if is_whole(self.lead):
            content["end"] = self.lead[-8:]
        write_data(folder / PLACES, json.dumps(content) + "\n")
        return folder

    def restore(self, model: Any, run_dir: Path) -> Any:
        if self.retrieves:
            self.pool = _read_pool(run_dir / "control" / POOL)
            return model
        file, places = run_dir / "control" / FILE, run_dir / "control" / PLACES
        text = read_text(file, RecordError, bom=False)
        known = {"sentences": [[0, len(text)]]}
        if places.exists():
            known = read_json(places, RecordError)
        spans, end = known.get("sentences"), known.get("end", "\n\n")
        if not (isinstance(end, str) and text.endswith(end)):
            raise RecordError(f"{file}: damaged: its last example is cut short.")
        if not _are_spans(spans, len(text)):
            raise RecordError(f"{places}: damaged: 'sentences' must be spans of {FILE}.")
        self.lead = restored((text, spans))
        return model


def _are_spans(value: Any, size: int) -> bool:
    """Whether this is a list of [start, end) in order within a text of that size, or None."""
    if value is None:
        return True
    if not isinstance(value, list):
        return False
    at = 0
    for span in value:
        if not (isinstance(span, list) and len(span) == 2 and all(type(x) is int for x in span)):
            return False
        if not at <= span[0] <= span[1] <= size:
            return False
        at = span[1]
    return True


def _lead(shots: Sequence[Shot]) -> Wording:
    """Examples as they are put before a prompt, an empty line behind each except in a chat."""
    lead = Wording("")
    for prompt, target in shots:
        lead = lead + prompt + target + Wording("" if is_whole(prompt) else "\n\n")
    return lead


def _read_pool(file: Path) -> list[Shot]:
    content = read_json(file, RecordError)
    pairs, turns = content.get("pairs"), content.get("turns") is True

    def good(part: Any) -> bool:
        whole = isinstance(part, list) and len(part) == 2 and isinstance(part[0], str)
        return whole and _are_spans(part[1], len(part[0]))

    whole = isinstance(pairs, list) and pairs
    if not whole or not all(
        isinstance(pair, list) and len(pair) == 2 and all(map(good, pair)) for pair in pairs
    ):
        raise RecordError(f"{file}: damaged: `pairs` must be pairs of prompt and target.")
    return [(restored(prompt, turns), restored(target, turns)) for prompt, target in pairs]
