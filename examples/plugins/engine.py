"""Training in a plain loop, one sentence pair a step: engine=plain_loop."""

import time

import torch

from mt_lottery.plugin import TrainResult, register_engine


@register_engine("plain_loop")
class PlainLoop:
    """AdamW and cross entropy, whatever the settings say; no checkpoints."""

    def __init__(self, config):
        self.config = config

    def problems(self):
        """What it cannot do of the run's settings, one sentence each."""
        asked = self.config.train.accumulate
        return [f"engine=plain_loop: train.accumulate={asked}; allowed: 1."] if asked > 1 else []

    def train(self, model, config, examples, *, pad_id, seed, folder, log, title,
              dev=None, autocast=None, resume=False, trackers=()):  # fmt: skip
        """Train the parameters of the model that require a gradient."""
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config.lr)
        began, steps, tokens = time.monotonic(), 0, 0
        torch.manual_seed(seed)
        for _ in range(config.epochs):
            for index in torch.randperm(len(examples)).tolist():
                prompt, target = examples[index].prompt_ids, examples[index].target_ids
                ids = torch.tensor([[*prompt, *target]], device=model.device)
                labels = ids.clone()
                labels[:, : len(prompt)] = -100  # the prompt is not learnt
                loss = model(input_ids=ids, labels=labels).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                steps, tokens = steps + 1, tokens + ids.numel()
                for tracker in trackers:
                    tracker.log(steps, {"loss": loss.item()})
        seconds = time.monotonic() - began
        return TrainResult(steps, seconds, tokens / seconds, loss.item(), dev_loss=None)
