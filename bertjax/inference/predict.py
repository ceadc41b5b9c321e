"""Predicts on a file of new text, or evaluates on one with labels.

    predict.predict_file(
        run_dir='runs/sst2', source='in.txt', output='out.jsonl')
    predict.evaluate(run_dir='runs/sst2', files='dev.tsv')

Prediction streams its file, except SQuAD's JSON, so the file may be larger than
memory.
"""

import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

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
from bertjax.tasks.examples import QuestionExample, TagExample
from bertjax.text import context_windows, line_files

# Fields of a prediction; an input column of such a name is renamed.
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
  """Writes a model's prediction for each text of a file.

  A classifier reads lines, TSV, CSV, Parquet, or JSON lines, and writes JSON
  lines: the input with `label` and `scores`, see `head_outputs.describe`; an
  input column of such a name becomes `label_given`. A tagger reads CoNLL
  columns and adds one. A model of spans reads SQuAD's JSON, and writes a file
  of predictions in its format and the n best beside it.

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
  predictor, task, length = _load(run_dir, init_from, length, batch_size)
  kind = task['kind']
  suffixes = {'tags': ('',), 'spans': ('.json',)}.get(kind, ('.jsonl',))
  output_files.check_output(output, suffixes, source)
  if kind == 'tags':
    write = _tag(predictor, task, source, length, batch_size)
  elif kind == 'spans':
    write = _answer(predictor, task, source, length, batch_size)
  else:
    write = _classify(predictor, task, source, length, batch_size, text_columns)
  if not dry_run:
    write(output)


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
    files: in the format of the training files, see `data_sets.read`.
    run_dir: a run of fine-tuning, or the folder of its seeds. Set either this
      or init_from.
    init_from: a Hugging Face directory, or a run.
    length: the most tokens of a row; None: as in training.
    batch_size: the most rows of a batch.
    text_columns: one column of a table, or two; None: as in training.
    label_column: of a table; None: as in training.
    dry_run: only check the model.

  Raises:
    UserError: files, a model, or settings that cannot work.
  """
  predictor, task, length = _load(run_dir, init_from, length, batch_size)
  task = dict(task)
  named = {'text_columns': text_columns, 'label_column': label_column}
  if task['kind'] in data_sets.TEXT_KINDS:
    task['columns'] = task.get('columns', {}) | {
      k: v for k, v in named.items() if v is not None
    }
    if not _is_glue(task) and len(task['columns']) < 2:
      raise UserError(
        f'{predictor.origin} does not say which columns hold text and label; '
        'set TEXT_COLUMNS and LABEL_COLUMN'
      )
  elif any(named.values()):
    raise UserError(
      f'a model of {task["kind"]} takes no TEXT_COLUMNS and no LABEL_COLUMN'
    )
  if dry_run:
    return
  codec = _codec(task, predictor, length)
  examples = list(data_sets.read(task, files))
  found = codec.predict(
    examples, lambda rows: predictor.logits(rows, length, batch_size)
  )
  values = codec.score(examples, found)
  print(json.dumps({'examples': len(examples), **values}, indent=2))


def _is_glue(task: Mapping[str, Any]) -> bool:
  return task.get('task') in specs.GLUE and not task.get('columns')


def _codec(
  task: Mapping[str, Any], predictor: Predictor, length: int
) -> codecs.Codec:
  """Returns a model's codec, with usual metrics if its task names none."""
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


def _load(
  run_dir: str | None,
  init_from: str | None,
  length: int | None,
  batch_size: int,
) -> tuple[Predictor, dict[str, Any], int]:
  """Returns the model, its task and the length of its rows."""
  predictor = on_files.load(run_dir, init_from, batch_size)
  if predictor.task is None:
    raise UserError(
      f'{predictor.origin} has no head of a task; choose a run of fine-tuning'
    )
  length = predictor.length(length)
  predictor.check_length(length)
  return predictor, predictor.task, length


def _classify(
  predictor: Predictor,
  task: Mapping[str, Any],
  source: str,
  length: int,
  batch_size: int,
  columns: str | Sequence[str] | None,
) -> Callable[[str], None]:
  count = sum(1 for _ in _texts(source, columns, task))
  if not count:
    raise UserError(f'{source} is empty; set INPUT')

  def write(output: str) -> None:
    found = on_files.stream(
      _texts(source, columns, task),
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
  source: str, columns: str | Sequence[str] | None, task: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], str | tuple[str, ...]]]:
  """Yields each record, and its text or pair of texts."""
  if os.path.splitext(source)[1].lower() not in table_files.SUFFIXES:
    for record in line_files.read(source):
      yield record, record['text']
    return
  names = None
  for number, record in table_files.records(source):
    names = names or _columns(record, columns, task, source)
    values = tuple(record.get(name) for name in names)
    texts = tuple(
      line_files.repair(value) for value in values if isinstance(value, str)
    )
    if len(texts) < len(values):
      raise UserError(
        f'expected text in {" and ".join(names)} of line {number} of {source}, '
        f'got {values}; set TEXT_COLUMNS'
      )
    kept = {
      f'{name}_given' if name in SAID else name: value
      for name, value in record.items()
    }
    yield kept, texts if len(texts) > 1 else texts[0]


def _columns(
  record: Mapping[str, object],
  wanted: str | Sequence[str] | None,
  task: Mapping[str, Any],
  source: str,
) -> list[str]:
  """Returns the columns of text: `wanted`, else training's, else 'text'."""
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


def _tag(
  predictor: Predictor,
  task: Mapping[str, Any],
  source: str,
  length: int,
  batch_size: int,
) -> Callable[[str], None]:
  columns = task.get('columns', {})
  separator = columns.get('separator')

  def read() -> Iterator[TagExample]:
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


def _answer(
  predictor: Predictor,
  task: Mapping[str, Any],
  source: str,
  length: int,
  batch_size: int,
) -> Callable[[str], None]:
  examples = squad.read(source, labelled=False)
  # The evaluation in training found it; above it, there is no answer.
  threshold = task.get('threshold', math.inf)
  codec = _codec(task, predictor, length)

  def answers(
    some: list[QuestionExample],
  ) -> Iterable[context_windows.Answers]:
    return codec.predict(
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
