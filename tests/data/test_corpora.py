"""Corpora with a fixed layout, splits, blocks and their errors."""

from __future__ import annotations

import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mt_lottery.config import DataConfig
from mt_lottery.data.corpora import Corpora, Split, load_corpora
from mt_lottery.data.text import Pair
from mt_lottery.errors import DataError, RegistryError
from mt_lottery.languages import parse_pair

EN_RO = parse_pair("en-ro")
REPOSITORY = Path(__file__).parents[2]
REAL = Path(os.environ.get("MT_LOTTERY_TEST_DATA") or REPOSITORY.parent / "shared" / "data")


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def numbered(code: str, count: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{code} sentence {i}" for i in range(count)]


def mini(folder: Path, train: int = 20, dev: int = 5, test: int = 8) -> Path:
    for role, count in (("train", train), ("dev", dev), ("test", test)):
        for code in ("en", "ro", "no"):
            write(folder / f"{role}.{code}.txt", numbered(code, count, f"{role} "))
    return folder


def ntrex(folder: Path, count: int = 40) -> Path:
    for kind, code in (("src", "eng"), ("ref", "ron"), ("ref", "nob"), ("ref", "zho-CN")):
        write(folder / f"newstest2019-{kind}.{code}.txt", numbered(code, count))
    write(folder / "newstest2019-ref-2.spa.txt", numbered("spa", count))
    return folder


def flores(folder: Path, dev: int = 30, devtest: int = 12) -> Path:
    for split, count in (("dev", dev), ("devtest", devtest)):
        for code in ("eng", "ron", "nob", "zho_simpl"):
            write(folder / split / f"{code}.{split}", numbered(code, count, f"{split} "))
    return folder


def config(name: str, path: Path | None = None, **more: Any) -> DataConfig:
    return DataConfig(name=name, path=None if path is None else str(path), **more)


def sizes(corpora: Corpora) -> tuple[int, int, int]:
    assert corpora.train and corpora.dev and corpora.test
    return len(corpora.train.pairs), len(corpora.dev.pairs), len(corpora.test.pairs)


def fails(settings: DataConfig, pair: str = "en-ro", **more: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_corpora(settings, parse_pair(pair), **more)
    return str(caught.value)


# ---------------------------------------------------------------- layouts


def test_mini_has_its_own_files_for_each_role(tmp_path: Path) -> None:
    corpora = load_corpora(config("mini", mini(tmp_path)), EN_RO)
    assert sizes(corpora) == (20, 5, 8)
    assert corpora.dev and corpora.dev.pairs[0] == Pair("dev en sentence 0", "dev ro sentence 0")
    assert corpora.test and (corpora.test.name, corpora.test.available) == ("mini", 8)
    assert corpora.overlap == 0


def test_bokmaal_is_no_in_mini_and_nob_elsewhere(tmp_path: Path) -> None:
    for name, make in (("mini", mini), ("ntrex", ntrex), ("flores101", flores)):
        corpora = load_corpora(config(name, make(tmp_path / name)), parse_pair("en-nb"))
        assert corpora.train and "sentence 0" in corpora.train.pairs[0].target


def test_any_pair_in_both_directions(tmp_path: Path) -> None:
    corpora = load_corpora(config("ntrex", ntrex(tmp_path)), parse_pair("ro-zh"), ["train"])
    assert corpora.train
    assert corpora.train.pairs[0] == Pair("ron sentence 0", "zho-CN sentence 0")
    assert corpora.dev is None and corpora.test is None


@pytest.mark.parametrize(
    ("name", "make", "sub"),
    [("ntrex", ntrex, "NTREX-128"), ("flores101", flores, "flores101_dataset")],
)
def test_the_folder_or_its_parent(
    tmp_path: Path, name: str, make: Callable[[Path], Path], sub: str
) -> None:
    make(tmp_path / sub)
    direct = load_corpora(config(name, tmp_path / sub), EN_RO)
    assert load_corpora(config(name, tmp_path), EN_RO) == direct


def test_flores_keeps_devtest_for_the_test(tmp_path: Path) -> None:
    corpora = load_corpora(config("flores101", flores(tmp_path), dev_pairs=6), EN_RO)
    assert sizes(corpora) == (24, 6, 12)
    assert corpora.train and corpora.train.pairs[0].source == "dev eng sentence 0"
    assert corpora.dev and corpora.dev.pairs[0].source == "dev eng sentence 24"
    assert corpora.test and corpora.test.pairs[0].source == "devtest eng sentence 0"


def test_three_corpora_in_one_run(tmp_path: Path) -> None:
    settings = config(
        "ntrex",
        ntrex(tmp_path / "n"),
        train_pairs=7,
        dev="mini",
        dev_path=str(mini(tmp_path / "m")),
        test="flores101",
        test_path=str(flores(tmp_path / "f")),
        test_pairs=4,
    )
    corpora = load_corpora(settings, EN_RO)
    assert sizes(corpora) == (7, 5, 4)
    assert [s.name for s in (corpora.train, corpora.dev, corpora.test) if s] == [
        "ntrex",
        "mini",
        "flores101",
    ]
    assert corpora.train and corpora.train.available == 40  # nobody shares its pool


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(mini(tmp_path / "home" / "m").parent))
    assert load_corpora(config("mini", Path("~/m")), EN_RO, ["test"]).test


# ---------------------------------------------------------------- text as it is


def test_bom_crlf_and_unicode_line_separators(tmp_path: Path) -> None:
    mini(tmp_path)
    odd = "a\u2028b\x85c\x0bd"
    source = f"\ufeff{odd}\r\nsecond \t \r\n".encode()
    (tmp_path / "test.en.txt").write_bytes(source)
    # decomposed é: stays as it is; no newline at the end of the file
    (tmp_path / "test.ro.txt").write_bytes("  unu e\u0301\ndoi".encode())
    corpora = load_corpora(config("mini", tmp_path), EN_RO, ["test"])
    assert corpora.test
    assert corpora.test.pairs == (Pair(odd, "  unu e\u0301"), Pair("second", "doi"))


def test_sha256_counts_order_and_boundaries() -> None:
    def digest(*pairs: tuple[str, str]) -> str:
        return Split("x", tuple(Pair(*p) for p in pairs), 9).sha256

    assert digest(("ab", "c")) == digest(("ab", "c"))
    different = {
        digest(("ab", "c")),
        digest(("a", "bc")),
        digest(("c", "ab")),
        digest(("ab", "c"), ("d", "e")),
        digest(("d", "e"), ("ab", "c")),
    }
    assert len(different) == 5


def test_overlap_ignores_case_and_whitespace(tmp_path: Path) -> None:
    mini(tmp_path)
    write(tmp_path / "test.en.txt", ["TRAIN  en\tsentence 3", "new", "train en sentence 3 "])
    write(tmp_path / "test.ro.txt", ["a", "b", "c"])
    assert load_corpora(config("mini", tmp_path), EN_RO).overlap == 2
    assert load_corpora(config("mini", tmp_path, train_pairs=3), EN_RO).overlap == 0
    assert load_corpora(config("mini", tmp_path), EN_RO, ["test"]).overlap == 0


# ---------------------------------------------------------------- blocks


def test_counts_take_the_first_in_file_order(tmp_path: Path) -> None:
    settings = config("mini", mini(tmp_path), train_pairs=3, dev_pairs=2, test_pairs=4)
    corpora = load_corpora(settings, EN_RO)
    assert sizes(corpora) == (3, 2, 4)
    assert corpora.train and corpora.train.pairs[2].source == "train en sentence 2"
    assert corpora.train.available == 20


def test_roles_that_share_a_pool_get_disjoint_blocks(tmp_path: Path) -> None:
    settings = config("ntrex", ntrex(tmp_path), train_pairs=10, dev_pairs=4, test_pairs=6)
    corpora = load_corpora(settings, EN_RO)
    assert corpora.train and corpora.dev and corpora.test
    first = [split.pairs[0].source for split in (corpora.train, corpora.dev, corpora.test)]
    assert first == ["eng sentence 0", "eng sentence 30", "eng sentence 34"]
    assert sizes(corpora) == (10, 4, 6)
    assert (corpora.train.available, corpora.dev.available, corpora.test.available) == (30, 4, 6)


def test_blocks_do_not_depend_on_the_roles_asked_for(tmp_path: Path) -> None:
    settings = config("ntrex", ntrex(tmp_path))
    everything = load_corpora(settings, EN_RO)
    for roles in (["train"], ["dev"], ["test"], ["train", "test"], ["test", "dev"]):
        some = load_corpora(settings, EN_RO, roles)
        for role in ("train", "dev", "test"):
            expected = getattr(everything, role) if role in roles else None
            assert getattr(some, role) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(1997, (1697, 100, 200)), (600, (300, 100, 200)), (40, (21, 6, 13))]
)
def test_default_blocks(tmp_path: Path, count: int, expected: tuple[int, int, int]) -> None:
    assert sizes(load_corpora(config("ntrex", ntrex(tmp_path, count)), EN_RO)) == expected


