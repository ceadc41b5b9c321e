"""Times a pretraining step, alone or against Hugging Face's model in torch.

    export PYTHONPATH=.
    python experiments/benchmarks/step_time.py --sizes mini modernbert_mini
    python experiments/benchmarks/step_time.py --torch     # torch, transformers
    python experiments/benchmarks/step_time.py --torch --skip bfloat16
    python experiments/benchmarks/step_time.py \\
        --options xla_cpu_use_xnnpack=False

Times an AdamW step with clipping on one CPU, GPU or TPU, with synthetic batches
or one from a file (`pipeline.py --export`). All forms do the same work (see
`torch_bert` for torch's) and take turns in each repetition. Prints the median,
the useful FLOPs per second, and their share of the device's bfloat16 peak
(MFU). `floor` is the time of the useful FLOPs if they are all matrix products
of the feed-forward shape.
"""

# ruff: noqa: E402
from bertjax.launch import host_memory

# As bertjax.main does, before anything allocates; torch benefits too.
host_memory.keep_freed()

import functools
import os
import statistics
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import timing

from bertjax import batch
from bertjax.launch import command_line
from bertjax.models import bert, flops
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import Dtype, EncoderConfig
from bertjax.models.encoder import REMATERIALISATION
from bertjax.models.kernels import KERNELS
from bertjax.parallel import devices, partitioning
from bertjax.training import objectives, optimizer, state, step


def make_step(
  config: EncoderConfig, example, mesh=None, options=None
) -> timing.Run:
  """Returns a function that runs bertjax's steps, by default on one device.

  Its `program` is the step, compiled with `options` of XLA.
  """
  mesh = mesh or partitioning.make_mesh(devices=jax.devices()[:1])
  model = BertForPreTraining(config, next_sentence=bert.has_pairs(config))
  adamw = optimizer.adamw(1e-4)
  shapes = shapes_of(example)
  objective = objectives.MaskedLanguageModel(model)
  abstract = state.abstract(objective, adamw, shapes, mesh)
  rng = jax.random.key(0)
  program = (
    step.compile_train_step(objective, adamw, mesh, step.placement(abstract))
    .lower(abstract, shapes, rng, None)
    .compile(compiler_options=options)
  )
  current = state.create(objective, adamw, shapes, mesh, seed=0)
  placed = partitioning.put_batch(example, mesh)

  def run(times):
    nonlocal current
    for _ in range(times):
      current, terms = program(current, placed, rng, None)
    jax.block_until_ready((current, terms))

  run.program = program
  return run


