"""The rules from logical to mesh axes, and what is split by them.

    shardings = rules.shardings_of(abstract_variables, mesh)
    with rules.placing(mesh):
      hidden_BLD = rules.constrain(hidden_BLD, 'batch', 'length', None)

A parameter is annotated with logical axis names where it is created
(`flax.linen.with_logical_partitioning`); one table says which mesh axis splits
which logical axis. Source: t5x and flax's `examples/lm1b`, in spirit.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.errors import UserError

# logical axis -> mesh axis or axes that split it; None: never split.
RULES = {
  'batch': ('data', 'fsdp'),
  'length': None,
  'width': 'fsdp',
  'heads': 'tensor',
  'head_width': None,
  'feed_forward': 'tensor',
  'vocabulary': 'tensor',
  'layers': None,
  'positions': None,
  'types': None,
  'classes': None,
}


# logical axis -> field of EncoderConfig that sets its size, where names differ.
SETTINGS = {'vocabulary': 'vocabulary_multiple'}


def shardings_of(boxed, mesh: Mesh):
  """Returns the NamedSharding of every leaf of a tree of boxed parameters.

  Args:
    boxed: pytree whose parameters carry logical axes (`eval_shape` of
      `model.init`, or a state built from it); leaves without a box are
      replicated.
    mesh: where to place it.

  Raises:
    ValueError: a logical axis has no rule.
    UserError: a mesh axis does not divide what it splits.
  """

  def sharding(leaf):
    if not isinstance(leaf, nn.LogicallyPartitioned):
      return NamedSharding(mesh, PartitionSpec())
    unknown = [n for n in leaf.names if n is not None and n not in RULES]
    if unknown:
      raise ValueError(f'no partitioning rule for logical axes {unknown}')
    spec = [None if name is None else RULES[name] for name in leaf.names]
    for name, axis, size in zip(
      leaf.names, spec, leaf.value.shape, strict=True
    ):
      if axis is not None and size % mesh.shape[axis]:
        raise UserError(
          f'{name} {size} cannot be divided among {mesh.shape[axis]} '
          f'device(s); set make_mesh.{axis} to a divisor of it, or '
          f'EncoderConfig.{SETTINGS.get(name, name)}'
        )
    return NamedSharding(mesh, PartitionSpec(*spec))

  return jax.tree.map(
    sharding, boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned)
  )


_mesh = contextvars.ContextVar('mesh', default=None)


@contextlib.contextmanager
def placing(mesh: Mesh) -> Iterator[None]:
  """What is traced meanwhile is constrained to this mesh by `constrain`."""
  token = _mesh.set(mesh)
  try:
    yield
  finally:
    _mesh.reset(token)


def constrain(array: jax.Array, *axes: str | None) -> jax.Array:
  """Splits an intermediate as `RULES` has it; outside of `placing` nothing.

  Args:
    array: any.
    axes: logical axis of each dimension; a mesh axis that splits one is not
      used again, so of ('batch', 'width') the width stays whole.

  Returns:
    the same array. (flax's `with_logical_constraint` needs a mesh of jax's
    own context, in which its `DenseGeneral` of several outputs fails.)
  """
  mesh = _mesh.get()
  if mesh is None:
    return array
  return jax.lax.with_sharding_constraint(
    array,
    NamedSharding(mesh, nn.logical_to_mesh_axes(axes, tuple(RULES.items()))),
  )


def platform() -> str:
  """Returns 'cpu', 'gpu' or 'tpu': of the mesh of `placing`, else of jax.

  They differ where a program is compiled for devices that are not here.
  """
  mesh = _mesh.get()
  if mesh is None:
    return jax.default_backend()
  return mesh.devices.flat[0].platform


def one_device_each() -> bool:
  """Whether `on_each_device` can say which part each device has: it must not
  where arrays may be divided and nobody has said how, by `placing`."""
  return _mesh.get() is not None or jax.device_count() == 1


def on_each_device(function: Callable, inputs, output) -> Callable:
  """Runs a function on the part that each device has, under `placing`.

  For kernels that XLA cannot divide. Outside of `placing` it is the function.

  Args:
    function: of arrays, gives one.
    inputs: logical axes of each argument.
    output: of the result.
  """
  mesh = _mesh.get()
  if mesh is None:
    return function
  rules = tuple(RULES.items())
  return jax.shard_map(
    function,
    mesh=mesh,
    check_vma=False,
    in_specs=tuple(nn.logical_to_mesh_axes(axes, rules) for axes in inputs),
    out_specs=nn.logical_to_mesh_axes(output, rules),
  )


def gather(parameters, shardings):
  """Puts together what 'fsdp' divides, and leaves 'tensor' as it is.

  Said of every parameter before it is used, XLA gathers parameters and nothing
  else; left to itself it also moves activations, which are larger.

  Args:
    parameters: pytree of arrays that are being traced.
    shardings: of each, as `shardings_of` gives them.
  """

  def whole(array, sharding):
    spec = [None if axis == 'fsdp' else axis for axis in sharding.spec]
    return jax.lax.with_sharding_constraint(
      array, NamedSharding(sharding.mesh, PartitionSpec(*spec))
    )

  return jax.tree.map(whole, parameters, shardings)
