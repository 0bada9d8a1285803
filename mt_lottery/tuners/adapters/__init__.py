"""Methods that PEFT implements: LoRA, QLoRA, prefix and prompt."""
