"""A COMET model of a few thousand numbers, and its scores by unbabel-comet's Python interface.

Run by the Python of the environment that has unbabel-comet, never by ours::

    python tiny_comet.py build FOLDER [SEED]      a checkpoint in COMET's own layout
    python tiny_comet.py score FOLDER TEXTS OUT   [[src, mt, ref], …] → [score, …], both JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LETTERS = [chr(i) for i in range(33, 127)] + list("ăâîșțáéíóú¿¡")


def build(folder: Path, seed: int = 0) -> None:
    """Random BERT of two layers over single letters, and COMET's regression head."""
    import pytorch_lightning
    import torch
    import yaml
    from comet.models import RegressionMetric
    from transformers import BertConfig, BertModel, BertTokenizerFast

    encoder = folder / "encoder"
    encoder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *("##" + x for x in LETTERS)]
    (encoder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab_file=str(encoder / "vocab.txt"), do_lower_case=False)
    tokenizer.save_pretrained(encoder)
    torch.manual_seed(seed)
    shape = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=256, initializer_range=0.3,
    )  # fmt: skip
    BertModel(shape).save_pretrained(encoder)
    model = RegressionMetric(
        encoder_model="BERT", pretrained_model=str(encoder), pool="avg", layer="mix",
        layer_transformation="sparsemax", layer_norm=False, hidden_sizes=[16], dropout=0.1,
    )  # fmt: skip
    trainer = pytorch_lightning.Trainer(
        logger=False, enable_checkpointing=False, accelerator="cpu", devices=1
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / "checkpoints" / "model.ckpt", weights_only=True)
    settings = {"class_identifier": "regression_metric", **json.loads(json.dumps(model.hparams))}
    (folder / "hparams.yaml").write_text(yaml.safe_dump(settings))


def score(folder: Path, triples: list[list[str]]) -> list[float]:
    """Scores in single precision, one sentence a batch."""
    from comet import load_from_checkpoint

    model: Any = load_from_checkpoint(str(folder / "checkpoints" / "model.ckpt"))
    samples = [dict(zip(("src", "mt", "ref"), triple)) for triple in triples]  # noqa: B905
    found = model.predict(samples, batch_size=1, gpus=0, progress_bar=False, num_workers=0)
    return [float(x) for x in found.scores]


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    else:
        texts = json.loads(Path(sys.argv[3]).read_text("utf-8"))
        Path(sys.argv[4]).write_text(json.dumps(score(Path(sys.argv[2]), texts)))
