"""Push an adapter to the hub at HF_ENDPOINT, and load it from there (a process of its own)."""

from __future__ import annotations

import loops
import torch

import mt_lottery as mtl

model = loops.ticket_model("gemma3", "input")
loops.by_loop(model)
model.push_to_hub("ticket", token="hf_none")
again = mtl.TicketModel.from_pretrained(loops.base("gemma3"), "me/ticket", token="hf_none")
assert torch.equal(again.values, model.values)
try:
    mtl.TicketModel.from_pretrained(loops.base("gemma3"), "me/ticket", subfolder="none")
except mtl.MTLotteryError as error:
    print(error)
