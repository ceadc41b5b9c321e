"""A fine-tuned model on a file of new text, or scored on one with labels.

    predict.predict_file(
        run_dir='runs/sst2', source='in.txt', output='out.jsonl')
    predict.evaluate(run_dir='runs/sst2', files='dev.tsv')

Files are streamed: one larger than memory works. Source: ours.
"""

import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence

from bertjax.errors import UserError
from bertjax.inference import on_files
from bertjax.inference.predictor import Predictor
from bertjax.runs import output_files
from bertjax.runs.output_files import writing
from bertjax.tasks import (
  codecs,
  conll,
  data_sets,
  glue_files,
  specs,
  squad,
  table_files,
)
from bertjax.text import context_windows, line_files

# What is said of a text; a column of the input of such a name gets another.
SAID = ('label', 'labels', 'scores', 'value')


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
  """Writes what a model says of each text of a file.

  A classifier reads lines, TSV, CSV, Parquet, or JSON lines, and writes JSON
  lines: the input with `label` and `scores`, see `task_heads.describe`, where
  a column of such a name becomes `label_given`. A tagger reads CoNLL columns
  and writes them with one more. A model of spans reads SQuAD's JSON and writes
  its file of predictions, and the n best beside.

  Args:
    source: the input.
    output: .jsonl; of a tagger any name; of spans .json.
    run_dir: a run of fine-tuning, or the folder of its seeds; or else
    init_from: a Hugging Face directory, or a run.
    length: the most tokens of a row; None: as in training.
    batch_size: rows at a time.
    text_columns: of a table, one name or two; None: as in training.
    dry_run: check everything and write nothing.

  Raises:
    UserError: files, a model, or settings that cannot work.
  """
  predictor, length = _load(run_dir, init_from, length, batch_size)
  kind = predictor.task['kind']
  suffixes = {'tags': ('',), 'spans': ('.json',)}.get(kind, ('.jsonl',))
  output_files.check_output(output, suffixes, source)
  if kind == 'tags':
    write = _tag(predictor, source, length, batch_size)
  elif kind == 'spans':
    write = _answer(predictor, source, length, batch_size)
  else:
    write = _classify(predictor, source, length, batch_size, text_columns)
  if not dry_run:
    write(output)


