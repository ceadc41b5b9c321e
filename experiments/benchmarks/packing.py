"""The share of filled slots and sequences per second, padded and packed.

    export PYTHONPATH=.
    python experiments/benchmarks/packing.py $DATA/text/wikipedia.txt \
        --vocab_file=$DATA/vocabulary/bert-base-uncased.vocab.txt

Reads training batches as a run would, with one sequence per row and packed, and
prints a line for each length. Sequences per second are those of the whole
pipeline on this machine, from prepared text to batches, after the first batch.
"""

import argparse
import os
import platform
import tempfile
import time

import numpy as np


def measure(corpus, length: int, batches: int, pack: bool) -> str:
  """Returns a row of the table for `batches` of the corpus."""
  from bertjax import batch
  from bertjax.corpus import pipeline

  predictions = batch.predictions_of(length, 0.15)
  sequences = batch.sequences_of(length, pack)
  iterator = iter(
    pipeline.batches(
      corpus,
      batch_size=32,
      length=length,
      predictions=predictions,
      seed=0,
      sequences=sequences,
    )
  )
  next(iterator)
  counts = np.zeros(3)  # tokens, targets, sequences
  most = 0
  start = time.perf_counter()
  for _ in range(batches):
    example = next(iterator)
    numbers = example['segments'].max(axis=1)
    counts += (
      (example['segments'] > 0).sum(),
      example['weights'].sum(),
      (numbers.sum()),
    )
    most = max(most, numbers.max())
  rate = counts[2] / (time.perf_counter() - start)
  rows = 32 * batches
  return (
    f'| {length} | {"packed" if pack else "padded"} '
    f'| {counts[0] / rows / length:.4f} '
    f'| {counts[1] / rows / predictions:.4f} '
    f'| {counts[2] / rows:.2f}, {most} of {sequences} | {rate:,.0f} |'
  )


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('text_file')
  parser.add_argument('--vocab_file', help='else one of 16,384 is trained')
  parser.add_argument('--lengths', type=int, nargs='+', default=[128, 512])
  parser.add_argument('--batches', type=int, default=300)
  parser.add_argument('--without_next_sentence', action='store_true')
  arguments = parser.parse_args()
  from bertjax.corpus import corpora

  with tempfile.TemporaryDirectory() as folder:
    corpus = corpora.from_text(
      arguments.text_file,
      folder,
      arguments.vocab_file,
      16384,
      next_sentence=not arguments.without_next_sentence,
    )
    print(
      f'{platform.machine()}, {os.cpu_count()} cores, Python '
      f'{platform.python_version()}, {arguments.batches} batches of 32'
    )
    print(
      '| length | rows | slots filled | targets filled | sequences a row, '
      'most | sequences a second |\n|---|---|---|---|---|---|'
    )
    for length in arguments.lengths:
      for pack in (False, True):
        print(measure(corpus, length, arguments.batches, pack), flush=True)


if __name__ == '__main__':
  main()
