"""``gguf``, ``gguf-lora`` and ``gguf-base``: what is changed in the base, and nothing else is."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from tiny_gguf import Model, entries, make_model, tune, write_gguf

from mt_lottery.errors import ModelError, TuningError

pytestmark = pytest.mark.slow
Q8 = gguf.GGMLQuantizationType.Q8_0


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Any]:
    folder = tmp_path_factory.mktemp("untied")
    model = make_model(folder / "llama", "llama", tied=False)
    return model, tune(model, folder / "run")


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Any]:
    folder = tmp_path_factory.mktemp("tied")
    model = make_model(folder / "gemma", "gemma3", tied=True)
    return model, tune(model, folder / "run")


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text("utf-8")


def asked(folder: Path) -> Any:
    """The request that a card shows."""
    (line,) = (text for text in card_of(folder).splitlines() if "curl" in text)
    return json.loads(shlex.split(line)[-1])


def tensors(path: Path) -> dict[str, Any]:
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def check_rest(base: Path, made: Path, changed: set[str]) -> None:
    """Every tensor but those named, and all metadata, are the base's, byte for byte."""
    before, after = tensors(base), tensors(made)
    assert [*after][: len(before)] == [*before]
    assert {*after} - {*before} <= changed
    for name in before.keys() - changed:
        assert after[name].tensor_type == before[name].tensor_type, name
        assert np.array_equal(after[name].data, before[name].data), name
    old, new = entries(base), entries(made)
    for key in old.keys() - {"GGUF.version", "GGUF.tensor_count", "GGUF.kv_count"}:
        assert new[key] == old[key], key
    assert all(key.startswith(("mt_lottery.", "GGUF.")) for key in new.keys() - old.keys())


