"""Four languages over one base: a real server, asked in parallel, a ticket chosen by request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from vllm_runs import NEW, make_base, make_run, prompts_of, whole
from vllm_server import Server, served

import mt_lottery as mtl
from mt_lottery.model.loading import LoadedModel

pytestmark = pytest.mark.slow

LANGUAGES = ("ro", "es", "ca", "no")
SETTINGS = (
    *("--dtype", "float32", "--enforce-eager", "--max-model-len", "256", "--max-num-seqs", "16"),
    *("--max-loras", "4"),
)


@dataclass(frozen=True)
class Service:
    """A server with a ticket a language, the runs that these come from, and their exports."""

    server: Server
    runs: dict[str, mtl.Run]
    tickets: dict[str, Path]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    base = make_base("Llama", folder / "base")
    runs, tickets = {}, {}
    for language in LANGUAGES:
        runs[language] = make_run(base, folder / "runs" / language, language)
        tickets[language] = folder / f"{language}-lora"
        runs[language].export(tickets[language], format="lora", engine="vllm")
    card = (tickets["ro"] / "README.md").read_text("utf-8")
    (options,) = re.findall(r"--enable-lora (.*) \\\n", card)  # as the card says
    with served(base, tickets, [*SETTINGS, *options.split()]) as server:
        yield Service(server, runs, tickets)


def test_control_the_server_says_what_the_bare_base_says(service: Service) -> None:
    """Where this fails, the engine's version differs, and no ticket was asked for."""
    run = service.runs["ro"]
    prompts = prompts_of(run)
    answer = service.server.post(
        "/v1/completions",
        model="base", prompt=prompts, max_tokens=NEW, temperature=0, return_token_ids=True,
    )  # fmt: skip
    assert [c["token_ids"] for c in answer["choices"]] == greedy(run.original, prompts)


def greedy(loaded: LoadedModel, prompts: list[list[int]]) -> list[list[int]]:
    """What ``generate`` of transformers appends, the end of the sequence included."""
    import torch

    with torch.no_grad():
        return [
            loaded.model.generate(
                torch.tensor([ids]), do_sample=False, max_new_tokens=NEW, pad_token_id=2
            )[0, len(ids) :].tolist()
            for ids in prompts
        ]


def test_each_request_gets_its_own_ticket(service: Service) -> None:
    """All sentences of all languages at once, as text; answers are the runs' own."""
    asked = [
        (language, line)
        for number in range(6)  # the languages take turns, so that they share batches
        for language, run in service.runs.items()
        for line in [run.hypotheses[number]]
    ]

    def translation(one: tuple[str, dict[str, str]]) -> tuple[list[int], str]:
        language, line = one
        answer = service.server.post(
            "/v1/completions",
            model=language,
            prompt=service.runs[language].prompt(line["source"]),
            max_tokens=NEW,
            temperature=0,
            return_token_ids=True,
        )
        (choice,) = answer["choices"]
        text = service.runs[language].tuned.tokenizer.decode(
            choice["token_ids"], skip_special_tokens=True
        )
        return choice["prompt_token_ids"], text.strip()

    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(translation, asked))
    for (language, line), (prompt, text) in zip(asked, found, strict=True):
        run = service.runs[language]
        (wanted,) = run.text.prompts([line["source"]], run.tuned.tokenizer, run.lead)
        assert prompt == wanted, "vLLM reads the prompt's text as other tokens"
        assert text == line["hypothesis"], (language, line["source"])
    by_language = {
        language: {line["hypothesis"] for line in run.hypotheses}
        for language, run in service.runs.items()
    }
    assert len(set().union(*by_language.values())) > 3 * 6  # they do not say the same


def test_the_request_of_the_card(service: Service) -> None:
    """The JSON that the card's curl sends, for its own sentence."""
    run = service.runs["ca"]
    card = (service.tickets["ca"] / "README.md").read_text("utf-8")
    (body,) = re.findall(r"curl localhost:8000/v1/completions .* -d '(.*)'\n", card)
    asked = json.loads(body.replace("'\\''", "'"))
    answer = service.server.post("/v1/completions", **(asked | {"model": "ca"}))
    sentence = asked["prompt"].rpartition("English: ")[2].partition("\n")[0]
    assert run.prompt(sentence) == asked["prompt"]
    said = answer["choices"][0]["text"].strip()
    assert whole([said]) == whole(run.translate([sentence]))


def test_a_ticket_that_is_not_there(service: Service) -> None:
    answer = service.server.post("/v1/completions", model="de", prompt="a", max_tokens=1)
    assert "does not exist" in answer["error"]["message"]
