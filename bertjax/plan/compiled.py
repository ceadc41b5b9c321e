"""What a compiled TPU program tells of its cost: operations, bytes, cycles.

    program = jitted.lower(*shapes).compile()
    cost = compiled.cost_of(program.as_text())
    cost.flops, cost.hbm_bytes, cost.cycles, cost.collective_bytes
    compiled.memory_of(program)    # {'arguments': ..., 'temporary': ...}

All of one device and one call. Source: ours. XLA's own `cost_analysis` counts
the body of a loop once, nothing inside Pallas kernels, and as bytes accessed
also those that it keeps in on-chip memory.
"""

import collections
import dataclasses
import re

import jax

from bertjax.plan import hlo, hlo_bytes, hlo_flops

COLLECTIVES = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)


@dataclasses.dataclass(frozen=True)
class Cost:
  """The cost of one call, a device.

  Attributes:
    flops: of matrix products, those of Pallas calls (`pallas_flops`) included.
    pallas_flops: see `hlo_flops.of_pallas`.
    pallas_calls: number of calls of Pallas kernels.
    pallas_uncounted: names of kernels whose FLOPs nobody says.
    hbm_bytes: operands read and results written outside on-chip memory; of a
      slice what it takes. Without the padding of layouts.
    cycles: sum of the compiler's estimates; of neither collectives nor Pallas
      calls, and nothing overlaps.
    collective_bytes: kind -> bytes, of the whole array that is reduced or
      gathered.
    collectives: kind -> number of executions.
    unknown_loops: number of loops that count once, for want of a trip count.
  """

  flops: int
  pallas_flops: int
  pallas_calls: int
  pallas_uncounted: tuple[str, ...]
  hbm_bytes: int
  cycles: int
  collective_bytes: dict[str, int]
  collectives: dict[str, int]
  unknown_loops: int


def cost_of(text: str) -> Cost:
  """Counts what the text of an optimised HLO module (`as_text()`) says."""
  module = hlo.parse(text)
  sums, moved, collectives = (collections.Counter() for _ in range(3))
  uncounted, begun = set(), set()
  for execution in module.executions():
    instruction, times = execution.instruction, execution.times
    place = execution.computation
    if instruction.opcode in ('convolution', 'dot'):
      sums['flops'] += times * hlo_flops.of_product(place, instruction)
    kind = _collective(execution)
    if kind and not _goes_on(execution, begun):
      moved[kind] += times * hlo_bytes.of_collective(place, instruction)
      collectives[kind] += times
    if execution.fused:
      continue
    if hlo_flops.is_pallas(instruction):
      counted = hlo_flops.of_pallas(place, instruction)
      if counted is None:
        uncounted.add(instruction.name)
      sums['pallas_flops'] += times * (counted or 0)
      sums['pallas_calls'] += times
    sums['cycles'] += times * (instruction.number('estimated_cycles') or 0)
    sums['hbm_bytes'] += times * hlo_bytes.of_memory(module, place, instruction)
  return Cost(
    flops=sums['flops'] + sums['pallas_flops'],
    pallas_flops=sums['pallas_flops'],
    pallas_calls=sums['pallas_calls'],
    pallas_uncounted=tuple(sorted(uncounted)),
    hbm_bytes=sums['hbm_bytes'],
    cycles=sums['cycles'],
    collective_bytes=dict(moved),
    collectives=dict(collectives),
    unknown_loops=len(module.unknown_loops),
  )


def memory_of(program: jax.stages.Compiled) -> dict[str, int]:
  """Returns the bytes of a device's memory that a program takes.

  Returns:
    `arguments`, `outputs`, `aliased` (outputs that take an argument's place),
    `temporary`, and `program` itself.
  """
  analysis = program.memory_analysis()
  return {
    'arguments': analysis.argument_size_in_bytes,
    'outputs': analysis.output_size_in_bytes,
    'aliased': analysis.alias_size_in_bytes,
    'temporary': analysis.temp_size_in_bytes,
    'program': analysis.generated_code_size_in_bytes,
  }


def needed_bytes(parts: dict[str, int]) -> int:
  """Returns arguments + outputs - aliased + temporary."""
  return (
    parts['arguments']
    + parts['outputs']
    - parts['aliased']
    + parts['temporary']
  )


def _collective(execution: hlo.Execution) -> str | None:
  """Returns the kind; a reduce-scatter is a fusion of that name on TPU."""
  opcode = execution.instruction.opcode.removesuffix('-start')
  if opcode not in COLLECTIVES:
    return None
  if execution.fused and 'all-reduce-scatter' in execution.computation.name:
    return 'reduce-scatter'
  return opcode


def _goes_on(execution: hlo.Execution, begun: set[str]) -> bool:
  """Whether a collective is a later part of one in `begun`; adds it there.

  One that overlaps with other work stands in a chain of fusions with that work,
  each with the whole collective and its channel in it.
  """
  channel = re.search(r'channel_id=(\d+)', execution.instruction.attributes)
  if not execution.fused or not channel:
    return False
  goes_on = channel[1] in begun
  begun.add(channel[1])
  return goes_on
