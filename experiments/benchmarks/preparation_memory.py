"""Peak memory and speed of preparing a corpus, at 20 MB and at 400 MB of text.

    python experiments/benchmarks/preparation_memory.py $DATA/text/novels.txt
    python experiments/benchmarks/preparation_memory.py novels.txt --suffix=.gz

Repeats the file until it has each size, and prepares each in a process of its
own. Prints a line a size, and the ratio of the peaks, which is 1 where memory
is flat. Source: ours.
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
    '': open, '.gz': gzip.open, '.bz2': bz2.open, '.zst': zstandard.open
}


def write_repeated(source: str, path: str, megabytes: int, opener) -> None:
  """Writes a file again and again, a blank line between, to a size."""
  with open(source, 'rb') as file:
    text = file.read() + b'\n\n'
  with opener(path, 'wb') as file:
    for _ in range(max(1, round(megabytes * 1e6 / len(text)))):
      file.write(text)


def prepare(path: str, directory: str) -> None:
  """Prepares in this process and prints a line about it."""
  from bertjax.data import corpus, text_files

  imported = peak_megabytes()
  start = time.perf_counter()
  prepared = corpus.prepare(text_files.TextFiles(path), directory)
  seconds = time.perf_counter() - start
  megabytes = sum(map(prepared.bytes, ('train', 'validation'))) / 1e6
  print(
      f'{megabytes:.0f} MB of text: {seconds:.2f} s, '
      f'{megabytes / seconds:.0f} MB/s, peak {peak_megabytes():.1f} MB '
      f'({imported:.1f} MB of it imports)'
  )


def peak_megabytes() -> float:
  """Returns the most memory that this process has held."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('text_file')
  parser.add_argument('--megabytes', type=int, nargs='+', default=[20, 400])
  parser.add_argument('--suffix', choices=_OPENERS, default='')
  parser.add_argument('--store', help='(for the processes that this starts)')
  arguments = parser.parse_args()
  if arguments.store:
    prepare(arguments.text_file, arguments.store)
    return
  peaks = []
  for megabytes in arguments.megabytes:
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, f'text.txt{arguments.suffix}')
      opener = _OPENERS[arguments.suffix]
      write_repeated(arguments.text_file, path, megabytes, opener)
      line = subprocess.run(
          [sys.executable, __file__, path, f'--store={folder}/store'],
          stdout=subprocess.PIPE,
          check=True,
          text=True,
      ).stdout
      print(line, end='', flush=True)
      peaks.append(float(line.split('peak ')[1].split()[0]))
  print(f'ratio of the peaks: {peaks[-1] / peaks[0]:.3f}')


if __name__ == '__main__':
  main()
