"""Notebooks, and the little that they need of the machine they run on."""
