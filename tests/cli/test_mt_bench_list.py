"""``mt-bench list``: the methods, and Table 2's parameter column from a config.json alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import Commands, Models

pytestmark = pytest.mark.slow

LLAMA_7B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "tie_word_embeddings": False,
}


def counts(commands: Commands, *arguments: object) -> dict[tuple[str, int | None], int | None]:
    ended = commands.call("bench", "list", "--json", *arguments)
    assert ended.code == 0, ended.err
    return {(c["method"], c["rows"]): c["trainable"] for c in json.loads(ended.out)}


def test_table_2_of_the_paper(commands: Commands) -> None:
    folder = Path("llama-7b")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_7B))
    found = counts(commands, "--model", folder, "--tickets", "18,800")
    assert found["full", None] == 6_738_415_616  # 6.74 B
    assert found["qlora", None] == 16_777_216  # 16.8 M
    assert found["lora", None] == 4_194_304  # 4.19 M
    assert found["prompt", None] == 40_960  # the paper's 0.04 M
    assert found["prefix", None] == 2_621_440  # 2.62 M
    assert found["embed", None] == 131_072_000  # 131.1 M
    assert found["ks_lottery", 800] == 3_276_800  # 3.28 M
    for method in ("ks_lottery", "random", "random_seen", "frequency"):
        assert found[method, 18] == 73_728
    for method in ("none", "few_shot", "ks_transfer"):
        assert found[method, None] == 0
    assert found["eos_bias", None] == 1
    ended = commands.call("bench", "list", "--model", folder / "config.json", "--tickets", "800")
    for shown in ("6.74B", "16.8M", "4.19M", "2.62M", "131.1M", "3.28M", "6,738,415,616"):
        assert shown in ended.out
    assert ended.out.index("none") < ended.out.index("full") < ended.out.index("ks_lottery")


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_agrees_with_what_is_trained(kind: str, commands: Commands, models: Models) -> None:
    from test_mt_train import TRAINED

    found = counts(commands, "--model", getattr(models, kind))
    for (method, _), trainable in found.items():
        if method == "prompt_rows":
            assert trainable is None  # the tokenizer decides
        else:
            assert method == "full" or trainable == TRAINED[method], method


def test_the_default_model_by_its_name(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = "mt_lottery.model.gemma3.gemma3_270m.cached_folder"
    monkeypatch.setattr(converted, lambda: Path(models.tied))
    named = counts(commands, "--model", "gemma3_270m", "controls")
    assert named == counts(commands, "--model", models.tied, "controls")
    Path("gemma3_270m").mkdir()  # a folder of that name comes first
    ended = commands.call("bench", "list", "--model", "gemma3_270m")
    assert ended.code == 2 and "gemma3_270m: no config.json in it" in ended.err


def test_a_method_that_does_not_fit(commands: Commands) -> None:
    folder = Path("mamba")
    folder.mkdir()
    shape = {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 64}
    (folder / "config.json").write_text(json.dumps(shape))
    ended = commands.call("bench", "list", "--model", folder)
    assert ended.code == 0 and "see below" in ended.out
    assert (
        "lora: Which layers of MambaForCausalLM make queries and values is not known" in ended.out
    )
    assert "prefix: PEFT cannot put prefix on MambaForCausalLM" in ended.out


def test_names_alone(commands: Commands) -> None:
    ended = commands.call("bench", "list")
    assert ended.code == 0
    for method in ("none", "few_shot", "qlora", "ks_lottery"):
        assert f" {method} " in ended.out
    assert "│ layer" not in ended.out and "ks_freeze" not in ended.out
    listed = json.loads(commands.call("bench", "list", "--json").out)
    assert listed[0]["method"] == "none"


def test_groups(commands: Commands, models: Models) -> None:
    ended = commands.call("bench", "list")
    assert "(mt-bench all)" in ended.out and "(mt-bench peft)" in ended.out
    every = {x["method"]: x for x in json.loads(commands.call("bench", "list", "--json").out)}
    assert every["lora"]["groups"] == ["all", "peft"] and every["oft"]["groups"] == ["peft"]
    assert every["oft"]["in_all"] is False and "peft" not in every
    family = json.loads(commands.call("bench", "list", "peft", "--json").out)
    assert {x["method"] for x in family} == {m for m in every if "peft" in every[m]["groups"]}
    only = commands.call("bench", "list", "oft").out
    assert "orthogonal" in only and "qlora" not in only
    found = counts(commands, "oft", "ia3", "--model", models.untied)
    assert {method for method, _ in found} == {"none", "oft", "ia3"}
    assert found["ia3", None] == 2 * (16 + 16 + 64)  # keys, values and inner activations
    assert "Did you mean 'oft'" in commands.call("bench", "list", "otf").mistake()


def test_mistakes(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no config.json" in commands.call("bench", "list", "--model", "empty").mistake()
    (tmp_path / "empty" / "config.json").write_text("{")
    assert "config.json: damaged" in commands.call("bench", "list", "--model", "empty").mistake()
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "t5"}')
    assert "t5" in commands.call("bench", "list", "--model", "empty").mistake()
    with pytest.raises(SystemExit):
        commands.call("bench", "list", "--tickets", "0")
