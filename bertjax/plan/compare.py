"""Whether a plan got worse than the one that is kept.

    kept = compare.row(json.load(open('plan.json')))
    compare.worse(kept, compare.row(figures))    # [] or reasons

Source: ours.
"""

from collections.abc import Mapping

# How much worse a figure may be before somebody has to say why.
TOLERANCE = 0.03
GIB = 2**30

# Figure -> whether more is better.
_FIGURES = {
  'estimated_mfu': True,
  'hbm_bytes': False,
  'compiled_over_useful_flops': False,
  'memory_bytes_per_device': False,
}
_VERSIONS = ('jax', 'libtpu')


def row(figures: Mapping) -> dict:
  """Returns of a plan what is kept and compared.

  Raises:
    ValueError: it is of a step that does not fit, or that was not compiled.
  """
  if figures['estimated_mfu'] is None or not figures['fits']:
    raise ValueError(
      'expected the plan of a step that compiles and fits, got '
      + (
        figures['compiler_says']
        or figures['why_not_compiled']
        or f'{figures["memory_bytes_per_device"]:,} bytes of '
        f'{figures["available_bytes"]:,}'
      )
    )
  return {
    'estimated_mfu': round(figures['estimated_mfu'], 4),
    'hbm_bytes': figures['hbm_bytes'],
    'compiled_over_useful_flops': round(
      figures['flops_compiled'] / figures['flops_useful'], 4
    ),
    'memory_bytes_per_device': figures['memory_bytes_per_device'],
    **{name: figures[name] for name in _VERSIONS},
  }


def same_versions(kept: Mapping, now: Mapping) -> bool:
  """Whether both are of the same jax and the same compiler."""
  return all(kept[name] == now[name] for name in _VERSIONS)


def worse(kept: Mapping, now: Mapping) -> list[str]:
  """Returns what is worse by more than the tolerance, in words.

  Other versions give other figures, and nothing is worse.
  """
  if not same_versions(kept, now):
    return []
  found = []
  for name, more_is_better in _FIGURES.items():
    change = now[name] / kept[name] - 1
    if (-change if more_is_better else change) > TOLERANCE:
      found.append(
        f'{name} {kept[name]:.4g} -> {now[name]:.4g} ({change:+.1%})'
      )
  return found


def renewed(kept: Mapping | None, now: Mapping, reason: str) -> dict:
  """Returns the row to keep: the reason is that of the last change."""
  same = kept and all(kept.get(name) == now[name] for name in now)
  return {**now, 'reason': kept.get('reason', reason) if same else reason}


def header() -> str:
  """Returns the head of the table."""
  return (
    f'{"":28}{"MFU":>7}{"HBM GiB":>9}{"FLOPs":>7}{"memory GiB":>12}'
    '  jax, libtpu'
  )


def line(name: str, now: Mapping) -> str:
  """Returns a row of the table."""
  return (
    f'{name:28}{now["estimated_mfu"]:7.1%}{now["hbm_bytes"] / GIB:9.2f}'
    f'{now["compiled_over_useful_flops"]:7.3f}'
    f'{now["memory_bytes_per_device"] / GIB:12.2f}'
    f'  {now["jax"]}, {now["libtpu"]}'
  )
