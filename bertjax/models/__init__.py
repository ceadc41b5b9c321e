"""The encoder and its heads, as Linen modules that need jax and flax only."""
