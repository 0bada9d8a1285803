"""COMET: the real program on a tiny model; and, without it, what can go wrong with a program."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_comet import RealComet, find
from score_data import context

from mt_lottery.config import CometConfig, MetricsConfig
from mt_lottery.decoding.translation import Hypothesis
from mt_lottery.errors import ScoreError
from mt_lottery.scoring import evaluate, make_metric, paired_bootstrap
from mt_lottery.scoring.comet import program as comet_program
from mt_lottery.scoring.report import make_metrics, sentence_statistics

SOURCES = ["The cat sleeps.", "Where are you?", "It rains\ntoday.", "Good morning, Ana!", "No."]
REFERENCES = ["Pisica doarme.", "Unde ești?", "Plouă azi.", "Bună dimineața, Ana!", "Nu."]
# an empty one, one with line breaks of every kind, one that stops at its first line
RAW = [
    "Pisica doarme.",
    "",
    "Plouă\r\nazi.\u2028Mult.\rAzi\x85",
    "Bună ziua!\n\nEnglish: x",
    "  Nu.  ",
]


def outputs(texts: list[str]) -> list[Hypothesis]:
    return [Hypothesis(text, 5, True) for text in texts]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealComet:
    return find(tmp_path_factory.mktemp("comet"))


def settings(program: Path, model: Path, **more: Any) -> MetricsConfig:
    return MetricsConfig(CometConfig(command=str(program), model=str(model), **more))


# -- the real program


def test_scores_order_and_lines(
    real: RealComet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every segment's score is what unbabel-comet's own Python gives for that very triple."""
    calls = []
    run = comet_program.run

    def counted(*arguments: Any, **more: Any) -> list[float]:
        calls.append(len(arguments[2]))
        return run(*arguments, **more)

    monkeypatch.setattr(comet_program, "run", counted)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # ours is none of the program's
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong environment')")
    monkeypatch.setenv("WORLD_SIZE", "2")  # nor is torchrun's
    monkeypatch.setenv("RANK", "0")
    about = context(sources=SOURCES, settings=settings(real.program, real.model, batch_size=2))
    made = make_metrics(["comet", "chrf"], about)
    hypotheses = outputs(RAW)
    found = evaluate(hypotheses, REFERENCES, made, about)
    lines = sentence_statistics(hypotheses, REFERENCES, made, about)
    # once for raw and first line, and what is alike in both is scored once: two differ
    assert calls == [len(RAW) + 2]

    flat = ["Pisica doarme.", "", "Plouă azi. Mult. Azi", "Bună ziua! English: x", "Nu."]
    first = ["Pisica doarme.", "", "Plouă", "Bună ziua!", "Nu."]
    sources = [*SOURCES[:2], "It rains today.", *SOURCES[3:]]
    triples = [*zip(sources, flat, REFERENCES, strict=True)]
    triples += [*zip(sources, first, REFERENCES, strict=True)]
    (tmp_path / "texts.json").write_text(json.dumps(triples))
    monkeypatch.delenv("PYTHONPATH")
    real.python("score", real.model, tmp_path / "texts.json", tmp_path / "scores.json")
    oracle = json.loads((tmp_path / "scores.json").read_text())
    assert max(oracle) - min(oracle) > 0.05  # an order that is lost would show
    entry = found["comet"]
    assert entry["raw"]["segments"] == pytest.approx(oracle[:5], abs=5e-3)  # it halves
    assert entry["first_line"]["segments"] == pytest.approx(oracle[5:], abs=5e-3)
    for which in ("raw", "first_line"):
        segments = entry[which]["segments"]
        assert entry[which]["score"] == pytest.approx(np.mean(segments))
        low, high = entry[which]["ci95"]
        assert min(segments) <= low < entry[which]["score"] < high <= max(segments)
        assert [line["comet"][which] for line in lines] == [[pytest.approx(x), 1] for x in segments]
    for place in (0, 1, 4):  # the same text, the same score, bit for bit
        assert entry["raw"]["segments"][place] == entry["first_line"]["segments"][place]
    version = comet_program.version_of(real.program)
    import hashlib

    digest = hashlib.sha256((real.model / "checkpoints" / "model.ckpt").read_bytes()).hexdigest()
    assert entry["signature"] == (
        f"model:tiny-comet|sha256:{digest[:16]}|nrefs:1|unbabel-comet:{version}"
    )
    assert entry["column"] == "COMET[tiny-comet]" and entry["shown_times"] == 100
    json.dumps(found, allow_nan=False)

    # the paired bootstrap: mean of segment differences, p by resampled segments
    compared = paired_bootstrap(made[0], first, flat, REFERENCES)
    assert compared.difference == pytest.approx(np.mean(oracle[:5]) - np.mean(oracle[5:]), abs=5e-3)
    assert calls == [len(RAW) + 2]  # all known already


