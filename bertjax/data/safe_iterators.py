"""Iterators of tf.data that can be dropped at any time, also at exit.

    from bertjax.data import release
    release.protect_iterators()

When Python frees an iterator, TensorFlow waits for the calls that its threads
have under way, and does so while it holds Python's lock. If one of them is a
`numpy_function`, which needs that lock, the process stands still for good (seen
with TensorFlow 2.21; the stack shows `EagerTensor_dealloc` in
`ParallelMapDatasetOp::~Iterator`). So each iterator is first emptied by an
operation, which TensorFlow runs without the lock. Source: ours.
"""

import functools
import threading
import weakref

import tensorflow as tf
from tensorflow.python.data.ops import iterator_ops


@functools.cache
def protect_iterators() -> None:
  """Makes every iterator over a data set, made from now on, safe to drop."""
  initialize = iterator_ops.OwnedIterator.__init__

  @functools.wraps(initialize)
  def initialize_and_watch(self, dataset=None, *arguments, **named):
    initialize(self, dataset, *arguments, **named)
    if dataset is not None and tf.executing_eagerly():
      # Runs when the iterator is collected, at the latest at exit.
      weakref.finalize(self, _empty, self._iterator_resource, dataset)

  iterator_ops.OwnedIterator.__init__ = initialize_and_watch


def _empty(resource: tf.Tensor, dataset: tf.data.Dataset) -> None:
  """Replaces what an iterator runs by nothing, and waits for its threads.

  In a thread of its own, which is left behind where TensorFlow does not come
  back (seen once, at the end of a long run): better a thread that sleeps than a
  process that does.
  """

  def replace():
    tf.raw_ops.MakeIterator(
      dataset=tf.data.experimental.to_variant(dataset.take(0)),
      iterator=resource,
    )

  thread = threading.Thread(target=replace, daemon=True)
  try:
    thread.start()
  except RuntimeError:  # Python is shutting down and starts no more threads
    replace()
  else:
    thread.join(timeout=5)
