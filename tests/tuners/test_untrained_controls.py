"""Controls of the last kind: nearest examples, forced first tokens, a rule, a single row."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import tiny
import torch
from rank_bm25 import BM25Okapi
from test_peft_methods import context, fit, tuner

from mt_lottery.data.filters import normalised
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.data.prompts.tokenise import plain_ids
from mt_lottery.data.prompts.wording import Wording, sentences_of
from mt_lottery.errors import RecordError, TuningError
from mt_lottery.languages import parse_pair
from mt_lottery.runs.context import prompt_ids
from mt_lottery.tuners.few_shot import POOL, Nearest
from mt_lottery.tuners.rows.one_row import named_token

pytestmark = pytest.mark.slow
EN_ES, EN_RO = parse_pair("en-es"), parse_pair("en-ro")

# -- few_shot with retrieve=bm25


class Okapi(BM25Okapi):  # type: ignore[misc]
    """rank_bm25's own, with Lucene's IDF, which is never negative."""

    def _calc_idf(self, nd: dict[str, int]) -> None:
        for word, number in nd.items():
            self.idf[word] = math.log(1 + (self.corpus_size - number + 0.5) / (number + 0.5))


def worded(source: str, target: str) -> tuple[Wording, Wording]:
    prompt = Wording(f"w40: {source}\nw41:", [(5, 5 + len(source))])
    return prompt, Wording(f" {target}", [(1, 1 + len(target))])


def sentence(draw: random.Random, words: int = 30) -> str:
    return " ".join(f"w{draw.randint(3, 3 + words)}" for _ in range(draw.randint(2, 9)))


def pool(size: int = 60, seed: int = 0) -> list[tuple[Wording, Wording]]:
    draw = random.Random(seed)
    return [worded(sentence(draw), f"w{5 + i % 40}") for i in range(size)]


def test_nearest_pairs_are_those_of_rank_bm25() -> None:
    shots, tokenizer = pool(), tiny.tokenizer()
    sources = [prompt[5 : prompt.index("\n")] for prompt, _ in shots]
    terms = plain_ids(tokenizer, [f" {normalised(source)}" for source in sources])
    theirs = Okapi([[str(i) for i in ids] for ids in terms], k1=1.5, b=0.75)
    draw = random.Random(1)
    asked = [sentence(draw, 40) for _ in range(40)]
    nearest = Nearest(shots, tokenizer)
    scores = list(nearest.scores(asked))
    for text, ours, chosen in zip(asked, scores, nearest(asked, 5), strict=True):
        (ids,) = plain_ids(tokenizer, [f" {text}"])
        expected = theirs.get_scores([str(i) for i in ids]) / (1.5 + 1)  # Lucene drops k1 + 1
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)
        ranked = sorted(range(len(shots)), key=lambda i: (-round(expected[i], 9), i))
        assert chosen == ranked[:5]
    assert nearest(["", "w63 w63"], 3) == [[0, 1, 2], [0, 1, 2]]  # nothing in common: in order


def test_examples_of_each_sentence_and_never_the_sentence_itself(tmp_path: Path) -> None:
    where, control = context(tiny.model()), tuner("few_shot", shots=3, retrieve="bm25")
    where.examples = pool()
    assert control.apply(where) == [] and control.lead == ""
    own = where.examples[7][0][5 : where.examples[7][0].index("\n")]
    asked = [own, own.upper().replace(" ", "  "), "w5 w6 w7"]
    leads = control.leads(asked)
    (first, *_), (same, *_), other = Nearest(where.examples, where.tokenizer)(asked, 3)
    for lead in leads[:2]:
        assert own not in lead and lead.count("\n\n") == 3
    assert first == same and leads[0] == leads[1]
    blocks = leads[2].split("\n\n")
    assert blocks[:3] == ["".join(where.examples[i]) for i in reversed(other)]  # nearest is last
    assert [len(sentences_of(lead) or ()) for lead in leads] == [6, 6, 6]
    assert leads[2].endswith(control.leads(["w5 w6 w7"], 2)[0])  # the nearest is what stays
    assert control.leads(asked, 3) == control.leads(asked, 9) == [""] * 3
    assert control.details(where)["few_shot"]["bare"] == 3
    control = tuner("few_shot", shots=3, retrieve="bm25")
    control.apply(where)
    assert control.leads(asked) == leads and not list(control.remarks())
    control.leads(asked[:2], 1)
    assert control.details(where) == {
        "few_shot": {"retrieve": "bm25", "shots": 3, "pool": 60, "shortened": 2, "bare": 0}
    }
    control.leads(asked[:1], 3)
    fewer, none = control.remarks()
    assert fewer.startswith("2 prompts with tuner.shots=3")
    assert none.startswith("1 prompt has no example at all")
    control.save(where, tmp_path)
    again = tuner("few_shot", shots=3, retrieve="bm25")
    again.tokenizer = where.tokenizer
    again.restore(where.model, tmp_path)
    assert again.leads(asked) == leads
    assert list(map(sentences_of, again.leads(asked))) == list(map(sentences_of, leads))
    with pytest.raises(TuningError, match="shots=61, but there are only 60 training pairs"):
        tuner("few_shot", shots=61, retrieve="bm25").apply(where)


@pytest.mark.parametrize(
    "content",
    ['{"pairs": []}', '{"pairs": [["a", "b"]]}', '{"pairs": [[["a", [[0, 2]]], ["b", null]]]}'],
)
def test_a_damaged_pool(content: str, tmp_path: Path) -> None:
    file = tmp_path / "control" / POOL
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(RecordError, match=r"few_shot_pool\.json: damaged: `pairs` must be pairs"):
        tuner("few_shot", retrieve="bm25").restore(tiny.model(), tmp_path)


# -- forced_prefix


def test_prefixes_are_those_that_targets_begin_with_most() -> None:
    end = tiny.EOS
    targets = [[7, 8, end], [7, 9, end], [7, 8, 3, end], [5, end], [6, end], [end], [5, 4, end]]
    made = tuner("forced_prefix", tokens=2, candidates=2)
    assert made.prefixes(targets) == [(7,), (5,), (7, 8), (5, 4)]
    assert tuner("forced_prefix", tokens=1, candidates=9).prefixes(targets) == [(7,), (5,), (6,)]
    with pytest.raises(TuningError, match="no prefix to force"):
        made.prefixes([[end]])


def test_a_forced_prefix_is_kept(tmp_path: Path) -> None:
    where, made = context(tiny.model()), tuner("forced_prefix")
    assert made.apply(where) == [] and made.count(tiny.model()) == 0
    made.forced = (7, 8)
    made.save(where, tmp_path)
    again = tuner("forced_prefix")
    assert again.restore(where.model, tmp_path) is where.model and again.forced == (7, 8)
    assert "begins every translation with the tokens [7, 8]" in again.outside_model
    file = tmp_path / "control" / "forced_prefix.json"
    for wrong in ([], [64], [-1], [True], "7", None):
        file.write_text(json.dumps({"token_ids": wrong}))
        with pytest.raises(RecordError, match="must be a list of ids from 0 to 63"):
            tuner("forced_prefix").restore(where.model, tmp_path)


# -- one_row


def words(*more: str) -> Any:
    """A tokenizer whose words include some that hold line breaks, read as they are written."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = ["<pad>", "</s>", "<s>", "a", " b", *more, "<turn>"]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(known)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"\.?\n| ?\w"), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<pad>",
        **({} if "bare" in more else {"bos_token": "<s>"}),
    )  # fmt: skip


