"""The plan: what a pretraining run needs before it runs.

    figures = planning.plan(
        objective=objective, optimizer=optimizer, shapes=batch.shapes(512, 128,
        20), topology='v5e:2x4', steps=1_000_000)
    figures['estimated_mfu'], figures['memory_bytes_per_device']

Compiles the very step that `loop.train` runs for a TPU slice, which may be
absent, and reads the compiler's figures. A plan for a GPU or a CPU, or one made
without libtpu, has only the arithmetic. All figures are per device unless their
name says otherwise.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from bertjax.parallel import devices, partitioning
from bertjax.plan import compiled, table, topologies
from bertjax.plan.compiled_step import Refusal, Step
from bertjax.runs import layout, output_files
from bertjax.training import state as state_lib
from bertjax.training.abstract_objective import Objective
from bertjax.values import Count, Name, Path, Share, checked

# Share of the peak that tuned implementations reach: NVIDIA's BERT large on an
# A100 0.45, Levanter on TPU v3 0.35 to 0.54.
EFFICIENCY = 0.4


@checked
def write_plan(
  *, make: Callable[..., dict], run_dir: Path, dry_run: bool = False
) -> None:
  """Prints the plan of a run and writes `run_dir`/plan.json.

  Args:
    make: `plan` with its arguments but `compiles`.
    run_dir: created if missing.
    dry_run: check everything; compile and write nothing.

  Raises:
    UserError: see `plan`; or the folder is not writable.
  """
  output = os.path.join(run_dir, layout.PLAN)
  output_files.check_folder(output, 'RUN_DIR')
  # Nothing runs here: leave a GPU to others. jax adds this attribute at import.
  if not jax.config.jax_platforms:  # type: ignore[attr-defined]
    jax.config.update('jax_platforms', 'cpu')
  figures = make(compiles=not dry_run)
  if dry_run:
    return
  print(table.text(figures), flush=True)
  output_files.write_text(output, json.dumps(figures, indent=1), 'RUN_DIR')
  print(f'written to {output}')


@checked
def plan(
  *,
  objective: Objective,
  optimizer: optax.GradientTransformation,
  shapes: Mapping[str, jax.ShapeDtypeStruct],
  topology: Name,
  steps: Count,
  accumulation: Count = 1,
  make_mesh: Callable[..., Mesh] = partitioning.make_mesh,
  efficiency: Share = EFFICIENCY,
  largest_batch: bool = True,
  compiles: bool = True,
) -> dict:
  """Returns the figures of a run; unknown ones are None.

  Args:
    shapes: of a global batch, see `bertjax.batch`.
    topology: see `topologies.parse`.
    steps: of the whole run.
    accumulation: number of parts that a batch is processed in.
    make_mesh: arranges devices, as `make_mesh(devices=...)`.
    efficiency: share of the peak for the second pair of days and device-hours.
    largest_batch: whether to compile again to find `largest_batch_per_device`.
    compiles: whether to compile at all, if the topology can be compiled for.

  Raises:
    UserError: an unknown topology, or a mesh or batch that does not fit it.
  """
  name, count = topologies.parse(topology)
  why_not = None
  if name not in topologies.KNOWN:
    why_not = 'only TPUs can be compiled for here'
  elif not topologies.has_compiler():
    why_not = 'libtpu is not installed (requirements-tpu.txt)'
  if why_not:
    # No array is placed on it, so one device stands in for all.
    count *= 2 if name in topologies.TWO_DEVICES else 1
    mesh = make_mesh(devices=jax.devices('cpu')[:1] * count)
  else:
    mesh = make_mesh(devices=topologies.devices(topology))
    why_not = None if compiles else 'not asked for'
  config = objective.configs[objective.main]
  rows, length = shapes['tokens'].shape
  objective.check_models(length)
  partitioning.check_batch_size(rows, mesh, accumulation)
  step = Step(objective, optimizer, shapes, mesh, accumulation)
  device = devices.named(name)
  figures = {
    'topology': topology,
    'device': name,
    'devices': mesh.size,
    'mesh': dict(mesh.shape),
    'batch_size': rows,
    'length': length,
    'dtype': config.dtype or ('float32' if name == 'cpu' else 'bfloat16'),
    'dropout': config.dropout,
    'accumulation': accumulation,
    'jax': jax.__version__,
    'libtpu': None if why_not else metadata.version('libtpu'),
    'compiled': not why_not,
    'why_not_compiled': why_not,
    'flops_useful': objective.flops(shapes) / mesh.size,
    'steps': steps,
    'stated_efficiency': efficiency,
    **dict.fromkeys(_COMPILED),
    **_of_state(step, device),
  }
  if not why_not:
    assert device is not None  # `devices` has every TPU
    figures |= _of_step(step, figures, device, largest_batch)
  seconds = figures['seconds_at_stated_efficiency'] = (
    device and figures['flops_useful'] / device.flops_per_second / efficiency
  )
  for suffix, each in (
    ('', figures['estimated_seconds']),
    ('_at_stated_efficiency', seconds),
  ):
    hours = each and each * steps / 3600
    figures[f'days{suffix}'] = hours and hours / 24
    figures[f'device_hours{suffix}'] = hours and hours * mesh.size
  return figures


# The figures that only a compiled step has.
_COMPILED = (
  'flops_compiled bytes_accessed memory_bytes_per_device collective_bytes '
  'collectives hbm_bytes estimated_seconds estimated_seconds_of_kernels '
  'estimated_mfu estimate_leaves_out '
  'available_bytes largest_batch_per_device largest_batch_from compiler_says'
).split()


def _of_step(
  step: Step, figures: dict, device: devices.Device, find_largest: bool
) -> dict:
  """Returns the figures of a step on a TPU.

  Args:
    step: see `Step`.
    figures: those known before it is compiled.
    device: of the step's mesh.
    find_largest: whether to add `largest_batch_per_device`.
  """
  program = step.compile()
  parts = figures['memory_parts']
  available = device.memory_bytes - device.reserved_bytes
  if isinstance(program, Refusal):
    needed, available = program.needed, program.available or available
    found = {'fits': False, 'compiler_says': program.text[:2000]}
    if needed:  # not all gradients exist at once
      del parts['gradients']
      fixed = sum(parts.values())
      parts['gradients_and_activations'] = needed - fixed
  else:
    text, analysis = program.as_text(), program.cost_analysis()
    assert text and analysis and device.clock_hertz  # every TPU has them
    cost = compiled.cost_of(text)
    parts = compiled.memory_of(program)
    needed, fixed = compiled.needed_bytes(parts), parts['arguments']
    seconds_of_kernels = cost.pallas_seconds(device)
    seconds = cost.cycles / device.clock_hertz + seconds_of_kernels
    peak = device.flops_per_second
    found = {
      'fits': needed <= available,
      'flops_compiled': cost.flops,
      'bytes_accessed': analysis['bytes accessed'],
      'collective_bytes': cost.collective_bytes,
      'collectives': cost.collectives,
      'hbm_bytes': cost.hbm_bytes,
      'estimated_seconds': seconds,
      'estimated_seconds_of_kernels': seconds_of_kernels or None,
      'estimated_mfu': figures['flops_useful'] / seconds / peak,
      'estimate_leaves_out': _left_out(cost),
    }
  if find_largest and needed:
    found |= _largest(step, needed, available, fixed)
  return found | {
    'memory_bytes_per_device': needed,
    'memory_parts': parts,
    'available_bytes': available,
  }


def _left_out(cost: compiled.Cost) -> list[str]:
  """Returns what the estimated seconds do not cover."""
  left_out = [
    'the time of collectives',
    'copies that overlap with other work',
    'the host and the data',
  ]
  if cost.pallas_calls:
    share = cost.pallas_flops / cost.flops
    left_out.append(
      f'what {cost.pallas_calls.total()} calls of Pallas kernels, with '
      f'{share:.1%} of the FLOPs, take beyond that'
    )
  if cost.pallas_uncounted:
    left_out.append(
      f'FLOPs of {", ".join(sorted(cost.pallas_uncounted))}, unknown'
    )
  if cost.unknown_loops:
    left_out.append(f'all but one turn of {len(cost.unknown_loops)} loops')
  return left_out


def _largest(step: Step, needed: int, available: int, fixed: int) -> dict:
  """Finds how many rows fit, from the memory of programs for two batch sizes.

  The second batch size is where the first predicts that memory is about full:
  interpolation between two programs is more accurate than extrapolation.

  Args:
    step: has the first batch size.
    needed: bytes that its program needs.
    available: bytes that a device has.
    fixed: bytes of those needed that do not grow with the batch.
  """
  unit = step.accumulation
  guess = (available - fixed) / max(needed - fixed, 1) * step.rows
  low, high = unit, step.rows - unit
  if needed <= available:
    low, high = step.rows + unit, 4 * step.rows
  second = int(min(max(guess, low), high)) // unit * unit
  if second < unit:
    return {
      'largest_batch_per_device': 0,
      'largest_batch_from': 'the smallest one does not fit',
    }
  program = step.compile(second)
  other = (
    program.needed
    if isinstance(program, Refusal)
    else compiled.needed_bytes(compiled.memory_of(program))
  )
  slope = ((other or needed) - needed) / (second - step.rows)
  if slope <= 0:
    return {}
  largest = step.rows + (available - needed) / slope
  if not isinstance(program, Refusal):
    largest = max(largest, second)
  return {
    'largest_batch_per_device': max(0, math.floor(largest / unit) * unit),
    'largest_batch_from': 'a line through the memory of '
    f'{min(step.rows, second)} and {max(step.rows, second)} rows',
  }


def _of_state(step: Step, device: devices.Device | None) -> dict:
  """Returns the models' size and the memory that their state needs."""

  def held(tree: Any) -> int:
    return sum(
      math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
      for leaf in jax.tree.leaves(tree)
    )

  abstract, frozen = step.abstract(), step.frozen()
  parts = {
    'parameters': held(abstract.parameters),
    'gradients': held(abstract.parameters),
    'optimizer_state': held(abstract.optimizer_state),
  }
  if frozen:
    parts['frozen_parameters'] = held(frozen)
  too_big = device is not None and sum(parts.values()) > device.memory_bytes
  return {
    'parameters': state_lib.count_parameters(abstract.parameters),
    'memory_parts': parts,
    'fits': False if too_big else None,
  }
