"""What `main` runs on a trained model: embed a file, fill its masks.

    jobs.embed(model='runs/books', source='in.txt', output='vectors.npy')
    jobs.fill_mask(model='runs/books', source='in.txt', output='filled.jsonl')

Files are streamed: one larger than memory works. Source: ours.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.inference.forward import POOLINGS
from bertjax.inference.predictor import Predictor
from bertjax.models.config import choose
from bertjax.runs import output_files
from bertjax.runs.output_files import writing
from bertjax.text import batching, line_files


def embed(
  *,
  source: str,
  output: str,
  run_dir: str | None = None,
  init_from: str | None = None,
  length: int = 128,
  batch_size: int = 32,
  pooling: str = 'mean',
  normalize: bool = False,
  dry_run: bool = False,
) -> None:
  """Writes a vector for each text of a file.

  Args:
    source: lines of text, or JSON lines, see `text_files.read`.
    output: .npy, float32 [n, D] in the order of the texts; or .jsonl, the
      records with a field `embedding`.
    run_dir: a run, whose best or else latest checkpoint is used; or
    init_from: a Hugging Face directory, or a run.
    length: the most tokens of a text, [CLS] and [SEP] included.
    batch_size: texts that are worked on at a time.
    pooling: 'cls', 'mean' or 'max'.
    normalize: whether each vector is scaled to length 1.
    dry_run: check everything and write nothing.

  Raises:
    UserError: files, a model, or settings that cannot work.
  """
  choose(POOLINGS, pooling, 'POOLING')
  output_files.check_output(output, ('.npy', '.jsonl'), source)
  predictor, texts = _start(run_dir, init_from, source, length, batch_size)
  if dry_run:
    return
  found = stream(
    _texts(source),
    texts,
    predictor,
    batch_size,
    lambda some: predictor.embed(some, pooling, normalize, length, batch_size),
  )
  with writing(output) as path:
    if output.endswith('.npy'):
      _write_npy(path, found, texts, predictor.config.width)
    else:
      write_lines(
        path,
        (record | {'embedding': vector.tolist()} for record, vector in found),
      )
  print(f'{texts:,} vectors of {predictor.config.width} in {output}')


def fill_mask(
  *,
  source: str,
  output: str,
  run_dir: str | None = None,
  init_from: str | None = None,
  length: int = 128,
  batch_size: int = 32,
  top_k: int = 5,
  dry_run: bool = False,
) -> None:
  """Writes the likeliest tokens for each [MASK] of each text of a file.

  The records come with a field `masks`: for each [MASK], a list of {"token",
  "probability"}, the likeliest first. Arguments and errors as of `embed`.

  Args:
    top_k: how many tokens.
  """
  if not isinstance(top_k, int) or top_k < 1:
    raise UserError(f'expected a positive whole number, got {top_k}; set TOP_K')
  output_files.check_output(output, ('.jsonl',), source)
  predictor, texts = _start(run_dir, init_from, source, length, batch_size)
  predictor.check_fills_masks()
  if dry_run:
    return
  without = 0

  def records():
    nonlocal without
    for record, answers in stream(
      _texts(source),
      texts,
      predictor,
      batch_size,
      lambda some: predictor.fill_mask(some, top_k, length, batch_size),
    ):
      without += not answers
      yield record | {
        'masks': [
          [{'token': t, 'probability': p} for t, p in answer]
          for answer in answers
        ]
      }

  with writing(output) as path:
    write_lines(path, records())
  print(
    f'{texts:,} texts in {output}'
    + (f'; {without:,} have no [MASK] within LENGTH' if without else '')
  )


def _start(
  run_dir, init_from, source, length, batch_size
) -> tuple[Predictor, int]:
  """Returns the model and the number of texts."""
  texts = line_files.count(source)
  if not texts:
    raise UserError(f'{source} is empty; set INPUT')
  predictor = load(run_dir, init_from, batch_size)
  predictor.check_length(length)
  return predictor, texts


def load(
  run_dir: str | None, init_from: str | None, batch_size: int
) -> Predictor:
  """Returns the model that one of RUN_DIR and INIT_FROM names.

  Raises:
    UserError: both are set, or none; see `Predictor.load`.
  """
  if (run_dir is None) == (init_from is None):
    raise UserError(
      'expected either a run in RUN_DIR, or a Hugging Face '
      'directory or a run in INIT_FROM; set one of the two'
    )
  if batch_size < 1:
    raise UserError(f'BATCH_SIZE is {batch_size}; set it to 1 or more')
  return Predictor.load(run_dir or init_from)


def stream(
  pairs: Iterable[tuple[Any, Any]],
  count: int,
  predictor: Predictor,
  batch_size: int,
  function: Callable[[list], Iterable],
) -> Iterator[tuple[Any, Any]]:
  """Yields each record with what `function` says of its text.

  Says how far it is, and in the end what was cut.

  Args:
    pairs: a record, and the text of it.
    count: of the pairs.
    predictor: counts what it cuts.
    batch_size: texts of a batch; as many batches as are sorted together are
      held in memory.
    function: of a list of texts, in their order.
  """
  pairs, start, done = iter(pairs), time.monotonic(), 0
  while some := list(itertools.islice(pairs, batching.WINDOW * batch_size)):
    found = function([text for _, text in some])
    for (record, _), result in zip(some, found, strict=True):
      yield record, result
    done += len(some)
    seconds = time.monotonic() - start
    left = seconds / done * (count - done)
    print(
      f'{done:,}/{count:,} texts   {done / seconds:,.0f} a second   '
      f'{left:.0f} s left',
      file=sys.stderr,
      flush=True,
    )
  if predictor.cut:
    print(
      f'{predictor.cut:,} of {count:,} texts were longer than LENGTH and cut',
      flush=True,
    )


def write_lines(path: str, records: Iterable[dict]) -> None:
  """Writes JSON lines."""
  with open(path, 'w', encoding='utf-8') as file:
    for record in records:
      line = json.dumps(record, ensure_ascii=False, default=str) + '\n'
      file.write(line.encode('utf-8', 'replace').decode())


def _texts(source: str) -> Iterator[tuple[dict, str]]:
  for record in line_files.read(source):
    yield record, record['text']


def _write_npy(path: str, found, texts: int, width: int) -> None:
  # The handle, as numpy would add .npy to a name that ends otherwise.
  with open(path, 'wb') as file:
    np.lib.format.write_array_header_1_0(
      file, {'descr': '<f4', 'fortran_order': False, 'shape': (texts, width)}
    )
    for _, vector in found:
      file.write(vector.astype('<f4').tobytes())