def test_tokens_by_name() -> None:
    merged = words("\n", ".\n")
    assert named_token("newline", merged, Counter({5: 3, 6: 40, 3: 99})) == 6  # ".\n"
    assert named_token("newline", merged, Counter({5: 40, 6: 40})) == 5
    assert named_token("newline", merged, Counter({3: 9})) == 5  # in no prompt: alone
    assert named_token("bos", merged, Counter()) == 2
    assert named_token("eos", merged, Counter()) == 1
    assert named_token(" b", merged, Counter()) == 4
    assert named_token("<turn>", merged, Counter()) == 7  # a text of several, the name of one
    for name, why in (
        ("a b", r"is 'a b', which this tokenizer reads as 2 tokens: 'a', ' b'\. Allowed: newline"),
        ("Q", r"reads as no token that it knows \('<pad>'\)"),
        ("newlin", r"Did you mean 'newline'\?"),
    ):
        with pytest.raises(TuningError, match=why):
            named_token(name, merged, Counter())
    for name, allowed in (("newline", "bos, eos"), ("bos", "newline")):
        with pytest.raises(TuningError, match=rf"no (such )?token.*; allowed: {allowed}, or a"):
            named_token(name, words("bare"), Counter({3: 9}))


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_one_row_trains_as_pefts_trainable_tokens(kind: str, tmp_path: Path) -> None:
    model = tiny.model(kind)
    theirs = peft.get_peft_model(
        tiny.clone(model),
        peft.TrainableTokensConfig(token_indices=[tiny.BOS], target_modules=["embed_tokens"]),
    )
    where, made = context(model), tuner("one_row", token="bos")
    (rows,) = made.apply(where)
    assert made.chosen.rows.tolist() == [tiny.BOS] and made.chosen.selector == "one_row"
    assert made.trainable_parameters(where) == made.count(tiny.model(kind)) == tiny.DIM
    start = rows.detach().clone()
    fit(where.model, tmp_path / "ours")
    fit(theirs, tmp_path / "theirs")
    (delta,) = (p for n, p in theirs.named_parameters() if "trainable_tokens_delta" in n)
    assert float((rows.detach() - start).abs().max()) > 0.01
    torch.testing.assert_close(rows, delta, rtol=1e-5, atol=1e-5)
    made.save(where, tmp_path)
    again = peft.PeftModel.from_pretrained(tiny.model(kind), tmp_path / "adapter")
    ids = tiny.ids(2, 7)
    ids[:, 0] = tiny.BOS
    torch.testing.assert_close(
        again(input_ids=ids).logits, where.model(input_ids=ids).logits, rtol=1e-4, atol=1e-4
    )


