"""Compares a plan with the one that was kept before.

    >>> kept = {'estimated_mfu': 0.5, 'hbm_bytes': 10**9, 'jax': '1',
    ...         'compiled_over_useful_flops': 1.1, 'libtpu': '1',
    ...         'memory_bytes_per_device': 10**9}
    >>> worse(kept, kept | {'estimated_mfu': 0.4})
    ['estimated_mfu 0.5 -> 0.4 (-20.0%)']

`row` makes such a row from the figures of `planning.plan`.
"""

from collections.abc import Mapping

# The relative change for the worse that needs no reason.
TOLERANCE = 0.03
GIB = 2**30

# Figure -> sign of a change for the worse.
_FIGURES = {
  'estimated_mfu': -1,
  'hbm_bytes': 1,
  'compiled_over_useful_flops': 1,
  'memory_bytes_per_device': 1,
}
_VERSIONS = ('jax', 'libtpu')
# Of the table of `line`s.
HEADER = f'{"MFU":>35}{"HBM GiB":>9}{"FLOPs":>7}{"memory GiB":>12}  jax, libtpu'


def row(figures: Mapping) -> dict:
  """Returns the figures of a plan that are kept and compared.

  Raises:
    ValueError: the step was not compiled or does not fit.
  """
  if figures['estimated_mfu'] is None or not figures['fits']:
    memory = '{memory_bytes_per_device:,} bytes of {available_bytes:,}'
    got = figures['compiler_says'] or figures['why_not_compiled']
    raise ValueError(
      'expected the plan of a step that compiles and fits, got '
      f'{got or memory.format_map(figures)}'
    )
  ratio = figures['flops_compiled'] / figures['flops_useful']
  known = {**figures, 'compiled_over_useful_flops': ratio}
  kept = {name: round(known[name], 4) for name in _FIGURES}
  return kept | {name: known[name] for name in _VERSIONS}


def same_versions(kept: Mapping, now: Mapping) -> bool:
  """Whether both were made with the same jax and the same compiler."""
  return all(kept[name] == now[name] for name in _VERSIONS)


def worse(kept: Mapping, now: Mapping) -> list[str]:
  """Describes each figure that is worse by more than `TOLERANCE`.

  Figures of different versions are not comparable: nothing is worse.
  """
  if not same_versions(kept, now):
    return []
  found = []
  for name, sign in _FIGURES.items():
    change = now[name] / kept[name] - 1
    if sign * change > TOLERANCE:
      said = f'{kept[name]:.4g} -> {now[name]:.4g} ({change:+.1%})'
      found.append(f'{name} {said}')
  return found


def renewed(kept: Mapping | None, now: Mapping, reason: str) -> dict:
  """Returns the row to keep, with the reason of its last change."""
  if kept and all(kept.get(name) == now[name] for name in now):
    reason = kept.get('reason', reason)
  return {**now, 'reason': reason}


def line(name: str, now: Mapping) -> str:
  """Formats a row of the table."""
  return (
    f'{name:28}{now["estimated_mfu"]:7.1%}{now["hbm_bytes"] / GIB:9.2f}'
    f'{now["compiled_over_useful_flops"]:7.3f}'
    f'{now["memory_bytes_per_device"] / GIB:12.2f}'
    f'  {now["jax"]}, {now["libtpu"]}'
  )
