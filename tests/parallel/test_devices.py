import pytest

from bertjax.parallel import devices


@pytest.mark.parametrize(
  'kind, name',
  [
    ('TPU v4', 'v4'),
    ('TPU v5 lite', 'v5e'),
    ('TPU v5e', 'v5e'),
    ('TPU v5', 'v5p'),
    ('TPU v5p', 'v5p'),
    ('TPU v6 lite', 'v6e'),
    ('TPU7x', 'tpu7x'),
    ('TPU v2', 'v2'),
    ('TPU v3', 'v3'),
    ('Tesla V100-SXM2-16GB', 'V100'),
    ('Tesla V100-SXM2-32GB', 'V100-32'),
    ('Tesla T4', 'T4'),
    ('NVIDIA A100-SXM4-40GB', 'A100-40'),
    ('NVIDIA A100-SXM4-80GB', 'A100-80'),
    ('NVIDIA A100 80GB PCIe', 'A100-80'),
    ('NVIDIA A10G', 'A10G'),
    ('NVIDIA L4', 'L4'),
    ('NVIDIA L40S', 'L40S'),
    ('NVIDIA H100 80GB HBM3', 'H100'),
    ('NVIDIA H100 PCIe', 'H100 PCIe'),
    ('NVIDIA H200', 'H200'),
    ('NVIDIA B200', 'B200'),
    ('NVIDIA GB200', 'GB200'),
    ('NVIDIA RTX A6000', 'A6000'),
  ],
)
def test_a_device_is_found_by_the_name_that_jax_gives(kind, name):
  assert devices.find(kind).name == name


@pytest.mark.parametrize(
  'kind',
  ['cpu', 'TPU v4 lite', 'TPU v9', 'NVIDIA GeForce RTX 4090 Laptop GPU', ''],
)
def test_a_device_that_is_not_in_the_table_is_none(kind):
  assert devices.find(kind) is None


@pytest.mark.parametrize('device', devices.DEVICES, ids=lambda d: d.name)
def test_short_names_are_unique_and_any_case(device):
  assert devices.named(device.name.lower()) is device


@pytest.mark.parametrize(
  'kind', ['TPU v4', 'TPU v5 lite', 'TPU v5', 'TPU v6 lite', 'TPU7x']
)
def test_tpus_are_as_pallas_has_them(kind):
  """jax keeps a table of its own, a core a row, for Pallas kernels."""
  info = pytest.importorskip('jax._src.pallas.mosaic.tpu_info')
  version = info.chip_version_from_device_kind(kind)
  if version is None:
    pytest.skip(f'this jax does not know {kind}')
  cores = 2 if kind in ('TPU v4', 'TPU v5') else 1  # of one device
  try:
    theirs = info._get_tpu_info_impl(version, cores)
  except (AttributeError, TypeError):
    pytest.skip('this jax keeps its table elsewhere')
  ours = devices.find(kind)
  assert ours.flops_per_second == pytest.approx(
    cores * theirs.bf16_ops_per_second, rel=0.01
  )
  assert ours.memory_bytes == pytest.approx(
    cores * theirs.hbm_capacity_bytes, rel=0.01
  )
  # jax has 2.46 TB/s for v5p where Google's page has 2.765.
  assert ours.memory_bytes_per_second == pytest.approx(
    cores * theirs.mem_bw_bytes_per_second, rel=0.13
  )


@pytest.mark.parametrize(
  'name, cores, units, side',
  [
    ('v2', 1, 1, 128),
    ('v3', 1, 2, 128),
    ('v4', 2, 4, 128),
    ('v5e', 1, 4, 128),
    ('v5p', 2, 4, 128),
    ('v6e', 1, 4, 256),
    ('tpu7x', 1, 4, 256),
  ],
)
def test_a_clock_makes_the_peak(name, cores, units, side):
  device = devices.named(name)
  assert cores * units * side**2 * 2 * device.clock_hertz == pytest.approx(
    device.flops_per_second, rel=0.01
  )
