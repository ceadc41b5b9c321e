"""The peak speed and the memory of accelerators, by jax's names for them.

    >>> find('TPU v5 lite').flops_per_second
    197000000000000.0
    >>> find('cpu') is None
    True

A device is what `jax.devices()` lists: half a chip (one TensorCore) for a TPU
v2, v3 or 7x, else a chip. Source: the makers' data sheets, named at each row.
"""

import dataclasses
import glob
import re

MIB = 2**20
GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Device:
  """The limits of one device.

  Attributes:
    name: short, as in everyday use.
    kinds: a regular expression that matches jax's device_kind.
    flops_per_second: dense bfloat16 products with float32 sums (float16 if the
      device has no bfloat16); without sparsity.
    memory_bytes: size of the device's own memory (HBM, or GDDR on the smaller
      GPUs).
    memory_bytes_per_second: between that memory and the chip.
    reserved_bytes: of that memory, kept by XLA; from what libtpu 0.0.42 says is
      available if a program does not fit. Not known for GPUs.
    clock_hertz: of a TPU's TensorCore; None for a GPU.
  """

  name: str
  kinds: str
  flops_per_second: float
  memory_bytes: int
  memory_bytes_per_second: float
  reserved_bytes: int = 0
  clock_hertz: float | None = None


# The first row whose pattern is found in the device_kind counts.
# TPU: https://cloud.google.com/tpu/docs/{v2,v3,v4,v5e,v5p,v6e,tpu7x}, per chip.
# A clock follows from the peak: TensorCores x MXUs x side x side x 2 x clock.
# If the MXUs that the page counts would need twice the clock (v6e: two of
# 256 x 256), each makes two products a cycle.
DEVICES = (
  # 46 TFLOP/s, 16 GiB, 700 GB/s a chip of 2 cores with 1 MXU.
  Device('v2', r'^TPU v2', 23e12, 8 * GIB, 350e9, 532 * MIB, 0.70e9),
  # 123 TFLOP/s, 32 GiB, 900 GB/s a chip of 2 cores with 2 MXUs.
  Device('v3', r'^TPU v3', 61.5e12, 16 * GIB, 450e9, 532 * MIB, 0.94e9),
  # 275 TFLOP/s, 32 GiB, 1228 GB/s; 2 cores (one device, 'megacore') with 4.
  Device('v4', r'^TPU v4$', 275e12, 32 * GIB, 1228e9, 1280 * MIB, 1.05e9),
  # 197 TFLOP/s, 16 GB, 819 GB/s; 1 core with 4 MXUs.
  Device(
    'v5e', r'^TPU v5( lite|e)', 197e12, 16 * GIB, 819e9, 256 * MIB, 1.503e9
  ),
  # 459 TFLOP/s, 95 GB (XLA: 95.74 GiB to use), 2765 GB/s; 2 cores with 4.
  Device('v5p', r'^TPU v5(p|$)', 459e12, 96 * GIB, 2765e9, 266 * MIB, 1.75e9),
  # 918 TFLOP/s, 32 GB, 1640 GB/s; 1 core.
  Device(
    'v6e', r'^TPU v6( lite|e)', 918e12, 32 * GIB, 1640e9, 768 * MIB, 1.75e9
  ),
  # 2307 TFLOP/s, 192 GiB, 7380 GB/s a chip of 2 cores, each a device with as
  # many MXUs as v6e's.
  Device('tpu7x', r'^TPU ?v?7', 1153.5e12, 96 * GIB, 3690e9, 1280 * MIB, 2.2e9),
  # https://images.nvidia.com/content/technologies/volta/pdf/
  # volta-v100-datasheet-update-us-1165301-r5.pdf: SXM2, float16.
  Device('V100-32', r'V100.*32GB', 125e12, 32 * GIB, 900e9),
  Device('V100', r'V100', 125e12, 16 * GIB, 900e9),
  # https://www.nvidia.com/en-us/data-center/tesla-t4/: float16.
  Device('T4', r'\bT4\b', 65e12, 16 * GIB, 320e9),
  # https://www.nvidia.com/en-us/data-center/a100/
  Device('A100-80', r'A100.*80GB', 312e12, 80 * GIB, 2039e9),
  Device('A100-40', r'A100', 312e12, 40 * GIB, 1555e9),
  # https://www.nvidia.com/en-us/data-center/products/a10-gpu/; AWS' A10G has
  # 70 of its 125 TFLOP/s.
  Device('A10G', r'\bA10G', 70e12, 24 * GIB, 600e9),
  Device('A10', r'\bA10\b', 125e12, 24 * GIB, 600e9),
  # https://www.nvidia.com/en-us/design-visualization/rtx-a6000/: 309.7
  # TFLOP/s with sparsity.
  Device('A6000', r'RTX A6000', 154.8e12, 48 * GIB, 768e9),
  # https://images.nvidia.com/aem-dam/Solutions/geforce/ada/
  # nvidia-ada-gpu-architecture.pdf and the Ampere GA102 paper, appendix A:
  # products of bfloat16 with float32 sums.
  Device('RTX 3090', r'RTX 3090$', 71e12, 24 * GIB, 936e9),
  Device('RTX 4090', r'RTX 4090$', 165.2e12, 24 * GIB, 1008e9),
  # https://www.nvidia.com/en-us/data-center/l4/: 242 with sparsity.
  Device('L4', r'\bL4\b', 121e12, 24 * GIB, 300e9),
  # https://www.nvidia.com/en-us/data-center/l40s/
  Device('L40S', r'\bL40S', 362e12, 48 * GIB, 864e9),
  # https://www.nvidia.com/en-us/data-center/h100/: half of those with
  # sparsity. jax says 'NVIDIA H100 80GB HBM3' of the SXM form.
  Device('H100 PCIe', r'H100 PCIe', 756e12, 80 * GIB, 2000e9),
  Device('H100 NVL', r'H100 NVL', 835e12, 94 * GIB, 3900e9),
  Device('H100', r'H100', 989e12, 80 * GIB, 3350e9),
  # https://www.nvidia.com/en-us/data-center/h200/
  Device('H200 NVL', r'H200 NVL', 835e12, 141 * 10**9, 4800e9),
  Device('H200', r'H200', 989e12, 141 * 10**9, 4800e9),
  # https://www.nvidia.com/en-us/data-center/dgx-b200/ and gb200-nvl72/: an
  # eighth of 36 (B200) and a 72nd of 360 PFLOP/s (GB200), less sparsity.
  Device('GB200', r'GB200', 2500e12, 186 * 10**9, 8000e9),
  Device('B200', r'B200', 2250e12, 180 * 10**9, 8000e9),
)


def find(kind: str) -> Device | None:
  """Returns the row for a device_kind, or None if the table has none."""
  return next((d for d in DEVICES if re.search(d.kinds, kind)), None)


def named(name: str) -> Device | None:
  """Returns the row with a short name, such as 'v5e' or 'h100', or None."""
  return next((d for d in DEVICES if d.name.lower() == name.lower()), None)


def tpu_is_there() -> bool:
  """Whether this machine has a TPU, judged by its device files: libtpu may be
  installed only to compile for one."""
  return bool(glob.glob('/dev/accel*') or glob.glob('/dev/vfio/[0-9]*'))
