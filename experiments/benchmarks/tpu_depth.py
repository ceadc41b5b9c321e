"""Do plans of shallow models predict those of deep ones? A line over depth.

    pip install -r requirements-tpu.txt
    PYTHONPATH=. python experiments/benchmarks/tpu_depth.py
    PYTHONPATH=. python experiments/benchmarks/tpu_depth.py --size=large \
        --layers 2 4 24

Plans BERT base at length 128 for v5e:2x4 at each depth. A line through the
figures of the first two depths predicts the others, which are compared with
what the compiler reports. This justifies the table of `tpu_plan.py`, in which
most models are shallow. Takes many minutes.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

import tpu_plan

from bertjax.parallel import devices

# Figure -> its unit, and how many of the plan's units make one.
_FIGURES = {
  'flops_compiled': ('TFLOP', 1e12),
  'hbm_bytes': ('GiB', 2**30),
  'memory_bytes_per_device': ('GiB', 2**30),
  'estimated_seconds': ('ms', 1e-3),
}


def predicted(planned: Mapping[int, Mapping], layers: int) -> dict:
  """Returns the figures of a depth on the line through the first two."""
  (first, near), (second, far) = list(planned.items())[:2]
  steps = (layers - first) / (second - first)
  return {
    name: near[name] + steps * (far[name] - near[name])
    for name in (*_FIGURES, 'flops_useful')
  }


def mfu(figures: Mapping) -> float:
  peak = devices.named('v5e').flops_per_second
  return figures['flops_useful'] / figures['estimated_seconds'] / peak


def report(planned: Mapping[int, Mapping], layers: int) -> str:
  """Returns a line of the table: predicted and actual figures."""
  line, now = predicted(planned, layers), planned[layers]
  parts = [
    f'{line[name] / unit:.3f} {now[name] / unit:.3f} '
    f'({line[name] / now[name] - 1:+.2%})'
    for name, (_, unit) in _FIGURES.items()
  ]
  parts.append(f'{mfu(line):.1%} {mfu(now):.1%}')
  return f'| {layers} | ' + ' | '.join(parts) + ' |'


def run(size: str, depths: Sequence[int]) -> None:
  """Prints the table, a line as soon as it is known."""
  names = [f'{name}, {unit}' for name, (unit, _) in _FIGURES.items()]
  print('Predicted, planned (how far off):\n')
  print('| layers | ' + ' | '.join([*names, 'MFU']) + ' |')
  print('|---' * (len(names) + 2) + '|', flush=True)
  case, planned = tpu_plan.published_size(size, 128), {}
  for layers in depths:
    planned[layers] = tpu_plan.plan(case.cut_to(layers))
    if len(planned) > 1:  # the first two define the line
      for known in planned if len(planned) == 2 else (layers,):
        print(report(planned, known), flush=True)


def main() -> int:
  parser = argparse.ArgumentParser()
  parser.add_argument('--size', choices=('base', 'large'), default='base')
  parser.add_argument(
    '--layers',
    nargs='+',
    type=int,
    default=[2, 4, 6, 8, 12],
    help='depths; the line goes through the first two',
  )
  options = parser.parse_args()
  tpu_plan.prepare()
  run(options.size, options.layers)
  return 0


if __name__ == '__main__':
  sys.exit(main())
