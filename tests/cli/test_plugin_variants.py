"""A plugin's variant of a method is analysed as the method is: its tuner is asked, not its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Models, small

import mt_lottery as mtl

pytestmark = pytest.mark.slow

PLUGIN = '''
from mt_lottery.plugin import KSLotteryConfig, KSLotteryTuner, KSTransferTuner, register_tuner
from mt_lottery.tuners.rows.ks_freeze import KSFreezeTuner


@register_tuner("our_ticket", dataclass=KSLotteryConfig)
class OurTicket(KSLotteryTuner):
    """Trains the ticket's rows."""


@register_tuner("our_transfer", dataclass=KSLotteryConfig)
class OurTransfer(KSTransferTuner):
    """Copies the ticket's rows."""


@register_tuner("our_freeze", dataclass=KSLotteryConfig)
class OurFreeze(KSFreezeTuner):
    """Trains all but the ticket's rows."""
'''
PLUGINS = ("--user-dir", "plugins")
FAST = ("probe.lr=0.05", "train.lr=0.05", "train.epochs=1", "probe.epochs=1", "tuner.tickets=8")


@pytest.fixture
def runs(commands: Commands, models: Models, registered: None) -> None:
    """A run of each variant, and of what none of these analyses can look at."""
    Path("plugins").mkdir()
    Path("plugins/our_methods.py").write_text(PLUGIN)
    for recipe in ("our_ticket", "our_transfer", "our_freeze", "random_seen", "lora"):
        settings = FAST if recipe != "lora" else FAST[:-1]
        more = [*settings, f"out_dir={recipe}", "baseline=false", "user_dir=plugins"]
        ended = commands.train(*small(models.untied, recipe, "data.test_pairs=2", *more))
        assert ended.code == 0, ended.err


def content(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    return found


@pytest.mark.usefixtures("runs")
def test_every_analysis(commands: Commands, models: Models) -> None:
    def good(*arguments: object) -> str:
        ended = commands.call("ticket", *arguments)
        assert ended.code == 0, ended.err
        return ended.out

    for run in ("our_ticket", "our_transfer", "our_freeze"):
        found = json.loads(good("show", run, "--json", "--no-plot", *PLUGINS))
        assert found["selected"] == 8 and found["changed"] > 8
    # partial tuning beside partial transfer of the same probe, and beside the probe itself
    good("compare", "our_ticket", "our_transfer", "our_freeze", "--no-plot", *PLUGINS)
    [unchanged] = content("compare/compare.json")["unchanged"]
    assert "our_ticket" in unchanged["run"] and "our_transfer" in unchanged["transfer"]
    alone = ("--alphas", "0.5", "--no-plot", "--out", "alone")
    good("compare", "our_ticket", *alone, *PLUGINS)
    assert content("alone/compare.json")["unchanged"][0]["transfer"] == "its probe"
    # the first run gives the probe, the second is partial tuning at its α
    few = ("--alphas", "0.5", "--check-alphas", "none", "--no-plot", "--positions", "2")
    good("certify", "our_transfer", "our_ticket", *few, *PLUGINS)
    certificate = content("our_transfer/certificate/certificate.json")
    assert [check["run"] for check in certificate["checks"]] == ["our_ticket"]
    good("explain", "our_ticket", "--no-plot", "--controls", "1", *PLUGINS)
    assert "2 of 2 test" in good("merge", "our_ticket", "merged", *PLUGINS)
    good("find", "our_ticket", "--top", "8", "--out", "found.csv", *PLUGINS)
    assert set(mtl.Ticket.load("found.csv")) == set(mtl.Run("our_ticket").ticket)
    swept = [setting for setting in FAST if not setting.startswith("tuner.")]
    good(
        *("sweep", "lang=en-es", "--model", models.untied, "--out", "swept", "--no-dev"),
        *("--no-plot", "--recipes", "our_ticket,our_freeze", "--sizes", "8"),
        *("data.train_pairs=24", "data.test_pairs=2", "metrics=[chrf]", *swept),
        *("translate.max_new_tokens=8", *PLUGINS),
    )
    named = {curve["method"] for curve in content("swept/sweep.json")["curves"]}
    assert named == {"our_ticket", "our_freeze"}
    where = ("lang=en-es", "--model", models.untied, "--out", "too", *swept, *PLUGINS)
    many = ("--recipes", "our_freeze", "--sizes", "600")
    said = commands.call("ticket", "sweep", *where, *many).mistake()
    assert "one must be left to tune" in said


@pytest.mark.usefixtures("runs")
def test_what_a_method_cannot_is_said_with_the_recipes_that_can(commands: Commands) -> None:
    def refused(*arguments: str) -> str:
        return commands.call("ticket", *arguments, *PLUGINS).mistake()

    probes = ("embed", "ks_freeze", "ks_lottery", "ks_transfer", "our_ticket", "our_transfer")
    for command in (("show", "lora"), ("certify", "random_seen")):
        said = refused(*command)
        assert "no embedding-tuned probe" in said and all(name in said for name in probes), said
    said = refused("compare", "lora", "our_ticket")
    assert "runs that choose rows" in said and "our_freeze" in said and "embed" not in said
    for other in ("our_freeze", "our_transfer", "random_seen"):
        said = refused("certify", "our_ticket", other)
        allowed = said.partition("are allowed (")[2].partition(")")[0].split(", ")
        assert {"ks_lottery", "our_ticket"} <= {*allowed}
        others = {"our_freeze", "ks_freeze", "our_transfer", "random_seen", "frequency_matched"}
        assert not others & {*allowed}
    assert "--check-alphas" in refused("certify", "our_ticket", "our_transfer")
    assert "ks_lottery" in refused("explain", "lora") and "our_freeze" in refused("find", "lora")