def shapes_of(example) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shape and dtype of every array of a batch."""
  return {
    name: jax.ShapeDtypeStruct(array.shape, array.dtype)
    for name, array in example.items()
  }


def compiler_options(text: str) -> dict[str, str | bool]:
  """Returns 'a=False,b=text' as a mapping."""
  pairs = dict(pair.split('=', 1) for pair in text.split(','))
  return {
    name: {'True': True, 'False': False}.get(value, value)
    for name, value in pairs.items()
  }


def make_products(config: EncoderConfig, positions: int, turns: int):
  """Returns a function that only runs `turns` pairs of matrix products."""

  def draw(number, *shape):
    return (
      jax.random.normal(jax.random.key(number), shape, config.compute_dtype)
      * shape[0] ** -0.5
    )

  hidden = draw(0, positions, config.width)
  into = draw(1, config.width, config.feed_forward)
  out = draw(2, config.feed_forward, config.width)

  @jax.jit
  def products(hidden):
    for _ in range(turns):
      hidden = jnp.dot(jnp.dot(hidden, into), out)
    return hidden

  def run(times):
    for _ in range(times):
      result = products(hidden)
    jax.block_until_ready(result)

  return run


def read(path: str, parser) -> dict[str, np.ndarray]:
  """Returns the batch in a file, or exits with what is wrong with it."""
  try:
    with np.load(path) as file:
      example = {key: file[key] for key in batch.PRETRAINING if key in file}
    batch.check(example)
  except (OSError, ValueError, AttributeError) as error:
    parser.error(f'argument --batches: {path}: {error}')
  return example


def measure(config: EncoderConfig, example, options) -> None:
  """Prints the rows of one configuration."""
  useful = flops.of_step(config, shapes_of(example), bert.has_pairs(config))
  turn = 4 * example['tokens'].size * config.width * config.feed_forward
  turns = max(1, useful // 4 // turn)
  makers = {
    'floor': lambda: make_products(config, example['tokens'].size, turns),
    'bertjax': lambda: make_step(config, example),
  }
  for text in options.options:
    makers[f'bertjax {text}'] = functools.partial(
      make_step, config, example, options=compiler_options(text)
    )
  if options.torch:
    import torch_bert

    makers |= torch_bert.forms(config, example)
  makers = {
    name: make
    for name, make in makers.items()
    if not any(word in name.split() for word in options.skip)
  }
  seconds, reasons = timing.in_turn(makers, options.repetitions)
  if 'floor' in seconds:
    seconds['floor'] = [s * useful / (turn * turns) for s in seconds['floor']]
  device = devices.find(jax.devices()[0].device_kind)
  ours = statistics.median(seconds.get('bertjax', [float('nan')]))
  print(
    f'\n{config.layers} layers of {config.width}, batch '
    f'{" x ".join(map(str, example["tokens"].shape))}, '
    f'{example["targets"].shape[1]} predictions, dropout {config.dropout} '
    f'and {config.attention_dropout_rate} of attention; bertjax in '
    f'{config.compute_dtype}; {useful / 1e9:,.1f} useful GFLOP a step\n\n'
    '| form | ms, median | least | most | of bertjax | TFLOP/s | MFU |\n'
    '|---|---|---|---|---|---|---|'
  )
  for name in makers:
    if name in reasons:
      print(f'| {name} | {reasons[name]} |')
      continue
    taken = seconds[name]
    median = statistics.median(taken)
    mfu = f'{useful / median / device.flops_per_second:.1%}' if device else '-'
    print(
      f'| {name} | {1e3 * median:.1f} | {1e3 * min(taken):.1f} '
      f'| {1e3 * max(taken):.1f} | {median / ours:.2f} '
      f'| {useful / median / 1e12:.3f} | {mfu} |',
      flush=True,
    )


def parse():
  """Returns the flags and the batch that they ask for."""
  parser = timing.Parser(description=__doc__.splitlines()[0])
  parser.add_argument(
    '--sizes', nargs='+', default=['mini'], choices=timing.SIZES
  )
  for name, default in (
    ('batch_size', 16),
    ('length', 128),
    ('vocabulary_size', 30522),
    ('repetitions', 7),
  ):
    parser.add_argument(f'--{name}', type=timing.positive, default=default)
  parser.add_argument(
    '--predictions',
    type=timing.positive,
    help='a row; default: 15%% of the length',
  )
  parser.add_argument(
    '--sequences',
    type=timing.positive,
    default=1,
    help='packed in a row; torch takes one',
  )
  parser.add_argument(
    '--batches', metavar='FILE.npz', help='a batch, in place of a synthetic one'
  )
  parser.add_argument('--dropout', nargs='+', type=float, default=[0.0])
  parser.add_argument(
    '--attention_dropout',
    type=float,
    help='default: as the size says, else as --dropout',
  )
  parser.add_argument(
    '--dtype', choices=get_args(Dtype), help="of bertjax's products"
  )
  parser.add_argument('--attention', choices=KERNELS, default='auto')
  parser.add_argument(
    '--recompute', choices=REMATERIALISATION, default='nothing'
  )
  parser.add_argument('--scan', action='store_true', help='a loop of layers')
  parser.add_argument('--torch', action='store_true')
  parser.add_argument(
    '--options',
    nargs='+',
    default=[],
    metavar='NAME=VALUE,...',
    help='of XLA; each word is one more form',
  )
  parser.add_argument(
    '--skip',
    nargs='+',
    default=[],
    choices=[
      'floor',
      'bertjax',
      'torch',
      'cut',
      'float32',
      'bfloat16',
      'compiled',
    ],
    help='forms with one of these words in their name',
  )
  options = parser.parse_args()
  if options.batches:
    example = read(options.batches, parser)
  else:
    example = batch.synthetic(
      options.batch_size,
      options.length,
      options.predictions or batch.predictions_of(options.length, 0.15),
      options.vocabulary_size,
      seed=0,
      sequences=options.sequences,
    )
  most = max(example['tokens'].max(), example['targets'].max())
  if most >= options.vocabulary_size:
    parser.error(
      f'argument --vocabulary_size: the batch has token {most}, '
      f'expected more than that, got {options.vocabulary_size}'
    )
  if options.torch and example['first_positions'].shape[1] > 1:
    parser.error(
      'argument --torch: a row has one sequence in torch, this batch'
      f' has {example["first_positions"].shape[1]}'
    )
  return parser, options, example


def main() -> None:
  command_line.skip_absent_tpu()
  parser, options, example = parse()
  packages = ['jax', 'jaxlib']
  if options.torch:
    # jax and torch share one GPU's memory.
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
    try:
      import torch_bert
    except ModuleNotFoundError as error:
      parser.error(f'argument --torch: {error.name} is not installed')
    packages += ['torch', 'transformers']
  print(
    timing.machine(*packages)
    + (f'; torch on {torch_bert.device()}' if options.torch else '')
  )
  if (
    options.torch
    and torch_bert.device() == 'cpu'
    and 'bfloat16' not in options.skip
    and not timing.has_bfloat16()
  ):
    print(
      'this CPU has no instructions for bfloat16: those forms may take '
      'minutes a step; --skip bfloat16 leaves them out',
      flush=True,
    )
  more = {}
  if options.attention_dropout is not None:
    more['attention_dropout'] = options.attention_dropout
  for size in options.sizes:
    fields = timing.fields(size)
    positions = max(512, example['tokens'].shape[1])
    for dropout in options.dropout:
      try:
        config = EncoderConfig(
          **{'positions': positions} | fields | more,
          vocabulary_size=options.vocabulary_size,
          dropout=dropout,
          dtype=options.dtype,
          attention_kernel=options.attention,
          recompute=options.recompute,
          scan_layers=options.scan,
        )
      except ValueError as error:
        parser.error(str(error))
      measure(config, example, options)


if __name__ == '__main__':
  main()
