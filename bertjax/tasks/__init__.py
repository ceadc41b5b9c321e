"""What a model is fine-tuned for: tasks, their files, metrics, answers."""
