"""bertjax: pretraining and fine-tuning of BERT-style encoders in JAX.

Conventions, the same in every module:

Dimension letters, as suffixes of array names and in docstrings:
  B batch, L length, M length attended to, D width, H heads, K width of one
  head, F feed-forward width, V vocabulary, N layers, P predicted positions,
  S sequences packed in a row, T token types, C classes.
Batch keys: see `bertjax.batch`.
Logical axes of parameters and activations: batch length width heads
  head_width feed_forward vocabulary layers; see `bertjax.parallel.rules`.
Mesh axes: data fsdp tensor.

Only `bertjax.data` imports TensorFlow, only `bertjax.main` and
`bertjax.launch` import gin.
"""
