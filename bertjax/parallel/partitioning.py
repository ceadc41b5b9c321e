"""The mesh, and batches placed on it.

    mesh = partitioning.make_mesh(data=-1)
    batch = partitioning.put_batch(host_batch, mesh)

How parameters are split is in `bertjax.parallel.rules`.
"""

import math

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.batch import Batch
from bertjax.errors import UserError
from bertjax.parallel import processes
from bertjax.parallel.rules import RULES

AXES = ('data', 'fsdp', 'tensor')


def make_mesh(
  data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None
) -> Mesh:
  """Returns a mesh over all devices; one size may be -1, for what is left.

  Of several TPU slices, or machines that jax tells apart as such, each holds
  whole parts of `data`, or of `fsdp` where that is not to be had, since what
  lies between them is slower.

  Args:
    data: number of parts of a batch that share no parameter memory.
    fsdp: number of parts of a batch that also split the parameters.
    tensor: number of parts of heads, feed-forward width and vocabulary.
    devices: None for all that there are.

  Raises:
    UserError: sizes that do not cover the devices, or not slice by slice.
  """
  sizes = {'data': data, 'fsdp': fsdp, 'tensor': tensor}
  all_devices = jax.devices() if devices is None else devices
  devices = len(all_devices)
  for name, size in sizes.items():
    if not isinstance(size, int) or isinstance(size, bool):
      raise UserError(
        f'expected a whole number of parts, got {size!r}; set make_mesh.{name}'
      )
  open_axes = [name for name, size in sizes.items() if size == -1]
  if len(open_axes) > 1:
    raise UserError(f'only one mesh axis may be -1, got {sizes}')
  fixed = math.prod(size for size in sizes.values() if size != -1)
  if open_axes and fixed > 0 and devices % fixed == 0:
    sizes[open_axes[0]] = devices // fixed
  if math.prod(sizes.values()) != devices or min(sizes.values()) < 1:
    raise UserError(
      f'a mesh of {sizes} does not cover {devices} device(s); set '
      'make_mesh.data, fsdp and tensor'
    )
  return Mesh(
    _arrange(sizes, all_devices),
    AXES,
    axis_types=(jax.sharding.AxisType.Auto,) * len(AXES),
  )


def _arrange(sizes: dict[str, int], devices) -> np.ndarray:
  """Returns the devices as an array of these sizes, near ones close by."""
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
  return mesh_utils.create_hybrid_device_mesh(
    tuple(
      size // slices if axis == outer else size for axis, size in sizes.items()
    ),
    tuple(slices if axis == outer else 1 for axis in sizes),
    devices,
    allow_split_physical_axes=True,
  )


def batch_parts(mesh: Mesh) -> int:
  """Returns how many parts of equal size a batch is divided into."""
  return mesh.shape['data'] * mesh.shape['fsdp']


def check_batch_size(batch_size: int, mesh: Mesh, accumulation: int) -> None:
  """Refuses a global batch that the devices cannot split evenly."""
  if accumulation < 1:
    raise UserError(
      f'expected 1 part of a batch or more, got {accumulation}; '
      'set loop.train.accumulation'
    )
  rows = batch_parts(mesh) * accumulation
  if batch_size < 1 or batch_size % rows:
    raise UserError(
      f'a global batch of {batch_size} cannot be divided among '
      f'{rows // accumulation} device(s) in {accumulation} part(s); set '
      f'BATCH_SIZE to a multiple of {rows}'
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of every array of a batch: split over its rows."""
  return NamedSharding(mesh, PartitionSpec(RULES['batch']))


def _process_parts(mesh: Mesh) -> list[int]:
  """Returns which parts of a batch this process's devices hold, ascending."""
  indices = batch_sharding(mesh).addressable_devices_indices_map(
    (batch_parts(mesh),)
  )
  return sorted({rows.start or 0 for (rows,) in indices.values()})


def process_rows(batch_size: int, mesh: Mesh) -> np.ndarray | None:
  """Returns which rows of a global batch this process feeds, ascending.

  Those that its own devices hold: not always neighbours, and the same for
  several processes where an axis that does not split batches reaches over them.

  Args:
    batch_size: B of the global batch.
    mesh: over the devices of all processes.

  Returns:
    int64[rows], or None for all rows, where there is one process.
  """
  if processes.count() == 1:
    return None
  check_batch_size(batch_size, mesh, 1)
  parts = np.arange(batch_size).reshape(batch_parts(mesh), -1)
  return parts[_process_parts(mesh)].ravel()


def process_share(mesh: Mesh) -> float:
  """Returns which share of a global batch this process feeds."""
  return len(_process_parts(mesh)) / batch_parts(mesh)


def own_rows(batch: Batch, mesh: Mesh) -> Batch:
  """Returns this process's part of a global batch that every process has."""
  rows = process_rows(len(batch['tokens']), mesh)
  return (
    batch
    if rows is None
    else {key: array[rows] for key, array in batch.items()}
  )


def put_batch(batch: Batch, mesh: Mesh) -> Batch:
  """Places this process's rows as its part of the one global batch."""
  sharding = batch_sharding(mesh)
  if processes.count() == 1:
    return {
      key: jax.make_array_from_process_local_data(sharding, np.asarray(array))
      for key, array in batch.items()
    }
  place = {part: i for i, part in enumerate(_process_parts(mesh))}

  def put(array):
    size = len(array) // len(place)  # rows of a part

    def read(index):
      begin = place[(index[0].start or 0) // size] * size
      return array[begin : begin + size]

    return jax.make_array_from_callback(
      (size * batch_parts(mesh), *array.shape[1:]), sharding, read
    )

  return {key: put(np.asarray(array)) for key, array in batch.items()}
