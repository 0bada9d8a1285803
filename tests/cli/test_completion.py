"""The Tab key in bash, zsh and fish, and what it offers."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import Commands

import mt_lottery
from mt_lottery.cli import bench, ticket, translate
from mt_lottery.cli.completing.keys import known
from mt_lottery.cli.completing.shells import SHELLS, answer, words_of
from mt_lottery.cli.completing.words import values_of
from mt_lottery.cli.help.keys import resolved
from mt_lottery.config.recipe_files import names_in, recipes_folder
from mt_lottery.errors import ConfigError

ROOT = Path(mt_lottery.__file__).parents[1]
RECIPES = sorted(p.stem for p in (recipes_folder() / "recipe").glob("*.yaml"))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mt-train ", ["recipe=", "lang=", "train.", "seed="]),
        ("mt-train recipe=ks_l", ["ks_lottery"]),
        ("mt-train recipe=ks_lottery tuner.sc", ["tuner.scope="]),
        ("mt-train recipe=ks_lottery tuner.correction=", ["none", "bonferroni", "bh"]),
        ("mt-train recipe=lora preset=", ["paper"]),
        ("mt-train lang=en-r", ["en-ro"]),
        ("mt-train lang=en-ro,en-e", ["en-ro,en-es"]),
        ("mt-train data=flores101 lang=de-pl", ["de-pl"]),
        ("mt-train model=hf model.dt", ["model.dtype="]),
        ("mt-train data=opus100 data.duplicates=", ["pair", "source", "keep"]),
        ("mt-train resume=", ["true", "false"]),
        ("mt-train metrics=spbleu,ch", ["spbleu,chrf"]),
        ("mt-train train.optimizer=sp", ["sparse_adam"]),
        ("mt-train user_dir=pl", ["plugins/"]),
        ("mt-train data.path=", ["plugins/", "a\\ file.tsv"]),
        ("mt-train --help ", ["all"]),
        ("mt-train --completion ", [*SHELLS]),
        ("mt-bench ", ["list", "report", "all", "peft", "ks_lottery", "train."]),
        ("mt-bench lora --langs ro,e", ["ro,es", "ro,en"]),
        ("mt-bench lora --langs=r", ["ro"]),
        ("mt-bench lora --pre", ["--preset"]),
        ("mt-bench lora lora:tuner.r", ["tuner.r="]),
        ("mt-bench --slurm pa", ["partition="]),
        ("mt-bench compare plugins --against ks_t", ["ks_transfer"]),
        ("mt-ticket ", ["find", "show", "certify", "export"]),
        ("mt-ticket export plugins out --format ", ["lora", "gguf"]),
        ("mt-ticket show pl", ["plugins/"]),
        ("mt-ticket find --selector gr", ["gradient"]),
        ("mt-ticket sweep lang=en-r", ["en-ro"]),
        ("mt-translate --run pl", ["plugins/"]),
        (".venv/bin/mt-translate --", ["--run", "--lang", "--device"]),
        ("another ", []),
        ("", []),
    ],
)
def test_what_is_offered(
    line: str, offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plugins").mkdir()
    Path("a file.tsv").touch()
    found = answer(["bash", line, " \t\n\"'><=;|&(:"])
    assert set(offered) <= set(found)
    assert bool(offered) == bool(found)
    assert len(found) == len(set(found))


def test_what_a_benchmark_sets_itself_is_not_offered() -> None:
    from mt_lottery.benchmark.asking import ask

    for key in ("recipe", "lang", "test_lang", "seed", "out_dir", "tune"):
        assert f"{key}=" not in answer(["bash", f"mt-bench lora --langs ro {key[:2]}"])
        given = bench.parser().parse_intermixed_args(["lora", "--langs", "ro", f"{key}=1"])
        with pytest.raises(ConfigError, match=key):
            ask(given)
    assert "lang=" in answer(["bash", "mt-ticket sweep la"])


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_keys_of_a_recipe_are_those_of_its_schema(recipe: str) -> None:
    """Read from the source without an import, and what the import gives."""
    config, _ = resolved([f"recipe={recipe}", "data=opus100"])
    wanted = {}
    for section in ("tuner", "data", "train"):
        for f in dataclasses.fields(getattr(config, section)):
            choices = tuple(f.metadata["choices"] or ())
            wanted[f"{section}.{f.name}"] = (f.metadata["help"], choices)
    for hidden in ("tuner.name", "data.name"):
        del wanted[hidden]
    found = known({"recipe": recipe, "data": "opus100"})
    for key, (text, choices) in wanted.items():
        assert found[key].text == text
        assert tuple(v for v in found[key].values if v not in ("true", "false")) == choices
    own = {key for key in found if key.partition(".")[0] in ("tuner", "data", "train")}
    assert own == {*wanted}


PLUGIN = """
raise SystemExit("imported")
from dataclasses import dataclass
from mt_lottery.plugin import NOISE, Tuner, TunerConfig, register_tuner, setting

@dataclass
class Own(TunerConfig):
    depth: int = setting(4, "how deep")
    form: str = setting("a", "which form", choices=("a", "b"))

