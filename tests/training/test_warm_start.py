import jax
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.parallel import partitioning
from bertjax.training import warm_start


def tree(scale, **heads):
  return {
    'encoder': {'kernel': np.full((4, 2), scale, np.float32)},
    **{
      name: {'bias': np.full(n, scale, np.float32)} for name, n in heads.items()
    },
  }


def fresh(**heads):
  return jax.device_put(tree(0, **heads))


def test_shared_names_are_taken_and_others_reported(capsys):
  both = fresh(pooler=3, head=2), tree(5, mlm_head=3)
  found = warm_start.replace(*both)
  assert np.all(found['encoder']['kernel'] == 5)
  assert np.all(found['pooler']['bias'] == 0) and 'mlm_head' not in found
  assert capsys.readouterr().out == ''
  warm_start.report(*both)
  assert capsys.readouterr().out.splitlines() == [
    '1 of 3 parameters come from INIT_FROM',
    'warning: head and pooler are NEWLY INITIALISED, for INIT_FROM does not '
    'have them',
    'warning: mlm_head of INIT_FROM is NOT used, for this model has no place '
    'for it',
  ]


def test_arrays_lie_where_those_lay_that_they_replace():
  mesh = partitioning.make_mesh(data=2, fsdp=4)
  sharding = jax.sharding.NamedSharding(
    mesh, jax.sharding.PartitionSpec('fsdp')
  )
  before = jax.device_put(tree(0), sharding)
  found = warm_start.replace(before, tree(5))
  assert found['encoder']['kernel'].sharding == sharding


def test_dtypes_are_those_of_the_model():
  loaded = {'encoder': {'kernel': np.ones((4, 2), np.float16)}}
  found = warm_start.replace(fresh(pooler=3), loaded)
  assert found['encoder']['kernel'].dtype == np.float32


def test_other_shapes_and_other_names_are_refused():
  with pytest.raises(UserError, match=r'pooler/bias is \[4\] there and \[3\]'):
    warm_start.replace(fresh(pooler=3), tree(5, pooler=4))
  with pytest.raises(UserError, match='no parameter has a name of the model'):
    warm_start.replace(fresh(pooler=3), {'x': np.ones(2)})
