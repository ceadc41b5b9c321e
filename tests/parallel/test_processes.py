"""Processes that run only jax: no data, no model."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.parallel import processes

ROOT = pathlib.Path(processes.__file__).parents[2]
# Arguments: address, count, index. Two devices each.
START = """
import os, sys, time
import jax
import numpy as np
from bertjax.parallel import processes
from bertjax.errors import RunStopped, UserError
index = int(sys.argv[3])
status = 0
try:
  with processes.joined(sys.argv[1], int(sys.argv[2]), index, 120):
    processes.connect()
    assert jax.process_count() == processes.count() == int(sys.argv[2])
    assert processes.is_first() == (index == 0)
{body}
except (UserError, RunStopped) as error:
  print(f'bertjax: {{error}}', file=sys.stderr)
  status = error.status
except BaseException as error:
  print(type(error), error, file=sys.stderr)
  status = 99
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)
"""


def free_address():
  with socket.create_server(('localhost', 0)) as server:
    return f'localhost:{server.getsockname()[1]}'


def start(body, count=2):
  """Returns (status, output, error) of each of the processes that run it."""
  address = free_address()
  code = START.format(
    body='\n'.join('    ' + line for line in body.strip('\n').split('\n'))
  )
  changes = {
    'PYTHONPATH': str(ROOT),
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
    'TF_CPP_MIN_LOG_LEVEL': '2',
  }
  started = [
    subprocess.Popen(
      [sys.executable, '-c', code, address, str(count), str(index)],
      env=os.environ | changes,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(count)
  ]
  outputs = [process.communicate(timeout=300) for process in started]
  return [
    (process.returncode, *texts)
    for process, texts in zip(started, outputs, strict=True)
  ]


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
print('only process 0 is heard')
"""


def test_two_processes_do_things_together(tmp_path, monkeypatch):
  monkeypatch.setenv('FILE', str(tmp_path / 'file'))
  first, second = start(TOGETHER)
  assert first[0] == second[0] == 0, (first, second)
  assert 'only process 0 is heard' in first[1]
  assert 'heard' not in second[1]
  assert first[2] == second[2] == ''


def test_a_mistake_that_one_finds_ends_the_others_with_its_line():
  first, second = start("""
if index == 0:
  raise UserError('expected a file, got none; set TEXT_FILES')
processes.wait('for ever')
""")
  assert first[0] == second[0] == 2
  assert first[2] == 'bertjax: expected a file, got none; set TEXT_FILES\n'
  assert second[2].startswith('bertjax: process 0 of 2 (')
  assert second[2].endswith(
    ') ended: expected a file, got none; set TEXT_FILES\n'
  )


@pytest.mark.parametrize('dead', [0, 1])
def test_a_process_that_is_killed_is_named_by_the_others(dead):
  ended = start(f"""
processes.gather(0)
if index == {dead}:
  os.kill(os.getpid(), 9)
while True:
  processes.gather(index)
""")
  assert ended[dead][0] == -9
  status, _, error = ended[1 - dead]
  assert status == 1
  assert len(error.splitlines()) == 1, error
  assert error.startswith(f'bertjax: process {dead} of 2 (')
  assert 'has died; the same command' in error


def test_alone_nothing_is_waited_for():
  with processes.joined():
    processes.connect()
  for flags in (('localhost:1', 1, 0), (None, 1, None)):
    with processes.joined(*flags):
      processes.connect()
  assert processes.count() == 1 and processes.is_first()
  assert processes.gather(np.nan) is not None
  assert processes.from_first(lambda: 3) == 3
  assert processes.Vote().cast(15) == 15
  with processes.first_before_others('x'):
    processes.wait('y')


@pytest.mark.parametrize(
  'flags, words',
  [
    (('host:1', 2, None), '--process_index'),
    ((None, 2, 0), '--coordinator_address'),
    (('host', 2, 0), 'HOST:PORT'),
    (('host:1', 2, 2), 'got 2 of 2'),
    (('host:1', 0, 0), 'got 0 of 0'),
    (('host:1', 1, 1), 'got 1 of 1'),
    (('host:1', 2, -1), 'got -1 of 2'),
  ],
)
def test_flags_that_cannot_be_meant_are_refused(flags, words):
  with pytest.raises(UserError, match=words):
    with processes.joined(*flags):
      pass


def test_slurm_is_found_and_one_task_of_it_is_one_process(monkeypatch):
  for name, value in {
    'SLURM_JOB_ID': '7',
    'SLURM_STEP_NODELIST': 'node[003-4,9]',
    'SLURM_NTASKS': '3',
    'SLURM_PROCID': '2',
    'SLURM_LOCALID': '0',
  }.items():
    monkeypatch.setenv(name, value)
  assert processes._detect(1) == ('node003:61447', 3, 2, [0])
  monkeypatch.setenv('SLURM_NTASKS', '1')
  monkeypatch.setenv('SLURM_PROCID', '0')
  with processes.joined():  # nobody else would come
    processes.connect()
  assert processes.count() == 1


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch):
  from jax._src.clusters import slurm_cluster

  def fail():
    raise RuntimeError('Kubernetes API Error: 403')

  monkeypatch.setattr(slurm_cluster.SlurmCluster, 'is_env_present', fail)
  with pytest.raises(UserError, match='403.*--process_count=1'):
    with processes.joined():
      pass


def test_pods_that_jax_cannot_find_do_not_run_alone(monkeypatch):
  monkeypatch.setenv('KUBERNETES_SERVICE_HOST', '10.0.0.1')
  monkeypatch.setenv('JOB_COMPLETION_INDEX', '1')
  monkeypatch.setitem(sys.modules, 'kubernetes', None)
  with pytest.raises(UserError, match=r"pip install 'jax\[k8s\]'"):
    with processes.joined():
      pass


def test_workers_of_a_tpu_pod_are_found(monkeypatch):
  from jax._src.clusters import cloud_tpu_cluster

  monkeypatch.setattr(cloud_tpu_cluster, 'running_in_cloud_tpu_vm', True)
  monkeypatch.setenv('TPU_WORKER_HOSTNAMES', 'localhost,other')
  monkeypatch.setenv('TPU_WORKER_ID', '1')
  monkeypatch.setattr(
    cloud_tpu_cluster, 'get_tpu_env_value_from_metadata', lambda key: None
  )
  address, count, index, _ = processes._detect(1)
  assert (address, count, index) == ('localhost:8482', 2, 1)
