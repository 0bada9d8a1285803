"""Metrics against sacrebleu itself."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from score_data import context, corpus, tokenizer, train_spm

from mt_lottery.errors import RegistryError, ScoreError
from mt_lottery.scoring import make_metric, spm

NAMES = ("spbleu", "bleu", "chrf", "bleu_subword")


def peer(name: str) -> Any:
    return {
        "spbleu": lambda: sacrebleu.BLEU(tokenize="flores101"),
        "bleu": sacrebleu.BLEU,
        "chrf": lambda: sacrebleu.CHRF(word_order=2),
    }[name]()


@pytest.mark.parametrize(
    ("name", "column", "part"),
    [
        ("spbleu", "spBLEU", "tok:flores101"),
        ("bleu", "BLEU", "tok:13a"),
        ("chrf", "chrF++", "nw:2"),
    ],
)
def test_equals_sacrebleu(name: str, column: str, part: str, no_network: Path) -> None:
    train_spm(no_network)
    hypotheses, references = corpus()
    hypotheses[3] = "  doi  spaţii\u00a0și – „ghilimele” &amp; 1,5 %  "
    metric = make_metric(name, context())
    scored = metric.score(hypotheses, references)
    oracle = peer(name)
    assert scored.score == pytest.approx(oracle.corpus_score(hypotheses, [references]).score)
    assert scored.signature == str(oracle.get_signature())
    assert (metric.key, metric.column) == (name, column)
    assert part in scored.signature and f"version:{sacrebleu.__version__}" in scored.signature
    assert scored.ci95[0] < scored.score < scored.ci95[1]


def test_subwords_are_the_tokenizers_and_named() -> None:
    hypotheses, references = corpus()
    own = tokenizer()
    metric = make_metric("bleu_subword", context(tokenizer=own))
    scored = metric.score(hypotheses, references)
    oracle = sacrebleu.BLEU(tokenize="none", force=True)
    pieces = [[" ".join(own.tokenize(t)) for t in texts] for texts in (hypotheses, references)]
    assert scored.score == pytest.approx(oracle.corpus_score(pieces[0], [pieces[1]]).score)
    assert scored.signature == str(oracle.get_signature()).replace(
        "tok:none", "tok:gemma3-subwords"
    )
    assert (metric.key, metric.column) == ("bleu_subword", "BLEU[gemma3 subwords]")
    assert "spBLEU" not in metric.column


@pytest.mark.parametrize(
    ("name", "shown"),
    [("/models/my llama/", "my-llama"), ("a|b:c", "a-b-c"), ("org/model-1.1b", "model-1.1b")],
)
def test_tokenizer_names_fit_into_a_signature(name: str, shown: str) -> None:
    metric = make_metric("bleu_subword", context(tokenizer=tokenizer(), tokenizer_name=name))
    assert metric.column == f"BLEU[{shown} subwords]"
    assert f"|tok:{shown}-subwords|" in metric.score(["a"], ["a"]).signature


@pytest.mark.parametrize("name", NAMES)
def test_newlines_are_whitespace(name: str, no_network: Path) -> None:
    train_spm(no_network)
    hypotheses, references = corpus(8)
    hypotheses[0] = "Casa-\nmare\r\n\r\neste\n"
    metric = make_metric(name, context(tokenizer=tokenizer()))
    expected = metric.score(["Casa- mare este", *hypotheses[1:]], references)
    assert metric.score(hypotheses, references) == expected


@pytest.mark.parametrize("name", NAMES)
def test_identical_empty_and_all_empty(name: str, no_network: Path) -> None:
    train_spm(no_network)
    hypotheses, references = corpus(6)
    metric = make_metric(name, context(tokenizer=tokenizer()))
    perfect = metric.score(references, references)
    assert perfect.score == pytest.approx(100)
    assert perfect.ci95 == pytest.approx((100, 100))
    some = metric.score(["", "\n\n", *hypotheses[2:]], references).score
    assert 0 < some < metric.score(hypotheses, references).score
    assert metric.score([""] * 6, references).score == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("hypotheses", "references", "problem"),
    [
        (["a", "b"], ["a"], "2 hypotheses but 1 reference"),
        (["a"], ["a", "b"], "1 hypothesis but 2 references"),
        ([], [], "no sentence"),
    ],
)
def test_unequal_or_no_sentences(
    name: str, hypotheses: list[str], references: list[str], problem: str
) -> None:
    metric = make_metric(name, context(tokenizer=tokenizer()))
    with pytest.raises(ScoreError, match=problem):
        metric.score(hypotheses, references)


def test_unknown_metric() -> None:
    with pytest.raises(RegistryError, match=r"Unknown metric 'spblue'\. Did you mean 'spbleu'\?"):
        make_metric("spblue", context())


def test_bootstrap_below_one() -> None:
    with pytest.raises(ScoreError, match="bootstrap=0"):
        context(bootstrap=0)


def test_chinese_has_its_own_tokenizer() -> None:
    for code in ("zh", "zho", "zh_CN"):
        scored = make_metric("bleu", context(target=code)).score(["我很好。"], ["我很好。"])
        assert "tok:zh" in scored.signature and scored.score == pytest.approx(100)


@pytest.mark.parametrize(
    ("code", "extra"), [("ja", "ja"), ("jpn", "ja"), ("ko", "ko"), ("kor", "ko")]
)
def test_missing_word_segmenter(code: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: Any) -> Any:
        raise RuntimeError("extra dependencies")

    monkeypatch.setattr(sacrebleu, "BLEU", missing)
    with pytest.raises(ScoreError, match=rf"pip install 'sacrebleu\[{extra}\]'"):
        make_metric("bleu", context(target=code))


def test_spbleu_falls_back_once_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def refuse(url: str, **_: Any) -> Any:
        calls.append(url)
        raise OSError("network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for _ in range(3):
        metric = make_metric("spbleu", context(tokenizer=tokenizer()))
    assert (metric.key, metric.column) == ("bleu_subword", "BLEU[gemma3 subwords]")
    assert len(calls) == 1
    warned = [r for r in caplog.records if "spBLEU" in r.message]
    assert len(warned) == 1 and "network is unreachable" in warned[0].message
    with pytest.raises(ScoreError, match="no tokenizer"):
        make_metric("spbleu", context())
    with pytest.raises(ScoreError, match="needs the model's tokenizer"):
        make_metric("bleu_subword", context())


def test_a_network_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, no_network: Path
) -> None:
    monkeypatch.setattr(spm, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: time.sleep(2))
    begun = time.monotonic()
    assert spm.find_spm() is None
    assert time.monotonic() - begun < 1.5
    assert not no_network.exists()


def test_a_download_arrives_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, no_network: Path, tmp_path: Path
) -> None:
    train_spm(tmp_path / "served")
    served = (tmp_path / "served").read_bytes()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(served[:200]))
    assert spm.find_spm() is None
    assert list(no_network.parent.iterdir()) == []

    monkeypatch.setattr(spm, "_found", {})
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(served))
    assert spm.find_spm() == no_network
    assert [path.name for path in no_network.parent.iterdir()] == [no_network.name]
    assert make_metric("spbleu", context()).key == "spbleu"


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_damaged_model_is_named(
    content: bytes, no_network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    no_network.parent.mkdir(parents=True)
    no_network.write_bytes(content)
    assert spm.find_spm() is None
    assert f"{no_network} is damaged" in caplog.text


@pytest.mark.slow
def test_the_environment_names_the_folder(no_network: Path) -> None:
    train_spm(no_network)
    code = "from mt_lottery.scoring import spm; print(spm.find_spm())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"SACREBLEU": str(no_network.parent.parent), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(no_network)


#: A sentence and another with the same beginning, in scripts without blanks between words.
UNSPACED = {
    "th": ("วันนี้อากาศดีมาก", "วันนี้อากาศดีจริง"),
    "lo": ("ມື້ນີ້ອາກາດດີຫຼາຍ", "ມື້ນີ້ອາກາດດີ"),
    "km": ("ថ្ងៃនេះអាកាសធាតុល្អណាស់", "ថ្ងៃនេះអាកាសធាតុល្អ"),
    "my": ("ဒီနေ့ရာသီဥတုကောင်းတယ်", "ဒီနေ့ရာသီဥတုကောင်း"),
    "bo": ("དེ་རིང་གནམ་གཤིས་ཡག་པོ་འདུག", "དེ་རིང་གནམ་གཤིས་ཡག་པོ"),
    "dz": ("ད་རིས་གནམ་གཤིས་ལེགས་ཤོམ་འདུག", "ད་རིས་གནམ་གཤིས་ལེགས་ཤོམ"),
    "yue": ("今日天氣好好呀，我哋出去行下", "今日天氣好好，我哋出去行下啦"),
    "zh_hant": ("今天天氣很好，我們出去走走", "今天天氣真好，我們出去走一走"),
}


@pytest.mark.parametrize("code", UNSPACED)
def test_bleu_of_scripts_without_blanks_is_not_over_whole_sentences(code: str) -> None:
    one, other = UNSPACED[code]
    scored = make_metric("bleu", context(target=code)).score([one], [other])
    chosen = "zh" if code in ("yue", "zh_hant") else "char"
    assert f"tok:{chosen}" in scored.signature
    oracle = sacrebleu.BLEU(tokenize=chosen).corpus_score([one], [[other]])
    assert scored.score == pytest.approx(oracle.score) and scored.score > 20


def test_every_language_of_such_a_script_has_its_tokenizer() -> None:
    """Flores-200 and NTREX-128 where they lie: 13a only where words are separated."""
    from mt_lottery.languages import LANGUAGES

    cut = {"zh": "zh", "zh_hant": "zh", "yue": "zh"}
    cut |= dict.fromkeys(("th", "lo", "km", "my", "bo", "dz", "shn"), "char")
    for language in LANGUAGES:
        if language.code in ("ja", "ko"):
            continue
        metric = make_metric("bleu", context(target=language))
        metric.score(["a"], ["a"])
        assert f"tok:{cut.get(language.code, '13a')}" in metric.signature()


@pytest.mark.parametrize("name", ["bleu", "chrf", "bleu_subword"])
@pytest.mark.parametrize(
    ("hypotheses", "references"),
    [
        (["", ""], ["a b c d", "e f"]),
        (["a b", "c"], ["", ""]),
        (["", " \n"], ["", ""]),
        (["a b c d e"], ["a b c d e"]),
        (["a"], ["a"]),
        (["\x00", "\ufeff"], ["a", "b"]),
        (["x" * 100_000], ["x"]),
    ],
    ids=["silent", "no reference", "nothing", "one", "one word", "control", "long"],
)
def test_scores_are_finite_on_poor_text(
    name: str, hypotheses: list[str], references: list[str]
) -> None:
    scored = make_metric(name, context(tokenizer=tokenizer())).score(hypotheses, references)
    low, high = scored.ci95
    assert all(map(math.isfinite, (scored.score, low, high))) and "nrefs:1" in scored.signature
    assert 0 <= low <= high <= 100.001
