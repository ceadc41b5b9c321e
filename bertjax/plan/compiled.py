"""The cost of a compiled TPU program: operations, bytes, cycles.

    program = jitted.lower(*shapes).compile()
    cost = compiled.cost_of(program.as_text())
    cost.flops, cost.hbm_bytes, cost.cycles, cost.collective_bytes
    compiled.memory_of(program)    # {'arguments': ..., 'temporary': ...}

Everything is per device and call. XLA's own `cost_analysis` is not used: it
counts the body of a loop once, ignores Pallas kernels, and its bytes accessed
include those in on-chip memory.
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
  """The cost of one call on one device.

  Attributes:
    flops: of matrix products, including `pallas_flops`.
    pallas_flops: see `hlo_flops.of_pallas`.
    pallas_calls: number of calls to Pallas kernels.
    pallas_uncounted: names of the kernels whose FLOPs are unknown.
    hbm_bytes: operands read and results written outside on-chip memory, without
      the padding of layouts; a slice counts what it takes.
    cycles: sum of the compiler's estimates, which cover neither collectives nor
      Pallas calls; assumes that nothing overlaps.
    collective_bytes: kind -> bytes of the whole arrays reduced or gathered.
    collectives: kind -> number of executions.
    unknown_loops: number of loops of unknown trip count, which count once.
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
  """Counts the cost of an optimised HLO module from its `as_text()`."""
  module = hlo.parse(text)
  sums: collections.Counter[str] = collections.Counter()
  moved: collections.Counter[str] = collections.Counter()
  collectives: collections.Counter[str] = collections.Counter()
  uncounted: set[str] = set()
  begun: set[str] = set()
  for execution in module.executions():
    instruction, times = execution.instruction, execution.times
    place = execution.computation
    if instruction.opcode in ('convolution', 'dot'):
      sums['flops'] += times * hlo_flops.of_product(place, instruction)
    kind = _collective(execution)
    if kind and not _continues(execution, begun):
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
  """Returns the bytes of a device's memory that a program needs.

  Returns:
    `arguments`, `outputs`, `aliased` (outputs that reuse an argument's memory),
    `temporary`, and `program` (its code).
  """
  analysis = program.memory_analysis()
  assert analysis is not None  # as XLA has statistics
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
  """Returns the kind of a collective, or None for any other instruction.

  On TPU a reduce-scatter is an all-reduce in a fusion of that name.
  """
  opcode = execution.instruction.opcode.removesuffix('-start')
  if opcode not in COLLECTIVES:
    return None
  if execution.fused and 'all-reduce-scatter' in execution.computation.name:
    return 'reduce-scatter'
  return opcode


def _continues(execution: hlo.Execution, begun: set[str]) -> bool:
  """Whether a collective continues one in `begun`; adds its channel there.

  A collective that overlaps with other work is a chain of fusions with that
  work, and each of them contains the whole collective with its channel.
  """
  channel = re.search(r'channel_id=(\d+)', execution.instruction.attributes)
  if not execution.fused or not channel:
    return False
  continues = channel[1] in begun
  begun.add(channel[1])
  return continues
