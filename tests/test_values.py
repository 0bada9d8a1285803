"""Numbers, devices and paths that a person writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_lottery.errors import ConfigError
from mt_lottery.system import values
from mt_lottery.system.diskfault import DiskError

NO_NUMBERS = [
    "",
    " 5",
    "5 ",
    "٣",
    "1_0",
    "x",
    "0x1",
    "nan",
    "inf",
    "-inf",
    "९",
    "1e400",
    "--1",
    "é",
]


@pytest.mark.parametrize("text", [*NO_NUMBERS, "1.0", "-1", "-0", "+1", "9" * 5000, "10" * 15])
def test_no_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a whole number") as caught:
        values.whole(text)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("text", [*NO_NUMBERS, "9" * 5000, "1e", "."])
def test_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a number") as caught:
        values.number(text)
    assert len(str(caught.value)) < 120


def test_bounds() -> None:
    assert values.whole("007") == 7
    assert values.whole("-3", -5) == -3
    assert values.number("-0", 0.0, 1.0) == 0.0 and str(values.number("-0")) == "0.0"
    assert values.number("1e-400", 0.0, 1.0) == 0.0
    assert values.wholes("1,2,3", 1) == [1, 2, 3]
    assert values.numbers("0.5,1e-2", 0, 1) == [0.5, 0.01]
    with pytest.raises(ValueError, match="must be a whole number ≥ 1, not '0'"):
        values.whole("0", 1)
    with pytest.raises(ValueError, match="from 1 to 1,024, not '1000000000'"):
        values.whole("1000000000", 1, 1024)
    with pytest.raises(ValueError, match=r"must be a number from 0 to 1, not '1.5'"):
        values.number("1.5", 0, 1)
    with pytest.raises(ValueError, match="not ''"):
        values.wholes("1,,2")


@given(st.integers(-(10**15), 10**15))
def test_any_whole_number_is_read_as_it_was_written(value: int) -> None:
    assert values.whole(str(value), -(10**15)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_is_read_as_it_was_written(value: float) -> None:
    assert values.number(repr(value)) == value


@given(st.text(max_size=12))
def test_any_text_is_a_number_of_ascii_digits_or_refused(text: str) -> None:
    for read in (values.whole, values.number):
        try:
            read(text)
        except ValueError as error:
            assert str(error).startswith("must be a ")
        else:
            assert text.isascii() and "_" not in text and text == text.strip()


@pytest.mark.parametrize("text", ["auto", "cpu", "cuda", "cuda:0", "cuda:15", "mps"])
def test_devices(text: str) -> None:
    assert values.device_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "nosuch", "cuda:٣", "cuda:-1", "cuda:", "meta", "CPU", "cpu:0"]
)
def test_no_devices(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be auto, cpu, cuda, cuda:N or mps, not"):
        values.device_name(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "an empty text is no path"),
        ("a\0b", "NUL"),
        ("a\udcffb", "not UTF-8"),
        ("~nosuchuser/x", "there is no user 'nosuchuser'"),
        ("a/" + "b" * 256, "a name in it has 256 bytes"),
        ("ș" * 128, "a name in it has 256 bytes"),
        ("a/" * 2001, "longer than 4,000 bytes"),
    ],
)
def test_no_paths(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"^--out .*: .*{why}"):
        values.user_path(text, ConfigError, "--out ")


@pytest.mark.parametrize("text", ["a", " ", "a\nb", "ș" * 127, "~root", "/a/../b", "-x"])
def test_paths(text: str) -> None:
    assert values.user_path(text, ConfigError) == Path(text).expanduser()


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("MT_LOTTERY_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(ConfigError, match="home directory of '~' is not known"):
        values.user_path("~/x", ConfigError)
    with pytest.raises(DiskError, match="set MT_LOTTERY_CACHE to a folder"):
        values.cache_folder()


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "new"))
    assert values.cache_folder() == tmp_path / "new"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "file"))
    with pytest.raises(DiskError, match="file: a file; it must be a folder"):
        values.cache_folder()
    monkeypatch.setenv("MT_LOTTERY_CACHE", "~nosuchuser/x")
    with pytest.raises(DiskError, match="MT_LOTTERY_CACHE=~nosuchuser/x: there is no user"):
        values.cache_folder()
