"""A run directory of somebody else: no command imports or starts what it asks for, unasked."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from tiny_runs import Commands, Ended, Models, small

import mt_lottery as mtl
from mt_lottery.errors import ConfigError

pytestmark = pytest.mark.slow


@pytest.fixture
def foreign(commands: Commands, models: Models) -> Path:
    """A finished run that asks for a folder of plugins."""
    ended = commands.train(*small(models.untied, "ks_lottery", "out_dir=foreign", "baseline=false"))
    assert ended.code == 0, ended.err
    folder = commands.folder / "plugins"
    folder.mkdir()
    code = "import pathlib\npathlib.Path(__file__).with_name('trace').touch()\n"
    (folder / "foreign_plugin.py").write_text(code)
    change(Path("foreign"), user_dir=str(folder))
    return Path("foreign")


def change(run: Path, **settings: object) -> None:
    file = run / "config.yaml"
    content = yaml.safe_load(file.read_text())
    for key, value in settings.items():
        section, _, name = key.partition("__")
        if name:
            content[section][name] = value
        else:
            content[key] = value
    file.write_text(yaml.safe_dump(content))


def translate(commands: Commands, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Ended:
    from mt_lottery.cli.shared import guarded
    from mt_lottery.cli.translate import command

    commands._capture()
    stdin = io.TextIOWrapper(io.BytesIO(b"Good morning.\n"))
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", output)
        code = guarded(lambda: command([str(a) for a in arguments]))
    output.flush()
    return Ended(code, output.buffer.getvalue().decode(), commands._capture()[1])


def test_every_command_names_the_folder_and_imports_nothing(
    commands: Commands, foreign: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = commands.folder / "plugins"
    refused = [
        translate(commands, monkeypatch, "--run", foreign).mistake(),
        *(
            commands.call("ticket", *arguments).mistake()
            for arguments in (
                ("show", foreign),
                ("find", foreign),
                ("certify", foreign),
                ("transfer", foreign, "out"),
                ("explain", foreign),
                ("merge", foreign, "out"),
            )
        ),
        commands.train(f"config={foreign}", "out_dir=again").mistake(),
    ]
    with pytest.raises(ConfigError) as caught:
        mtl.load_tuned(foreign)
    for message in (*refused, str(caught.value)):
        assert str(plugins) in message and "config.yaml" in message, message
        assert "user_dir=" in message or "--user-dir" in message
    assert not (plugins / "trace").exists()
    assert not Path("out").exists() and not Path("again").exists()

    allowed = translate(commands, monkeypatch, "--run", foreign, "--user-dir", "plugins")
    assert allowed.code == 0, allowed.err
    assert (plugins / "trace").exists()
    assert mtl.load_tuned(foreign, user_dir="plugins")
    again = commands.train(f"config={foreign}", "user_dir=plugins", "out_dir=again")
    assert again.code == 0, again.err


def test_code_of_a_model_is_not_run(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path("foreign")
    assert commands.train(*small(models.untied, "none", f"out_dir={run}")).code == 0
    evil = commands.folder / "evil"
    shutil.copytree(models.untied, evil)
    settings = json.loads((evil / "config.json").read_text())
    settings["auto_map"] = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.Evil"}
    settings["model_type"] = "evil"
    (evil / "config.json").write_text(json.dumps(settings))
    (evil / "evil.py").write_text(f"open({str(commands.folder / 'trace')!r}, 'w')\n")
    change(run, model__name_or_path=str(evil), model__trust_remote_code=True)
    message = translate(commands, monkeypatch, "--run", run).mistake()
    assert str(evil) in message and "--trust-remote-code" in message
    with pytest.raises(ConfigError, match="trust_remote_code=True"):
        mtl.load_tuned(run)
    # the record can name settings too
    change(run, model__trust_remote_code=False)
    record = json.loads((run / "record.json").read_text())
    record["tuning"] = {"chosen": {"model.trust_remote_code": True}}
    (run / "record.json").write_text(json.dumps(record))
    assert translate(commands, monkeypatch, "--run", run).mistake()
    assert not (commands.folder / "trace").exists()
