"""Calls numpy functions within the graphs of tf.data.

    outputs = {'text': tf.TensorSpec([], tf.string)}
    numpy_calls.call(read, {'number': number}, outputs)   # {'text': string[]}

The functions must be pure: tf.data may call them in any order and twice.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bertjax.data import safe_iterators
from bertjax.data.quiet_tensorflow import tf

safe_iterators.protect_iterators()


# TensorFlow would spend time on reading the source of each function.
@tf.autograph.experimental.do_not_convert
def call(
  function: Callable[..., Mapping[str, Any]],
  inputs: Mapping[str, tf.Tensor],
  outputs: Mapping[str, tf.TensorSpec],
) -> dict[str, tf.Tensor]:
  """Returns what `function(**inputs)` does, as tensors.

  Args:
    function: takes numpy arrays by name, and returns arrays by name.
    inputs: its arguments.
    outputs: what it returns.
  """

  def call_by_name(*arrays):
    made = function(**dict(zip(inputs, arrays, strict=True)))
    return [made[name] for name in outputs]

  arrays = tf.numpy_function(
    call_by_name,
    [*inputs.values()],
    [spec.dtype for spec in outputs.values()],
    stateful=False,
  )
  return {
    name: tf.ensure_shape(array, spec.shape)
    for array, (name, spec) in zip(arrays, outputs.items(), strict=True)
  }
