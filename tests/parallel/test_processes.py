"""Processes that run only jax: no data, no model."""

import numpy as np

from bertjax.parallel import processes
from tests.launch import test_process_group

TOGETHER = """
def values(of):
  numbers = np.random.default_rng(of).random(1000 * of).tolist()
  return {'index': of, 'numbers': numbers, 'nothing': None, 'é': [True]}
assert processes.gather(values(index)) == [values(0), values(1)]
assert np.isnan(processes.gather(np.nan)).all()
assert processes.from_first(lambda: [index, 'x']) == [0, 'x']

path = os.environ['FILE']
with processes.first_before_others('file'):
  if index == 0:
    time.sleep(1)
    open(path, 'w').close()
  assert os.path.exists(path)

vote = processes.Vote()
votes = [vote.cast(15 if (index, step) == (1, 2) else 0) for step in range(6)]
assert votes == [0, 0, 0, 15, 0, 0], votes

from bertjax.parallel import partitioning
whole = np.arange(8 * 3).reshape(8, 3)
devices = np.array(jax.devices())
for sizes, order, rows in (
    ((4, 1, 1), [0, 1, 2, 3], [[0, 1, 2, 3], [4, 5, 6, 7]]),
    ((2, 2, 1), [0, 2, 1, 3], [[0, 1, 4, 5], [2, 3, 6, 7]]),
    ((1, 2, 2), [0, 2, 1, 3], [range(8)] * 2),
    ((1, 1, 4), [0, 1, 2, 3], [range(8)] * 2),
):
  mesh = jax.sharding.Mesh(devices[order].reshape(sizes), partitioning.AXES)
  own = partitioning.process_rows(8, mesh)
  assert list(own) == list(rows[index]), (sizes, own)
  placed = partitioning.put_batch({'x': whole[own]}, mesh)['x']
  assert placed.shape == whole.shape
  for shard in placed.addressable_shards:
    np.testing.assert_array_equal(shard.data, whole[shard.index])
listening = [
  line.split()[1].rsplit(':', 1)
  for kind in ('tcp', 'tcp6')
  for line in open(f'/proc/net/{kind}')
  if line.split()[3] == '0A'
]
port = f'{int(address.split(":")[1]):04X}'
[at] = [at for at, its_port in listening if its_port == port]
assert at.endswith('0100007F'), at  # 127.0.0.1

print('only process 0 is heard')
"""


def test_two_processes_do_things_together(tmp_path, monkeypatch):
  monkeypatch.setenv('FILE', str(tmp_path / 'file'))
  first, second = test_process_group.start(TOGETHER)
  assert first[0] == second[0] == 0, first[2] + second[2]
  assert 'only process 0 is heard' in first[1]
  assert second[1] == 'process 1 of 2: process 0 tells how the run goes\n'
  assert first[2] == second[2] == ''


def test_alone_nothing_is_waited_for():
  assert processes.count() == 1 and processes.is_first()
  assert processes.gather(np.nan) is not None
  assert processes.from_first(lambda: 3) == 3
  assert processes.Vote().cast(15) == 15
  with processes.first_before_others('x'):
    processes.wait('y')
