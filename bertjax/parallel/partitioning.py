"""The mesh, and batches placed on it.

    >>> mesh = make_mesh(data=-1, devices=jax.devices()[:1])
    >>> dict(mesh.shape)
    {'data': 1, 'fsdp': 1, 'tensor': 1}
    >>> put_batch({'tokens': np.ones((2, 8), np.int32)}, mesh)['tokens'].shape
    (2, 8)

`bertjax.parallel.rules` says how parameters are split.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.batch import Batch
from bertjax.errors import UserError, expect
from bertjax.parallel import processes
from bertjax.parallel.rules import RULES
from bertjax.values import checked

AXES = ('data', 'fsdp', 'tensor')


@checked
def make_mesh(
  data: int = -1,
  fsdp: int = 1,
  tensor: int = 1,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """Returns a mesh over all devices; one size may be -1, for the rest.

  Each TPU slice (or machine that jax reports as one) holds whole parts of
  `data`, or of `fsdp` if `data` cannot be divided among the slices, because
  links between slices are slower.

  Args:
    data: number of parts of a batch that each have their own copy of the
      parameters.
    fsdp: number of parts of a batch that also split the parameters.
    tensor: number of parts of heads, feed-forward width and vocabulary.
    devices: None: all devices.

  Raises:
    UserError: the sizes do not cover the devices, or cannot be divided among
      the slices.
  """
  if devices is None:
    devices = jax.devices()
  expect(len(devices), 'one device or more', devices, 'make_mesh.devices')
  sizes = {'data': data, 'fsdp': fsdp, 'tensor': tensor}
  try:
    if min(sizes.values()) < -1:  # numpy takes it for -1
      raise ValueError
    shape = np.empty(len(devices)).reshape(data, fsdp, tensor).shape
  except ValueError as error:
    raise UserError(
      f'a mesh of {sizes} does not cover {len(devices)} device(s); set '
      'make_mesh.data, fsdp and tensor, one of them maybe to -1'
    ) from error
  return Mesh(
    _arrange(dict(zip(AXES, shape, strict=True)), devices),
    AXES,
    axis_types=(jax.sharding.AxisType.Auto,) * len(AXES),
  )


def _arrange(
  sizes: dict[str, int], devices: Sequence[jax.Device]
) -> np.ndarray:
  """Returns the devices as an array of these sizes, neighbours side by side."""
  slices = len({getattr(device, 'slice_index', 0) for device in devices})
  if slices == 1:
    return mesh_utils.create_device_mesh(
      tuple(sizes.values()), devices, allow_split_physical_axes=True
    )
  outer = next(
    (axis for axis in ('data', 'fsdp') if sizes[axis] % slices == 0), None
  )
  if outer is None:
    raise UserError(
      f'a mesh of {sizes} cannot be divided among {slices} slices; set '
      f'make_mesh.data or fsdp to a multiple of {slices}'
    )
  parts = {axis: slices if axis == outer else 1 for axis in sizes}
  return mesh_utils.create_hybrid_device_mesh(
    tuple(size // parts[axis] for axis, size in sizes.items()),
    tuple(parts.values()),
    devices,
    allow_split_physical_axes=True,
  )


def batch_parts(mesh: Mesh) -> int:
  """Returns how many parts of equal size a batch is divided into."""
  return mesh.shape['data'] * mesh.shape['fsdp']


def check_batch_size(batch_size: int, mesh: Mesh, accumulation: int) -> None:
  """Raises UserError if the devices cannot split a global batch evenly."""
  rows = batch_parts(mesh) * accumulation
  if batch_size < 1 or batch_size % rows:
    raise UserError(
      f'a global batch of {batch_size} cannot be divided among '
      f'{rows // accumulation} device(s) in {accumulation} part(s); set '
      f'BATCH_SIZE to a multiple of {rows}'
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of every array of a batch: its rows are split."""
  return NamedSharding(mesh, PartitionSpec(RULES['batch']))


def _process_parts(mesh: Mesh) -> list[int]:
  """Returns which parts of a batch this process's devices hold, ascending."""
  indices = batch_sharding(mesh).addressable_devices_indices_map(
    (batch_parts(mesh),)
  )
  return sorted({index[0].start or 0 for index in indices.values() if index})


def process_rows(batch_size: int, mesh: Mesh) -> np.ndarray | None:
  """Returns which rows of a global batch this process feeds, ascending.

  These are the rows that its own devices hold. They need not be contiguous, and
  several processes feed the same rows if an axis that does not split batches
  spans them.

  Args:
    batch_size: B of the global batch.
    mesh: over the devices of all processes.

  Returns:
    int64[rows], or None for all rows if there is one process.
  """
  if processes.count() == 1:
    return None
  check_batch_size(batch_size, mesh, 1)
  parts = np.arange(batch_size).reshape(batch_parts(mesh), -1)
  return parts[_process_parts(mesh)].ravel()


def process_share(mesh: Mesh) -> float:
  """Returns the share of a global batch that this process feeds."""
  return len(_process_parts(mesh)) / batch_parts(mesh)


def own_rows(batch: Batch, mesh: Mesh) -> Batch:
  """Returns this process's rows of a global batch that every process has."""
  rows = process_rows(len(batch['tokens']), mesh)
  if rows is None:
    return batch
  return {key: array[rows] for key, array in batch.items()}


def place(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
  """Returns a global batch that every process has, on the mesh."""
  return put_batch(own_rows(batch, mesh), mesh)


def put_batch(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
  """Returns the global batch on the mesh, from this process's rows of it."""
  own, parts = len(_process_parts(mesh)), batch_parts(mesh)
  shapes = {
    key: (len(array) // own * parts, *array.shape[1:])
    for key, array in batch.items()
  }
  return jax.make_array_from_process_local_data(
    batch_sharding(mesh), dict(batch), shapes
  )