def test_the_check_tells_of_a_model_that_does_not_load(
    real: RealComet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken"
    (broken / "checkpoints").mkdir(parents=True)
    (broken / "hparams.yaml").write_text("class_identifier: regression_metric\n")
    (broken / "checkpoints" / "model.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(ScoreError, match=r"failed with code 1 on model .*broken/checkpoints"):
        comet_program.check(CometConfig(str(real.program), str(broken)))
    assert not list((tmp_path / "cache").glob("comet-checked/*"))


# -- without it: the mean, and what is said of a program that fails


def test_the_mean_needs_no_program() -> None:
    metric: Any = make_metric("comet", context())
    statistics = np.array([[0.8, 1.0], [0.4, 1.0], [0.9, 1.0]])
    assert metric.corpus_score(statistics.sum(0)) == pytest.approx(0.7)


def test_it_needs_the_sources() -> None:
    with pytest.raises(ScoreError, match="needs the sources: no sources, 1 reference"):
        make_metric("comet", context()).score(["a"], ["b"])
    with pytest.raises(ScoreError, match="2 hypotheses but 1 reference"):
        make_metric("comet", context(sources=["a"])).score(["a", "b"], ["b"])


def program(folder: Path, body: str) -> Path:
    """A program that is given ``comet-score``'s arguments; for its failures only."""
    made = folder / "comet-score"
    made.write_text(f"#!{sys.executable}\nimport json, sys\na = sys.argv\n{body}\n")
    made.chmod(made.stat().st_mode | stat.S_IXUSR)
    return made


ANSWER = """
t = open(a[a.index("--translations") + 1], encoding="utf-8").read().split("\\n")[:-1]
lines = [{"mt": x, "COMET": 0.5} for x in t]
%s
json.dump({"translations.txt": lines}, open(a[a.index("--to_json") + 1], "w"))
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print('x\\nno GPU here', file=sys.stderr); sys.exit(3)", r"failed with code 3.*no GPU"),
        ("pass", r"its scores cannot be read"),
        (ANSWER % "lines = lines[1:]", r"1 segment scored, but 2 were given"),
        (ANSWER % "lines = lines[::-1]", r"segment 0 of its answer is not the one given"),
        (ANSWER % "lines[1]['COMET'] = float('nan')", r"segment 1 has the score nan"),
        (ANSWER % "del lines[1]['COMET']", r"segment 1 has the score None"),
        ("open(a[a.index('--to_json') + 1], 'w').write('[1]')", r"no segments scored"),
        ("import time; time.sleep(30)", r"no answer in 3 s"),
    ],
)
def test_a_program_that_fails(tmp_path: Path, body: str, said: str) -> None:
    checkpoint = comet_program.Checkpoint("m", tmp_path / "m.ckpt", "sha256:0")
    with pytest.raises(ScoreError, match=said):
        comet_program.run(
            program(tmp_path, body), checkpoint, [("a", "b", "c"), ("d", "e", "f")], seconds=3
        )


def test_what_is_missing_is_named_with_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ScoreError, match=r"neither on PATH nor in .*mt-bench setup-comet makes"):
        comet_program.find_program(None)
    with pytest.raises(ScoreError, match=r"metric\.comet\.command=/no/such: no such program"):
        comet_program.find_program("/no/such")
    with pytest.raises(ScoreError, match=r"has no unbabel-comet"):
        comet_program.version_of(program(tmp_path, "pass"))
    assert comet_program.find_program(None) == tmp_path / "comet-score"  # on PATH
    for model, said in (
        (str(tmp_path / "gone"), r"no such file or folder, and no hub id"),
        ("./gone.ckpt", r"no such file or folder"),
        (str(tmp_path), r"checkpoints/model\.ckpt is missing\. COMET's layout"),
    ):
        with pytest.raises(ScoreError, match=said):
            comet_program.find_checkpoint(model)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "model.ckpt").write_bytes(b"x")
    with pytest.raises(ScoreError, match=r"hparams\.yaml is missing"):
        comet_program.find_checkpoint(str(tmp_path / "checkpoints" / "model.ckpt"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ScoreError, match=r"cannot be downloaded .*hf download Unbabel/wmt22"):
        comet_program.find_checkpoint("Unbabel/wmt22-comet-da-nowhere")


def test_what_belongs_to_other_programs_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_NTASKS", "RANK", "LOCAL_RANK", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    found = comet_program.own_environment("cuda:1")
    assert not {"SLURM_NTASKS", "RANK", "LOCAL_RANK", "MASTER_ADDR"} & found.keys()
    assert "TORCHELASTIC_RUN_ID" not in found and found["CUDA_VISIBLE_DEVICES"] == "6"
    assert comet_program.own_environment()["CUDA_VISIBLE_DEVICES"] == "4,6"
