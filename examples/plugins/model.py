"""A model without its last layers: model=shortened model.name_or_path=FOLDER model.layers=12."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mt_lottery.plugin import LoadedModel, ModelConfig, ModelInfo, register_model, setting


@dataclass
class ShortenedConfig(ModelConfig):
    layers: int = setting(1, "layers that are kept, from the bottom", ge=1)


@register_model("shortened", dataclass=ShortenedConfig)
class Shortened:
    """A local folder in transformers' format; its tokenizer has EOS and padding."""

    def load(self, config: ShortenedConfig, device: str) -> LoadedModel:
        """The model in eval mode, nothing trainable, with what the record says of it."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = config.name_or_path
        model = AutoModelForCausalLM.from_pretrained(folder)
        model.model.layers = model.model.layers[: config.layers]
        model.config.num_hidden_layers = config.layers
        model.to(device).eval().requires_grad_(False)
        table = model.get_input_embeddings().weight
        info = ModelInfo(
            name=f"{Path(folder).name}-{config.layers}", path=folder, revision=None,
            sha256=self.fingerprint(config), parameters=model.num_parameters(),
            vocab_size=table.shape[0], embedding_dim=table.shape[1],
            tied_embeddings=model.get_output_embeddings().weight is table,
        )  # fmt: skip
        return LoadedModel(model, AutoTokenizer.from_pretrained(folder), info)

    def fingerprint(self, config: ShortenedConfig) -> str:
        """Hash of what decides the model's output, found without loading it."""
        weights = (Path(config.name_or_path) / "model.safetensors").read_bytes()
        return hashlib.sha256(weights + str(config.layers).encode()).hexdigest()
