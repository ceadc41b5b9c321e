"""A plan as text: a table, what does not fit, and what to change.

    print(table.text(planning.plan(...)))

Unknown figures have no row.
"""

from collections.abc import Iterator, Mapping

GIB = 2**30


def text(figures: Mapping) -> str:
  """Formats the figures of `planning.plan`."""
  rows = list(_rows(figures))
  width = max(len(name) for name, _ in rows)
  lines = [f'{name:<{width}}  {value}' for name, value in rows]
  if not figures['compiled']:
    lines += [
      '',
      f'Arithmetic alone, nothing is compiled: {figures["why_not_compiled"]}.',
    ]
  if figures['estimate_leaves_out']:
    lines += [
      '',
      "The estimate is the sum of the compiler's own cycles over "
      'the clock, and leaves out '
      f'{"; ".join(figures["estimate_leaves_out"])}.',
    ]
  if figures['fits'] is False:
    lines += ['', *_does_not_fit(figures)]
  return '\n'.join(lines)


def _rows(figures: Mapping) -> Iterator[tuple[str, str]]:
  """Yields (name, value) of each row whose value is known."""
  f = figures
  mesh = f', mesh {f["mesh"]}' if f['mesh'] else ''
  yield 'topology', f'{f["topology"]}: {f["devices"]} device(s){mesh}'
  versions = f'jax {f["jax"]}' + (
    f', libtpu {f["libtpu"]}' if f['libtpu'] else ''
  )
  yield (
    'step',
    (
      f'global batch {f["batch_size"]}, length {f["length"]}, {f["dtype"]}, '
      f'dropout {f["dropout"]}; {versions}'
    ),
  )
  yield 'parameters', f'{f["parameters"]:,}'
  yield 'each device, each step', ''
  yield '  useful FLOPs', f'{f["flops_useful"] / 1e12:.3f} T'
  if f['flops_compiled'] is not None:
    ratio = f['flops_compiled'] / f['flops_useful']
    yield (
      '  compiled FLOPs',
      (f'{f["flops_compiled"] / 1e12:.3f} T, {ratio:.3f} of the useful'),
    )
    yield '  HBM traffic', f'{f["hbm_bytes"] / GIB:.2f} GiB'
    moved = ', '.join(
      f'{kind} {size / GIB:.3f} GiB in {f["collectives"][kind]}'
      for kind, size in f['collective_bytes'].items()
    )
    yield '  collectives', moved or 'none'
  if f['memory_bytes_per_device'] is not None:
    yield (
      '  memory',
      (
        f'{f["memory_bytes_per_device"] / GIB:.2f} GiB of '
        f'{f["available_bytes"] / GIB:.2f}'
        f'{"" if f["fits"] else ": DOES NOT FIT"}'
      ),
    )
  for name, size in f['memory_parts'].items():
    yield f'    {name.replace("_", " ")}', f'{size / GIB:.2f} GiB'
  if f['largest_batch_per_device'] is not None:
    yield (
      '  largest batch',
      (f'{f["largest_batch_per_device"]} rows, from {f["largest_batch_from"]}'),
    )
  if f['estimated_seconds'] is not None:
    yield (
      '  estimated time',
      (
        f'{1e3 * f["estimated_seconds"]:.2f} ms, '
        f'{f["estimated_mfu"]:.1%} of the peak'
      ),
    )
  yield f'all {f["steps"]:,} steps', ''
  if f['days'] is not None:
    yield (
      '  as estimated',
      (f'{f["days"]:.2f} days, {f["device_hours"]:,.0f} device-hours'),
    )
  if f['days_at_stated_efficiency'] is not None:
    yield (
      f'  at {f["stated_efficiency"]:.0%} of the peak',
      (
        f'{f["days_at_stated_efficiency"]:.2f} days, '
        f'{f["device_hours_at_stated_efficiency"]:,.0f} device-hours'
      ),
    )


def _does_not_fit(figures: Mapping) -> Iterator[str]:
  """Yields why a step does not fit, and what to change."""
  parts = ', '.join(
    f'{name.replace("_", " ")} {size / GIB:.2f}'
    for name, size in figures['memory_parts'].items()
  )
  yield f'It does not fit. GiB a device: {parts}.'
  largest = figures['largest_batch_per_device']
  if largest:
    parts = figures['mesh']['data'] * figures['mesh']['fsdp']
    yield (
      f'Set BATCH_SIZE to {largest * parts} or less ({largest} rows a '
      'device), or a shorter LENGTH;'
    )
  else:
    yield 'Set a smaller BATCH_SIZE or LENGTH, if activations take it;'
  yield (
    'or divide parameters and optimizer state among more devices: a '
    'TOPOLOGY of more chips with make_mesh.fsdp above 1.'
  )
  if figures['compiler_says']:
    yield f'The compiler: {figures["compiler_says"].splitlines()[0]}'
