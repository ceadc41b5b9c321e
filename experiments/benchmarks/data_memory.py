"""Peak memory and speed of the data pipeline, for 20 MB and 400 MB of text.

    export PYTHONPATH=.
    python experiments/benchmarks/data_memory.py $DATA/text/novels.txt
    python experiments/benchmarks/data_memory.py novels.txt --suffix=.gz

Repeats the file up to each size. One process per size prepares the text, trains
a vocabulary on it and reads masked batches. Prints a line per stage with the
peak memory until its end, and the ratio of the last peaks, which is 1 if memory
is flat.
"""

import argparse
import bz2
import gzip
import os
import resource
import subprocess
import sys
import tempfile
import time

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


def measure(path: str, folder: str, batches: int) -> None:
  """Goes from text to batches in this process; prints a line per stage."""
  from bertjax.launch import host_memory

  host_memory.keep_freed()  # as bertjax.main does, before importing TensorFlow
  from bertjax.data import pipeline, pretraining_tasks, sources, vocabularies
  from bertjax.text import vocabulary_file

  print(f'  imports: peak {peak_megabytes():.1f} MB', flush=True)
  start = time.perf_counter()
  source = sources.from_spec(path, f'{folder}/corpus')
  prepared = source.prepared
  seconds = time.perf_counter() - start
  megabytes = sum(x['bytes'] for x in prepared.splits.values()) / 1e6
  print(
    f'  preparation: peak {peak_megabytes():.1f} MB, {megabytes:.0f} MB of '
    f'text at {megabytes / seconds:.0f} MB/s',
    flush=True,
  )

  start = time.perf_counter()
  tokens = vocabularies.train(source.texts('train'), 16384, cased=False)
  vocabulary_file.write(tokens, f'{folder}/vocab.txt', cased=False)
  print(
    f'  vocabulary: peak {peak_megabytes():.1f} MB, '
    f'{time.perf_counter() - start:.0f} s',
    flush=True,
  )

  vocabulary = vocabularies.BertVocabulary.read(f'{folder}/vocab.txt')
  task = pretraining_tasks.register('text', source, vocabulary)
  iterator = iter(
    pipeline.batches(task, batch_size=32, length=128, predictions=20, seed=0)
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
  parser.add_argument('text_file')
  parser.add_argument('--megabytes', type=int, nargs='+', default=[20, 400])
  parser.add_argument('--suffix', choices=_OPENERS, default='')
  parser.add_argument('--batches', type=int, default=2000)
  parser.add_argument('--folder', help='(for the processes that this starts)')
  arguments = parser.parse_args()
  if arguments.folder:
    measure(arguments.text_file, arguments.folder, arguments.batches)
    sys.stdout.flush()
    os._exit(0)  # see bertjax.data.safe_iterators
  peaks = []
  for megabytes in arguments.megabytes:
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, f'text.txt{arguments.suffix}')
      opener = _OPENERS[arguments.suffix]
      write_repeated(arguments.text_file, path, megabytes, opener)
      lines = subprocess.run(
        [
          sys.executable,
          __file__,
          path,
          f'--folder={folder}',
          f'--batches={arguments.batches}',
        ],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
      ).stdout
      print(f'{megabytes} MB:\n{lines}', end='', flush=True)
      peaks.append(float(lines.split('peak ')[-1].split()[0]))
  print(f'ratio of the peaks: {peaks[-1] / peaks[0]:.3f}')


if __name__ == '__main__':
  main()
