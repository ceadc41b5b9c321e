import pathlib
import re
import types

import flax.linen as nn
import jax
import numpy as np
import pytest

from bertjax import batch
from bertjax.errors import UserError
from bertjax.parallel import partitioning, rules


@pytest.mark.parametrize(
  'sizes', [(-1, 1, 1), (8, 1, 1), (2, 2, 2), (2, -1, 2), (1, 1, 8)]
)
def test_a_mesh_covers_all_devices(sizes):
  mesh = partitioning.make_mesh(*sizes)
  assert mesh.size == 8 and mesh.axis_names == partitioning.AXES


@pytest.mark.parametrize(
  'sizes', [(3, 1, 1), (-1, -1, 1), (-1, 3, 1), (0, 1, 8), (16, 1, 1)]
)
def test_a_mesh_that_does_not_cover_the_devices_is_refused(sizes):
  with pytest.raises(UserError):
    partitioning.make_mesh(*sizes)


def two_slices():
  """Returns what stands for 8 devices of two slices, in no order."""
  return [
    types.SimpleNamespace(
      slice_index=i % 2,
      id=i,
      platform='cpu',
      device_kind='cpu',
      process_index=i % 2,
    )
    for i in range(8)
  ]


@pytest.mark.parametrize(
  'sizes, axis', [((4, 1, 2), 0), ((2, 4, 1), 0), ((1, 4, 2), 1)]
)
def test_between_slices_lie_data_or_fsdp(sizes, axis):
  array = partitioning._arrange(
    dict(zip(partitioning.AXES, sizes, strict=True)), two_slices()
  )
  assert array.shape == sizes
  assert len({device.id for device in array.flat}) == 8
  halves = np.split(array, 2, axis)
  for number, half in enumerate(halves):
    assert {device.slice_index for device in half.flat} == {number}


def test_a_mesh_needs_a_device():
  with pytest.raises(UserError, match='got none; set make_mesh.devices'):
    partitioning.make_mesh(devices=[])


def test_a_mesh_that_slices_cannot_divide_is_refused():
  with pytest.raises(UserError, match='among 2 slices; set make_mesh.data'):
    partitioning._arrange({'data': 1, 'fsdp': 1, 'tensor': 8}, two_slices())


@pytest.mark.parametrize('name', ['data', 'fsdp', 'tensor'])
def test_the_meshes_that_are_shipped_cover_eight_devices(name):
  path = pathlib.Path(__file__).parents[2] / 'gin_configs/meshes'
  sizes = dict(
    re.findall(
      r'^  (\w+) = (-?\d+)', (path / f'{name}.gin').read_text(), re.MULTILINE
    )
  )
  mesh = partitioning.make_mesh(**{k: int(v) for k, v in sizes.items()})
  assert mesh.shape[name] > 1


@pytest.mark.parametrize('sizes', [(8, 1, 1), (1, 8, 1), (2, 4, 1)])
def test_a_batch_that_devices_cannot_split_is_refused(sizes):
  mesh = partitioning.make_mesh(*sizes)
  partitioning.check_batch_size(32, mesh, accumulation=2)
  with pytest.raises(UserError, match='multiple of 16'):
    partitioning.check_batch_size(24, mesh, accumulation=2)


def test_a_batch_is_split_over_its_rows():
  mesh = partitioning.make_mesh(data=4, tensor=2)
  example = batch.synthetic(8, 16, 3, 100, seed=0)
  placed = partitioning.put_batch(example, mesh)
  for key, array in placed.items():
    np.testing.assert_array_equal(array, example[key])
    assert array.addressable_shards[0].data.shape[0] == 2


def test_a_parameter_without_a_rule_is_an_error():
  box = nn.LogicallyPartitioned(
    jax.ShapeDtypeStruct((4,), np.float32), ('colour',)
  )
  with pytest.raises(ValueError, match='colour'):
    rules.shardings_of({'x': box}, partitioning.make_mesh())


def test_a_size_that_the_mesh_does_not_divide_is_refused():
  box = nn.LogicallyPartitioned(
    jax.ShapeDtypeStruct((32, 6, 8), np.float32),
    ('width', 'heads', 'head_width'),
  )
  rules.shardings_of({'x': box}, partitioning.make_mesh(4, 1, 2))
  with pytest.raises(
    UserError,
    match=r'heads 6 .* among 4 .*make_mesh.tensor.*'
    r'EncoderConfig.heads',
  ):
    rules.shardings_of({'x': box}, partitioning.make_mesh(2, 1, 4))


def test_constraints_do_nothing_without_a_mesh():
  array = jax.numpy.ones((8, 4))
  assert rules.constrain(array, 'batch', 'width') is array
  mesh = partitioning.make_mesh(2, 2, 2)
  with rules.placing(mesh):
    placed = jax.jit(lambda x: rules.constrain(x, 'batch', 'width'))(array)
  assert placed.sharding.spec == jax.sharding.PartitionSpec(('data', 'fsdp'))
  assert rules.constrain(array, 'batch', 'width') is array
