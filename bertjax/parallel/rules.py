"""The rules from logical to mesh axes, and what is split by them.

    >>> from bertjax.parallel.partitioning import make_mesh
    >>> mesh = make_mesh(devices=jax.devices()[:1])
    >>> boxed = nn.LogicallyPartitioned(jax.numpy.ones((8, 4)),
    ...                                 ('vocabulary', 'width'))
    >>> tuple(shardings_of({'table': boxed}, mesh)['table'].spec)
    ('tensor', 'fsdp')
    >>> with placing(mesh):
    ...   rows = constrain(jax.numpy.ones((2, 8)), 'batch', 'length')

A parameter is annotated with logical axis names where it is created
(`flax.linen.with_logical_partitioning`); one table says which mesh axis splits
which logical axis. Source: t5x and flax's `examples/lm1b`, in spirit.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.errors import UserError

# Of an array, the logical axis of each dimension; None: without a name.
Axes = tuple[str | None, ...]

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

# logical axis -> field of EncoderConfig that sets its size, if names differ.
SETTINGS = {'vocabulary': 'vocabulary_multiple'}


def shardings_of(boxed: Any, mesh: Mesh) -> Any:
  """Returns the NamedSharding of every leaf of a tree of boxed parameters.

  Args:
    boxed: pytree whose parameters carry logical axes (`eval_shape` of
      `model.init`, or a state built from it); leaves without a box are
      replicated.
    mesh: the mesh to place it on.

  Raises:
    ValueError: a logical axis has no rule.
    UserError: a mesh axis does not divide what it splits.
  """

  def sharding(leaf):
    if not isinstance(leaf, nn.LogicallyPartitioned):
      return NamedSharding(mesh, PartitionSpec())
    names, shape = leaf.names, leaf.value.shape
    unknown = [n for n in names if n is not None and n not in RULES]
    if unknown:
      raise ValueError(f'no partitioning rule for logical axes {unknown}')
    spec = [None if name is None else RULES[name] for name in names]
    for name, axis, size in zip(names, spec, shape, strict=True):
      if name and axis and size % mesh.shape[axis]:
        raise UserError(
          f'{name} {size} cannot be divided among {mesh.shape[axis]} '
          f'device(s); set make_mesh.{axis} to a divisor of it, or '
          f'EncoderConfig.{SETTINGS.get(name, name)}'
        )
    return NamedSharding(mesh, PartitionSpec(*spec))

  return jax.tree.map(
    sharding, boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned)
  )


_mesh: ContextVar[Mesh | None] = ContextVar('mesh', default=None)


@contextlib.contextmanager
def placing(mesh: Mesh) -> Iterator[None]:
  """Inside, `constrain` and `on_each_device` refer to this mesh."""
  token = _mesh.set(mesh)
  try:
    yield
  finally:
    _mesh.reset(token)


def constrain(array: jax.Array, *axes: str | None) -> jax.Array:
  """Splits an intermediate by `RULES`; does nothing outside of `placing`.

  Args:
    array: any array.
    axes: logical axis of each dimension; a mesh axis is used once at most, so
      in ('batch', 'width') the width stays whole.

  Returns:
    the same array. (flax's `with_logical_constraint` needs the mesh to be jax's
    own context, in which `DenseGeneral` with several output dimensions fails.)
  """
  mesh = _mesh.get()
  if mesh is None:
    return array
  sharding = NamedSharding(mesh, _partition_spec(axes))
  return jax.lax.with_sharding_constraint(array, sharding)


def _partition_spec(axes: Axes) -> PartitionSpec:
  spec = nn.logical_to_mesh_axes(axes, tuple(RULES.items()))
  assert spec is not None  # None is flax's answer to axes of None
  return spec


def platform() -> str:
  """Returns 'cpu', 'gpu' or 'tpu': that of `placing`'s mesh, else jax's.

  They differ when a program is compiled for devices that are not here.
  """
  mesh = _mesh.get()
  if mesh is None:
    return jax.default_backend()
  return mesh.devices.flat[0].platform


def device_kind() -> str:
  """Returns jax's name of such a device, such as 'TPU v5 lite'."""
  mesh = _mesh.get()
  device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
  return device.device_kind


def one_device_each() -> bool:
  """Whether `on_each_device` knows which part each device has.

  It does not if there are several devices and no `placing`: arrays may then be
  divided in any way.
  """
  return _mesh.get() is not None or jax.device_count() == 1


def on_each_device(
  function: Callable[..., jax.Array], inputs: Sequence[Axes], output: Axes
) -> Callable[..., jax.Array]:
  """Makes a function work on each device's part of its arguments.

  For kernels that XLA cannot partition. Outside of `placing` it returns the
  function itself.

  Args:
    function: takes arrays and returns one.
    inputs: logical axes of each argument.
    output: logical axes of the result.
  """
  mesh = _mesh.get()
  if mesh is None:
    return function
  return jax.shard_map(
    function,
    mesh=mesh,
    check_vma=False,
    in_specs=tuple(_partition_spec(axes) for axes in inputs),
    out_specs=_partition_spec(output),
  )


def gather(parameters: Any, shardings: Any) -> Any:
  """Undoes the split over 'fsdp', and leaves that over 'tensor'.

  If every parameter is gathered before it is used, XLA moves nothing else; left
  to itself it also moves activations, which are larger.

  Args:
    parameters: pytree of traced arrays.
    shardings: pytree of their shardings, from `shardings_of`.
  """

  def whole(array, sharding):
    spec = [None if axis == 'fsdp' else axis for axis in sharding.spec]
    return jax.lax.with_sharding_constraint(
      array, NamedSharding(sharding.mesh, PartitionSpec(*spec))
    )

  return jax.tree.map(whole, parameters, shardings)
