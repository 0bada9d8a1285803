"""A stored configuration is data: it names what it asks for, and nothing runs unasked."""

from __future__ import annotations

import dataclasses
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from mt_lottery.config import RunConfig
from mt_lottery.config.compose import compose, compose_saved, to_yaml
from mt_lottery.config.stored import allowing
from mt_lottery.config.written import as_written, resolver_calls
from mt_lottery.errors import ConfigError, RecordError, on_command_line
from mt_lottery.runs.folder.preparing import with_full_paths
from mt_lottery.runs.planning.chosen import as_chosen, with_settings

ARGUMENTS = ("recipe=lora", "lang=en-ro")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder whose import leaves a trace."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "left_a_trace.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'trace')!r}).touch()\n"
    )
    return folder


def stored(tmp_path: Path, changes: dict[str, Any]) -> Path:
    """The configuration of a run with some settings changed, as an attacker would."""
    file = tmp_path / "config.yaml"
    content = yaml.safe_load(to_yaml(compose(ARGUMENTS)))
    for key, value in changes.items():
        section, _, name = key.partition("/")
        if name:
            content[section][name] = value
        else:
            content[key] = value
    file.write_text(yaml.safe_dump(content))
    return file


def refused(file: Path, *arguments: str, command: bool = True) -> str:
    worded = on_command_line() if command else nullcontext()
    with worded, pytest.raises(ConfigError) as caught:
        compose([f"config={file}", *arguments]) if arguments else compose_saved(file)
    return str(caught.value)


def test_a_folder_of_plugins_is_named_and_not_imported(tmp_path: Path, plugin: Path) -> None:
    file = stored(tmp_path, {"user_dir": str(plugin)})
    opened, run_again = refused(file), refused(file, "seed=1")
    for text in (opened, run_again):
        assert str(file) in text and str(plugin) in text
    assert f"--user-dir {plugin}" in opened and f"user_dir='{plugin}'" in opened
    assert f"user_dir={plugin}" in run_again
    assert f"add user_dir='{plugin}'." in refused(file, "seed=1", command=False)
    assert not (tmp_path / "trace").exists()
    assert compose([f"config={file}", "user_dir=null"]).user_dir is None
    assert not (tmp_path / "trace").exists()
    with allowing(user_dir=plugin):
        assert compose_saved(file).user_dir == str(plugin)
    assert (tmp_path / "trace").exists()
    assert refused(file) == opened  # the permission was for that call
    assert compose([f"config={file}", f"user_dir={plugin}"]).user_dir == str(plugin)


def test_what_to_write_can_be_copied(tmp_path: Path) -> None:
    folder = tmp_path / "my plug'ins"
    folder.mkdir()
    (folder / "of_mine_with_a_blank.py").write_text("")
    file = stored(tmp_path, {"user_dir": str(folder)})
    command = shlex.split(refused(file, "seed=1").partition("add ")[2])[0].rstrip(".")
    assert compose([f"config={file}", command]).user_dir == str(folder)
    words = shlex.split(refused(file).partition("add ")[2].partition(" (in")[0])
    assert words == ["--user-dir", str(folder)]


def test_another_folder_can_take_its_place(tmp_path: Path, plugin: Path) -> None:
    other = tmp_path / "moved"
    other.mkdir()
    (other / "moved_plugin.py").write_text("")
    file = stored(tmp_path, {"user_dir": str(plugin)})
    assert compose([f"config={file}", f"user_dir={other}"]).user_dir == str(other)
    with allowing(user_dir=other):
        assert compose_saved(file).user_dir == str(other)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("value", [True, "true", "yes", "${oc.decode:'true'}"])