# -- prompt_rows


def test_rows_of_the_prompt() -> None:
    where, made = context(tiny.model("llama")), tuner("prompt_rows")
    where.prompt_ids = torch.tensor([tiny.BOS, 7, 40])
    (rows,) = made.apply(where)
    assert made.chosen.rows.tolist() == [tiny.BOS, 7, 40] and rows.shape == (3, tiny.DIM)
    assert made.chosen.selector == "prompt_rows"
    assert made.trainable_parameters(where) == 3 * tiny.DIM
    with pytest.raises(TuningError, match="the prompt has no token of its own"):
        tuner("prompt_rows").apply(context(tiny.model("llama")))
    with pytest.raises(TuningError, match="which the tokenizer decides"):
        made.count(tiny.model("llama"))


def test_tokens_that_every_prompt_has() -> None:
    """Special tokens too; of several directions, the tokens of each direction's prompts."""

    class Worded:
        """``w40 [the direction's word] w41 [the sentence] w42``."""

        def prompt(self, source: str, pair: Any) -> str:
            return f"w40 {'w50' if pair == EN_ES else 'w51'} w41 {source} w42"

        def target(self, target: str) -> str:
            return target

    tokenizer = tiny.tokenizer()
    tokenizer.add_bos_token, tokenizer.unk_token = True, "<pad>"  # knows neither sentence
    one = prompt_ids(PreparedText(Worded(), EN_ES), tokenizer).tolist()
    both = prompt_ids(PreparedText(Worded(), EN_ES, EN_RO), tokenizer).tolist()
    assert tokenizer.unk_token_id == 0 and 0 not in both  # it is in both prompts
    assert [i for i in one if i != tiny.BOS] == [40, 41, 42, 50]
    assert [i for i in both if i != tiny.BOS] == [40, 41, 42, 50, 51]
