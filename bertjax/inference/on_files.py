"""What a trained model says of each text of a file, written to another one.

    on_files.embed(source='in.txt', output='vectors.npy', run_dir='runs/books')
    on_files.fill_mask(
        source='in.txt', output='filled.jsonl', run_dir='runs/books')
    on_files.predict_file(
        source='in.txt', output='out.jsonl', run_dir='runs/sst2')
    on_files.evaluate(files='dev.tsv', run_dir='runs/sst2')

Files are read once, and streamed except SQuAD's JSON, so they may be larger
than memory. `tasks.kinds` has what is read and written.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.inference import forward
from bertjax.inference.predictor import Predictor
from bertjax.runs import output_files
from bertjax.runs.progress_line import ProgressLine
from bertjax.tasks import kinds
from bertjax.tasks.kept_examples import keep
from bertjax.tasks.specs import Task
from bertjax.text import batching


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
  predictor = load(run_dir, init_from, batch_size)
  task = Task('embed', 'vectors', length=length)
  function = forward.embed(predictor.config, pooling, normalize)
  _write(predictor, task, source, output, batch_size, dry_run, function)


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
  predictor = load(run_dir, init_from, batch_size)
  task = Task('fill_mask', 'masks', length=length)
  function = predictor.filling(top_k)
  _write(predictor, task, source, output, batch_size, dry_run, function)


def predict_file(
  *,
  source: str,
  output: str,
  run_dir: str | None = None,
  init_from: str | None = None,
  length: int | None = None,
  batch_size: int = 32,
  text_columns: str | Sequence[str] | None = None,
  dry_run: bool = False,
) -> None:
  """Writes a fine-tuned model's prediction for each text of a file.

  A classifier reads lines, TSV, CSV, Parquet, or JSON lines, and writes JSON
  lines: the input with `label` and `scores`, see `tasks.text_labels`; an input
  column of such a name becomes `label_given`. A tagger reads CoNLL columns and
  adds one. A model of spans reads SQuAD's JSON, and writes a file of
  predictions in its format and the n best beside it.

  Args:
    source: the input.
    output: ends in .jsonl; for spans in .json; for a tagger in anything.
    run_dir: a run of fine-tuning, or the folder of its seeds. Set either this
      or init_from.
    init_from: a Hugging Face directory, or a run.
    length: the most tokens of a row; None: as in training.
    batch_size: the most rows of a batch.
    text_columns: one column of a table, or two; None: as in training.
    dry_run: check everything and write nothing.

  Raises:
    UserError: files, a model, or settings that cannot work.
  """
  predictor = load(run_dir, init_from, batch_size)
  task = predictor.task_of(length)
  columns = _columns(task, text_columns=text_columns)
  _write(predictor, task, source, output, batch_size, dry_run, **columns)


def evaluate(
  *,
  files: str | Sequence[str],
  run_dir: str | None = None,
  init_from: str | None = None,
  length: int | None = None,
  batch_size: int = 32,
  text_columns: str | Sequence[str] | None = None,
  label_column: str | None = None,
  dry_run: bool = False,
) -> None:
  """Prints the task's metrics of a model on files with labels, as JSON.

  Args:
    files: in the format of the training files.
    run_dir: a run of fine-tuning, or the folder of its seeds. Set either this
      or init_from.
    init_from: a Hugging Face directory, or a run.
    length: the most tokens of a row; None: as in training.
    batch_size: the most rows of a batch.
    text_columns: one column of a table, or two; None: as in training.
    label_column: of a table; None: as in training.
    dry_run: check everything and compute nothing.

  Raises:
    UserError: files, a model, or settings that cannot work.
  """
  predictor = load(run_dir, init_from, batch_size)
  task = predictor.task_of(length)
  kind = kinds.find(task.kind)
  columns = _columns(task, text_columns=text_columns, label_column=label_column)
  predictor.check_length(task.length)
  examples = keep(kind.read(task, files, True, **columns))
  kind.check(task, examples)
  if dry_run:
    return
  assert kind.score is not None  # of a kind that is trained
  values = kind.score(task, predictor.answers(task, examples, batch_size))
  print(json.dumps({'examples': len(examples), **values}, indent=2))


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


def _columns(task: Task, **given: Any) -> dict[str, Any]:
  """Returns those columns that are set, if the task's kind takes them."""
  found = {name: value for name, value in given.items() if value is not None}
  refused = found.keys() - {*kinds.find(task.kind).columns}
  if refused:
    names = ' and no '.join(name.upper() for name in sorted(refused))
    raise UserError(f'a model of {task.kind} takes no {names}; leave it out')
  return found


def _write(
  predictor: Predictor,
  task: Task,
  source: str,
  output: str,
  batch_size: int,
  dry_run: bool,
  function: forward.Function | None = None,
  **columns: Any,
) -> None:
  """Reads all examples, then computes and writes the answers as a stream."""
  kind = kinds.find(task.kind)
  output_files.check_output(output, kind.suffixes, source)
  predictor.check_length(task.length)
  examples = keep(kind.read(task, source, False, **columns))
  if not examples:
    raise UserError(f'{source} is empty; set INPUT')
  if dry_run:
    return
  answers = predictor.answers(task, examples, batch_size, function)
  every = batching.WINDOW * batch_size
  answers = _reported(answers, len(examples), every)
  said = kind.write(task, output, answers, len(examples))
  if predictor.cut:
    print(
      f'{predictor.cut:,} of {len(examples):,} texts were longer than LENGTH '
      'and cut'
    )
  print(said, flush=True)


def _reported(
  answers: Iterator[tuple[Any, Any]], count: int, every: int
) -> Iterator[tuple[Any, Any]]:
  """Yields the answers, and reports progress on standard error."""
  start = time.monotonic()
  with ProgressLine(sys.stderr) as line:
    for done, answer in enumerate(answers, start=1):
      yield answer
      if done % every == 0 or done == count:
        rate = done / (time.monotonic() - start)
        line.show(
          f'{done:,}/{count:,} texts   {rate:,.0f} a second   '
          f'{(count - done) / rate:.0f} s left'
        )
