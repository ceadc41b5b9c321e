"""Embeds the texts of a file with a trained model, or fills their masks.

    on_files.embed(source='in.txt', output='vectors.npy', run_dir='runs/books')
    on_files.fill_mask(
        source='in.txt', output='filled.jsonl', run_dir='runs/books')

Files are streamed, so they may be larger than memory.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bertjax.errors import UserError, choose
from bertjax.inference.predictor import Predictor
from bertjax.models.poolings import POOLINGS
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
    source: lines of text, or JSON lines, see `line_files.read`.
    output: .npy, float32[n, D] in the order of the texts; or .jsonl, the
      records with a field `embedding`.
    run_dir: a run, whose best or else latest checkpoint is used. Set either
      this or init_from.
    init_from: a Hugging Face directory, or a run.
    length: the most tokens of a text, [CLS] and [SEP] included.
    batch_size: the most rows of a batch.
    pooling: 'cls', 'mean' or 'max'.
    normalize: whether to scale each vector to length 1.
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

  Each record gets a field `masks`: for each [MASK], a list of {"token",
  "probability"}, the likeliest first. Other arguments and errors as in `embed`.

  Args:
    top_k: how many tokens per [MASK].
  """
  if not isinstance(top_k, int) or top_k < 1:
    raise UserError(f'expected a positive whole number, got {top_k}; set TOP_K')
  output_files.check_output(output, ('.jsonl',), source)
  predictor, texts = _start(run_dir, init_from, source, length, batch_size)
  predictor.check_fills_masks()
  if dry_run:
    return
  without = 0

  def records() -> Iterator[dict[str, Any]]:
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
  run_dir: str | None,
  init_from: str | None,
  source: str,
  length: int,
  batch_size: int,
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
    UserError: both or neither are set; see `Predictor.load`.
  """
  path = init_from if run_dir is None else run_dir
  if path is None or None not in (run_dir, init_from):
    raise UserError(
      'expected either a run in RUN_DIR, or a Hugging Face directory or a run '
      'in INIT_FROM; set one of the two'
    )
  if batch_size < 1:
    raise UserError(f'BATCH_SIZE is {batch_size}; set it to 1 or more')
  return Predictor.load(path)


def stream(
  pairs: Iterable[tuple[Any, Any]],
  count: int,
  predictor: Predictor,
  batch_size: int,
  function: Callable[[list[Any]], Iterable[Any]],
) -> Iterator[tuple[Any, Any]]:
  """Yields each record with the result of `function` for its text.

  Reports progress, and at the end how many texts were cut.

  Args:
    pairs: records with their texts.
    count: number of pairs.
    predictor: counts the texts that it cuts.
    batch_size: the most rows of a batch; the texts of `batching.WINDOW` batches
      are in memory at a time.
    function: maps a list of texts to their results, in order.
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


def write_lines(path: str, records: Iterable[dict[str, Any]]) -> None:
  """Writes JSON lines; half of a surrogate pair becomes '?'."""
  with open(path, 'w', encoding='utf-8') as file:
    for record in records:
      line = json.dumps(record, ensure_ascii=False, default=str) + '\n'
      file.write(line.encode('utf-8', 'replace').decode())


def _texts(source: str) -> Iterator[tuple[dict[str, Any], str]]:
  for record in line_files.read(source):
    yield record, record['text']


def _write_npy(
  path: str,
  found: Iterable[tuple[Any, np.ndarray]],
  texts: int,
  width: int,
) -> None:
  # With a name that ends otherwise, numpy would append .npy.
  with open(path, 'wb') as file:
    np.lib.format.write_array_header_1_0(
      file, {'descr': '<f4', 'fortran_order': False, 'shape': (texts, width)}
    )
    for _, vector in found:
      file.write(vector.astype('<f4').tobytes())
