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
  sums: collections.Counter[str] = collections.Counter()
  moved: collections.Counter[str] = collections.Counter()
  collectives: collections.Counter[str] = collections.Counter()
  uncounted: set[str] = set()
  unknown: set[str] = set()
  begun: set[str | None] = set()
  for instruction, place, times, fused in hlo.parse(text).executions():
    if instruction.opcode in ('convolution', 'dot'):
      sums['flops'] += times * hlo_flops.of_product(instruction)
    kind = instruction.opcode.removesuffix('-start')
    if kind in COLLECTIVES:
      # One that overlaps with other work is a chain of fusions with that work,
      # and each of them contains the whole collective with its channel.
      channel = instruction.found(r'channel_id=(\d+)') if fused else None
      if not channel or channel not in begun:
        # On TPU a reduce-scatter is an all-reduce in a fusion of that name.
        if fused and 'all-reduce-scatter' in place:
          kind = 'reduce-scatter'
        moved[kind] += times * hlo_bytes.of_collective(instruction)
        collectives[kind] += times
      begun.add(channel)
    if fused:
      continue
    if instruction.turns() is None:
      unknown.add(instruction.name)
    if hlo_flops.is_pallas(instruction):
      counted = hlo_flops.of_pallas(instruction)
      if counted is None:
        uncounted.add(instruction.name)
      sums['pallas_flops'] += times * (counted or 0)
      sums['pallas_calls'] += times
    sums['cycles'] += times * (instruction.number('estimated_cycles') or 0)
    sums['hbm_bytes'] += times * hlo_bytes.of_memory(instruction)
  return Cost(
    flops=sums['flops'] + sums['pallas_flops'],
    pallas_flops=sums['pallas_flops'],
    pallas_calls=sums['pallas_calls'],
    pallas_uncounted=tuple(sorted(uncounted)),
    hbm_bytes=sums['hbm_bytes'],
    cycles=sums['cycles'],
    collective_bytes=dict(moved),
    collectives=dict(collectives),
    unknown_loops=len(unknown),
  )


def memory_of(program: jax.stages.Compiled) -> dict[str, int]:
  """Returns the bytes of a device's memory that a program needs.

  Returns:
    `arguments`, `outputs`, `aliased` (outputs that reuse an argument's memory),
    `temporary`, and `program` (its code).
  """
  analysis = program.memory_analysis()
  return {
    name: getattr(analysis, f'{field}_size_in_bytes')
    for name, field in (
      ('arguments', 'argument'),
      ('outputs', 'output'),
      ('aliased', 'alias'),
      ('temporary', 'temp'),
      ('program', 'generated_code'),
    )
  }


def needed_bytes(parts: dict[str, int]) -> int:
  """Returns arguments + outputs - aliased + temporary."""
  made = parts['outputs'] - parts['aliased']
  return parts['arguments'] + made + parts['temporary']
