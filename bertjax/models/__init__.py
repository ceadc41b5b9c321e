"""The encoder and its heads, as Linen modules; needs only jax and flax."""
