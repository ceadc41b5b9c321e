"""Peak memory and speed from text to batches, for 20 MB and 400 MB of text.

    export PYTHONPATH=.
    python experiments/benchmarks/data_memory.py $DATA/text/novels.txt
    python experiments/benchmarks/data_memory.py novels.txt --suffix=.gz

Repeats the file up to each size. One process per size prepares the text, trains
a vocabulary on it and reads masked batches. Prints a line per stage with the
peak memory until its end (that of other processes is their own), and the ratio
of the last peaks, which is 1 if memory is flat.
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

  host_memory.keep_freed()  # as bertjax.main does
  from bertjax.corpus import document_files, pipeline, preparation

  print(f'  imports: peak {peak_megabytes():.1f} MB', flush=True)
  start = time.perf_counter()
  reader = document_files.TextFiles(path)
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
  parser.add_argument('text_file')
  parser.add_argument('--megabytes', type=int, nargs='+', default=[20, 400])
  parser.add_argument('--suffix', choices=_OPENERS, default='')
  parser.add_argument('--batches', type=int, default=2000)
  parser.add_argument('--folder', help='(for the processes that this starts)')
  arguments = parser.parse_args()
  if arguments.folder:
    measure(arguments.text_file, arguments.folder, arguments.batches)
    return
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
