"""The lowest loss of a run, said at its end: tracker=lowest_loss."""

from typing import Any

from mt_lottery.plugin import Tracker, register_tracker


@register_tracker("lowest_loss")
class LowestLoss(Tracker):
    """Every method may be left out; none of them can stop the run."""

    def __init__(self, config: dict[str, Any], run_dir: str) -> None:
        super().__init__(config, run_dir)
        self.lowest = (float("inf"), 0)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one optimizer step."""
        self.lowest = min(self.lowest, (values.get("loss", float("inf")), step))

    def messages(self) -> list[str]:
        """Lines for the user, at the end."""
        return [f"Lowest loss: {self.lowest[0]:.3f}, at step {self.lowest[1]}."]