def rows_of(run: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Ids and values of the rows, as the run's own table shows them."""
    embedding = run.tuned.model.get_input_embeddings()
    ids = embedding.token_ids.sort().values
    with torch.no_grad():
        values = embedding(ids) / getattr(embedding.base, "embed_scale", 1.0)
    return ids.numpy(), values.numpy()


def test_an_untied_base_gets_the_rows_and_nothing_else(
    untied: tuple[Model, Any], tmp_path: Path
) -> None:
    model, run = untied
    done = run.export(tmp_path / "out", "gguf", base=model.gguf)
    made = done.folder / "model.gguf"
    check_rest(model.gguf, made, {"token_embd.weight"})
    ids, values = rows_of(run)
    before, after = tensors(model.gguf), tensors(made)
    table = before["token_embd.weight"].data.copy()
    table[ids] = values
    assert np.allclose(after["token_embd.weight"].data, table, atol=1e-6)
    assert [*after] == [*before]
    new = entries(made)
    assert new["mt_lottery.ticket"] == ids.tolist() and new["mt_lottery.direction"] == "en-ro"
    assert new["mt_lottery.prompt"] == run.prompt("{sentence}")
    assert new["mt_lottery.model.sha256"] == run.record.model.sha256
    assert done.bytes == made.stat().st_size and "llama.cpp" in str(done)


def test_a_tied_base_keeps_its_table_as_the_head(tied: tuple[Model, Any], tmp_path: Path) -> None:
    model, run = tied
    done = run.export(tmp_path / "out", "gguf", base=model.gguf)
    made = tensors(done.folder / "model.gguf")
    before = tensors(model.gguf)["token_embd.weight"]
    check_rest(model.gguf, done.folder / "model.gguf", {"token_embd.weight", "output.weight"})
    assert np.array_equal(made["output.weight"].data, before.data)
    ids, values = rows_of(run)
    assert np.allclose(made["token_embd.weight"].data[ids], values, atol=1e-6)
    assert "output.weight was added" in str(done)


def test_rows_of_both_tables_leave_a_tied_base_tied(
    tied: tuple[Model, Any], tmp_path: Path
) -> None:
    model = tied[0]
    run = tune(model, tmp_path / "run", **{"tuner.scope": "tied"})
    done = run.export(tmp_path / "out", "gguf", base=model.gguf)
    made = tensors(done.folder / "model.gguf")
    check_rest(model.gguf, done.folder / "model.gguf", {"token_embd.weight"})
    assert "output.weight" not in made
    # and where the base has two tables, both are changed
    base = run.export(tmp_path / "base", "gguf-base", base=model.gguf).folder / "model.gguf"
    done = run.export(tmp_path / "two", "gguf", base=base)
    made = tensors(done.folder / "model.gguf")
    assert np.array_equal(made["output.weight"].data, made["token_embd.weight"].data)
    adapter = tensors(run.export(tmp_path / "a", "gguf-lora", base=base).folder / "adapter.gguf")
    added = adapter["output.weight.lora_b"].data.astype("f4") @ adapter["output.weight.lora_a"].data
    table = tensors(base)["output.weight"].data + added
    assert np.allclose(table, made["output.weight"].data, atol=1e-6)


def test_a_quantised_table_keeps_its_type(tied: tuple[Model, Any], tmp_path: Path) -> None:
    model, run = tied
    base = write_gguf(model.folder, tmp_path / "q8.gguf", table="Q8_0", alignment=64)
    done = run.export(tmp_path / "out", "gguf", base=base)
    check_rest(base, done.folder / "model.gguf", {"token_embd.weight", "output.weight"})
    before = tensors(base)["token_embd.weight"].data
    made = tensors(done.folder / "model.gguf")
    ids, values = rows_of(run)
    others = np.delete(np.arange(600), ids)
    assert made["token_embd.weight"].tensor_type == Q8
    assert np.array_equal(made["token_embd.weight"].data[others], before[others])
    assert np.array_equal(made["token_embd.weight"].data[ids], gguf.quants.quantize(values, Q8))
    assert "rounded to Q8_0" in str(done)


def test_the_adapter_is_the_difference_from_the_bases_own_rows(
    tied: tuple[Model, Any], tmp_path: Path
) -> None:
    model, run = tied
    base = write_gguf(model.folder, tmp_path / "q8.gguf", table="Q8_0")
    done = run.export(tmp_path / "out", "gguf-lora", base=base)
    made, about = tensors(done.folder / "adapter.gguf"), entries(done.folder / "adapter.gguf")
    a, b = made["token_embd.weight.lora_a"], made["token_embd.weight.lora_b"]
    one_hot = gguf.quants.dequantize(a.data, a.tensor_type)
    assert one_hot.shape == (600, 32) and b.data.shape == (32, 32)
    table = gguf.quants.dequantize(tensors(base)["token_embd.weight"].data, Q8)
    ids, values = rows_of(run)
    scale = about["adapter.lora.alpha"] / 32  # llama.cpp: alpha / r
    served = table + scale * one_hot @ b.data.T
    assert np.allclose(served[ids], values, atol=1e-5)
    others = np.delete(np.arange(600), ids)
    assert np.array_equal(served[others], table[others])
    wanted = {"general.type": "adapter", "general.architecture": "gemma3", "adapter.type": "lora"}
    assert wanted.items() <= about.items() and about["mt_lottery.ticket"] == ids.tolist()
    assert "gguf-base" in str(done)  # this base is tied


def test_a_base_with_its_own_head_takes_adapters(tied: tuple[Model, Any], tmp_path: Path) -> None:
    model, run = tied
    done = run.export(tmp_path / "base", "gguf-base", base=model.gguf)
    base = done.folder / "model.gguf"
    check_rest(model.gguf, base, {"output.weight"})
    assert ModelCard.load(base.parent / "README.md").data.library_name == "gguf"
    assert "mt_lottery.ticket" not in entries(base)
    assert "aborts" not in str(run.export(tmp_path / "a", "gguf-lora", base=base))
    assert entries(run.export(tmp_path / "m", "gguf", base=base).folder / "model.gguf")


def test_a_run_without_rows_is_the_base_and_its_prompt(
    untied: tuple[Model, Any], tmp_path: Path
) -> None:
    model, own = untied[0], {"data.prompt": "{{sentence}}: {source}"}  # as the card's own place
    run = tune(model, tmp_path / "run", recipe="none", **own)
    made = run.export(tmp_path / "out", "gguf", base=model.gguf).folder / "model.gguf"
    check_rest(model.gguf, made, set())
    assert entries(made)["mt_lottery.prompt"] == run.prompt("{sentence}")
    assert "unchanged but for" in card_of(made.parent) and "0 rows" not in card_of(made.parent)
    assert asked(made.parent)["prompt"] == run.prompt("The cat sleeps.")
    with pytest.raises(TuningError, match="holds 1 to 32 rows of this model, and the run changed"):
        run.export(tmp_path / "a", "gguf-lora", base=model.gguf)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("lora", "format=lora and llama.cpp's convert_lora_to_gguf.py make an adapter"),
        ("prefix", "No GGUF file can hold what it learnt: format=lora is for PEFT"),
        ("eos_bias", "No GGUF file can hold what it learnt: translate with mt-translate"),
        ("few_shot_bm25", "No GGUF file can hold what it learnt"),
        ("full", "format=merged and llama.cpp's convert_hf_to_gguf.py make a GGUF"),
    ],
)
def test_what_is_no_row_is_refused_with_what_would_do(
    untied: tuple[Model, Any], recipe: str, said: str, tmp_path: Path
) -> None:
    more = {"train.lr": 0.3} if recipe == "full" else {}  # far from the original
    run = tune(untied[0], tmp_path / "run", recipe=recipe, **more)
    for form in ("gguf", "gguf-lora"):
        with pytest.raises(TuningError, match=f"format={form} holds rows .* {recipe} .*{said}"):
            run.export(tmp_path / "out", form, base=untied[0].gguf)
    assert not (tmp_path / "out").exists()
    # the base below other runs' adapters can be had from any
    done = run.export(tmp_path / "out", "gguf-base", base=untied[0].gguf)
    assert "differs" not in str(done)