@register_tuner("own", dataclass=Own)
class Tunes(Tuner): ...
"""


def test_a_plugin_is_read_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("def (")
    Path("own.py").write_text(PLUGIN)
    Path("gentle.yaml").write_text("# Gentle.\ntuner: {name: own}\npresets: {hard: {}}\n")
    line = "mt-train user_dir=. recipe="
    assert answer(["fish", *words_of(f"{line}gen")]) == ["recipe=gentle\tGentle."]
    assert answer(["fish", *words_of(f"{line}gentle tuner.")]) == [
        "tuner.depth=\thow deep",
        "tuner.form=\twhich form",
    ]
    assert answer(["fish", *words_of(f"{line}gentle tuner.form=")]) == [
        "tuner.form=a\t",
        "tuner.form=b\t",
    ]
    assert answer(["fish", *words_of(f"{line}gentle preset=")]) == ["preset=hard\t"]


#: Options whose value is text that nobody can guess; of the others that are not completed, a type
#: reads a number.
FREE = {"seeds", "sizes", "alphas", "check_alphas", "suggest", "more"}


def test_every_option_is_completed_or_a_number() -> None:
    made = [*(make() for make in bench.subcommands().values()), bench.parser(), translate.parser()]
    for action in ticket.parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            made += action.choices.values()
    assert len(made) >= 16
    for parser in made:
        for action in parser._actions:
            if action.nargs != 0 and action.option_strings and not any([*values_of(action, "")]):
                number = action.type not in (None, Path)
                assert number or action.dest in FREE, (parser.prog, action.dest)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands as they are installed, and a folder to stand in."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("train", "bench", "ticket", "translate"):
        code = f"import sys; from mt_lottery.cli.{name} import main; sys.exit(main())"
        file = folder / f"mt-{name}"
        file.write_text(
            f"#!/bin/sh\ncase $1 in --comp*) PYTHONPATH='{ROOT}' exec '{sys.executable}' -c "
            f"'{code}' \"$@\" ;; esac\nprintf '<%s>' got \"$@\"\n"
        )
        file.chmod(0o755)
    (folder / "my texts").mkdir()
    return folder


START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SOURCE = {
    "bash": "source <(mt-train --completion bash)",
    "zsh": "autoload -Uz compinit; compinit -u -D; source <(mt-train --completion zsh)",
    "fish": "mt-train --completion fish | source",
    "zsh with a file": "mkdir -p own; mt-train --completion zsh > own/_mt-train; "
    "fpath=(own $fpath); autoload -Uz compinit; compinit -u -D",
}


CONTROL = re.compile(
    r"\x1b(\[[?>=]?[\d;]*[A-Za-z]|[()][A-Z0-9]|[=>]|\][^\x07]*\x07)|[\x07\r]|.\x08"
)


class Terminal:
    """A shell at a pseudo-terminal."""

    def __init__(self, shell: str, folder: Path) -> None:
        path = f"{folder}:{os.environ['PATH']}"
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            env = {"PATH": path, "TERM": "xterm", "HOME": str(folder), "LANG": "C.UTF-8"}
            os.execvpe(shell, START[shell], {**env, "COLUMNS": "200", "LINES": "50"})

    def send(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, wanted: str, seconds: float = 60) -> str:
        """What is shown, control sequences aside, once it holds ``wanted``."""
        shown, end = b"", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.2)[0]:
                shown += os.read(self.fd, 65536)
                if b"\x1b[c" in shown or b"\x1b[0c" in shown:
                    os.write(self.fd, b"\x1b[?1;2c")  # which terminal this is, fish asks
                    shown = shown.replace(b"\x1b[c", b"").replace(b"\x1b[0c", b"")
            plain = CONTROL.sub("", shown.decode(errors="replace"))
            if re.search(wanted, plain):
                return plain
        raise AssertionError(f"no {wanted!r} in {plain!r}")

    def close(self) -> None:
        os.close(self.fd)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


@pytest.mark.slow
@pytest.mark.parametrize("way", [*SOURCE])
def test_in_a_real_shell(way: str, programs: Path) -> None:
    shell = way.split()[0]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    terminal = Terminal(shell, programs)
    try:
        terminal.send(f"{SOURCE[way]}; echo rea''dy\n")
        terminal.until("\nready")
        for typed, shown in (
            ("mt-train recipe=ks_lot\t", "recipe=ks_lottery"),
            ("tuner.corr\t", "ection="),
            ("bon\t", "bonferroni"),
            ("lang=en-r\t", "en-ro"),
            ("data.path=my\t", r"my\\ texts/"),
            ("\n", "<tuner.correction=bonferroni><lang=en-ro><data.path=my texts/>"),
            ("mt-ticket cert\t", "ify"),
            ("--marg\t", "in"),
            ("ori\t", "ginal"),
            ("\n", "<certify><--margin><original>"),
            ("mt-bench lora lora:tuner.lora_a\t", "lpha="),
            ("\n", "<got><lora><lora:tuner.lora_alpha="),
        ):
            terminal.send(typed)
            terminal.until(shown)
            time.sleep(1.0 if typed == "\n" else 0.0)  # the next prompt
    finally:
        terminal.close()


@pytest.mark.slow
def test_the_tab_key_does_not_wait_for_pytorch(programs: Path) -> None:
    line = "mt-train recipe=ks_lottery data=opus100 tuner."
    code = (
        "import sys; from mt_lottery.cli.train import command\n"
        f"command(['--complete', 'bash', {line!r}])\n"
        "command(['--help'])\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, capture_output=True)


def test_a_shell_without_a_script(commands: Commands) -> None:
    for name in ("train", "bench", "ticket", "translate"):
        said = commands.call(name, "--completion", "tcsh").mistake()
        assert "tcsh" in said and "bash, zsh, fish" in said
    assert "allowed" in commands.train("--completion").mistake()
    assert commands.train("--completion=fish").out.startswith("function")


def test_names_are_offered(commands: Commands) -> None:
    for shell in SHELLS:
        assert "mt-translate" in commands.call("bench", "--completion", shell).out
    assert {*names_in("recipe")} <= {*answer(["bash", "mt-train recipe="])}