def test_the_same_folder_written_in_two_ways_is_one_pool(tmp_path: Path) -> None:
    ntrex(tmp_path / "NTREX-128")
    settings = config(
        "ntrex", tmp_path, test="ntrex", test_path=str(tmp_path / "NTREX-128"), test_pairs=5
    )
    corpora = load_corpora(settings, EN_RO)
    assert corpora.test and corpora.test.pairs[0].source == "eng sentence 35"
    assert corpora.overlap == 0


def test_dev_and_test_share_a_pool_without_train(tmp_path: Path) -> None:
    other = str(ntrex(tmp_path / "n", 9))
    settings = config(
        "mini", mini(tmp_path / "m"), dev="ntrex", dev_path=other, test="ntrex", test_path=other
    )
    corpora = load_corpora(settings, EN_RO)
    assert sizes(corpora) == (20, 3, 6)
    assert corpora.dev and corpora.dev.pairs[0].source == "eng sentence 0"


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"train_pairs": 25}, "leaves 21 for train"),
        ({"test_pairs": 40}, "leaves 0 for train"),
        ({"dev_pairs": 30, "test_pairs": 30}, "has 40 pairs"),
        ({"train_pairs": 1, "dev_pairs": 1, "test_pairs": 39}, "leaves 0 for train"),
    ],
)
def test_a_shared_pool_that_is_too_small(tmp_path: Path, counts: dict[str, int], said: str) -> None:
    message = fails(config("ntrex", ntrex(tmp_path), **counts))
    assert said in message
    assert "newstest2019, en-ro" in message
    for key, value in counts.items():
        assert f"data.{key}={value}" in message