def test_a_base_that_is_not_the_runs_is_refused(
    untied: tuple[Model, Any], tied: tuple[Model, Any], tmp_path: Path
) -> None:
    model, run = untied

    def refused(base: Path) -> str:
        with pytest.raises(ModelError) as caught:
            run.export(tmp_path / "out", "gguf", base=base)
        assert not (tmp_path / "out").exists() and str(base) in str(caught.value)
        return str(caught.value)

    # another tokenizer: the first token that differs is named
    other = tmp_path / "other"
    shutil.copytree(model.folder, other)
    text = (other / "tokenizer.json").read_text("utf-8")
    (other / "tokenizer.json").write_text(text.replace('"!":', '"¡!":'), "utf-8")
    assert "token 3 is '¡!' there, '!' in" in refused(write_gguf(other, tmp_path / "t.gguf"))
    # the same tokens, another model
    strange = make_model(tmp_path / "strange", "llama", tied=False, seed=1)
    assert "not the table that the run was tuned from: its rows differ by" in refused(strange.gguf)
    wide = make_model(tmp_path / "wide", "llama", tied=False, hidden_size=64)
    assert "is 600 × 64, the run's 600 × 32" in refused(wide.gguf)
    # no model, a part, one with rows in it, one cut short
    adapter = run.export(tmp_path / "a", "gguf-lora", base=model.gguf).folder / "adapter.gguf"
    assert "general.type is 'adapter'" in refused(adapter)
    tuned = run.export(tmp_path / "m", "gguf", base=model.gguf).folder / "model.gguf"
    assert "it holds the rows of a run already (en-ro)" in refused(tuned)
    short = tmp_path / "short.gguf"
    short.write_bytes(model.gguf.read_bytes()[:-500])
    assert "damaged, or cut short" in refused(short)
    assert "no such file" in refused(tmp_path / "missing.gguf")


