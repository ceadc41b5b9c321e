"""The cost of a compiled TPU program: operations, bytes, cycles.

    program = jitted.lower(*shapes).compile()
    cost = compiled.cost_of(program.as_text())
    cost.flops, cost.hbm_bytes, cost.cycles, cost.collective_bytes
    cost.pallas_seconds(devices.named('v5e'))
    compiled.memory_of(program)    # {'arguments': ..., 'temporary': ...}

Everything is per device and call. XLA's own `cost_analysis` is not used: it
counts the body of a loop once, ignores Pallas kernels, and its bytes accessed
include those in on-chip memory.
"""

import dataclasses
from collections import Counter

import jax

from bertjax.parallel import devices
from bertjax.plan import hlo, hlo_bytes, hlo_flops

COLLECTIVES = (
  'all-reduce all-gather reduce-scatter all-to-all collective-permute'
).split()


@dataclasses.dataclass
class Cost:
  """The cost of one call on one device.

  Attributes:
    flops: of matrix products, including `pallas_flops`.
    pallas_flops: see `hlo_flops.of_pallas`.
    pallas_calls: (FLOPs, bytes in main memory) of a call to a Pallas kernel
      -> number of such calls.
    pallas_uncounted: names of the kernels whose FLOPs are unknown.
    hbm_bytes: operands read and results written outside on-chip memory, without
      the padding of layouts; a slice counts what it takes.
    cycles: sum of the compiler's estimates, which cover neither collectives nor
      Pallas calls; assumes that nothing overlaps.
    collective_bytes: kind -> bytes of the whole arrays reduced or gathered.
    collectives: kind -> number of executions.
    unknown_loops: names of the loops of unknown trip count, which count once.
  """

  flops: int = 0
  pallas_flops: int = 0
  pallas_calls: Counter[tuple[int, int]] = dataclasses.field(
    default_factory=Counter
  )
  pallas_uncounted: set[str] = dataclasses.field(default_factory=set)
  hbm_bytes: int = 0
  cycles: int = 0
  collective_bytes: Counter[str] = dataclasses.field(default_factory=Counter)
  collectives: Counter[str] = dataclasses.field(default_factory=Counter)
  unknown_loops: set[str] = dataclasses.field(default_factory=set)

  def pallas_seconds(self, device: devices.Device) -> float:
    """Returns the least time that the calls to Pallas kernels take.

    For each the larger of its FLOPs over the peak and its bytes over the
    bandwidth of the memory: the roofline of Williams et al. 2009.
    """
    return sum(
      times
      * max(
        flops / device.flops_per_second,
        moved / device.memory_bytes_per_second,
      )
      for (flops, moved), times in self.pallas_calls.items()
    )


def cost_of(text: str) -> Cost:
  """Counts the cost of an optimised HLO module from its `as_text()`."""
  cost = Cost()
  begun: set[str] = set()
  for instruction, place, times, fused in hlo.parse(text).executions():
    if instruction.opcode in ('convolution', 'dot'):
      cost.flops += times * hlo_flops.of_product(instruction)
    kind = instruction.opcode.removesuffix('-start')
    # A collective that overlaps with other work is a chain of fusions with that
    # work, and each of them contains the whole collective with its channel.
    channel = instruction.found(r'channel_id=(\d+)') if fused else ''
    if kind in COLLECTIVES and channel not in begun:
      begun |= {channel} - {''}
      # On TPU a reduce-scatter is an all-reduce in a fusion of that name.
      if fused and 'all-reduce-scatter' in place:
        kind = 'reduce-scatter'
      cost.collective_bytes[kind] += times * hlo_bytes.of_collective(
        instruction
      )
      cost.collectives[kind] += times
    if fused:
      continue
    if instruction.turns() is None:
      cost.unknown_loops.add(instruction.name)
    moved = hlo_bytes.of_memory(instruction)
    if hlo_flops.is_pallas(instruction):
      flops = hlo_flops.of_pallas(instruction)
      if flops is None:
        cost.pallas_uncounted.add(instruction.name)
      cost.flops += times * (flops or 0)
      cost.pallas_flops += times * (flops or 0)
      cost.pallas_calls[flops or 0, moved] += times
    cycles = instruction.found(r'"estimated_cycles":"?(-?\d+)', '0')
    cost.cycles += times * int(cycles)
    cost.hbm_bytes += times * moved
  return cost


def memory_of(program: jax.stages.Compiled) -> dict[str, int]:
  """Returns the bytes of a device's memory that a program needs.

  Returns:
    `arguments`, `outputs`, `aliased` (outputs that reuse an argument's memory),
    `temporary`, and `program` (its code).
  """
  analysis = program.memory_analysis()
  assert analysis  # every platform has it
  return {
    'arguments': analysis.argument_size_in_bytes,
    'outputs': analysis.output_size_in_bytes,
    'aliased': analysis.alias_size_in_bytes,
    'temporary': analysis.temp_size_in_bytes,
    'program': analysis.generated_code_size_in_bytes,
  }


def needed_bytes(parts: dict[str, int]) -> int:
  """Returns arguments + outputs - aliased + temporary."""
  made = parts['outputs'] - parts['aliased']
  return parts['arguments'] + made + parts['temporary']
