"""Keys and passwords stay out of files, pages and messages; data stays as it is."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from mt_lottery.benchmark.executors.worker import Answer, output_to
from mt_lottery.decoding.translation import Hypothesis
from mt_lottery.runs.folder.files import read_hypotheses, write_hypotheses
from mt_lottery.system.atomic import write_text
from mt_lottery.system.secrets import redacted, without_secrets

VALUE = 'q7"<W\\é&x+z 9'


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither keys of this machine nor its files count here."""
    for name in list(os.environ):
        if any(part in name for part in ("KEY", "TOKEN", "SECRET", "PASSWORD", "HF_HOME")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))


@pytest.mark.parametrize(
    "name",
    ["MY_API_KEY", "APIKEY", "DB_PASSWORD", "MYSQL_PWD", "GITHUB_PAT", "my_secret_2", "X_AUTH",
     "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "AZURE_CREDENTIAL"],
)  # fmt: skip
def test_a_variable_is_secret_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "tr0ub4dor-and-3")
    assert redacted("ValueError: no tr0ub4dor-and-3 here") == "ValueError: no *** here"


@pytest.mark.parametrize(
    "name", ["TOKENIZER_NAME", "GIT_AUTHOR_NAME", "PATH", "PATTERN", "KEYBOARD", "PWD", "NOT_SO"]
)
def test_other_names_are_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "gemma3-270m-x1")
    assert redacted("model gemma3-270m-x1") == "model gemma3-270m-x1"


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        json.dumps({"reason": json.dumps(VALUE)}),
        repr(VALUE),
        str(ValueError({"password": VALUE})),
        quote(VALUE, safe=""),
        base64.b64encode(VALUE.encode()).decode(),
    ],
)
def test_a_value_is_found_in_other_spellings(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", VALUE)
    found = redacted(f"a {form} b")
    assert "***" in found and "q7" not in found and "z 9" not in found, found


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("git+https://me:hunter2@host/x", "git+https://***@host/x"),
        ("GET https://h/x?a=1&api_key=abcdefg&b=2", "GET https://h/x?a=1&api_key=***&b=2"),
        ("{'Authorization': 'Bearer abc.def-123'}", "{'Authorization': 'Bearer ***'}"),
        ("authorization: Basic bWU6aHVudGVyMg==", "authorization: Basic ***"),
        ("with Bearer 0123456789abcdefghij failed", "with Bearer *** failed"),
        ("hf_" + "aB3" * 10, "***"),
        ("token=ghp_" + "a1" * 18 + ".", "token=***."),
        ("sk-proj-" + "a1B2" * 6, "***"),
        ("key AKIAIOSFODNN7EXAMPLE, region", "key ***, region"),
    ],
)
def test_known_shapes(text: str, clean: str) -> None:
    assert redacted(text) == clean
    assert redacted(text, weak=False) == clean


@pytest.mark.parametrize(
    "text",
    [
        "The bearer documents are in order; a task-oriented dialogue-system-evaluation 2.",
        "train.max_tokens=512 key=value https://example.org/a:b@c?max_tokens=512000",
        "xhf_abcdefghijklmnopqrstuvwxyz sha256 " + "0123456789abcdef" * 4,
        "The Authorization of the court was given.",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redacted(text) == text


def test_keys_in_the_files_of_clients(tmp_path: Path) -> None:
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    (tmp_path / ".cache" / "huggingface" / "token").write_text("a1b2c3d4e5\n")
    (tmp_path / ".comet.config").write_text("[comet]\napi_key = c0metc0met\nworkspace = wmt-2026\n")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password n3trcn3trc\n")
    found = redacted("a1b2c3d4e5 c0metc0met n3trcn3trc wmt-2026")
    assert found == "*** *** *** wmt-2026"


def test_a_path_to_a_key_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    assert redacted(f"out_dir={tmp_path}/x") == f"out_dir={tmp_path}/x"


def test_a_word_is_hidden_in_messages_and_kept_in_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "password")
    monkeypatch.setenv("PIN_SECRET", "12345678")
    sentence = "My password is 12345678."
    assert redacted(sentence) == "My *** is ***."
    assert Answer("failed", sentence, 1.0).reason == "My *** is ***."
    write_text(tmp_path / "page.html", sentence)
    assert (tmp_path / "page.html").read_text() == sentence
    assert redacted("0.1234567812345678 112345678") == "0.1234567812345678 112345678"


def test_sentences_are_never_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "see https://me:you@host, AKIAIOSFODNN7EXAMPLE and tr0ub4dor-and-3"
    monkeypatch.setenv("MY_TOKEN", "tr0ub4dor-and-3")
    path = tmp_path / "hypotheses.jsonl"
    write_hypotheses(path, [text], [text], [Hypothesis(text=text, stopped=True, tokens=3)])
    line = read_hypotheses(path)[0]
    assert line["source"] == line["reference"] == line["hypothesis"] == text
    write_text(tmp_path / "page.html", text)
    assert (tmp_path / "page.html").read_text() == "see https://***@host, *** and ***"


def test_json_stays_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "1234567890123456")
    content = {"p": 0.1234567890123456, "why": "bad 1234567890123456"}
    assert json.loads(redacted(json.dumps(content), weak=False)) == {**content, "why": "bad ***"}
    assert without_secrets(content) == {**content, "why": "bad ***"}


def test_a_log_has_no_secret_whoever_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "tr0ub4dor-and-3")
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    stream = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with output_to(log):
        print("python: tr0ub4dor-and-3", file=sys.stderr, flush=True)
        assert "tr0ub4dor" not in log.read_text()  # at once, should the process be killed
        os.write(2, b"a library in C: tr0ub4dor-and-3 \xff\n")
    assert sys.stderr is stream
    assert log.read_bytes() == b"before\npython: ***\na library in C: *** \xff\n"


def test_a_page_of_30_megabytes_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        monkeypatch.setenv(f"KEY_{number}_TOKEN", f"tr0ub4dor-and-{number}" * 2)
    page = "<td>A sentence of the test set, https://example.org/x, 0.123 hf_</td>\n" * 450_000
    began = time.process_time()
    assert redacted(page, weak=False) == page
    assert time.process_time() - began < 3.0
