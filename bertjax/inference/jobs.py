"""What `main` runs on a trained model: embed a file, fill its masks.

    jobs.embed(model='runs/books', source='in.txt', output='vectors.npy')
    jobs.fill_mask(model='runs/books', source='in.txt', output='filled.jsonl')

Files are streamed: one larger than memory works. Source: ours.
"""

import itertools
import json
import sys
import time
from collections.abc import Iterator

import numpy as np

from bertjax.errors import UserError
from bertjax.inference import text_files
from bertjax.inference.predictor import POOLINGS, Predictor
from bertjax.models.config import choose


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
    run_dir: a run, whose latest checkpoint is used; or else
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
  text_files.check_output(output, ('.npy', '.jsonl'), source)
  predictor, texts = _start(run_dir, init_from, source, length, batch_size)
  if dry_run:
    return
  parts = predictor.embed_stream(
      (record['text'] for record in text_files.read(source)), pooling,
      normalize, length, batch_size)
  parts = progress(parts, texts, predictor)
  with text_files.writing(output) as path:
    if output.endswith('.npy'):
      _write_npy(path, parts, texts, predictor.config.width)
    else:
      with open(path, 'w', encoding='utf-8') as file:
        records = text_files.read(source)
        for vector in itertools.chain.from_iterable(parts):
          write_line(file, next(records) | {'embedding': vector.tolist()})
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
  text_files.check_output(output, ('.jsonl',), source)
  predictor, texts = _start(run_dir, init_from, source, length, batch_size)
  predictor.check_fills_masks()
  if dry_run:
    return
  records = text_files.read(source)

  def parts():
    while some := list(itertools.islice(records, 32 * batch_size)):
      answers = predictor.fill_mask(
          [record['text'] for record in some], top_k, length, batch_size)
      yield list(zip(some, answers, strict=True))

  without = 0
  with (
      text_files.writing(output) as path,
      open(path, 'w', encoding='utf-8') as file,
  ):
    for part in progress(parts(), texts, predictor):
      for record, answers in part:
        without += not answers
        write_line(file, record | {'masks': [
            [{'token': t, 'probability': p} for t, p in answer]
            for answer in answers
        ]})
  print(f'{texts:,} texts in {output}' + (
      f'; {without:,} have no [MASK] within LENGTH' if without else ''))


def _start(
    run_dir, init_from, source, length, batch_size
) -> tuple[Predictor, int]:
  """Returns the model and the number of texts."""
  if (run_dir is None) == (init_from is None):
    raise UserError('expected either a run in RUN_DIR, or a Hugging Face '
                    'directory or a run in INIT_FROM; set one of the two')
  if batch_size < 1:
    raise UserError(f'BATCH_SIZE is {batch_size}; set it to 1 or more')
  texts = text_files.count(source)
  if not texts:
    raise UserError(f'{source} is empty; set INPUT')
  predictor = Predictor.load(run_dir or init_from)
  predictor.check_length(length)
  return predictor, texts


def _write_npy(path: str, parts, texts: int, width: int) -> None:
  # The handle, as numpy would add .npy to a name that ends otherwise.
  with open(path, 'wb') as file:
    np.lib.format.write_array_header_1_0(file, {
        'descr': '<f4', 'fortran_order': False, 'shape': (texts, width)})
    for part in parts:
      file.write(part.astype('<f4').tobytes())


def write_line(file, record) -> None:
  """Writes a record as a line of JSON."""
  line = json.dumps(record, ensure_ascii=False, default=str) + '\n'
  file.write(line.encode('utf-8', 'replace').decode())


def progress(parts: Iterator, texts: int, predictor: Predictor) -> Iterator:
  """Passes parts on; says how far it is, and in the end what was cut."""
  start, done = time.monotonic(), 0
  for part in parts:
    yield part
    done += len(part)
    seconds = time.monotonic() - start
    left = seconds / done * (texts - done)
    print(f'{done:,}/{texts:,} texts   {done / seconds:,.0f} a second   '
          f'{left:.0f} s left', file=sys.stderr, flush=True)
  if predictor.cut:
    print(f'{predictor.cut:,} of {texts:,} texts were longer than LENGTH and '
          'cut', flush=True)
