"""Examples and tokens per second of the data pipeline, by stage, and packed.

    export PYTHONPATH=.
    python experiments/benchmarks/pipeline.py $DATA/text/novels.txt \\
        --vocab_file=$DATA/vocabulary/bert-base-uncased.vocab.txt
    python experiments/benchmarks/pipeline.py novels.txt --export batch.npz

Runs the same documents of one stream up to each stage: read, tokenize, pair,
mask, batch. A row gives the examples per second up to that stage, and the CPU
time that the stage adds. Then compares the pipeline of a run, with all streams,
with what a training step of `--size` consumes on this machine. `--export`
writes a batch for `step_time.py --batches`.
"""

import argparse
import os
import sys
import tempfile
import time

import numpy as np
import timing

from bertjax import batch
from bertjax.launch import command_line

STAGES = ('read', 'tokenize', 'pair', 'mask')


def stages(task, options, sequences: int):
  """Yields each stage's name and one stream's data set up to it."""
  import seqio

  from bertjax.data import features

  predictions = batch.predictions_of(options.length, 0.15)
  lengths = features.task_feature_lengths(options.length, predictions)
  dataset = task.source.get_dataset('train', shuffle=True, seed=0).take(
    options.documents
  )
  yield STAGES[0], dataset
  for name, preprocess in zip(STAGES[1:], task.preprocessors, strict=False):
    preprocess = seqio.utils.add_kwargs_to_transform(
      preprocess,
      sequence_length=lengths,
      output_features=task.output_features,
    )
    with seqio.utils.map_seed_manager(0):
      dataset = preprocess(dataset)
    yield name, dataset
  dataset = features.to_rows(dataset.unbatch())
  if sequences > 1:
    dataset = features.pack(dataset, sequences)
  yield (
    ('batch' if sequences == 1 else 'pack and batch'),
    dataset.batch(options.batch_size),
  )


def consume(dataset) -> tuple[float, float, int, int]:
  """Returns seconds, CPU seconds, and the examples and tokens of the last.

  The iterator is created before the clock starts, but reads nothing until then.
  """
  elements = dataset.as_numpy_iterator()
  start, cpu = time.perf_counter(), time.process_time()
  examples = tokens = 0
  for element in elements:
    if 'segments' in element:
      examples += int(element['segments'].max(axis=-1).sum())
      tokens += np.count_nonzero(element['segments'])
  return (
    time.perf_counter() - start,
    time.process_time() - cpu,
    examples,
    tokens,
  )


def stream(task, options, pack: bool) -> None:
  """Prints a row for each stage of one stream."""
  sequences = batch.sequences_of(options.length, pack)
  rows = [
    (name, *consume(dataset))
    for name, dataset in stages(task, options, sequences)
  ]
  *_, examples, tokens = rows[-1]
  before = 0.0
  for name, seconds, cpu, *_ in rows:
    print(
      f'| {"packed" if pack else "padded"} | {name} '
      f'| {examples / seconds:,.0f} | {tokens / seconds:,.0f} '
      f'| {1e3 * (cpu - before) / examples:.3f} |',
      flush=True,
    )
    before = cpu


def whole(task, options, pack: bool):
  """Prints examples, tokens and rows per second of all streams.

  Returns:
    rows per second, and a batch.
  """
  from bertjax.data import pipeline

  predictions = batch.predictions_of(options.length, 0.15)
  iterator = iter(
    pipeline.batches(
      task,
      options.batch_size,
      options.length,
      predictions,
      seed=0,
      sequences=batch.sequences_of(options.length, pack),
    )
  )
  example = next(iterator)
  examples = tokens = 0
  start, cpu = time.perf_counter(), time.process_time()
  for _ in range(options.batches):
    example = next(iterator)
    examples += int(example['segments'].max(axis=-1).sum())
    tokens += np.count_nonzero(example['segments'])
  seconds = time.perf_counter() - start
  cpu = time.process_time() - cpu
  print(
    f'| {"packed" if pack else "padded"} | all, {pipeline.STREAMS} streams '
    f'| {examples / seconds:,.0f} | {tokens / seconds:,.0f} '
    f'| {1e3 * cpu / examples:.3f} in all |',
    flush=True,
  )
  return options.batch_size * options.batches / seconds, example


def compare(rate: float, example, vocabulary_size: int, options) -> None:
  """Prints the rows per second of training, and those of the pipeline."""
  import statistics

  import step_time

  from bertjax.models.config import EncoderConfig

  layers, width = timing.SIZES[options.size]
  config = EncoderConfig(
    vocabulary_size=vocabulary_size,
    width=width,
    layers=layers,
    heads=width // 64,
    feed_forward=4 * width,
    positions=max(512, options.length),
  )
  seconds, reasons = timing.in_turn(
    {'step': lambda: step_time.make_step(config, example)}, 3
  )
  if reasons:
    print(f'step of {options.size}: {reasons["step"]}')
    return
  used = options.batch_size / statistics.median(seconds['step'])
  print(
    f'a step of {options.size} uses {used:,.0f} rows a second, the '
    f'pipeline gives {rate:,.0f}: {rate / used:,.1f} times as many'
  )


def main() -> None:
  os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'  # jax has set it to 1
  command_line.skip_absent_tpu()
  parser = timing.Parser(description=__doc__.splitlines()[0])
  parser.add_argument('text_file')
  parser.add_argument('--vocab_file', help='else one of 16,384 is trained')
  for name, default in (
    ('length', 128),
    ('batch_size', 32),
    ('batches', 300),
    ('documents', 2000),
  ):
    parser.add_argument(f'--{name}', type=timing.positive, default=default)
  parser.add_argument('--size', choices=timing.SIZES, default='mini')
  parser.add_argument('--export', metavar='FILE.npz')
  measure(parser.parse_args(), parser)
  sys.stdout.flush()
  os._exit(0)  # see bertjax.data.safe_iterators


def measure(options: argparse.Namespace, parser: timing.Parser) -> None:
  """Prepares the task and prints the tables."""
  import seqio

  from bertjax.data import pretraining_tasks

  with tempfile.TemporaryDirectory() as folder:
    try:
      name = pretraining_tasks.from_text(
        options.text_file, folder, options.vocab_file, 16384
      )
    except ValueError as error:
      parser.error(str(error))
    task = seqio.get_mixture_or_task(name)
    print(timing.machine('jax', 'jaxlib', 'tensorflow', 'seqio'))
    print(
      f'length {options.length}, batches of {options.batch_size}; '
      f'{options.documents} documents\n\n'
      '| rows | up to | examples a second | tokens a second '
      '| ms of CPU an example |\n|---|---|---|---|---|'
    )
    for pack in (False, True):
      stream(task, options, pack)
      rate, example = whole(task, options, pack)
      if not pack:
        padded = rate, example
    if options.export:
      np.savez(options.export, **padded[1])
    print()
    vocabulary = task.output_features['tokens'].vocabulary
    compare(*padded, vocabulary.vocab_size, options)


if __name__ == '__main__':
  main()