@pytest.mark.parametrize("key", ["model/trust_remote_code", "model.trust_remote_code"])
def test_code_of_a_model(tmp_path: Path, key: str, value: object) -> None:
    file = stored(tmp_path, {key: value, "model/name_or_path": "someone/model"})
    assert "someone/model" in refused(file) and "--trust-remote-code" in refused(file)
    assert "model.trust_remote_code=true" in refused(file, "seed=1")
    python = "add settings={'model.trust_remote_code': True}."
    assert python in refused(file, "seed=1", command=False)
    for allowed in ("model.trust_remote_code=true", "trust_remote_code=true"):
        assert compose([f"config={file}", allowed]).model.trust_remote_code
    assert not compose([f"config={file}", "trust_remote_code=false"]).model.trust_remote_code
    with allowing(trust_remote_code=True):
        assert compose_saved(file).model.trust_remote_code


def test_all_that_is_asked_for_is_named_at_once(tmp_path: Path, plugin: Path) -> None:
    file = stored(tmp_path, {"user_dir": str(plugin), "model/trust_remote_code": True})
    text = refused(file)
    assert "--user-dir" in text and "--trust-remote-code" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": {"comet": {"command": "/tmp/evil"}}},
        {"metric": {"comet.command": "/tmp/evil"}},
        {"metric.comet.command": "/tmp/evil"},
        {"metric": {"comet": {"model": "/tmp/evil.ckpt"}}},
    ],
)
def test_a_program_and_a_pickle(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = stored(tmp_path, changes)
    text = refused(file, "seed=1")
    assert "/tmp/evil" in text and "metric.comet." in text
    key = "command" if "command" in str(changes) else "model"
    assert compose([f"config={file}", f"metric.comet.{key}=/tmp/mine"])
    compose_saved(file)  # to open a run scores nothing with it


def test_a_second_spelling_of_a_key_is_none(tmp_path: Path) -> None:
    file = stored(tmp_path, {"metric[comet].command": "/tmp/evil"})
    assert "Unknown key 'metric[comet].command'" in refused(file, "seed=1")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch trace']",
        "!!python/name:os.system",
        "!!python/module:antigravity",
    ],
)
def test_yaml_makes_no_objects(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"lang: en-ro\nout_dir: {text}\n")
    assert "python" in refused(file) and str(file) in refused(file, "seed=1")


@pytest.mark.parametrize(
    "value",
    ["${now:%Y}", "${hydra:runtime.cwd}", "a/${eval:1}/b", "${${lang}:x}", "${oc.${lang}:HOME}",
     "${oc.select:lang}"],
)  # fmt: skip
def test_only_two_resolvers(tmp_path: Path, value: str) -> None:
    file = stored(tmp_path, {"data/path": value})
    for text in (refused(file), refused(file, "seed=1")):
        assert "data.path" in text and str(file) in text


@pytest.mark.parametrize(
    "value",
    ["${oc.env:MY_SECRET}", "x/${oc.env: 'MY_SECRET' ,1}", "${oc.decode:${oc.env:MY_SECRET}}",
     "${oc.env:${lang}}"],
)  # fmt: skip
def test_a_foreign_file_reads_no_secret(
    tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "tr0ub4dor-and-3")
    file = stored(tmp_path, {"data/path": value})
    for text in (refused(file), refused(file, "seed=1")):
        assert "`data.path`" in text and "environment" in text and "tr0ub4dor" not in text
    assert compose([f"config={file}", "data.path=null"]).data.path is None


# --- ${oc.env:…} stays as it was written ----------------------------------------