def test_fewer_pairs_than_asked(tmp_path: Path) -> None:
    message = fails(config("mini", mini(tmp_path), test_pairs=9))
    assert message == "data.test_pairs=9, but the corpus 'mini' (test, en-ro) has 8 pairs."


# ---------------------------------------------------------------- settings


def test_counts_below_one_are_listed_together(tmp_path: Path) -> None:
    message = fails(config("mini", mini(tmp_path), train_pairs=0, test_pairs=-3, dev_pairs=True))
    assert "data.train_pairs=0" in message
    assert "data.dev_pairs=True" in message
    assert "data.test_pairs=-3" in message


def test_named_files_for_a_corpus_that_is_not_files(tmp_path: Path) -> None:
    message = fails(config("mini", mini(tmp_path), train_source="a.txt", test_target="b.txt"))
    assert "data.train_source=a.txt" in message and "Set data=files" in message
    assert "data.test_target=b.txt" in message and "data.test=files" in message


def test_unknown_role_and_corpus(tmp_path: Path) -> None:
    assert "Unknown role 'valid'" in fails(config("mini", mini(tmp_path)), roles=["valid"])
    with pytest.raises(RegistryError, match="Did you mean 'ntrex'"):
        load_corpora(config("ntrexx"), EN_RO)


@pytest.mark.parametrize("name", ["ntrex", "flores101"])
def test_missing_path_missing_folder_wrong_folder(tmp_path: Path, name: str) -> None:
    layout = {"ntrex": "newstest2019-ref.ron.txt", "flores101": "devtest/ron.devtest"}[name]
    for path, said in (
        (None, "data.path=FOLDER"),
        (tmp_path / "nowhere", "nowhere: no such folder"),
        (tmp_path, f"no {name} corpus here"),
    ):
        message = fails(config(name, path))
        assert said in message and layout in message


def test_a_role_that_nobody_asked_for_may_lack_its_files(tmp_path: Path) -> None:
    settings = config("mini", mini(tmp_path), test="flores101")
    assert load_corpora(settings, EN_RO, ["train", "dev"]).train
    # data.path belongs to mini and must not be taken for that of flores101
    assert "data.test_path" in fails(settings)


def test_the_path_is_not_handed_to_another_corpus(tmp_path: Path) -> None:
    folder = mini(tmp_path / "both")
    flores(folder)
    assert "'flores101' needs the folder" in fails(config("mini", folder, test="flores101"))


# ---------------------------------------------------------------- damaged corpora


