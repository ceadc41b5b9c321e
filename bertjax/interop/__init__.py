"""Weights to and from other systems, with numpy only."""
