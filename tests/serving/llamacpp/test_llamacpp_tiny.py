"""llama.cpp itself, over HTTP: it says what each run says, one ticket or four at a time.

First a control: the bare base must say what transformers says. Where that fails, an engine's
version differs from what was tried, and no export is to blame.
"""

from __future__ import annotations

import concurrent.futures
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from llamacpp_server import missing, request_of, serving
from tiny_gguf import Model, answers, make_model, tune

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]
Made = tuple[str, Model, dict[str, Any]]
IDS = {"return_tokens": True}
LANGS = ("ro", "es", "ca", "no")
#: llama.cpp's GELU reads a table of half floats.
NEAR = {"llama": 1e-4, "qwen2": 1e-4, "gemma3": 5e-3}


@pytest.fixture(scope="module", params=[("llama", False), ("gemma3", True), ("qwen2", True)])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model and a run for each language."""
    kind, tied = request.param
    folder = tmp_path_factory.mktemp(kind)
    model = make_model(folder / kind, kind, tied=tied)
    runs = {
        lang: tune(model, folder / lang, lang=f"en-{lang}", **{"tuner.seed": number})
        for number, lang in enumerate(LANGS)
    }
    return kind, model, runs


def test_the_bare_base_says_what_transformers_says(made: Made) -> None:
    kind, model, runs = made
    run = runs["ro"]
    loaded, sources = run.original, [line["source"] for line in run.hypotheses]
    prompts = run.text.prompts(sources, loaded.tokenizer)
    compared = 0
    with serving(model.gguf) as server:
        for source, ids in zip(sources, prompts, strict=True):
            asked = server.post("/tokenize", {"content": run.prompt(source), "add_special": True})
            assert asked["tokens"] == ids
            with torch.no_grad():
                logits = loaded.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            found = server.greedy(ids, 6, n_probs=5)
            assert found["tokens"][:1] == [int(logits.argmax())]
            first = found.get("completion_probabilities", [{"id": None}])[0]
            if first["id"] == found["tokens"][0]:  # else it is a part of a letter, and left out
                for top in first["top_logprobs"]:
                    assert abs(top["logprob"] - float(logits[top["id"]])) < NEAR[kind]
                compared += 1
    assert compared >= 2


def test_the_patched_base_says_what_the_run_says(made: Made, tmp_path: Path) -> None:
    _, model, runs = made
    wanted = answers(runs["ro"])
    folder = runs["ro"].export(tmp_path / "ro", "gguf", base=model.gguf).folder
    ((_, cat),) = answers(runs["ro"], ["The cat sleeps."])
    with serving(folder / "model.gguf") as server:
        assert server.post("/completion", request_of(folder) | IDS)["tokens"] == cat
        assert [server.greedy(ids)["tokens"] for ids, _ in wanted] == [said for _, said in wanted]
    with serving(model.gguf) as server:  # and the rows made the difference
        bare = [server.greedy(ids)["tokens"] for ids, _ in wanted]
        assert bare != [said for _, said in wanted]


def test_four_languages_over_one_base_at_once(made: Made, tmp_path: Path) -> None:
    _, model, runs = made
    base = runs["ro"].export(tmp_path / "base", "gguf-base", base=model.gguf).folder / "model.gguf"
    adapters = [
        run.export(tmp_path / lang, "gguf-lora", base=base).folder / "adapter.gguf"
        for lang, run in runs.items()
    ]
    wanted = {lang: answers(run) for lang, run in runs.items()}
    asked = [
        (number, ids, said)
        for sentence in range(len(wanted["ro"]))  # the languages in turn
        for number, lang in enumerate(LANGS)
        for ids, said in [wanted[lang][sentence]]
    ]
    with serving(base, *adapters) as server, concurrent.futures.ThreadPoolExecutor(8) as pool:

        def ask(number: int, ids: list[int]) -> list[int]:
            found: list[int] = server.greedy(ids, lora=[{"id": number, "scale": 1}])["tokens"]
            return found

        found = list(pool.map(ask, *zip(*((n, ids) for n, ids, _ in asked), strict=True)))
        assert found == [said for *_, said in asked]
        # prompts that are kept, as servers do by default, are no other language's
        for number, ids, said in asked:
            more = {"lora": [{"id": number, "scale": 1}], "cache_prompt": True, "id_slot": 0}
            assert server.greedy(ids, **more)["tokens"] == said
        body = request_of(tmp_path / "ro")  # as the card has it
        ((_, cat),) = answers(runs["ro"], ["The cat sleeps."])
        assert server.post("/completion", body | IDS)["tokens"] == cat
        # each ticket says something else than the others of the same source
        assert len({str(wanted[lang][0][1]) for lang in LANGS}) > 1
        # at scale 0 the base answers alone
        with torch.no_grad():
            logits = runs["ro"].original.model(torch.tensor([asked[0][1]])).logits[0, -1]
        none = [{"id": 0, "scale": 0}]
        assert server.greedy(asked[0][1], 1, lora=none)["tokens"] == [int(logits.argmax())]


def test_a_tied_base_and_an_adapter_end_llama_cpp(made: Made, tmp_path: Path) -> None:
    """Why ``gguf-base`` exists; where this fails, llama.cpp has learnt it."""
    kind, model, runs = made
    if kind == "llama":
        pytest.skip("this base has two tables")
    done = runs["ro"].export(tmp_path / "ro", "gguf-lora", base=model.gguf)
    with serving(model.gguf, done.folder / "adapter.gguf") as server:
        with pytest.raises(OSError):
            server.greedy([0, 5, 6], lora=[{"id": 0, "scale": 1}])
        assert server.process.wait(30) != 0


def test_gemma_2_takes_no_head_of_its_own(tmp_path: Path) -> None:
    """Why such architectures are refused."""
    import numpy as np
    from tiny_gguf import write_gguf

    model = make_model(tmp_path / "gemma2", "gemma2", tied=True)
    with serving(model.gguf) as server:
        assert server.greedy([0, 5, 6])["tokens"]
    two = write_gguf(
        model.folder, tmp_path / "two.gguf", also={"output.weight": np.ones((600, 32), np.float32)}
    )
    with pytest.raises(RuntimeError, match="did not start"), serving(two):
        pass


def test_a_chat_is_read_as_the_run_reads_it(tmp_path: Path) -> None:
    from chat_models import make_chat_model
    from tiny_gguf import write_gguf

    folder = make_chat_model("llama3", tmp_path / "chat")
    model = Model(folder, write_gguf(folder, tmp_path / "chat.gguf"))
    run = tune(model, tmp_path / "run", **{"data.template": "chat"})
    out = run.export(tmp_path / "out", "gguf", base=model.gguf).folder
    (ids,) = run.text.prompts(["The cat sleeps."], run.tuned.tokenizer, run.lead)
    asked = {"add_special": True, "parse_special": True}
    with serving(out / "model.gguf") as server:
        content = {"content": request_of(out)["prompt"]}
        assert server.post("/tokenize", content | asked)["tokens"] == ids
        assert server.post("/completion", request_of(out))["tokens_evaluated"] == len(ids)


def test_the_server_ends_when_it_is_told_to(made: Made) -> None:
    with serving(made[1].gguf) as server:
        process: subprocess.Popen[str] = server.process
        process.terminate()
        assert process.wait(30) == 0
