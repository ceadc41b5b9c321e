"""Recall and precision on planted duplicates, beside datasketch's MinHashLSH.

    export PYTHONPATH=.
    pip install -r requirements-prepare.txt -r experiments/requirements.txt
    python experiments/benchmarks/duplicates.py $DATA/text/novels.txt

Groups the paragraphs of the text into documents, copies some of them, exactly
or with one word in eighty changed for another of the text, and shuffles all. Of
each pair the later document should go, and no other. Prints a row for each
implementation, the share of the planted pairs that are found and the share of
what is found that was planted, and exits with 1 if bertjax is below the bars:
0.98 exact, 0.95 near, precision 0.99.
"""

import argparse
import os
import platform
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata

import numpy as np

from bertjax.corpus import duplicates, near_duplicates, signatures

BARS = {'exact': 0.98, 'near': 0.95, 'precision': 0.99}
CHANGED = 1 / 80  # of the words of a near duplicate
THRESHOLD = 0.8


def read(path: str, words: int) -> list[str]:
  """Returns documents of whole paragraphs, each of at least so many words."""
  documents, lines, count = [], [], 0
  with open(path, encoding='utf-8') as file:
    for line in filter(None, map(str.strip, file)):
      lines.append(line)
      count += len(line.split())
      if count >= words:
        documents.append('\n'.join(lines))
        lines, count = [], 0
  return documents


def changed(
  document: str, vocabulary: Sequence[str], rng: random.Random
) -> str:
  """Returns the document with one word in eighty, at random, another one."""
  spans = [match.span() for match in re.finditer(r'\S+', document)]
  places = rng.sample(spans, max(1, round(CHANGED * len(spans))))
  for begin, end in sorted(places, reverse=True):
    other = document[begin:end]
    while other == document[begin:end]:
      other = rng.choice(vocabulary)
    document = document[:begin] + other + document[end:]
  return document


def plant(
  documents: list[str], share: float, seed: int
) -> tuple[list[str], np.ndarray]:
  """Copies a share of the documents exactly, and as many others nearly.

  Returns:
    the documents, shuffled; and for each 'exact' or 'near' if it is the later
    one of a pair, else ''.
  """
  rng = random.Random(seed)
  vocabulary = ' '.join(documents).split()
  count = round(share * len(documents))
  chosen = rng.sample(range(len(documents)), 2 * count)
  made = [(x, number, '') for number, x in enumerate(documents)]
  made += [(documents[i], i, 'exact') for i in chosen[:count]]
  made += [
    (changed(documents[i], vocabulary, rng), i, 'near') for i in chosen[count:]
  ]
  kinds = {number: kind for _, number, kind in made}  # of the pair
  rng.shuffle(made)
  seen: set[int] = set()
  truth = []
  for _, number, _ in made:
    truth.append(kinds[number] if number in seen else '')
    seen.add(number)
  return [document for document, _, _ in made], np.array(truth)


def bertjax(documents: list[str]) -> np.ndarray:
  hashes = map(duplicates.document_hash, documents)
  found = duplicates.repeats(np.fromiter(hashes, np.uint64, len(documents)))
  with (
    tempfile.TemporaryDirectory() as folder,
    near_duplicates.NearDuplicates(folder, THRESHOLD) as index,
  ):
    for document in documents:
      index.add(signatures.signature(document))
    return found | index.duplicates()


def datasketch(
  documents: list[str], bands: tuple[int, int] | None
) -> np.ndarray:
  """Finds what has an earlier one in a bucket.

  Args:
    documents: all.
    bands: their number and rows; None: datasketch's choice for the threshold.
  """
  import datasketch as library

  index = library.MinHashLSH(THRESHOLD, signatures.SIZE, params=bands)
  found = np.zeros(len(documents), bool)
  for number, document in enumerate(documents):
    words = re.findall(r'\w+', document.casefold())
    shingles = {
      ' '.join(words[i : i + signatures.SHINGLE]).encode()
      for i in range(max(1, len(words) - signatures.SHINGLE + 1))
    }
    sketch = library.MinHash(signatures.SIZE, seed=1)
    sketch.update_batch(shingles)
    found[number] = bool(index.query(sketch))
    index.insert(number, sketch)
  return found


def measure(
  name: str,
  find: Callable[[list[str]], np.ndarray],
  documents: list[str],
  truth: np.ndarray,
) -> dict[str, float]:
  """Prints a row of the table; returns what there are bars for."""
  begin = time.process_time()
  found = find(documents)
  seconds = time.process_time() - begin
  figures = {
    'exact': found[truth == 'exact'].mean(),
    'near': found[truth == 'near'].mean(),
    'precision': (truth[found] != '').mean(),
  }
  size = sum(len(document.encode()) for document in documents) / 1e6
  shown = ' | '.join(f'{figure:.4f}' for figure in figures.values())
  print(f'| {name} | {shown} | {size / seconds:.1f} |', flush=True)
  return figures


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('text', help='a paragraph a line')
  parser.add_argument('--words', type=int, default=240, help='of a document')
  parser.add_argument('--share', type=float, default=0.1, help='of each kind')
  parser.add_argument('--seed', type=int, default=0)
  options = parser.parse_args()
  documents, truth = plant(
    read(options.text, options.words), options.share, options.seed
  )
  versions = (
    f'{name} {metadata.version(name)}' for name in ('rensa', 'datasketch')
  )
  print(
    f'{platform.machine()}, {os.cpu_count()} cores, Python '
    f'{platform.python_version()}, {", ".join(versions)}\n'
    f'{len(documents)} documents of {options.words} words or more, '
    f'{(truth == "exact").sum()} exact and {(truth == "near").sum()} near '
    'duplicates\n\n'
    '| | exact | near | precision | MB/s a core |\n|---|---|---|---|---|'
  )
  figures = measure('bertjax', bertjax, documents, truth)
  same = signatures.BANDS, signatures.ROWS
  for name, bands in (('datasketch', None), ('datasketch, same bands', same)):
    measure(name, lambda x, bands=bands: datasketch(x, bands), documents, truth)
  below = [name for name, bar in BARS.items() if not figures[name] >= bar]
  if below:
    sys.exit(f'below the bar: {", ".join(below)}')


if __name__ == '__main__':
  main()
