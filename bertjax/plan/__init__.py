"""Estimates what a pretraining run needs before it runs."""
