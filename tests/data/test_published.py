"""``wmt24pp``, ``flores200``, ``flores_plus`` and ``tatoeba`` from folders as published."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published import (
    flores200,
    flores_hub,
    flores_plus,
    flores_release,
    jsonl,
    parquet,
    tatoeba_release,
    tatoeba_table,
    wmt24pp,
)

from mt_lottery.config import DataConfig
from mt_lottery.config.compose import compose_settings
from mt_lottery.config.settings import counted
from mt_lottery.data.corpora import Corpora, Split, load_corpora
from mt_lottery.data.hub.wmt24pp import WMT24ppConfig
from mt_lottery.data.text import Pair
from mt_lottery.errors import ConfigError, DataError
from mt_lottery.languages import get_language, named_among, parse_pair
from mt_lottery.registry import CORPORA


def config(name: str, folder: Path | None, **more: Any) -> Any:
    path = None if folder is None else str(folder)
    return (CORPORA.dataclass_of(name) or DataConfig)(name=name, path=path, **more)


def read(given: DataConfig, pair: str = "en-ro", *roles: str) -> Corpora:
    return load_corpora(given, parse_pair(pair), roles or ("train", "dev", "test"))


def only(given: DataConfig, pair: str = "en-ro", role: str = "test") -> Split:
    split = getattr(read(given, pair, role), role)
    assert isinstance(split, Split)
    return split


def fails(given: DataConfig, pair: str = "en-ro", *roles: str) -> str:
    with pytest.raises(DataError) as caught:
        read(given, pair, *(roles or ("test",)))
    return str(caught.value)


# ---------------------------------------------------------------- wmt24pp


def test_wmt24pp_without_its_bad_sources(tmp_path: Path) -> None:
    given = DataConfig(name="mini", test="wmt24pp", test_path=str(wmt24pp(tmp_path, "ro_RO")))
    split = only(given)
    assert split.pairs[0] == Pair("en 2", "ro_RO 2") and len(split.pairs) == 8
    assert split.report and split.report.filters == {"bad_source": 2, "empty": 0}
    assert "10 pairs of en-ro; left out: 2 bad_source" in split.report.counts()
    assert only(given, "ro-en").pairs[0] == Pair("ro_RO 2", "en 2")
    kept = only(config("wmt24pp", tmp_path, bad_sources=True, dev="mini"), role="test")
    assert kept.report and kept.report.filters == {"empty": 0} and kept.available == 5


@pytest.mark.parametrize(
    ("pair", "variety"),
    [
        *(("en-no", "no_NO"), ("en-es", "es_MX"), ("en-es-MX", "es_MX"), ("en-tl", "fil_PH")),
        *(("en-pt", "pt_PT"), ("en-pt-BR", "pt_BR"), ("en-fr", "fr_FR"), ("en-fr-CA", "fr_CA")),
        *(("en-zh", "zh_CN"), ("en-zh-TW", "zh_TW"), ("en-ar", "ar_SA"), ("en-sw", "sw_KE")),
        *(("en-sr", "sr_RS"), ("en-fa", "fa_IR"), ("de-en", "de_DE"), ("en-US-ja", "ja_JP")),
    ],
)
def test_wmt24pp_varieties(tmp_path: Path, pair: str, variety: str) -> None:
    there = "ar_EG ar_SA de_DE es_MX fa_IR fil_PH fr_CA fr_FR ja_JP no_NO pt_BR pt_PT sr_RS"
    wmt24pp(tmp_path, *there.split(), "sw_KE", "sw_TZ", "zh_CN", "zh_TW")
    split = only(DataConfig(name="mini", test="wmt24pp", test_path=str(tmp_path)), pair)
    sides = split.targets if parse_pair(pair).source.iso3 == "eng" else split.sources
    assert sides[0] == f"{variety} 2"
    assert split.report and f"en-{variety}.jsonl" in split.report.where


def test_wmt24pp_mistakes(tmp_path: Path) -> None:
    wmt24pp(tmp_path, "ar_EG", "ar_SA", "ro_RO")
    chosen = config("wmt24pp", tmp_path, variety="ar_EG")
    assert only(chosen, "en-ar").targets[0].startswith("ar_EG")
    assert "data.variety=ar_EG is no variety of Romanian. There are: ro_RO." in fails(chosen)
    told = fails(config("wmt24pp", tmp_path, variety="ar_EX"), "en-ar")
    assert "data.variety=ar_EX: not in" in told and "It has: ar_EG, ar_SA, ro_RO." in told
    plain = config("wmt24pp", tmp_path)
    assert "has no German ('de'). It has: ar_EG, ar_SA, ro_RO." in fails(plain, "en-de")
    assert "ro-ar: wmt24pp has English on one side" in fails(plain, "ro-ar")
    jsonl(tmp_path / "en-de_DE.jsonl", [{"source": "a", "text": "b", "is_bad_source": False}])
    told = fails(plain, "en-de")
    assert "no field 'target'" in told and "Its fields are: source, text, is_bad_source." in told
    jsonl(tmp_path / "en-de_DE.jsonl", [{"source": "a", "target": "b"}])
    assert "no field 'is_bad_source'" in fails(plain, "en-de")
    jsonl(tmp_path / "en-de_DE.jsonl", [{"source": "a", "target": "b", "is_bad_source": "no"}])
    assert "must be true or false, found 'no'" in fails(plain, "en-de")
    (tmp_path / "none").mkdir()
    assert "It has: none. Expected: en-ro_RO.jsonl" in fails(config("wmt24pp", tmp_path / "none"))


# ---------------------------------------------------------------- beside other corpora

PLACES: dict[str, Callable[[Path], Path]] = {
    "hub": lambda p: parquet(
        p / "train.parquet", [{"en": f"a{i}", "ro": f"b{i}"} for i in range(9)]
    ),
    "wmt24pp": lambda p: wmt24pp(p, "ro_RO"),
    "flores200": lambda p: flores200(p, "eng_Latn", "ron_Latn"),
    "flores_plus": lambda p: flores_plus(p, "eng_Latn", "ron_Latn"),
    "tatoeba": lambda p: tatoeba(p),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("role", ["train", "dev", "test"])
def test_each_for_one_role_and_another_corpus_for_the_others(
    tmp_path: Path, name: str, role: str
) -> None:
    PLACES[name](tmp_path)
    if role == "train":
        given = config(name, tmp_path, dev="mini", test="mini")
    else:
        given = DataConfig(name="mini", **{role: name, f"{role}_path": str(tmp_path)})
    corpora = read(given)
    for each in ("train", "dev", "test"):
        split = getattr(corpora, each)
        assert split.name == (name if each == role else "mini") and len(split.pairs) >= 3
    with pytest.raises(DataError):  # no corpus makes up a pair that it has not
        read(given, "en-uk", role)


# ---------------------------------------------------------------- the settings of a test corpus


def composed(**settings: Any) -> Any:
    made = {k.replace("__", "."): v for k, v in settings.items()}
    return compose_settings({"recipe": "none", "lang": "en-ro", **made}).data


def test_settings_of_the_corpus_that_is_tested_on(tmp_path: Path) -> None:
    wmt24pp(tmp_path, "ro_RO")
    where = {"data__test": "wmt24pp", "data__test_path": str(tmp_path)}
    assert len(only(composed(**where)).pairs) == 8
    data = composed(**where, data__bad_sources=True)
    assert len(only(data).pairs) == 10
    assert counted(data)["bad_sources"] is True
    # what is not set does not count: runs of before have the hash that they had
    assert counted(composed(**where)) == counted(
        DataConfig(name="mini", test="wmt24pp", test_path=str(tmp_path))
    )
    with pytest.raises(ConfigError, match=r"`data\.bad_sources` is a setting of data=wmt24pp"):
        composed(data__bad_sources=True)


def test_a_setting_that_both_have_is_that_of_the_training_corpus(tmp_path: Path) -> None:
    rows = [{"from": f"a{i}", "source": f"b{i}", "target": f"c{i}"} for i in range(9)]
    parquet(tmp_path / "x/train.parquet", rows)
    parquet(tmp_path / "y/test.parquet", rows)
    named = {"data": "lego_mt", "data__test": "hub", "data__test_path": str(tmp_path / "y")}
    data = composed(**named, data__source_field="from", data__split__test="test")
    assert data.source_field == "from" and data.split.test == "test"
    assert only(data).sources[0] == "b0"
    named = {"data": "ntrex", "data__test": "hub", "data__test_path": str(tmp_path / "y")}
    data = composed(**named, data__source_field="from", data__target_field="target")
    assert only(data).sources[0] == "a0"
    assert isinstance(composed(data="wmt24pp"), WMT24ppConfig)


# ---------------------------------------------------------------- flores200, flores_plus

CODES_200 = ("eng_Latn", "ron_Latn", "zho_Hans", "zho_Hant", "nob_Latn", "arb_Arab", "arb_Latn")
CODES_PLUS = ("eng_Latn", "ron_Latn", "cmn_Hans", "cmn_Hant", "nob_Latn", "arb_Arab", "arb_Latn")


@pytest.mark.parametrize(
    ("name", "make", "codes"),
    [
        ("flores200", flores200, CODES_200),
        ("flores200", flores_hub, CODES_200),
        ("flores_plus", flores_plus, CODES_PLUS),
        ("flores_plus", lambda *a: flores_plus(*a, ending=".jsonl"), CODES_PLUS),
        ("flores_plus", flores_release, CODES_PLUS),
    ],
)
def test_the_layouts_of_flores(
    tmp_path: Path, name: str, make: Callable[..., Path], codes: tuple[str, ...]
) -> None:
    given = config(name, make(tmp_path, *codes), dev_pairs=2)
    corpora = read(given)
    assert corpora.train and corpora.dev and corpora.test
    assert [len(s.pairs) for s in (corpora.train, corpora.dev, corpora.test)] == [7, 2, 5]
    assert corpora.dev.pairs[0] == Pair("eng_Latn dev 7", "ron_Latn dev 7")
    assert corpora.test.pairs[4] == Pair("eng_Latn devtest 4", "ron_Latn devtest 4")
    for pair, code in (("en-zh", codes[2]), ("en-zh-TW", codes[3]), ("en-no", "nob_Latn")):
        assert only(given, pair).targets[0] == f"{code} devtest 0"
    assert only(given, "ar-ro").sources[0] == "arb_Arab devtest 0"
    told = fails(given, "en-es")
    assert f"The corpus '{name}' ({tmp_path}) has no Spanish ('es') for en-es in 'devtest'" in told
    assert "arb_Arab" in told and "ron_Latn" in told
    test = DataConfig(name="mini", test=name, test_path=str(tmp_path))
    assert only(test).pairs == corpora.test.pairs


def test_flores_that_does_not_go_together(tmp_path: Path) -> None:
    flores_plus(tmp_path, "eng_Latn", "ron_Latn")
    rows = [{"id": i, "text": f"ro {i}"} for i in (4, 3, 2, 1, 0)]
    parquet(tmp_path / "devtest/ron_Latn.parquet", rows)
    given = config("flores_plus", tmp_path)
    assert only(given).pairs[0] == Pair("eng_Latn devtest 0", "ro 0")  # by id, not by place
    for found, said in (
        (rows[1:], "5 and 4 sentences; the one with id 4 is in one of them alone"),
        ([*rows, rows[0]], "row 6: an id of its own and a text are needed, found 4"),
        ([{"id": 0, "text": 5}], "row 1: an id of its own and a text are needed, found 0 and 5"),
        ([{"id": 0, "sentence": "x"}], "no field 'text'. Its fields are: id, sentence."),
    ):
        parquet(tmp_path / "devtest/ron_Latn.parquet", found)
        assert said in fails(given)
    parquet(tmp_path / "devtest/ron_Latn.parquet", [*rows[1:], {"id": 4, "text": None}])
    assert only(given).report.filters == {"empty": 1}  # type: ignore[union-attr]
    (tmp_path / "none").mkdir()
    told = fails(config("flores200", tmp_path / "none"))
    assert "no split 'devtest' here. Expected: dev/ron_Latn.dev" in told


@pytest.mark.parametrize(
    ("code", "flores_200", "plus"),
    [
        ("en", "eng_Latn", "eng_Latn"),
        ("ro", "ron_Latn", "ron_Latn"),
        ("no", "nob_Latn", "nob_Latn"),
        ("nn", "nno_Latn", "nno_Latn"),
        ("zh", "zho_Hans", "cmn_Hans"),
        ("zh-TW", "zho_Hant", "cmn_Hant"),
        ("ar", "arb_Arab", "arb_Arab"),
        ("az", "azj_Latn", "azj_Latn"),
        ("ckb", "ckb_Arab", "ckb_Arab"),
        ("et", "est_Latn", "ekk_Latn"),
        ("fa", "pes_Arab", "pes_Arab"),
        ("ff", "fuv_Latn", "fuv_Latn"),
        ("lv", "lvs_Latn", "lvs_Latn"),
        ("mg", "plt_Latn", "plt_Latn"),
        ("mn", "khk_Cyrl", "khk_Cyrl"),
        ("ms", "zsm_Latn", "zsm_Latn"),
        ("ne", "npi_Deva", "npi_Deva"),
        ("om", "gaz_Latn", "gaz_Latn"),
        ("or", "ory_Orya", "ory_Orya"),
        ("prs", "prs_Arab", "prs_Arab"),
        ("ps", "pbt_Arab", "pbt_Arab"),
        ("sd", "snd_Arab", "snd_Arab"),
        ("sq", "als_Latn", "als_Latn"),
        ("sr", "srp_Cyrl", "srp_Cyrl"),
        ("sw", "swh_Latn", "swh_Latn"),
        ("tl", "tgl_Latn", "fil_Latn"),
        ("uz", "uzn_Latn", "uzn_Latn"),
        ("yue", "yue_Hant", "yue_Hant"),
    ],
)
def test_codes_of_flores(code: str, flores_200: str, plus: str) -> None:
    language = get_language(code)
    odd = ["snd_Deva", "arb_Latn", "arz_Arab", "azb_Arab", "ydd_Hebr", "apc_Arab_nort3139"]
    for codes, wanted in ((FLORES_200, flores_200), (FLORES_PLUS, plus)):
        assert named_among(language, sorted([*codes.split(), *odd])) == wanted


FLORES_200 = """
als_Latn arb_Arab azj_Latn ckb_Arab cmn_Xxxx eng_Latn est_Latn fuv_Latn gaz_Latn khk_Cyrl kmr_Latn
lvs_Latn nno_Latn nob_Latn npi_Deva ory_Orya pbt_Arab pes_Arab plt_Latn prs_Arab ron_Latn snd_Arab
srp_Cyrl swh_Latn tgl_Latn uzn_Latn yue_Hant zho_Hans zho_Hant zsm_Latn
""".replace("cmn_Xxxx ", "")
FLORES_PLUS = (
    FLORES_200.replace("zho_Hans", "cmn_Hans")
    .replace("zho_Hant", "cmn_Hant")
    .replace("tgl_Latn", "fil_Latn")
    .replace("est_Latn", "ekk_Latn")
)


# ---------------------------------------------------------------- tatoeba

ROWS = [("eng", "ron", f"en {i}", f"ro {i}") for i in range(6)]


def tatoeba(folder: Path) -> Path:
    tatoeba_release(folder, "eng-ron", "train", ROWS * 2)
    tatoeba_release(folder, "eng-ron", "dev", ROWS[:3])
    tatoeba_release(folder, "eng-ron", "test", ROWS[3:])
    return folder


def test_tatoeba_of_a_release(tmp_path: Path) -> None:
    given = config("tatoeba", tatoeba(tmp_path))
    corpora = read(given)
    assert corpora.train and corpora.dev and corpora.test and corpora.train.report
    assert [len(s.pairs) for s in (corpora.train, corpora.dev, corpora.test)] == [6, 3, 3]
    assert corpora.train.report.filters["duplicate"] == 6
    assert corpora.test.pairs[0] == Pair("en 3", "ro 3")
    assert only(given, "ro-en", "train").pairs[1] == Pair("ro 1", "en 1")
    pair_folder = tmp_path / "data/release/v2021-08-07/eng-ron"
    assert only(config("tatoeba", pair_folder)).pairs == corpora.test.pairs
    first = only(config("tatoeba", tmp_path, max_records=4), role="train")
    assert first.report and first.report.records == 4 and "the first 4 lines" in first.report.where


def test_tatoeba_tables(tmp_path: Path) -> None:
    tatoeba_table(tmp_path, "eng-ron", "test", [*ROWS, ("eng", "ron", "", "x")])
    given = DataConfig(name="mini", test="tatoeba", test_path=str(tmp_path))
    split = only(given, "ro-en")
    assert split.pairs[0] == Pair("ro 0", "en 0") and len(split.pairs) == 6
    assert split.report and split.report.filters == {"empty": 1}
    told = fails(config("tatoeba", tmp_path), "en-ro", "train")
    assert "no train split for en-ro. There are: test." in told


@pytest.mark.parametrize(
    ("lang", "pair", "labels"),
    [
        ("no", "eng-nor", {"nob": 1, "nno": 0, "nor": 1}),
        ("nn", "eng-nor", {"nno": 1, "nob": 0}),
        ("zh", "eng-zho", {"cmn_Hans": 1, "cmn_Hani": 1, "cmn_Hant": 0, "yue": 0, "zho_Hant": 0}),
        ("zh-TW", "eng-zho", {"cmn_Hans": 0, "cmn_Hant": 1, "zho_Hant": 1}),
        ("hr", "eng-hbs", {"hrv": 1, "srp_Cyrl": 0, "bos_Latn": 0}),
        ("sr", "eng-hbs", {"hrv": 0, "srp_Cyrl": 1, "srp_Latn": 0}),
        ("bs", "eng-hbs", {"bos_Latn": 1, "hrv": 0}),
        ("ar", "ara-eng", {"arb_Arab": 1, "ara": 1, "arz": 0}),
        ("fa", "eng-fas", {"pes": 1, "fas": 1, "prs": 0}),
        ("ms", "eng-msa", {"zsm_Latn": 1, "ind": 0}),
        ("id", "eng-msa", {"ind": 1, "zsm_Latn": 0}),
        ("sw", "eng-swa", {"swh": 1}),
        ("et", "eng-est", {"ekk": 1, "est": 1}),
        ("ja", "eng-jpn", {"jpn_Hira": 1, "jpn": 1}),
        ("ro", "eng-ron", {"ron": 1}),
    ],
)
def test_tatoeba_labels(tmp_path: Path, lang: str, pair: str, labels: dict[str, int]) -> None:
    turned = pair.endswith("eng")
    rows = [
        (label, "eng", label, "x") if turned else ("eng", label, "x", label) for label in labels
    ]
    tatoeba_table(tmp_path, pair, "test", rows)
    split = only(config("tatoeba", tmp_path), f"en-{lang}")
    assert split.targets == [label for label, taken in labels.items() if taken]
    assert split.report and split.report.records == len(labels)


def test_tatoeba_mistakes(tmp_path: Path) -> None:
    assert "needs the folder that holds it" in fails(config("tatoeba", None))
    given = config("tatoeba", tatoeba(tmp_path))
    told = fails(given, "en-de")
    assert "has no folder deu-eng for en-de. There are: eng-ron." in told
    place = tmp_path / "data/release/v2021-08-07/eng-ron"
    (place / "test.trg").write_text("only\n")
    assert "test.trg: it ends before line 2, which the others have." in fails(given)
    (place / "test.id").write_text("eng\n" * 3)
    (place / "test.trg").write_text("a\nb\nc\n")
    assert "test.id:1: two labels are needed, found 'eng'" in fails(given)
    (place / "test.id").write_text("eng\tspa\n" * 3)
    told = fails(given)
    assert "none of its 3 lines is en-ro, by their labels" in told and "eng to spa (3)" in told
    (place / "test.id").unlink()
    assert "no test.id beside test.src" in fails(given)
    packed = (place / "train.src.gz").read_bytes()
    (place / "train.src.gz").write_bytes(packed[: len(packed) // 2])
    assert "train.src.gz: damaged: not all of it can be unpacked" in fails(given, "en-ro", "train")
    tatoeba_table(tmp_path / "b", "eng-ron", "test", ROWS)
    (tmp_path / "b/data/test/eng-ron/test.txt").write_text("eng\tron\tonly three\n")
    assert "test.txt:1: 4 columns" in fails(config("tatoeba", tmp_path / "b"))


def test_a_packed_text_that_unpacks_to_far_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mt_lottery.reading.lines.UNPACKED", 1 << 20)
    given = config("tatoeba", tatoeba(tmp_path))
    bomb = gzip.compress(b"one sentence\n" * 400_000)
    (tmp_path / "data/release/v2021-08-07/eng-ron/train.src.gz").write_bytes(bomb)
    (tmp_path / "data/release/v2021-08-07/eng-ron/train.trg.gz").write_bytes(bomb)
    labels = gzip.compress(b"x\teng\tron\n" * 400_000)
    (tmp_path / "data/release/v2021-08-07/eng-ron/train.id.gz").write_bytes(labels)
    told = fails(given, "en-ro", "train")
    assert "that unpack to more than" in told and "no text does that" in told