@pytest.mark.parametrize("form", ["gguf", "gguf-lora", "gguf-base"])
def test_a_refusal_comes_before_anything_is_written(
    untied: tuple[Model, Any], form: str, tmp_path: Path
) -> None:
    """Damage in an entry that is read for the last notes."""
    model, run = untied
    content = model.gguf.read_bytes()
    at = content.index(b"tokenizer.ggml.model") + len("tokenizer.ggml.model") + 4 + 8
    assert content[at : at + 4] == b"gpt2"
    base = tmp_path / "base.gguf"
    base.write_bytes(content[:at] + b"\x9f" + content[at + 1 :])
    with pytest.raises(ModelError, match="damaged"):
        run.export(tmp_path / "out", form, base=base)
    assert not (tmp_path / "out").exists()


def test_another_version_of_the_model_is_said(untied: tuple[Model, Any], tmp_path: Path) -> None:
    model, run = untied
    folder = tmp_path / "other"
    shutil.copytree(model.folder, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] *= 1.1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    done = run.export(tmp_path / "out", "gguf", base=write_gguf(folder, tmp_path / "o.gguf"))
    assert "differs from the run's by 10%, which F32 does not explain" in str(done)
    for table in ("Q8_0", "BF16"):
        base = write_gguf(model.folder, tmp_path / f"{table}.gguf", table=table)
        assert "differs" not in str(run.export(tmp_path / table, "gguf", base=base))


def test_a_chat_begins_once(tmp_path: Path) -> None:
    """Its text begins with BOS, and engines put it before a text too."""
    from chat_models import make_chat_model  # tiny_gguf makes it importable

    folder = make_chat_model("llama3", tmp_path / "chat")
    base = write_gguf(folder, tmp_path / "chat.gguf")
    run = tune(Model(folder, base), tmp_path / "run", **{"data.template": "chat"})
    bos, prompt = "<|begin_of_text|>", run.prompt("The cat sleeps.")
    assert prompt.startswith(bos)
    done = run.export(tmp_path / "gguf", "gguf", base=base)
    assert f"llama.cpp puts {bos} before" in str(done) and "add_bos_token" not in str(done)
    assert asked(tmp_path / "gguf")["prompt"] == prompt.removeprefix(bos)
    # here it does not, and no option is needed
    content = base.read_bytes()
    at = content.index(b"tokenizer.ggml.add_bos_token") + len("tokenizer.ggml.add_bos_token") + 4
    base.write_bytes(content[:at] + b"\0" + content[at + 1 :])
    done = run.export(tmp_path / "bare", "gguf", base=base)
    assert bos not in str(done) and asked(tmp_path / "bare")["prompt"] == prompt
    run.export(tmp_path / "vllm", "lora", engine="vllm")
    request = asked(tmp_path / "vllm")
    assert request["prompt"] == prompt and request["add_special_tokens"] is False


def test_architectures_that_llama_cpp_always_ties_are_refused(tmp_path: Path) -> None:
    model = make_model(tmp_path / "gemma2", "gemma2", tied=True)
    run = tune(model, tmp_path / "run")
    for form in ("gguf", "gguf-lora", "gguf-base"):
        with pytest.raises(ModelError, match="ties the two tables of a 'gemma2' model always"):
            run.export(tmp_path / "out", form, base=model.gguf)


def test_another_begin_or_end_of_a_text_is_said(untied: tuple[Model, Any], tmp_path: Path) -> None:
    model, run = untied
    content = model.gguf.read_bytes()
    for key, old, new in (("add_bos_token", b"\x01", b"\x00"), ("eos_token_id", b"\x01", b"\x05")):
        at = content.index(f"tokenizer.ggml.{key}".encode()) + len(f"tokenizer.ggml.{key}") + 4
        assert content[at : at + 1] == old
        content = content[:at] + new + content[at + 1 :]
    base = tmp_path / "base.gguf"
    base.write_bytes(content)
    said = str(run.export(tmp_path / "out", "gguf", base=base))
    assert "--override-kv tokenizer.ggml.add_bos_token=bool:true" in said
    assert "--override-kv tokenizer.ggml.eos_token_id=int:1" in said
