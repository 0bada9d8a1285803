"""A ticket as an experiment of PEFT's method_comparison/MetaMathQA: the two files that it takes.

    python experiment.py meta-llama/Llama-3.2-3B questions.jsonl \\
        peft/method_comparison/MetaMathQA/experiments/trainable_tokens/llama-3.2-3B-ticket-18

questions.jsonl holds training examples as MetaMathQA has them: {"query": …, "response": …}.
"""

import argparse
import json
from pathlib import Path

from peft import TrainableTokensConfig
from transformers import AutoModelForCausalLM, AutoTokenizer

import mt_lottery as mtl

#: ``query_template`` of the comparison's default_training_params.json.
PROMPT = "Question: {query} Think step by step.\nAnswer:"
LONGEST = 768  # its ``max_seq_length``

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("base", help="the comparison's model: a folder or a hub id")
parser.add_argument("questions", type=Path, help="training examples, JSONL")
parser.add_argument("out", type=Path, help="folder of the experiment")
parser.add_argument("--rows", type=int, default=18)
parser.add_argument("--examples", type=int, default=64, help="looked at, drawn by seed 0")
parser.add_argument("--lr", type=float, default=1e-2)
given = parser.parse_args()

tokenizer = AutoTokenizer.from_pretrained(given.base)
model = AutoModelForCausalLM.from_pretrained(given.base, dtype="auto")
examples = []
for line in given.questions.read_text("utf-8").splitlines():
    pair = json.loads(line)
    ids = tokenizer(PROMPT.format(query=pair["query"]) + pair["response"])["input_ids"]
    ids = [*ids[: LONGEST - 1], tokenizer.eos_token_id]
    examples.append({"input_ids": ids, "labels": ids})  # the comparison's loss is on all of it

ticket = mtl.find_ticket(
    model,
    rows=given.rows,
    selector="gradient",
    examples=examples,
    pairs=min(given.examples, len(examples)),
    tokenizer=tokenizer,
)
print(ticket)
config = TrainableTokensConfig(token_indices=sorted(ticket), task_type="CAUSAL_LM")
config.save_pretrained(str(given.out))
settings = {"optimizer_kwargs": {"lr": given.lr, "weight_decay": 0.0}}
(given.out / "training_params.json").write_text(json.dumps(settings, indent=2) + "\n")
print(f"written: {given.out}/adapter_config.json, {given.out}/training_params.json")
