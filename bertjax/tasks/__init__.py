"""The tasks that models are fine-tuned for: their files, metrics, answers."""
