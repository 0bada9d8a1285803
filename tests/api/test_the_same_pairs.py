"""``mtl.train`` with one list of pairs for several roles."""

from __future__ import annotations

from pathlib import Path

import pytest

from mt_lottery.api.training import run_settings
from mt_lottery.config import DataConfig
from mt_lottery.data.corpora import load_corpora
from mt_lottery.languages import parse_pair

PAIRS = [(f"sentence {i}", f"propoziția {i}") for i in range(40)]


@pytest.mark.parametrize("roles", [("train", "test"), ("train", "dev", "test"), ("train", "dev")])
def test_one_list_is_read_whole_by_each_role(
    roles: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path))
    found = run_settings("none", "en-ro", dict.fromkeys(roles, PAIRS), None, {}, None)
    files = {key.removeprefix("data."): found[key] for key in found if key.startswith("data.")}
    corpora = load_corpora(DataConfig(name="files", **files), parse_pair("en-ro"), roles)
    for role in roles:
        if role != "train" or len(roles) == 3:  # a dev or test set that is not given is cut from it
            split = getattr(corpora, role)
            assert [(p.source, p.target) for p in split.pairs] == PAIRS and not split.cut
    again = run_settings("none", "en-ro", dict.fromkeys(roles, PAIRS), None, {}, None)
    assert again == found