def evaluate(
  *,
  files,
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
    files: as those that it was trained on.
    run_dir: a run of fine-tuning, or the folder of its seeds; or else
    init_from: a Hugging Face directory, or a run.
    length: the most tokens of a row; None: as in training.
    batch_size: rows at a time.
    text_columns: of a table, one name or two; None: as in training.
    label_column: the same.
    dry_run: only check the model.
  """
  predictor, length = _load(run_dir, init_from, length, batch_size)
  task = dict(predictor.task)
  named = {'text_columns': text_columns, 'label_column': label_column}
  if task['kind'] in data_sets.TEXT_KINDS:
    task['columns'] = task.get('columns', {}) | {
      k: v for k, v in named.items() if v is not None
    }
    if not _is_glue(task) and len(task['columns']) < 2:
      raise UserError(
        f'{predictor.origin} does not say which columns hold '
        'text and label; set TEXT_COLUMNS and LABEL_COLUMN'
      )
  elif any(named.values()):
    raise UserError(
      f'a model of {task["kind"]} takes no TEXT_COLUMNS and no LABEL_COLUMN'
    )
  if dry_run:
    return
  encoder = _encoder(task, predictor, length)
  examples = list(data_sets.read(task, files))
  found = encoder.predict(
    examples, lambda rows: predictor.logits(rows, length, batch_size)
  )
  values = encoder.score(examples, found)
  print(json.dumps({'examples': len(examples), **values}, indent=2))


def _is_glue(task: Mapping) -> bool:
  return task.get('task') in specs.GLUE and not task.get('columns')


def _encoder(task: Mapping, predictor: Predictor, length: int):
  """Returns the encoder of a model; of others than ours with usual metrics."""
  spec = specs.Task(
    task.get('task', 'task'),
    task['kind'],
    tuple(task['labels']),
    tuple(task.get('metrics', data_sets.USUAL_METRICS[task['kind']])),
  )
  return codecs.make(
    spec,
    predictor.tokenizer,
    length,
    task.get('stride', context_windows.STRIDE),
  )


def _load(run_dir, init_from, length, batch_size) -> tuple[Predictor, int]:
  predictor = on_files.load(run_dir, init_from, batch_size)
  if predictor.task is None:
    raise UserError(
      f'{predictor.origin} has no head of a task; choose a run of fine-tuning'
    )
  length = predictor.length(length)
  predictor.check_length(length)
  return predictor, length


def _classify(predictor, source, length, batch_size, columns):
  count = sum(1 for _ in _texts(source, columns, predictor.task))
  if not count:
    raise UserError(f'{source} is empty; set INPUT')

  def write(output: str) -> None:
    found = on_files.stream(
      _texts(source, columns, predictor.task),
      count,
      predictor,
      batch_size,
      lambda some: predictor.classify(some, length, batch_size),
    )
    with writing(output) as path:
      on_files.write_lines(path, (record | said for record, said in found))
    print(f'{count:,} texts in {output}')

  return write


def _texts(
  source: str, columns, task: Mapping
) -> Iterator[tuple[dict, str | tuple[str, ...]]]:
  """Yields each record, and its text or pair of texts."""
  if os.path.splitext(source)[1].lower() not in table_files.SUFFIXES:
    for record in line_files.read(source):
      yield record, record['text']
    return
  names = None
  for number, record in table_files.records(source):
    names = names or _columns(record, columns, task, source)
    texts = tuple(record.get(name) for name in names)
    if not all(isinstance(text, str) for text in texts):
      raise UserError(
        f'expected text in {" and ".join(names)} of line '
        f'{number} of {source}, got {texts}; set TEXT_COLUMNS'
      )
    texts = tuple(map(line_files.repair, texts))
    kept = {
      f'{name}_given' if name in SAID else name: value
      for name, value in record.items()
    }
    yield kept, texts if len(texts) > 1 else texts[0]


def _columns(record: dict, wanted, task: Mapping, source: str) -> list[str]:
  """Returns the columns of text: those asked for, of training, or `text`."""
  options = (
    [wanted]
    if wanted
    else [
      task.get('columns', {}).get('text_columns'),
      glue_files.text_columns(task['task']) if _is_glue(task) else None,
      'text',
    ]
  )
  names = [[x] if isinstance(x, str) else [*x] for x in options if x]
  for some in names:
    if record.keys() >= set(some):
      return some
  raise UserError(
    f'expected text in {" and ".join(names[0])} of {source}, which has '
    f'{", ".join(record)}; set TEXT_COLUMNS'
  )


def _tag(predictor, source, length, batch_size):
  columns = predictor.task.get('columns', {})
  separator = columns.get('separator')

  def read():
    return conll.read(source, columns.get('word_column', 0), None, separator)

  count = sum(1 for _ in read())

  def write(output: str) -> None:
    found, again = itertools.tee(
      on_files.stream(
        ((example, example.words) for example in read()),
        count,
        predictor,
        batch_size,
        lambda some: predictor.tag(some, length, batch_size),
      )
    )
    conll.write(
      output,
      (example for example, _ in found),
      (tags for _, tags in again),
      separator or ' ',
    )
    print(f'{count:,} sentences in {output}')

  return write


def _answer(predictor, source, length, batch_size):
  examples = squad.read(source, labelled=False)
  # Of training's evaluation; above it there is no answer.
  threshold = predictor.task.get('threshold', math.inf)
  encoder = _encoder(predictor.task, predictor, length)

  def answers(some):
    return encoder.predict(
      some, lambda rows: predictor.logits(rows, length, batch_size)
    ).values()

  def write(output: str) -> None:
    found = dict(
      on_files.stream(
        ((x.identifier, x) for x in examples),
        len(examples),
        predictor,
        batch_size,
        answers,
      )
    )
    squad.write_predictions(
      output,
      {
        key: '' if x.null_difference > threshold else x.text
        for key, x in found.items()
      },
    )
    n_best = os.path.splitext(output)[0] + '_n_best.json'
    squad.write_n_best(n_best, found)
    print(f'{len(examples):,} answers in {output}, the n best in {n_best}')

  return write
