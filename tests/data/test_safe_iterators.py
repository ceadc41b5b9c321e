import gc

import tensorflow as tf

from bertjax.data import safe_iterators


def test_every_way_to_iterate_is_protected(monkeypatch):
  safe_iterators.protect_iterators()
  emptied = []
  monkeypatch.setattr(
    safe_iterators, '_empty', lambda resource, dataset: emptied.append(dataset)
  )
  dataset = tf.data.Dataset.range(3).map(lambda n: n)
  assert [int(n) for n in dataset] == [0, 1, 2]
  assert list(dataset.as_numpy_iterator()) == [0, 1, 2]
  next(iter(dataset.batch(2)))
  gc.collect()
  assert len(emptied) == 3


def test_a_loop_within_a_function_is_left_to_tensorflow():
  safe_iterators.protect_iterators()

  @tf.function
  def total(dataset):
    sums = tf.constant(0, tf.int64)
    for number in dataset:
      sums += number
    return sums

  assert total(tf.data.Dataset.range(4)) == 6
