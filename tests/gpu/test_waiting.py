"""How often the host waits for the device: each time, the device has nothing to do for a while."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from training import fit, log_of
from translate_models import PAD, random_prompts, tiny_model

from mt_lottery.decoding.greedy import greedy_batch
from mt_lottery.tuners.rows.module import attach


def waits(work: Callable[[], object]) -> Counter[str]:
    """Where PyTorch made the host wait, and how often."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return Counter(
        f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)
    )


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_where_a_training_step_waits(optimizer: str, tmp_path: Path) -> None:
    """For the loss once, and where transformers looks at the mask: twice if a row is padded.

    On an H100 on 2026-11-26 (PyTorch 2.11, transformers 5.17) eight steps waited 30 times: 8 for
    the loss, 8 and 6 for the mask (``masking_utils.py``, is nothing padded? is only what comes
    later?), 8 for Trainer's count of labels.  That count is no longer made.  The loss must be read
    before the update, which is not made if it is not finite; the look at the mask is
    transformers' own, in every model's forward.
    """

    def train(epochs: int) -> None:
        model = tiny.model("llama", tied=False).to("cuda")
        attach(model, torch.arange(4, 24), tied=False)
        fit(model, tmp_path / f"{epochs}", epochs=epochs, optimizer=optimizer, save_steps=10**6)

    train(1)
    few, many = waits(lambda: train(1)), waits(lambda: train(3))
    steps = len(log_of(tmp_path / "3")) - len(log_of(tmp_path / "1"))
    more = many - few
    print(steps, more)
    of_file: Counter[str] = Counter()
    for place, count in more.items():
        of_file[place.partition(":")[0]] += count
    assert set(of_file) == {"objective.py", "masking_utils.py"}, more
    assert of_file["objective.py"] == steps and of_file["masking_utils.py"] <= 2 * steps, more


@pytest.mark.gpu
@pytest.mark.parametrize("recorded", [False, True])
def test_a_step_of_decoding_waits_twice(recorded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' look at the mask, and the tokens; a recorded step for the tokens alone."""
    model = tiny_model("llama").to("cuda")
    if recorded:
        monkeypatch.setattr("mt_lottery.decoding.greedy.REPLAY_ON", frozenset(["cuda"]))

    def decode(new: int) -> None:
        with torch.no_grad():
            greedy_batch(
                model, random_prompts(6), max_new_tokens=new, eos_ids=frozenset(), pad_id=PAD,
                on_step=lambda *_: None,
            )  # fmt: skip

    decode(8)
    more = waits(lambda: decode(20)) - waits(lambda: decode(8))
    print(more)
    assert 0 < more.total() <= (1 if recorded else 2) * 12, more