def test_the_environment_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "tr0ub4dor-and-3")
    monkeypatch.setenv("EPOCHS", "3")
    monkeypatch.setenv("CORPUS", str(tmp_path))
    written = {
        "tracking.name": "run ${oc.env:MY_SECRET}",
        "tracking.project": "${oc.env:MY_SECRET}",
        "train.epochs": "${oc.decode:${oc.env:EPOCHS}}",
        "train.batch_size": "${oc.env:EPOCHS}",
        "data.path": "${oc.env:CORPUS}",
        "metrics": ["${oc.env:METRIC,chrf}"],
    }
    given = [f"{k}='{v}'" for k, v in written.items()]
    given[-1] = "metrics=['${oc.env:METRIC,chrf}']"
    config = compose([*ARGUMENTS, *given])
    assert config.tracking.name == "run tr0ub4dor-and-3"
    assert (config.train.epochs, config.train.batch_size) == (3, 3)
    assert config.metrics == ["chrf"]
    text = to_yaml(with_full_paths(config))
    assert "tr0ub4dor" not in text and str(tmp_path) not in text
    content = yaml.safe_load(text)
    for key, value in written.items():
        section, _, name = key.partition(".")
        assert (content[section][name] if name else content[section]) == value
    file = tmp_path / "config.yaml"
    file.write_text(text)
    again = compose([f"config={file}"])
    assert again == config
    assert to_yaml(again) == text
    opened = compose_saved(file)  # on a machine of other names, too
    assert (opened.tracking.name, opened.train.epochs) == (None, 3)
    monkeypatch.delenv("MY_SECRET")
    assert compose_saved(file) == opened


def test_a_value_that_was_changed_is_stored_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPOCHS", "3")
    config = compose([*ARGUMENTS, "train.epochs=${oc.env:EPOCHS}"])
    train = dataclasses.replace(config.train, epochs=4)
    assert yaml.safe_load(to_yaml(dataclasses.replace(config, train=train)))["train"]["epochs"] == 4
    assert as_written(dataclasses.asdict(config))["train"]["epochs"] == "${oc.env:EPOCHS}"


def test_in_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "tr0ub4dor-and-3")
    folder = tmp_path / "recipes_of_mine"
    folder.mkdir()
    (folder / "lora_of_mine.yaml").write_text(
        "tuner:\n  name: lora\n  r: 4\n  lora_alpha: ${.r}\ntracking:\n  name: ${oc.env:MY_TOKEN}\n"
    )
    config = compose(["recipe=lora_of_mine", "lang=en-ro", f"user_dir={folder}"])
    assert config.tracking.name == "tr0ub4dor-and-3"
    content = yaml.safe_load(to_yaml(config))
    assert content["tracking"]["name"] == "${oc.env:MY_TOKEN}"
    assert content["tuner"]["lora_alpha"] == content["tuner"]["r"] == 4


def test_a_key_given_in_plain_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "tr0ub4dor and 3")
    config = compose([*ARGUMENTS, "tracking.name='run of tr0ub4dor and 3'"])
    assert yaml.safe_load(to_yaml(config))["tracking"]["name"] == "run of ***"


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("plain", []),
        ("${other.key}", []),
        ("${oc.env:A}/${ oc.env : B }", [("oc.env", "A"), ("oc.env", "B")]),
        ("${oc.decode:${oc.env:A}}", [("oc.env", "A"), ("oc.decode", "\0")]),
        ("${${a}}", [("?", "${${a}}")]),
        ("${oc.env:A", [("?", "${oc.env:A")]),
        (["x", "${oc.env:A}"], [("oc.env", "A")]),
        (3, []),
    ],
)
def test_which_resolvers_a_text_calls(text: object, calls: list[tuple[str, str]]) -> None:
    assert list(resolver_calls(text)) == calls


@pytest.mark.parametrize("chosen", [{"model.trust_remote_code": True}, ["train.lr"], None])
def test_a_record_leads_to_no_code(chosen: object) -> None:
    class Tuned:
        tuning = {"chosen": chosen}  # noqa: RUF012

    config: RunConfig = compose(ARGUMENTS)
    with pytest.raises(RecordError, match="chosen"):
        as_chosen(config, Tuned())  # type: ignore[arg-type]
    assert not config.model.trust_remote_code


@pytest.mark.parametrize("value", [[1], "0.1", {"a": 1}, None])
def test_a_chosen_number_is_a_number(value: object) -> None:
    with pytest.raises(ConfigError, match=r"`train.lr` must be a number, not"):
        with_settings(compose(ARGUMENTS), {"train.lr": value})
