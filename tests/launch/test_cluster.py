"""Who the processes are, from flags and from what clusters set."""

import inspect
import math
import sys

import pytest

from bertjax.errors import UserError
from bertjax.launch import cluster


def test_jax_finds_clusters_as_before():
  way_out = (
    'jax has moved what finds clusters. `cluster._detect` may read SLURM_*, '
    'TPU_WORKER_* and JOB_COMPLETION_INDEX itself, or raise a UserError that '
    'asks for the three flags; jax.distributed.initialize() without arguments '
    'finds them too, but listens on all interfaces and not for one machine.'
  )
  clusters = pytest.importorskip('jax._src.clusters')
  detect = clusters.ClusterEnv.auto_detect_unset_distributed_params
  assert list(inspect.signature(detect).parameters) == [
    'coordinator_address',
    'num_processes',
    'process_id',
    'local_device_ids',
    'cluster_detection_method',
    'initialization_timeout',
  ], way_out


@pytest.mark.parametrize(
  'text, parts',
  [
    ('10.0.0.1:1234', ('10.0.0.1', 1234)),
    ('host.name:80', ('host.name', 80)),
    ('[::1]:1234', ('::1', 1234)),
  ],
)
def test_addresses_have_a_host_and_a_port(text, parts):
  assert cluster.host_and_port(text) == parts


@pytest.mark.parametrize(
  'text', ['host', 'host:', ':12', 'host:0', 'h:70000', 'http://localhost:123']
)
def test_other_addresses_are_refused(text):
  with pytest.raises(UserError, match='--coordinator_address'):
    cluster.host_and_port(text)


def test_without_flags_and_cluster_a_process_is_alone():
  alone = cluster.Place()
  assert (alone.count, alone.index) == (1, 0)
  for flags in ((), ('localhost:1', 1, 0), (None, 1, None)):
    assert cluster.find(*flags) == alone


@pytest.mark.parametrize(
  'flags, words',
  [
    (('host:1', 2, None), '--process_index'),
    ((None, 2, 0), '--coordinator_address'),
    (('host', 2, 0), 'HOST:PORT'),
    (('host:1', 2, 2), 'a count of 2, got 2; set --process_index'),
    (('host:1', 0, 0), 'a count of 0, got 0; set'),
    (('host:1', 1, 1), 'a count of 1, got 1; set'),
    (('host:1', 2, -1), 'a count of 2, got -1; set'),
    (('garbage', 1, None), 'HOST:PORT'),
    *(
      ((None, None, None, x), 'a million, got .*; set --join_seconds')
      for x in (math.nan, math.inf, -1, 0)
    ),
  ],
)
def test_flags_that_cannot_be_meant_are_refused(flags, words):
  with pytest.raises(UserError, match=words):
    cluster.find(*flags)


def test_slurm_is_found_and_one_task_of_it_is_one_process(monkeypatch):
  for name, value in {
    'SLURM_JOB_ID': '7',
    'SLURM_STEP_NODELIST': 'node[003-4,9]',
    'SLURM_NTASKS': '3',
    'SLURM_PROCID': '2',
    'SLURM_LOCALID': '0',
  }.items():
    monkeypatch.setenv(name, value)
  assert cluster.find() == cluster.Place('node003:61447', 3, 2, [0])
  monkeypatch.setenv('SLURM_NTASKS', '1')
  monkeypatch.setenv('SLURM_PROCID', '0')
  assert cluster.find() == cluster.Place()  # nobody else would come


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch):
  from jax._src.clusters import slurm_cluster

  def fail():
    raise RuntimeError('Kubernetes API Error: 403')

  monkeypatch.setattr(slurm_cluster.SlurmCluster, 'is_env_present', fail)
  with pytest.raises(UserError, match='403.*--process_count=1'):
    cluster.find()


def test_pods_that_jax_cannot_find_do_not_run_alone(monkeypatch):
  monkeypatch.setenv('KUBERNETES_SERVICE_HOST', '10.0.0.1')
  monkeypatch.setenv('JOB_COMPLETION_INDEX', '1')
  monkeypatch.setitem(sys.modules, 'kubernetes', None)
  with pytest.raises(UserError, match=r"pip install 'jax\[k8s\]'"):
    cluster.find()


def test_workers_of_a_tpu_pod_are_found(monkeypatch):
  from jax._src.clusters import cloud_tpu_cluster

  monkeypatch.setattr(cloud_tpu_cluster, 'running_in_cloud_tpu_vm', True)
  monkeypatch.setenv('TPU_WORKER_HOSTNAMES', 'localhost,other')
  monkeypatch.setenv('TPU_WORKER_ID', '1')
  monkeypatch.setattr(
    cloud_tpu_cluster, 'get_tpu_env_value_from_metadata', lambda key: None
  )
  found = cluster.find()
  assert (found.address, found.count, found.index) == ('localhost:8482', 2, 1)
