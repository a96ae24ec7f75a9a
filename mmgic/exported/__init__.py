"""An exported model's folder, as Hugging Face's libraries load it: weights, chat template, processor, card."""
