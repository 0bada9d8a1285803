"""What the training text of a run becomes before a tuner sees it."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from mt_lottery.data.corpora import Split
from mt_lottery.data.prompts.batches import Encoded, encode_prompts
from mt_lottery.data.prompts.prepared import UNLIKE, PreparedText
from mt_lottery.errors import plural
from mt_lottery.model.loading import LoadedModel
from mt_lottery.model.positions import learned_positions
from mt_lottery.model.sharding import local, whole
from mt_lottery.model.special_tokens import check_ids
from mt_lottery.model.tables import input_table
from mt_lottery.runs.decode import load_for
from mt_lottery.runs.planning.plan import Echo, Plan
from mt_lottery.training.trained import trained_parameters
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.declared import Original


def _encode(
    plan: Plan, loaded: LoadedModel, split: Split | None, *, training: bool
) -> Encoded | None:
    if split is None:
        return None
    encoded = plan.text.encode(split, loaded.tokenizer, *_longest(plan, loaded), training=training)
    ids = ((*each.prompt_ids, *each.target_ids) for each in encoded.examples)
    check_ids(ids, loaded.tokenizer, input_table(loaded.model).shape[0])
    return encoded


def _longest(plan: Plan, loaded: LoadedModel) -> tuple[int, str]:
    """Most tokens of a training pair, and what sets that limit."""
    asked, positions = plan.config.data.max_length, learned_positions(loaded.model)
    if positions is None or positions - plan.tuner.virtual_tokens >= asked:
        return asked, f"data.max_length={asked}"
    left = positions - plan.tuner.virtual_tokens
    return left, f"the {plural(left, 'position')} that the model has for it"


def put_together(plan: Plan, context: TuningContext) -> LoadedModel:
    """Take the model of a divided training for a whole one with the same weights.

    Args:
        plan: the run.
        context: after the training; its model is replaced by one in the host's memory.

    Returns:
        that model.
    """
    loaded = load_for(plan.config, plan.device, plan.text)
    places = dict(loaded.model.named_parameters())
    context.original = Original(loaded.model)
    context.declared = []
    with torch.no_grad():
        for name, parameter in trained_parameters(context.model).items():
            places[name].copy_(whole(parameter.detach()))  # in the dtype that it is saved in
            context.declared.append(places[name].requires_grad_(True))
    for parameter in context.model.parameters():  # others may hold the model still
        memory = local(parameter.detach()).untyped_storage()
        if memory.resizable():  # on a GPU all is
            memory.resize_(0)
    context.model = loaded.model
    return loaded


def input_counts(encoded: Encoded) -> Counter[int]:
    """Occurrences of each token id in the training inputs, template and specials included."""
    counts: Counter[int] = Counter()
    for example in encoded.examples:
        counts.update(example.prompt_ids)
        counts.update(example.target_ids)
    return counts


def followed(encoded: Encoded) -> set[int]:
    """Token ids that a trained token comes after: no other row of the input table can move."""
    return {i for e in encoded.examples for i in (*e.prompt_ids, *e.target_ids[:-1])}


def prompt_ids(text: PreparedText, tokenizer: Any) -> Tensor:
    """Token ids of every prompt, whatever the sentence, ascending, [t].

    Of each direction and of each wording, together.
    """
    found: set[int] = set()
    for pair, template in itertools.product(text.pairs, text.wordings):
        one, other = encode_prompts(UNLIKE, template, pair, tokenizer)
        found |= {*one} & {*other}
    found.discard(tokenizer.unk_token_id)  # of a vocabulary that knows neither sentence
    return torch.tensor(sorted(found), dtype=torch.int64)


def make_context(
    plan: Plan, loaded: LoadedModel, echo: Echo
) -> tuple[TuningContext, Encoded | None, Encoded | None]:
    """What the tuner may look at, and the encoded training and dev pairs, where there are any.

    Args:
        plan: text, template and tuner.
        loaded: model and tokenizer.
        echo: prints a line for the user.
    """
    tokenizer = loaded.tokenizer
    context = TuningContext(loaded.model, tokenizer, plan.config.seed)
    if plan.corpora.train is None:
        return context, None, None
    encoded = _encode(plan, loaded, plan.corpora.train, training=True)
    dev = _encode(plan, loaded, plan.corpora.dev, training=False)
    assert encoded is not None
    if encoded.dropped:
        why = _longest(plan, loaded)[1]
        verb = "is" if len(encoded.dropped) == 1 else "are"
        echo(f"{plural(len(encoded.dropped), 'training pair')} {verb} longer than {why}: dropped.")
    context.counts = Counter(plan.text.counts(plan.corpora.train, tokenizer))
    context.input_counts = input_counts(encoded)
    context.seen = torch.tensor(sorted(context.input_counts), dtype=torch.int64)
    context.followed = torch.tensor(sorted(followed(encoded)), dtype=torch.int64)
    context.examples = list(encoded.texts)
    if plan.tuner.reads_prompt:
        context.prompt_ids = prompt_ids(plan.text, tokenizer)
    return context, encoded, dev
