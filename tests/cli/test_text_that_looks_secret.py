"""Text that looks as if it held a key is data: a run that is opened again has it as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import Commands, Models, hypotheses, small

import mt_lottery as mtl

pytestmark = pytest.mark.slow
PAIRS = [
    ("Open https://example.org/list?key=animal for the list.", "Abre la lista."),
    ("See ftp://anonymous:guest@example.org/pub now.", "Míralo ahora."),
    ("Send Authorization: Bearer abcdefgh12345678 with it.", "Mándalo con eso."),
    ("My strong value is q7-Zr41-mmXb-93.", "Mi valor."),
    ("The cat sleeps.", "El gato duerme."),
]
TEST = [
    ("Open https://example.org/list?key=flower for the other list.", "Abre la otra lista."),
    ("Send Authorization: Bearer hgfedcba87654321 with that.", "Mándalo."),
    ("My value is q7-Zr41-mmXb-93 too.", "Mi valor."),
]
#: What a plugin's tuner without its own ``save`` looks at is kept by us.
PLUGIN = """
from mt_lottery.plugin import Tuner, register_tuner


@register_tuner("reads")
class Reads(Tuner):
    trains = False
    reads_text = True

    def apply(self, context):
        self.lead = "".join(f"{prompt}{target}\\n\\n" for prompt, target in context.examples[:4])
        context.model.requires_grad_(False)
        return []
"""


@pytest.mark.parametrize("recipe", ["bm25", "random", "plugin"])
def test_examples_are_kept_as_they_were(
    recipe: str, commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "q7-Zr41-mmXb-93")
    name, more = "few_shot", {"tuner.retrieve": recipe, "tuner.shots": 2}
    if recipe == "plugin":
        Path("plugins").mkdir()
        Path("plugins/reads.py").write_text(PLUGIN)
        Path("plugins/reads.yaml").write_text("tuner: {name: reads}\n")
        name, more = "reads", {"user_dir": "plugins"}
    run = mtl.train(
        name, "en-es", name_or_path=str(models.untied), train=PAIRS, test=TEST, out_dir="run",
        baseline=False, metrics=["chrf"], echo=lambda _: None,
        settings={"model.dtype": "float32", "translate.max_new_tokens": 8, **more},
    )  # fmt: skip
    scored = [line["first_line"] for line in hypotheses(Path("run"))]
    assert run.translate([source for source, _ in TEST]) == scored
    again = mtl.Run("run", user_dir="plugins" if recipe == "plugin" else None)
    assert again.translate([source for source, _ in TEST]) == scored
    if recipe == "plugin":
        kept = again.lead
    else:
        kept = "".join(p.read_text("utf-8") for p in Path("run/control").iterdir())
    assert kept and "***" not in kept
    assert recipe == "random" or "Bearer abcdefgh12345678" in kept  # two of five are drawn
    # what is no data still holds no secret
    assert "q7-Zr41" not in Path("run/config.yaml").read_text("utf-8")


@pytest.mark.parametrize("key", ["prompt", "system"])
def test_a_prompt_with_a_secret_is_refused(key: str, commands: Commands, models: Models) -> None:
    text = "See https://example.org/?key=animal: {source} in {target_language}:"
    more = [f"data.{key}={json.dumps(text)}", "out_dir=run"]
    more += [] if key == "prompt" else ["data.template=chat"]
    told = commands.train(*small(models.untied, "none", "baseline=false", *more)).mistake()
    assert f"`data.{key}` holds what looks like a key or a password" in told, told
    assert "key=***" in told and "animal" not in told and not Path("run").exists()
