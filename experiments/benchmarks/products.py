"""Matrix products of a step's shapes in XLA and torch, in GFLOP/s.

    PYTHONPATH=. python experiments/benchmarks/products.py --width 768
    PYTHONPATH=. python experiments/benchmarks/products.py --options \\
      xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INVALID

float32; M x K by K x N as `forward`, with the right side turned as for the
gradient of an `input`, and with the left side turned as for that of a `kernel`.
torch is left out where it is not installed.
"""

# ruff: noqa: E402
from bertjax.launch import host_memory

# As bertjax.main does, before anything allocates; torch benefits too.
host_memory.keep_freed()

import functools
import statistics

import jax
import jax.numpy as jnp
import timing
from step_time import compiler_options

try:
  import torch
except ModuleNotFoundError:
  torch = None

# Form -> (shape of the left side, of the right, dimensions that are summed).
FORMS = {
  'forward': (lambda m, k, n: ((m, k), (k, n)), (1, 0)),
  'input': (lambda m, k, n: ((m, k), (n, k)), (1, 1)),
  'kernel': (lambda m, k, n: ((k, m), (k, n)), (0, 0)),
}


def shapes(width: int, positions: int, predictions: int, vocabulary: int):
  """Yields (form, M, K, N) of a layer and of the masked-LM head."""
  inner = 4 * width
  yield 'forward', positions, width, width
  yield 'forward', positions, width, inner
  yield 'forward', positions, inner, width
  yield 'input', positions, inner, width
  yield 'kernel', width, positions, inner
  yield 'input', predictions, width, vocabulary
  yield 'kernel', vocabulary, predictions, width


def make_xla(sides, summed, options):
  def product(left, right):
    return jax.lax.dot_general(
      left, right, (((summed[0],), (summed[1],)), ((), ()))
    )

  program = jax.jit(product).lower(*sides).compile(compiler_options=options)

  def run(times):
    for _ in range(times):
      result = program(*sides)
    jax.block_until_ready(result)

  return run


def make_torch(sides, summed):
  left, right = (torch.from_dlpack(side) for side in sides)
  left = left if summed[0] == 1 else left.T
  right = right if summed[1] == 0 else right.T
  out = torch.empty(left.shape[0], right.shape[1])

  def run(times):
    for _ in range(times):
      torch.mm(left, right, out=out)

  return run


def main() -> None:
  parser = timing.Parser(description=__doc__.splitlines()[0])
  for name, default in (
    ('width', 768),
    ('positions', 2048),
    ('predictions', 320),
    ('vocabulary', 30522),
    ('repetitions', 9),
  ):
    parser.add_argument(f'--{name}', type=timing.positive, default=default)
  parser.add_argument(
    '--options', nargs='+', default=[], metavar='NAME=VALUE,...'
  )
  flags = parser.parse_args()
  print(timing.machine('jax', 'jaxlib', *(['torch'] if torch else [])))
  names = ['xla', *flags.options, *(['torch'] if torch else [])]
  print(f'\n| form | M x K x N | {" | ".join(names)} |')
  print('|---|---|' + '---|' * len(names))
  for form, m, k, n in shapes(
    flags.width, flags.positions, flags.predictions, flags.vocabulary
  ):
    of_sides, summed = FORMS[form]
    keys = jax.random.split(jax.random.key(0))
    sides = [
      jax.random.normal(key, shape, jnp.float32)
      for key, shape in zip(keys, of_sides(m, k, n), strict=True)
    ]
    makers = {'xla': functools.partial(make_xla, sides, summed, None)}
    for text in flags.options:
      makers[text] = functools.partial(
        make_xla, sides, summed, compiler_options(text)
      )
    if torch:
      makers['torch'] = functools.partial(make_torch, sides, summed)
    seconds, reasons = timing.in_turn(makers, flags.repetitions)
    cells = [
      reasons.get(name)
      or f'{2 * m * k * n / statistics.median(seconds[name]) / 1e9:.0f}'
      for name in names
    ]
    print(f'| {form} | {m} x {k} x {n} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
  main()
