"""The hub itself: ``datasets.load_dataset`` with a hub id, against a hub on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from fake_hub import asked, serving
from hub_folders import lego, opus
from published import flores_plus, jsonl, wmt24pp

NOWHERE = "http://127.0.0.1:9"  # the port "discard": nobody listens


@pytest.mark.slow
def test_from_the_hub_and_from_its_cache_when_it_is_gone(tmp_path: Path) -> None:
    lego(tmp_path / "hub/Lego-MT/Parallel_Dataset")
    lego(tmp_path / "hub/Lego-MT/Parallel_Dataset", "ro", each=9)
    opus(tmp_path / "hub/Helsinki-NLP/opus-100", "ca-en", "en-no", "en-mn")
    for split in ("validation", "test"):  # as on the hub: this one has training text only
        (tmp_path / f"hub/Helsinki-NLP/opus-100/en-mn/{split}-00000-of-00001.parquet").unlink()
    wanted = (
        ("lego_mt", "en-ca", {"test_pairs": 4}),
        ("opus100", "no-en", {"train_pairs": 3}),
    )
    with serving(tmp_path / "hub") as endpoint:
        read = asked(
            endpoint,
            tmp_path / "home",
            *wanted,
            ("lego_mt", "en-es", {}),
            ("opus100", "en-ro", {}),
            ("opus100", "en-mn", {}),
            ("lego_mt", "en-ca", {"repo": "nobody/nothing"}),
            ("lego_mt", "en-ca", {"repo": "no id"}),
            ("opus100", "en-ca", {"revision": "v9"}),
        )
    (lego_splits, lego_report, _), (opus_splits, opus_report, _), *failed = read
    assert lego_report == (
        "Lego-MT/Parallel_Dataset (ca.jsonl): 30 of 120 records are en-ca; 30 pairs left."
    )
    assert [len(split) for split in lego_splits] == [15, 11, 4]
    assert lego_splits[0][0] == ["en-ca source 0", "en-ca target 0"]
    assert lego_splits[2][-1] == ["en-ca source 29", "en-ca target 29"]
    assert opus_report == "Helsinki-NLP/opus-100 (en-no, train): 20 pairs of no-en; 20 pairs left."
    assert [len(split) for split in opus_splits] == [3, 6, 6]
    assert opus_splits[1][0] == ["no validation 0", "en validation 0"]
    assert [splits for splits, *_ in failed] == [None] * 6
    no_file, no_subset, no_split, no_repo, no_id, no_revision = (
        message for _, message, _ in failed
    )
    assert "no file of Spanish (es.jsonl)" in no_file and "ca.jsonl, ro.jsonl" in no_file
    assert (
        "no subset for en-ro: en-ro." in no_subset
        and "There are: ca-en, en-mn, en-no." in no_subset
    )
    assert no_split == (
        "Helsinki-NLP/opus-100/en-mn: no validation split, which dev reads. There are: train. "
        "Read dev from another corpus: data.dev=NAME."
    )
    assert "data.repo=nobody/nothing: the hub has no such data set" in no_repo
    assert "data.repo=no id is no hub id" in no_id
    assert "data.revision=v9: Helsinki-NLP/opus-100 has no such revision." in no_revision

    again = asked(NOWHERE, tmp_path / "home", *wanted, ("lego_mt", "en-ro", {}))
    assert [splits for splits, *_ in again] == [lego_splits, opus_splits, None]
    # what was not downloaded is not made up from what was
    assert "no file of Romanian" in again[2][1] and "There are: ca.jsonl." in again[2][1]
    assert sum(seconds for *_, seconds in again) < 15  # `datasets` alone would try for 23 s each


def test_no_hub_and_no_copy_is_one_message_and_no_waiting(tmp_path: Path) -> None:
    answers = asked(NOWHERE, tmp_path / "home", ("lego_mt", "en-ca", {}), ("opus100", "en-ca", {}))
    for (splits, message, seconds), name, repo, part in zip(
        answers,
        ("lego_mt", "opus100"),
        ("Lego-MT/Parallel_Dataset", "Helsinki-NLP/opus-100"),
        ("ca.jsonl", "ca-en/*"),
        strict=True,
    ):
        assert splits is None
        assert message.startswith(f"data={name}: the hub cannot be reached (")
        command = f"`hf download {repo} --repo-type dataset --include '{part}' --local-dir FOLDER`"
        assert command in message
        assert "data.path=FOLDER" in message
        assert seconds < 15


def test_a_hub_that_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ((splits, message, seconds),) = asked(
            endpoint, tmp_path / "home", ("opus100", "en-ca", {}), timeout=0.5
        )
    assert splits is None and "the hub cannot be reached" in message
    assert seconds < 15


@pytest.mark.slow
def test_any_data_set_of_the_hub_without_a_copy_by_datasets(tmp_path: Path) -> None:
    opus(tmp_path / "hub/me/opus", "ca-en", "en-ro")
    (tmp_path / "hub/me/opus/opus.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    wmt24pp(tmp_path / "hub/google/wmt24pp", "ro_RO")
    flores_plus(tmp_path / "hub/openlanguagedata/flores_plus", "eng_Latn", "ron_Latn")
    flores_plus(tmp_path / "hub/me/gated", "eng_Latn", "ron_Latn")
    (tmp_path / "hub/me/gated/.gated").touch()
    jsonl(tmp_path / "hub/me/plain/data.jsonl", [{"en": f"a{i}", "ro": f"b{i}"} for i in range(9)])
    (tmp_path / "hub/me/script").mkdir()
    (tmp_path / "hub/me/script/script.py").write_text("1 / 0")
    wanted = (
        ("hub", "ro-en", {"path": "me/opus", "train_pairs": 5}),
        ("hub", "en-ro", {"path": "me/plain", "test": "wmt24pp"}),
        ("flores_plus", "en-ro", {"dev_pairs": 2}),
    )
    with serving(tmp_path / "hub") as endpoint:
        read = asked(
            endpoint,
            tmp_path / "home",
            *wanted,
            ("hub", "en-es", {"path": "me/opus"}),
            ("hub", "en-ro", {"path": "me/script"}),
            ("hub", "en-ro", {"path": "me/nothing"}),
            ("flores_plus", "en-ro", {"repo": "me/gated"}),
        )
    (opus_splits, report, _), (plain, _, _), (flores, _, _), *failed = read
    assert report == (
        "me/opus (en-ro/train-00000-of-00001.parquet): 20 pairs of ro-en; 20 pairs left."
    )
    assert opus_splits[0][0] == ["ro train 0", "en train 0"] and len(opus_splits[2]) == 6
    assert plain[2][0] == ["en 2", "ro_RO 2"] and plain[1][-1] == ["a8", "b8"]
    assert [len(split) for split in flores] == [7, 2, 5]
    no_pair, script, nothing, gated = (message for _, message, _ in failed)
    assert "The data set me/gated is gated: accept its terms at https://hugg" in gated
    assert "me/opus: none of its configurations is named en-es" in no_pair
    assert "me/script: no file that can be read" in script and "none is run" in script
    assert "data.path=me/nothing: the hub has no such data set" in nothing
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "home/datasets").exists()  # no copy beside the hub's own cache

    again = asked(NOWHERE, tmp_path / "home", *wanted)
    assert [splits for splits, *_ in again] == [opus_splits, plain, flores]
