"""Iterators of tf.data that can be dropped at any time, even at exit.

    from bertjax.data import safe_iterators
    safe_iterators.protect_iterators()

When Python frees an iterator, TensorFlow waits for the calls that its threads
are running, while holding Python's lock. If one of the calls is a
`numpy_function`, which needs that lock, the process hangs for good (seen with
TensorFlow 2.21; the stack shows `EagerTensor_dealloc` in
`ParallelMapDatasetOp::~Iterator`). Each iterator is therefore first emptied by
an operation, which TensorFlow runs without the lock.
"""

import functools
import threading
import weakref

from bertjax.data.quiet_tensorflow import tf


@functools.cache
def protect_iterators() -> None:
  """Makes every `iter` of a data set, from now on, safe to drop."""
  make_iterator = tf.data.Dataset.__iter__

  @functools.wraps(make_iterator)
  def make_and_watch(dataset):
    iterator = make_iterator(dataset)
    if tf.executing_eagerly():
      (resource,) = tf.nest.flatten(iterator, expand_composites=True)
      # Runs when the iterator is collected, at the latest at exit.
      weakref.finalize(iterator, _empty, resource, dataset)
    return iterator

  tf.data.Dataset.__iter__ = make_and_watch


def _empty(resource: tf.Tensor, dataset: tf.data.Dataset) -> None:
  """Makes an iterator run an empty data set, and waits for its threads.

  This takes place in a thread that is abandoned if TensorFlow does not return
  (seen once, at the end of a long run): a thread that hangs is better than a
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
