"""What a pretraining run will need, before it runs."""
