"""Peak memory and speed from text to batches, for 20 MB and 400 MB of text.

    export PYTHONPATH=.
    python experiments/benchmarks/data_memory.py $DATA/text/novels.txt
    python experiments/benchmarks/data_memory.py novels.txt --suffix=.gz
    python experiments/benchmarks/data_memory.py random

Repeats the file up to each size; or takes random words, of which no two
documents are alike, and cleans them as `prepare_corpus` does, which finds
duplicates. One process per size prepares the text, trains a vocabulary on it
and reads masked batches. Prints a line per stage with the peak memory until its
end (that of other processes is their own), and the ratio of the peaks, which is
1 if memory is flat, and bytes for each further document. The pipeline's has in
it what is mapped of the shards, which the system takes back when it needs to.
"""

import argparse
import bz2
import gzip
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import zstandard

_OPENERS = {
  '': open,
  '.gz': gzip.open,
  '.bz2': bz2.open,
  '.zst': zstandard.open,
}


def write_repeated(source: str, path: str, megabytes: int, opener) -> None:
  """Writes a file repeatedly, with blank lines between, up to a size."""
  with open(source, 'rb') as file:
    text = file.read() + b'\n\n'
  with opener(path, 'wb') as file:
    for _ in range(max(1, round(megabytes * 1e6 / len(text)))):
      file.write(text)


def write_random(path: str, megabytes: int, opener) -> None:
  """Writes documents of a kilobyte each, of random words."""
  rng = np.random.default_rng(0)
  letters = np.array(list('abcdefghijklmnopqrstuvwxyz'))
  words = [''.join(rng.choice(letters, 3 + i % 7)) for i in range(50_000)]
  weights = 1 / np.arange(1, len(words) + 1)
  edges = np.cumsum(weights / weights.sum())
  with opener(path, 'wb') as file:
    for _ in range(1000 * megabytes):
      found = np.searchsorted(edges, rng.random(170))
      file.write(' '.join([words[i] for i in found]).encode() + b'.\n\n')


def measure(path: str, folder: str, batches: int, clean: bool) -> None:
  """Goes from text to batches in this process; prints a line per stage."""
  from bertjax.launch import host_memory

  host_memory.keep_freed()  # as bertjax.main does
  from bertjax.corpus import (
    document_files,
    pipeline,
    preparation,
    prepare_corpus,
    steps,
  )

  print(f'  imports: peak {peak_megabytes():.1f} MB', flush=True)
  start = time.perf_counter()
  reader = document_files.TextFiles(path)
  if clean:
    prepare_corpus.prepare(
      path, f'{folder}/corpus', vocab_size=16384, steps=steps.Steps()
    )
    prepared = preparation.load(f'{folder}/corpus')
  else:
    prepared = preparation.prepare(
      reader, f'{folder}/corpus', preparation.Training(16384)
    )
  seconds = time.perf_counter() - start
  documents = sum(x['documents'] for x in prepared.splits.values())
  print(
    f'  preparation: peak {peak_megabytes():.1f} MB, {documents:,} documents, '
    f'{reader.size() / 1e6 / seconds:.1f} MB/s',
    flush=True,
  )
  iterator = iter(
    pipeline.batches(prepared, 32, length=128, predictions=20, seed=0)
  )
  next(iterator)
  start = time.perf_counter()
  for _ in range(batches):
    next(iterator)
  rate = 32 * batches / (time.perf_counter() - start)
  print(
    f'  pipeline: peak {peak_megabytes():.1f} MB, {32 * batches:,} '
    f'sequences of 128 at {rate:,.0f} a second',
    flush=True,
  )


def peak_megabytes() -> float:
  """Returns the most memory that this process has held."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('text_file', help="or 'random'")
  parser.add_argument('--megabytes', type=int, nargs='+', default=[20, 400])
  parser.add_argument('--suffix', choices=_OPENERS, default='')
  parser.add_argument('--batches', type=int, default=2000)
  parser.add_argument('--clean', action='store_true', help='(as --folder)')
  parser.add_argument('--folder', help='(for the processes that this starts)')
  arguments = parser.parse_args()
  if arguments.folder:
    measure(
      arguments.text_file,
      arguments.folder,
      arguments.batches,
      arguments.clean,
    )
    return
  random = arguments.text_file == 'random'
  peaks, documents = [], []
  for megabytes in arguments.megabytes:
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, f'text.txt{arguments.suffix}')
      opener = _OPENERS[arguments.suffix]
      if random:
        write_random(path, megabytes, opener)
      else:
        write_repeated(arguments.text_file, path, megabytes, opener)
      lines = subprocess.run(
        [
          sys.executable,
          __file__,
          path,
          f'--folder={folder}',
          f'--batches={arguments.batches}',
          *(['--clean'] if random else []),
        ],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
      ).stdout
      print(f'{megabytes} MB:\n{lines}', end='', flush=True)
      peaks.append([float(x) for x in re.findall(r'peak ([\d.]+)', lines)])
      found = re.search(r'([\d,]+) documents', lines)
      documents.append(int(found[1].replace(',', '')))
  more = documents[-1] - documents[0]
  for stage, small, large in zip(
    ('preparation', 'pipeline'), peaks[0][1:], peaks[-1][1:], strict=True
  ):
    print(
      f'{stage}: ratio of the peaks {large / small:.3f}, '
      f'{1e6 * (large - small) / more:.0f} bytes for each further document'
    )


if __name__ == '__main__':
  main()
