"""``model=hf``: what loads, how it comes out, and what each mistake says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mt_lottery.config import ModelConfig
from mt_lottery.errors import ModelError
from mt_lottery.model.loading import fingerprint, load

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cache")]


def config(where: object, **settings: Any) -> ModelConfig:
    return ModelConfig(name="hf", name_or_path=str(where), **settings)


def message(where: object, **settings: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load(config(where, **settings), "cpu")
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "tied"),
    [
        ("llama", False), ("llama", True), ("qwen2", True), ("qwen2", False), ("gemma3", True),
        ("gpt2", True),
    ],
)  # fmt: skip
def test_loads_each_family(model_folder, kind, tied):
    folder = model_folder(kind, tied)
    loaded = load(config(folder), "cpu")
    info, model = loaded.info, loaded.model
    assert (info.name, info.path, info.revision) == (kind, str(folder), None)
    assert (info.vocab_size, info.embedding_dim, info.tied_embeddings) == (48, 16, tied)
    stored = load_file(folder / "model.safetensors")
    assert info.parameters == sum(tensor.numel() for tensor in stored.values())
    assert info.sha256 == fingerprint(config(folder))
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert loaded.tokenizer("w1 w2")["input_ids"] == [1, 4, 5]
    with torch.no_grad():
        logits = model(torch.tensor([[1, 4, 5]])).logits
    assert logits.shape == (1, 3, 48)


def test_dtype_auto_is_the_checkpoints(model_folder, change_json):
    folder = model_folder()
    weights = load_file(folder / "model.safetensors")
    halves = {k: v.to(torch.bfloat16) for k, v in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    change_json(folder / "config.json", dtype="bfloat16", torch_dtype="bfloat16")
    assert load(config(folder), "cpu").model.dtype == torch.bfloat16
    assert load(config(folder, dtype="float32"), "cpu").model.dtype == torch.float32
    # A config that says nothing: the weights themselves are asked.
    change_json(folder / "config.json", dtype=..., torch_dtype=...)
    assert load(config(folder), "cpu").model.dtype == torch.bfloat16


def test_dtype_float16_is_exact_on_cpu(model_folder, change_json, caplog):
    folder = model_folder()
    weights = {k: v.half() for k, v in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    change_json(folder / "config.json", dtype="float16", torch_dtype="float16")
    model = load(config(folder), "cpu").model
    assert model.dtype == torch.float32
    assert torch.equal(model.lm_head.weight.half(), weights["lm_head.weight"])
    assert "model.dtype=bfloat16" in caplog.text
    assert load(config(folder, dtype="float16"), "cpu").model.dtype == torch.float16


def test_sharded_folder(model_folder, tmp_path):
    single = load(config(model_folder()), "cpu")
    single.model.save_pretrained(tmp_path / "sharded", max_shard_size="5KB")
    single.tokenizer.save_pretrained(tmp_path / "sharded")
    shards = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 1
    again = load(config(tmp_path / "sharded"), "cpu")
    assert torch.equal(again.model.lm_head.weight, single.model.lm_head.weight)
    shards[0].unlink()
    assert str(shards[0]) in message(tmp_path / "sharded")


def test_fingerprint_follows_the_content(model_folder, tmp_path, change_json):
    folder = model_folder()
    first = fingerprint(config(folder))
    moved = folder.rename(tmp_path / "moved")
    assert fingerprint(config(moved)) == first
    change_json(moved / "config.json", rms_norm_eps=1e-3)
    second = fingerprint(config(moved))
    assert second != first
    weights = load_file(moved / "model.safetensors")
    weights["lm_head.weight"][3, 3] += 1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    third = fingerprint(config(moved))
    assert third not in (first, second)
    vocabulary = (moved / "tokenizer.json").read_text()
    (moved / "tokenizer.json").write_text(vocabulary.replace('"w1"', '"v1"'))
    assert fingerprint(config(moved)) not in (first, second, third)


def test_name_or_path_is_needed():
    with pytest.raises(ModelError, match=r"needs model\.name_or_path"):
        load(ModelConfig(name="hf"), "cpu")


def test_no_such_folder_names_the_nearest(model_folder, tmp_path):
    model_folder("llama")
    text = message(tmp_path / "lama")
    assert f"{tmp_path / 'lama'}: no such folder. Did you mean 'llama'?" in text


@pytest.mark.parametrize("name", ["./x", "~/no-such", "/a/b", "a/b/c", "x.gguf"])
def test_paths_are_not_taken_for_hub_ids(name):
    assert "no such folder" in message(name)


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert "is a file" in message(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("present", "says"),
    [
        (None, "has no config.json"),
        ("adapter_config.json", "an adapter, not a model"),
        ("record.json", "a run directory"),
    ],
)
def test_folder_without_config(tmp_path, present, says):
    if present:
        (tmp_path / present).write_text("{}")
    text = message(tmp_path)
    assert str(tmp_path) in text and says in text


def test_config_that_is_no_json(model_folder):
    folder = model_folder()
    (folder / "config.json").write_text("{")
    assert str(folder / "config.json") in message(folder)


def test_pickles_are_refused(model_folder):
    folder = model_folder()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    text = message(folder)
    assert str(folder / "pytorch_model.bin") in text
    assert "pickle" in text and "save_pretrained" in text


def test_no_weights(model_folder):
    folder = model_folder()
    (folder / "model.safetensors").unlink()
    assert "has no weights" in message(folder)


def test_damaged_weights_are_named(model_folder):
    folder = model_folder()
    content = (folder / "model.safetensors").read_bytes()
    for broken in (content[: len(content) // 2], b"no safetensors file at all"):
        (folder / "model.safetensors").write_bytes(broken)
        text = message(folder)
        assert str(folder / "model.safetensors") in text and "damaged" in text


def test_missing_tensor_is_not_made_up(model_folder):
    folder = model_folder()
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lm_head.weight" in message(folder)


@pytest.mark.parametrize(
    ("architecture", "model_type", "extra"),
    [
        ("T5ForConditionalGeneration", "t5", {"is_encoder_decoder": True}),
        ("MarianMTModel", "marian", {"is_encoder_decoder": True}),
        ("BertForMaskedLM", "bert", {}),
        (None, "bert", {}),
        ("LlamaForSequenceClassification", "llama", {}),
    ],
)
def test_no_causal_language_model(model_folder, architecture, model_type, extra):
    folder = model_folder()
    names = {"architectures": [architecture]} if architecture else {}
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, **names, **extra}))
    text = message(folder)
    assert str(folder) in text and f"model_type '{model_type}'" in text
    assert architecture is None or architecture in text
    assert "causal" in text


def test_unknown_model_type(model_folder, change_json):
    folder = model_folder()
    change_json(folder / "config.json", model_type="no_such_type")
    assert "no_such_type" in message(folder)


def test_own_code_is_off_unless_asked(model_folder, change_json):
    folder = model_folder()
    change_json(
        folder / "config.json",
        model_type="mine",
        auto_map={"AutoConfig": "mine.MyConfig", "AutoModelForCausalLM": "mine.MyModel"},
    )
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    assert "trust_remote_code=True" in message(folder)


def test_no_tokenizer(model_folder):
    folder = model_folder()
    for file in folder.glob("*token*"):
        file.unlink()
    assert "no tokenizer" in message(folder)


def test_revision_of_a_folder(model_folder):
    assert "model.revision=main" in message(model_folder(), revision="main")


def test_no_cuda(model_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="device=cuda"):
        load(config(model_folder()), "cuda")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Offline mode in place of an unplugged cable, with an empty hub cache."""
    from huggingface_hub.utils import _http

    # huggingface_hub 0.x builds its session once, for the mode of that moment.
    renew = getattr(_http, "reset_sessions", None) or (lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        renew()
        yield tmp_path / "hub"
    renew()


@pytest.mark.usefixtures("offline")
def test_hub_without_network_is_quick_and_clear():
    started = time.monotonic()
    text = message("owner/no-such-model")
    assert time.monotonic() - started < 10
    assert "cannot be reached" in text and "model='/path/to/folder'" in text
    with pytest.raises(ModelError, match="cannot be reached"):
        fingerprint(config("owner/no-such-model"))


def test_hub_that_does_not_answer(monkeypatch):
    # Nothing listens there: a refused connection, as behind a firewall.
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    for module in ("constants", "file_download"):  # 0.x copies the name
        name = f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE"
        monkeypatch.setattr(name, template, raising=False)
    started = time.monotonic()
    text = message("owner/no-such-model")
    assert "cannot be reached" in text and "refused" in text
    assert time.monotonic() - started < 15


def test_hub_copy_in_the_cache_serves_offline(model_folder, offline):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = offline / "models--owner--tiny"
    (repository / "snapshots").mkdir(parents=True)
    model_folder().rename(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    loaded = load(config("owner/tiny"), "cpu")
    assert (loaded.info.name, loaded.info.path, loaded.info.sha256) == ("owner/tiny", None, None)
    assert loaded.info.revision == commit == fingerprint(config("owner/tiny"))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("GatedRepoError", "accept its terms"),
        ("RepositoryNotFoundError", "the hub has no such model"),
        ("RevisionNotFoundError", "model.revision=v9"),
        ("EntryNotFoundError", "has no config.json"),
    ],
)
def test_hub_refusals(monkeypatch, error, says):
    import huggingface_hub
    from huggingface_hub import errors

    def refuse(*_args: Any, **_settings: Any) -> None:
        kind = getattr(errors, error)
        raise kind.__new__(kind)  # their constructors differ between versions

    answers = SimpleNamespace(head=lambda *_args, **_settings: None)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: answers)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    assert says in message("owner/model", revision="v9")


def test_neither_folder_nor_hub_id():
    assert "neither a local folder nor a hub id" in message("what ever!")


def test_gguf_folder_that_holds_several(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        Path(tmp_path / name).write_bytes(b"GGUF")
    assert "a.gguf, b.gguf" in message(tmp_path)
