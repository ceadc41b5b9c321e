"""Parameters from elsewhere, put in place of a model's fresh ones.

    >>> zeros = jax.numpy.zeros(2)
    >>> fresh, loaded = {'a': zeros, 'head': {'b': zeros}}, {'a': np.ones(2)}
    >>> report(fresh, loaded)
    1 of 2 parameters come from INIT_FROM
    warning: head is NEWLY INITIALISED, for INIT_FROM does not have it
    >>> replace(fresh, loaded)['a'].tolist()
    [1.0, 1.0]

`report` says loudly what stays as it was initialised, and what is left over.
"""

from collections.abc import Mapping, Set
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from bertjax.errors import UserError
from bertjax.runs import differences
from bertjax.training.state import Parameters


def replace(parameters: Parameters, loaded: Mapping[str, Any]) -> Parameters:
  """Returns the parameters, with those of `loaded` for every shared name.

  Args:
    parameters: nested by name, on devices; each new array is placed like the
      one that it replaces.
    loaded: what INIT_FROM holds, nested by name, with any heads.

  Raises:
    UserError: arrays of different shapes, or no shared name.
  """
  _shared(_flat(parameters), _flat(loaded))
  return _put(loaded, parameters)


def report(parameters: Parameters, loaded: Mapping[str, Any]) -> None:
  """Prints what `replace` would do, or raises its error; reads only shapes."""
  ours, theirs = _flat(parameters), _flat(loaded)
  shared = _shared(ours, theirs)
  print(f'{len(shared)} of {len(ours)} parameters come from INIT_FROM')
  for names, said in (
    (
      ours.keys() - shared,
      '{0} {1} NEWLY INITIALISED, for INIT_FROM does not have {2}',
    ),
    (
      theirs.keys() - shared,
      '{0} of INIT_FROM {1} NOT used, for this model has no place for {2}',
    ),
  ):
    if modules := sorted({name.split('/')[0] for name in names}):
      verb, object_ = ('is', 'it') if len(modules) == 1 else ('are', 'them')
      print('warning:', said.format(' and '.join(modules), verb, object_))


def _shared(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Set[str]:
  """Returns the names that both have; see `replace` for what it raises."""
  shared = ours.keys() & theirs.keys()
  _check(
    ours, theirs, shared, 'INIT_FROM', 'the sizes, VOCAB_FILE, or INIT_FROM'
  )
  return shared


def place(loaded: Mapping[str, Any], shapes: Parameters) -> Parameters:
  """Returns frozen parameters on the devices that are to hold them.

  Args:
    loaded: nested by name; those without a place in `shapes` are left out.
    shapes: with shardings, see `state.abstract_frozen`.

  Raises:
    UserError: a parameter is missing, or has another shape.
  """
  ours = _flat(shapes)
  _check(
    ours,
    _flat(loaded),
    {*ours},
    'what the frozen models are read from',
    'the sizes of the frozen model, or the run that it is read from',
  )
  return _put(loaded, shapes)


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
  return traverse_util.flatten_dict(tree, sep='/')


def _put(loaded: Mapping[str, Any], parameters: Parameters) -> Parameters:
  """Returns those of `loaded` for every shared name, where the others lie."""
  theirs, chosen = _flat(loaded), _flat(parameters)
  for name, like in chosen.items():
    if name in theirs:
      value = np.asarray(theirs[name]).astype(like.dtype)
      chosen[name] = jax.make_array_from_callback(
        value.shape, like.sharding, value.__getitem__
      )
  return traverse_util.unflatten_dict(chosen, sep='/')


def _check(
  ours: Mapping[str, Any],
  theirs: Mapping[str, Any],
  names: Set[str],
  origin: str,
  setting: str,
) -> None:
  """Refuses another shape under one of `names`, and no name at all."""
  there, here = (
    {name: str(list(tree[name].shape)) for name in names & tree.keys()}
    for tree in (theirs, ours)
  )
  different = differences.between(there, here)
  if not names:
    different = ['no parameter has a name of the model']
  if different:
    raise UserError(
      f'{origin} is of another model or vocabulary: '
      f'{differences.listed(different)}; set {setting}'
    )
