"""What the processes of a run do together.

    if processes.is_first():
      write_a_file()
    everyones = processes.gather(my_value)    # [of process 0, of 1, ...]
    with processes.first_before_others('data'):
      prepare_what_others_then_find()

With one process all of this costs nothing. Processes meet in
launch/process_group.py, or when a program calls jax.distributed.initialize.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def count() -> int:
  """Returns how many processes run together."""
  return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
  """Whether this is the process that writes files."""
  return count() == 1 or jax.process_index() == 0


def gather(value: Any) -> list[Any]:
  """Returns the values of all processes, in order; all must call it.

  They go through JSON, also with one process: tuples come back as lists, and
  nothing that another process sends can be more than data.

  Args:
    value: numbers, texts, None, lists and dicts of texts to these, of any size.
  """
  text = json.dumps(value)
  if count() == 1:
    return [json.loads(text)]
  content = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.asarray(content.size))
  padded = np.pad(content, (0, sizes.max() - content.size))
  rows = multihost_utils.process_allgather(padded)
  return [
    json.loads(row[:size].tobytes())
    for row, size in zip(rows, sizes, strict=True)
  ]


def from_first(make: Callable[[], Any]) -> Any:
  """Returns what the first process makes, to all; all must call it."""
  return gather(make() if is_first() else None)[0]


def wait(name: str) -> None:
  """Waits until all processes are here."""
  if count() > 1:
    multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def first_before_others(name: str) -> Iterator[None]:
  """The first process goes through the block alone, then all others do."""
  if not is_first():
    wait(name)
  yield
  if is_first():
    wait(name)


class Vote:
  """Finds the largest of a number on all processes without waiting for them.

      vote = Vote()
      largest = vote.cast(number)   # of the calls before this one

  Each call starts a small collective, as asynchronous as a training step, and
  returns what the last call's found: the same on all processes, that call at
  most one step before.
  """

  def __init__(self):
    self._mesh = Mesh(np.array(jax.devices()), ('devices',))
    everywhere = NamedSharding(self._mesh, PartitionSpec())
    self._largest = jax.jit(jnp.max, out_shardings=everywhere)
    self._last: int | jax.Array = 0

  def cast(self, number: int) -> int:
    """Takes part; all processes must do so equally often.

    Args:
      number: int32, 0 or more.
    """
    if count() == 1:
      return number
    last = int(self._last)
    self._last = self._largest(
      jax.make_array_from_callback(
        (self._mesh.size,),
        NamedSharding(self._mesh, PartitionSpec('devices')),
        lambda _: np.array([number], np.int32),
      )
    )
    return last
