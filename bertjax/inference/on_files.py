"""What a trained model says of each text of a file, written to another one.

    on_files.predict_file(
        model='runs/sst2', source='in.txt', output='out.jsonl')
    on_files.predict_file(
        model='runs/books', source='in.txt', output='vectors.npy',
        work=on_files.embedding)
    on_files.evaluate(model='runs/sst2', files='dev.tsv')

Files are read once, and streamed except SQuAD's JSON, so they may be larger
than memory. `tasks.kinds` has what is read and written.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.inference import forward
from bertjax.inference.predictor import Predictor
from bertjax.runs import output_files
from bertjax.runs.progress_line import ProgressLine, wait
from bertjax.tasks import kinds
from bertjax.tasks.kept_examples import keep
from bertjax.tasks.specs import Task, with_values
from bertjax.text import batching, input_paths
from bertjax.values import Count, Name, Path, Paths, checked

# What to predict, and the function for it that `Predictor.answers` takes.
Work = tuple[Task, forward.Function | None]


def fine_tuned(predictor: Predictor, length: int | None) -> Work:
  """Predicts what the model was fine-tuned for.

  A classifier reads lines, TSV, CSV, Parquet, or JSON lines, and writes JSON
  lines: the input with `label` and `scores`, see `tasks.text_labels`; an input
  column of such a name becomes `label_given`. A tagger reads CoNLL columns and
  adds one. A model of spans reads SQuAD's JSON, and writes a file of
  predictions in its format and the n best beside it.

  Args:
    predictor: the model.
    length: the most tokens of a row; None: as in training.
  """
  return predictor.task_of(length), None


@checked
def embedding(
  predictor: Predictor,
  length: Count | None,
  pooling: str = 'mean',
  normalize: bool = False,
) -> Work:
  """Predicts a vector for each text, with any model.

  Reads lines of text, or tables, see `input_files`. Writes .npy, float32[n, D]
  in the order of the texts; or .jsonl, the records with a field `embedding`.

  Args:
    predictor: the model.
    length: the most tokens of a text; None: 128.
    pooling: 'cls', 'mean' or 'max'.
    normalize: whether to scale each vector to length 1.
  """
  function = forward.embed(predictor.config, pooling, normalize)
  return with_values(Task('embed', 'vectors'), {'length': length}), function


@checked
def filling(
  predictor: Predictor, length: Count | None, top_k: Count = 5
) -> Work:
  """Predicts the likeliest tokens for each [MASK] of each text.

  Reads what `embedding` does. Each record gets a field `masks`: for each
  [MASK], a list of {"token", "probability"}, the likeliest first.

  Args:
    predictor: with a masked-LM head.
    length: the most tokens of a text; None: 128.
    top_k: how many tokens per [MASK].
  """
  function = predictor.filling(top_k)
  return with_values(Task('fill_mask', 'masks'), {'length': length}), function


@checked
def predict_file(
  *,
  model: Path,
  source: Paths,
  output: Path,
  work: Callable[[Predictor, int | None], Work] = fine_tuned,
  length: Count | None = None,
  batch_size: Count = 32,
  text_columns: str | Sequence[str] | None = None,
  overwrite: bool = False,
  dry_run: bool = False,
) -> None:
  """Writes what a model says of each text of a file.

  Args:
    model: see `Predictor.load`.
    source: the input, in a format that `work` reads; see `input_paths.expand`.
    output: ends in .jsonl; for vectors in .npy or .jsonl; for spans in .json;
      for a tagger in .txt, .conll or the like.
    work: `fine_tuned`, `embedding` or `filling`.
    length: the most tokens of a row, [CLS] and [SEP] included; see `work`.
    batch_size: the most rows of a batch.
    text_columns: one column of a table, or two; None: as in training, else
      'text'.
    overwrite: whether to replace a file that is there.
    dry_run: check everything and write nothing.

  Raises:
    UserError: files, a model, or settings that cannot work.
  """
  predictor = Predictor.load(model)
  task, function = work(predictor, length)
  kind = kinds.find(task.kind)
  columns = _columns(task, text_columns=text_columns)
  sources = input_paths.expand(source, 'INPUT')
  output_files.check_output(output, kind.suffixes, sources, overwrite)
  if kind.beside:
    beside = os.path.splitext(output)[0] + kind.beside
    output_files.check_output(beside, kind.suffixes, sources, overwrite)
  predictor.check_length(task.length)
  # All before anything is computed, which then is a stream.
  with wait('reading INPUT'):
    examples = keep(kind.read(task, source, False, **columns))
  if not examples:
    raise UserError(f'{source} is empty; set INPUT')
  if dry_run:
    return
  count, every = len(examples), batching.WINDOW * batch_size
  answers = predictor.answers(task, examples, batch_size, function)
  said = kind.write(task, output, _reported(answers, count, every), count)
  if predictor.cut:
    print(
      f'{predictor.cut:,} of {count:,} texts were longer than LENGTH and cut'
    )
  print(said, flush=True)


@checked
def evaluate(
  *,
  model: Path,
  files: Paths,
  length: Count | None = None,
  batch_size: Count = 32,
  text_columns: str | Sequence[str] | None = None,
  label_column: Name | None = None,
  dry_run: bool = False,
) -> None:
  """Prints the task's metrics of a model on files with labels, as JSON.

  Args:
    model: a fine-tuned one, see `Predictor.load`.
    files: in the format of the training files.
    length: the most tokens of a row; None: as in training.
    batch_size: the most rows of a batch.
    text_columns: one column of a table, or two; None: as in training.
    label_column: of a table; None: as in training.
    dry_run: check everything and compute nothing.

  Raises:
    UserError: files, a model, or settings that cannot work.
  """
  predictor = Predictor.load(model)
  task = predictor.task_of(length)
  kind = kinds.find(task.kind)
  columns = _columns(task, text_columns=text_columns, label_column=label_column)
  predictor.check_length(task.length)
  with wait('reading EVAL_FILES'):
    examples = keep(kind.read(task, files, True, **columns))
  kind.check(task, examples)
  if dry_run:
    return
  answers = predictor.answers(task, examples, batch_size)
  reported = _reported(answers, len(examples), batching.WINDOW * batch_size)
  values = kind.score(task, reported)
  print(json.dumps({'examples': len(examples), **values}, indent=2))


def _columns(task: Task, **given: Any) -> dict[str, Any]:
  """Returns those columns that are set, if the task's kind takes them."""
  found = {name: value for name, value in given.items() if value is not None}
  refused = found.keys() - {*kinds.find(task.kind).columns}
  if refused:
    names = ' and no '.join(name.upper() for name in sorted(refused))
    raise UserError(f'a model of {task.kind} takes no {names}; leave it out')
  return found


def _reported(
  answers: Iterator[tuple[Any, Any]], count: int, every: int
) -> Iterator[tuple[Any, Any]]:
  """Yields the answers, and reports progress on standard error."""
  start = time.monotonic()
  with wait('compiling, and the first texts'):
    first = list(itertools.islice(answers, 1))
  with ProgressLine(sys.stderr) as line:
    for done, answer in enumerate(itertools.chain(first, answers), start=1):
      yield answer
      if done % every == 0 or done == count:
        rate = done / (time.monotonic() - start)
        line.show(
          f'{done:,}/{count:,} texts   {rate:,.0f} a second   '
          f'{(count - done) / rate:.0f} s left'
        )
