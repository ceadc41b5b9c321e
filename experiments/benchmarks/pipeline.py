"""Masked sequences per second from token shards, beside torch's DataLoader.

    export PYTHONPATH=.
    python experiments/benchmarks/pipeline.py $DATA/text/novels.txt \\
        --vocab_file=$DATA/vocabulary/bert-base-uncased.vocab.txt
    python experiments/benchmarks/pipeline.py novels.txt --export batch.npz

Prints sequences and tokens per second of the batches of a run, padded and
packed, after the first window; the time of the first batch, at the start and
deep inside the corpus; and what a training step of `--size` consumes on this
machine. With torch and transformers installed (experiments/requirements.txt),
the same for `DataLoader` with `DataCollatorForLanguageModeling` over the same
tokens in Arrow, with 0 and 2 workers: it masks, and makes neither pairs nor
labels of them. `--export` writes a batch for `step_time.py --batches`.
"""

import argparse
import os
import sys
import tempfile
import time

import numpy as np
import timing

from bertjax import batch
from bertjax.corpus import corpora, pipeline
from bertjax.launch import command_line


def make(prepared, options, pack: bool = False):
  """Returns the batches of a run."""
  return pipeline.batches(
    prepared,
    options.batch_size,
    options.length,
    batch.predictions_of(options.length, 0.15),
    seed=0,
    sequences=batch.sequences_of(options.length, pack),
  )


def measure(prepared, options, pack: bool):
  """Prints a row of the table.

  Returns:
    rows per second, and a batch.
  """
  iterator = iter(make(prepared, options, pack))
  for _ in range(2):
    example = next(iterator)
  examples = tokens = 0
  start, cpu = time.perf_counter(), time.process_time()
  for _ in range(options.batches):
    example = next(iterator)
    examples += int(example['segments'].max(axis=-1).sum())
    tokens += np.count_nonzero(example['segments'])
  seconds = time.perf_counter() - start
  cpu = time.process_time() - cpu
  row(f'bertjax, {"packed" if pack else "padded"}', seconds, examples, tokens)
  return options.batch_size * options.batches / seconds, example


def row(name: str, seconds: float, examples: int, tokens: int) -> None:
  print(
    f'| {name} | {examples / seconds:,.0f} | {tokens / seconds:,.0f} |',
    flush=True,
  )


def first_batches(prepared, options) -> None:
  """Prints how long the first batch takes, at the start and deep inside."""
  for place in (0, 10**6):
    start = time.perf_counter()
    iterator = iter(make(prepared, options))
    if place:
      streams = iterator.position()
      position = f'[{place * 10}, [[{place}, 0]]]'.encode()
      iterator.restore(dict.fromkeys(streams, position))
    next(iterator)
    seconds = time.perf_counter() - start
    print(f'first batch, from window {place:,} on: {seconds:.2f} s')


def measure_torch(prepared, options) -> list[float]:
  """Prints rows for torch's loader; returns sequences per second."""
  import datasets
  import torch
  import transformers

  # BERT's rows without pairs: the tokens in chunks, as transformers'
  # `run_mlm.py` groups them.
  split = prepared.split('train')
  tokens = np.concatenate(
    [split.piece(i).tokens for i in range(len(split))]
  ).astype(np.int64)
  room = options.length - 2
  rows = tokens[: len(tokens) // room * room].reshape(-1, room)
  vocabulary = prepared.vocabulary
  ends = [
    np.full((len(rows), 1), x) for x in (vocabulary.cls_id, vocabulary.sep_id)
  ]
  rows = np.concatenate([ends[0], rows, ends[1]], axis=1)
  tokenizer = transformers.BertTokenizer(
    vocab=dict(
      zip(vocabulary.tokens, range(len(vocabulary.tokens)), strict=True)
    )
  )
  collator = transformers.DataCollatorForLanguageModeling(tokenizer)
  found = []
  with tempfile.TemporaryDirectory() as folder:
    datasets.Dataset.from_dict({'input_ids': rows}).save_to_disk(folder)
    data_set = datasets.load_from_disk(folder)
    for workers in (0, 2):
      loader = torch.utils.data.DataLoader(
        data_set,
        options.batch_size,
        shuffle=True,
        collate_fn=collator,
        num_workers=workers,
        drop_last=True,
      )
      iterator = iter(loader)
      for _ in range(20):
        next(iterator)
      start, count = time.perf_counter(), 0
      for example in iterator:
        count += len(example['input_ids'])
        if count >= options.batches * options.batch_size:
          break
      seconds = time.perf_counter() - start
      row(f'torch, {workers} workers', seconds, count, count * options.length)
      found.append(count / seconds)
      del iterator
  return found


def compare(rate: float, example, vocabulary_size: int, options) -> None:
  """Prints the rows per second of training, and those of the pipeline."""
  import statistics

  import step_time

  from bertjax.models.config import EncoderConfig

  positions = {'positions': max(512, options.length)}
  config = EncoderConfig(
    **positions | timing.fields(options.size), vocabulary_size=vocabulary_size
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
  command_line.skip_absent_tpu()
  parser = timing.Parser(description=__doc__.splitlines()[0])
  parser.add_argument('text_file')
  parser.add_argument('--vocab_file', help='else one of 16,384 is trained')
  for name, default in (('length', 128), ('batch_size', 32), ('batches', 1500)):
    parser.add_argument(f'--{name}', type=timing.positive, default=default)
  parser.add_argument('--size', choices=timing.SIZES, default='mini')
  parser.add_argument('--export', metavar='FILE.npz')
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    try:
      prepared = corpora.from_text(
        options.text_file, folder, options.vocab_file, 16384
      )
    except ValueError as error:
      parser.error(str(error))
    run(prepared, options)


def run(prepared, options: argparse.Namespace) -> None:
  """Prints all of it."""
  tokens = prepared.splits['train']['tokens']
  size = sum(x['bytes'] for x in prepared.splits['train']['files'])
  print(timing.machine('jax', 'jaxlib', 'numpy', 'pyarrow'))
  print(f'{tokens:,} tokens in shards of {size / tokens:.3f} bytes a token')
  first_batches(prepared, options)
  print(
    f'\nlength {options.length}, batches of {options.batch_size}\n\n'
    '| loader | sequences a second | tokens a second |\n|---|---|---|'
  )
  padded = measure(prepared, options, pack=False)
  try:
    torch = measure_torch(prepared, options)
  except ImportError as error:
    torch = []
    print(f'(torch: {error})', file=sys.stderr)
  measure(prepared, options, pack=True)
  print()
  if torch:
    print(f'against the better of torch: {padded[0] / max(torch):.2f} times')
  if options.export:
    np.savez(options.export, **padded[1])
  compare(*padded, len(prepared.vocabulary.tokens), options)


if __name__ == '__main__':
  os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
  main()