def test_a_language_the_corpus_does_not_have(tmp_path: Path) -> None:
    message = fails(config("ntrex", ntrex(tmp_path)), "en-ru")
    assert "no Russian ('ru') for en-ru" in message
    assert "It has: en, no, ro, zh." in message
    assert "Did you mean" not in message  # Russian is not Romanian
    assert "Did you mean 'zh'?" in fails(config("ntrex", tmp_path), "en-zh_hant")
    assert "no Asturian" in fails(config("ntrex", tmp_path), "ast-en")
    assert "no Basque" in fails(config("flores101", flores(tmp_path)), "en-eu")


def test_unequal_numbers_of_lines(tmp_path: Path) -> None:
    mini(tmp_path)
    target = write(tmp_path / "train.ro.txt", numbered("ro", 22))
    message = fails(config("mini", tmp_path))
    assert f"{target.resolve()}:21: this line has no partner" in message
    assert "train.en.txt has 20 lines" in message and "train.ro.txt has 22" in message


def test_empty_sides(tmp_path: Path) -> None:
    mini(tmp_path)
    write(tmp_path / "dev.ro.txt", ["a", "", "c", " \u00a0", "\u200b"])
    message = fails(config("mini", tmp_path))
    assert "dev.ro.txt:2: the line is empty." in message
    assert "dev.ro.txt:4: the line is empty." in message
    assert "dev.ro.txt:5: the line is empty, but for characters of no width (U+200B)." in message


def test_invalid_utf8(tmp_path: Path) -> None:
    mini(tmp_path)
    (tmp_path / "dev.en.txt").write_bytes(b"a\nb\xff\nc\nd\n\n")
    message = fails(config("mini", tmp_path))
    assert "dev.en.txt:2: not valid UTF-8 (byte 0xff at position 2)." in message
    assert "dev.en.txt:5: the line is empty." in message


def test_five_problems_of_a_file_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    mini(tmp_path)
    write(tmp_path / "train.en.txt", [""] * 8 + ["x"] * 12)
    write(tmp_path / "train.ro.txt", ["x"] * 19 + [""])
    message = fails(config("mini", tmp_path))
    assert message.count("train.en.txt:") == 5
    assert "train.ro.txt:20:" in message
    assert "… and 3 more problems." in message


def test_empty_and_utf16_files_and_folders(tmp_path: Path) -> None:
    mini(tmp_path)
    file = tmp_path / "test.ro.txt"
    file.write_bytes(b"")
    assert "test.ro.txt: the file is empty" in fails(config("mini", tmp_path))
    file.write_bytes("unu\n".encode("utf-16"))
    assert "UTF-16" in fails(config("mini", tmp_path))
    for packed, kind in ((gzip.compress(b"unu\n"), "gzip"), (lzma.compress(b"unu\n"), "xz")):
        file.write_bytes(packed)
        message = fails(config("mini", tmp_path))
        assert f"test.ro.txt: the file is packed ({kind}); unpack it first." in message
    file.unlink()
    file.mkdir()
    assert "test.ro.txt: a folder, not a file" in fails(config("mini", tmp_path))


# ---------------------------------------------------------------- real text


@pytest.mark.skipif(not (REAL / "NTREX-128").is_dir(), reason=f"no NTREX-128 in {REAL}")
@pytest.mark.skipif(not (REAL / "flores101_dataset").is_dir(), reason=f"no Flores-101 in {REAL}")
def test_the_published_corpora() -> None:
    settings = config(
        "ntrex", REAL, train_pairs=400, test="flores101", test_path=str(REAL), test_pairs=48
    )
    for pair in ("en-es", "en-no", "ro-ca"):
        corpora = load_corpora(settings, parse_pair(pair))
        assert sizes(corpora) == (400, 100, 48)
        assert corpora.train and corpora.train.available == 1897
        assert corpora.test and corpora.test.available == 1012
        assert corpora.overlap == 0
    message = fails(settings, "en-fr")
    assert "It has: bs, ca, da, de, en, es, no, pt, ro." in message


def test_the_mini_corpus_in_the_package() -> None:
    folder = REPOSITORY / "mt_lottery" / "data" / "mini"
    if not (folder / "train.en.txt").is_file():
        pytest.skip(f"no text in {folder} yet")
    for code in ("ro", "es", "ca", "no", "uk"):
        corpora = load_corpora(config("mini"), parse_pair(f"en-{code}"))
        train, dev, test = sizes(corpora)
        assert train >= 320 and dev >= 40 and test >= 80
        assert corpora.overlap == 0
