"""Parameters from elsewhere, put in place of a model's fresh ones.

    parameters = initialization.replace(state.parameters, loaded, 'bert-base')

Says loudly what stays as it was initialised, and what is left over. Source:
ours.
"""

from collections.abc import Mapping

import jax
import numpy as np
from flax import traverse_util

from bertjax.errors import UserError


def replace(parameters, loaded: Mapping, origin: str):
  """Returns the parameters with those of `loaded` wherever a name is shared.

  Args:
    parameters: nested by name, placed on devices; each new array is placed as
      the one that it replaces.
    loaded: nested by name, of any heads.
    origin: where `loaded` comes from, for messages.

  Raises:
    UserError: arrays of other shapes, or nothing in common.
  """
  report(parameters, loaded, origin)
  theirs = traverse_util.flatten_dict(loaded, sep='/')
  return traverse_util.unflatten_dict(
    {
      name: _place(theirs[name], array) if name in theirs else array
      for name, array in traverse_util.flatten_dict(parameters, sep='/').items()
    },
    sep='/',
  )


def _place(value, like: jax.Array) -> jax.Array:
  """Returns a host array as one of the dtype and on the devices of another."""
  value = np.asarray(value).astype(like.dtype)
  return jax.make_array_from_callback(
    value.shape, like.sharding, lambda index: value[index]
  )


def report(parameters, loaded: Mapping, origin: str) -> None:
  """Prints what `replace` would do, or raises its error; shapes are enough."""
  ours = traverse_util.flatten_dict(parameters, sep='/')
  theirs = traverse_util.flatten_dict(loaded, sep='/')
  shared = ours.keys() & theirs.keys()
  different = [
    f'{name} is {list(theirs[name].shape)} there and '
    f'{list(ours[name].shape)} here'
    for name in sorted(shared)
    if theirs[name].shape != ours[name].shape
  ]
  if different or not shared:
    found = ', '.join(different[:3]) or 'no parameter has a name of the model'
    raise UserError(
      f'{origin} is of another model or vocabulary: {found}'
      + (f' (and {len(different) - 3} more)' if different[3:] else '')
      + '; set the sizes, VOCAB_FILE, or INIT_FROM'
    )
  print(
    f'{len(shared)} of {len(ours)} parameters come from {origin}', flush=True
  )
  for names, what in (
    (ours.keys() - shared, 'NEWLY INITIALISED, not from there'),
    (theirs.keys() - shared, 'NOT used, without a place in this model'),
  ):
    if names:
      print(f'warning: {what}: {", ".join(_modules(names))}', flush=True)


def _modules(names) -> list[str]:
  """{'pooler/bias', 'pooler/kernel', 'mlm_head/bias'} to their first parts."""
  return sorted({name.split('/')[0] for name in names})
