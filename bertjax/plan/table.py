"""A plan as text: a table, what does not fit, and what to change.

print(table.text(planning.plan(...)))
"""

import contextlib
from collections.abc import Mapping

# A line of a figure that is unknown is left out; `x/GiB` is x in that unit.
_LINES = (
  'topology                       {topology}: {devices} device(s), mesh {mesh}',
  'step                           global batch {batch_size}, length {length}, '
  '{dtype}, dropout {dropout}',
  'jax                            {jax}',
  'libtpu                         {libtpu}',
  'parameters                     {parameters:,}',
  'each device, each step',
  '  useful FLOPs                 {flops_useful/T:.3f} T',
  '  compiled FLOPs               {flops_compiled/T:.3f} T, '
  '{flops_compiled/useful:.3f} of the useful',
  '  HBM traffic                  {hbm_bytes/GiB:.2f} GiB',
  '  collectives                  {moved}',
  '  memory                       {memory_bytes_per_device/GiB:.2f} GiB of '
  '{available_bytes/GiB:.2f}{verdict}',
  '{parts}',
  '  largest batch                {largest_batch_per_device} rows, from '
  '{largest_batch_from}',
  '  estimated time               {estimated_seconds/ms:.2f} ms, '
  '{estimated_mfu:.1%} of the peak',
  'all {steps:,} steps',
  '  as estimated                 {days:.2f} days, '
  '{device_hours:,.0f} device-hours',
  '  at {stated_efficiency:.0%} of the peak           '
  '{days_at_stated_efficiency:.2f} days, '
  '{device_hours_at_stated_efficiency:,.0f} device-hours',
  '\nArithmetic alone, nothing is compiled: {why_not_compiled}.',
  "\nThe estimate is the sum of the compiler's own cycles over the clock"
  '{of_kernels}. It leaves out {left_out}.',
  '\nIt does not fit. Set {remedy};\n'
  'or divide parameters and optimizer state among more devices: a TOPOLOGY of '
  'more chips with make_mesh.fsdp above 1.',
  'The compiler: {compiler_says}',
)


def text(figures: Mapping) -> str:
  """Formats the figures of `planning.plan`."""
  known = {name: value for name, value in figures.items() if value is not None}
  units = {'GiB': 2**30, 'T': 1e12, 'ms': 1e-3, 'useful': known['flops_useful']}
  for name, value in figures.items():
    if isinstance(value, int | float):
      known |= {f'{name}/{unit}': value / size for unit, size in units.items()}
  known['parts'] = '\n'.join(
    f'    {name.replace("_", " "):27}{size / 2**30:.2f} GiB'
    for name, size in figures['memory_parts'].items()
  )
  if 'flops_compiled' in known:
    moved = ', '.join(
      f'{kind} {size / 2**30:.3f} GiB in {figures["collectives"][kind]}'
      for kind, size in figures['collective_bytes'].items()
    )
    known['moved'] = moved or 'none'
    known['left_out'] = '; '.join(figures['estimate_leaves_out'])
  known['of_kernels'] = ''
  if kernels := known.get('estimated_seconds_of_kernels'):
    known['of_kernels'] = (
      f', and {kernels * 1e3:.2f} ms of Pallas kernels, for which the compiler '
      'has none: for each call its FLOPs over the peak, or its bytes over the '
      "memory's bandwidth, whichever is more"
    )
  known['verdict'] = ''
  if figures['fits'] is False:
    known['verdict'] = ': DOES NOT FIT'
    known['remedy'] = 'a smaller BATCH_SIZE or LENGTH, if activations take it'
    if largest := figures['largest_batch_per_device']:
      rows = largest * figures['mesh']['data'] * figures['mesh']['fsdp']
      known['remedy'] = (
        f'BATCH_SIZE to {rows} or less ({largest} rows a device), or a shorter '
        'LENGTH'
      )
  if 'compiler_says' in known:
    known['compiler_says'] = known['compiler_says'].splitlines()[0]
  lines = []
  for line in _LINES:
    with contextlib.suppress(KeyError):
      lines.append(line.format_map(known))
  return '\n'.join(lines)
