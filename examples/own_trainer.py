"""Tune a ticket in a training script of your own: transformers' Trainer, or TRL with ``--trl``.

    mt-ticket find BASE TUNED --out tickets.csv      # or mtl.find_ticket(base, tuned, rows=18)
    python examples/own_trainer.py BASE tickets.csv adapter

The lines marked with an arrow are all that a ticket adds to a script.
"""

import argparse

from transformers import AutoModelForCausalLM, AutoTokenizer

import mt_lottery as mtl  # <-

PAIRS = [  # your own text here
    ("Where is the station?", "Unde este gara?"),
    ("The water is cold.", "Apa este rece."),
    ("Thank you for your help.", "Mulțumesc pentru ajutor."),
]
PROMPT = "Translate English to Romanian.\nEnglish: {}\nRomanian:"

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("base", help="a causal language model: a folder or a hub id")
parser.add_argument("rows", help="tickets.csv, or a file of token ids, one a line")
parser.add_argument("out", help="folder of the adapter")
parser.add_argument("--trl", action="store_true", help="with TRL's SFTTrainer")
parser.add_argument("--epochs", type=float, default=4)
given = parser.parse_args()

tokenizer = AutoTokenizer.from_pretrained(given.base)
model = AutoModelForCausalLM.from_pretrained(given.base)
model = mtl.get_ticket_model(model, mtl.TicketConfig(rows=given.rows))  # <-
model.print_trainable_parameters()

examples = []
for source, target in PAIRS:
    prompt = tokenizer(PROMPT.format(source))["input_ids"]
    answer = tokenizer(" " + target, add_special_tokens=False)["input_ids"]
    answer.append(tokenizer.eos_token_id)  # or the model never learns to stop
    examples.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})

settings = dict(num_train_epochs=given.epochs, learning_rate=1e-2, report_to="none", bf16=False)
if given.trl:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    arguments, data = SFTConfig(given.out, **settings), Dataset.from_list(examples)
    SFTTrainer(model, arguments, train_dataset=data, processing_class=tokenizer).train()
else:
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    arguments, collator = (
        TrainingArguments(given.out, **settings),
        DataCollatorForSeq2Seq(tokenizer),
    )
    Trainer(model, arguments, train_dataset=examples, data_collator=collator).train()

model.save_pretrained(given.out)  # plain PEFT loads it: PeftModel.from_pretrained(base, out)
model.merge_and_unload().save_pretrained(f"{given.out}/merged")  # plain transformers
