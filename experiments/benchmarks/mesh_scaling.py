"""Step time and collectives of BERT for each way to divide N devices.

    export PYTHONPATH=.
    python experiments/benchmarks/mesh_scaling.py                # simulated
    python experiments/benchmarks/mesh_scaling.py --size base --rows 32

Strong scaling uses the same batch for every number of devices, `--rows` times
all devices; weak scaling gives each device `--rows`. A single CPU is split into
`--devices` simulated ones, which share its cores, so their times only compare
the total work, as rows per second relative to one device. Collectives are
counted in the compiled program: executions per step, and bytes of the whole
arrays that they reduce, gather or send, which are the same on real devices with
the same compiler.
"""

import functools
import math
import os
import statistics

import timing

from bertjax.launch import command_line

# Axis -> size; None: all devices.
DIVISIONS = (
  {'data': None},
  {'fsdp': None},
  {'tensor': None},
  {'data': 2, 'fsdp': None},
)


def simulate(devices: int) -> None:
  """Makes jax split a CPU into several devices; real ones are left alone."""
  os.environ['XLA_FLAGS'] = (
    os.environ.get('XLA_FLAGS', '')
    + f' --xla_force_host_platform_device_count={devices}'
  )


def divisions(devices: int) -> list[dict[str, int]]:
  """Returns the distinct sizes of mesh axes for a number of devices."""
  found = []
  for division in DIVISIONS:
    fixed = division.get('data') or 1
    if devices % fixed or (fixed > 1 and devices // fixed < 2):
      continue
    sizes = {axis: size or devices // fixed for axis, size in division.items()}
    # Sets 'data' too, which make_mesh would give all remaining devices.
    found.append({'data': 1} | {axis: n for axis, n in sizes.items() if n > 1})
  return [sizes for i, sizes in enumerate(found) if sizes not in found[:i]]


def collectives(program) -> str:
  """Returns kind, executions and MB of each collective of a compiled step."""
  from bertjax.plan import compiled

  cost = compiled.cost_of(program.as_text())
  return (
    '; '.join(
      f'{kind} {cost.collectives[kind]}, {size / 1e6:,.2f} MB'
      for kind, size in sorted(cost.collective_bytes.items())
    )
    or 'none'
  )


def make(config, sizes, rows: int, options) -> timing.Run:
  """Returns a function that runs steps with a batch of rows on such a mesh."""
  import jax
  import step_time

  from bertjax import batch
  from bertjax.parallel import partitioning

  example = batch.synthetic(
    rows,
    options.length,
    batch.predictions_of(options.length, 0.15),
    config.vocabulary_size,
    seed=0,
  )
  devices = jax.devices()[: math.prod(sizes.values())]
  return step_time.make_step(
    config, example, partitioning.make_mesh(**sizes, devices=devices)
  )


def measure(config, scaling: str, options) -> None:
  """Prints a row for each number of devices and way to divide them."""
  import jax

  counts = [2**n for n in range(10) if 2**n <= len(jax.devices())]
  single = None  # rows per second of one device
  for count in counts:
    rows = options.rows * (counts[-1] if scaling == 'strong' else count)
    runs = {}

    def keep(name, sizes, rows=rows, runs=runs):
      runs[name] = make(config, sizes, rows, options)
      return runs[name]

    makers = {
      name: functools.partial(keep, name, sizes)
      for sizes in divisions(count)
      for name in [
        ' x '.join(f'{axis} {n}' for axis, n in sizes.items() if n > 1)
        or 'none'
      ]
    }
    seconds, reasons = timing.in_turn(makers, options.repetitions)
    for name in makers:
      row = f'| {scaling} | {count} | {name} | {rows} '
      if name in reasons:
        print(f'{row}| {reasons[name]} |', flush=True)
        continue
      rate = rows / statistics.median(seconds[name])
      single = single or rate
      print(
        f'{row}| {1e3 * rows / rate:.0f} | {rate / single:.2f} '
        f'| {collectives(runs[name].program)} |',
        flush=True,
      )


def main() -> None:
  parser = timing.Parser(description=__doc__.splitlines()[0])
  parser.add_argument('--size', choices=timing.SIZES, default='tiny')
  for name, default, what in (
    ('devices', 8, 'to take a CPU for, a power of 2; real ones are all used'),
    ('rows', 4, 'a device'),
    ('length', 128, None),
    ('vocabulary_size', 30720, 'a multiple of the devices'),
    ('repetitions', 5, None),
  ):
    parser.add_argument(
      f'--{name}', type=timing.positive, default=default, help=what
    )
  parser.add_argument(
    '--scaling',
    nargs='+',
    choices=('strong', 'weak'),
    default=('strong', 'weak'),
  )
  options = parser.parse_args()
  if options.devices & (options.devices - 1):
    parser.error(
      f'argument --devices: expected a power of 2, got {options.devices}'
    )
  simulate(options.devices)
  import jax

  command_line.skip_absent_tpu()
  from bertjax.models.config import EncoderConfig

  fields = timing.fields(options.size)
  config = EncoderConfig(
    **{'positions': max(512, options.length)} | fields,
    vocabulary_size=options.vocabulary_size,
    dropout=0.0,
  )
  print(timing.machine('jax', 'jaxlib'))
  if jax.default_backend() == 'cpu':
    print(
      f'{options.devices} simulated devices share {os.cpu_count()} cores: '
      'no time here says how fast such devices would be'
    )
  print(
    f'{options.size}, length {options.length}, {config.compute_dtype}\n\n'
    '| scaling | devices | division | rows | ms | rows a second, of 1 '
    'device | collectives |\n|---|---|---|---|---|---|---|'
  )
  for scaling in options.scaling:
    measure(config, scaling, options)


if __name__ == '__main__':
  main()
