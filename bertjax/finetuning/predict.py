"""A fine-tuned model on a file of new text, or scored on one with labels.

    predict.run(run_dir='runs/sst2', source='in.txt', output='out.jsonl')
    predict.evaluate(run_dir='runs/sst2', files='dev.tsv')

Files are streamed: one larger than memory works. Source: ours.
"""

import itertools
import json
import math
import os
from collections.abc import Iterator, Sequence

from bertjax.errors import UserError
from bertjax.finetuning import (
  conll,
  data_sets,
  encoders,
  specs,
  squad,
  tables,
)
from bertjax.inference import jobs, text_files
from bertjax.inference.predictor import Predictor
from bertjax.output_files import writing

# Columns that hold the text where nothing says which do: GLUE's and ours.
USUAL_COLUMNS = (
    ('sentence1', 'sentence2'), ('question1', 'question2'),
    ('question', 'sentence'), ('#1 String', '#2 String'), ('text',),
    ('sentence',),
)
# Of what is said of a text, which no column of the input may be named.
SAID = ('label', 'labels', 'scores', 'value')


def run(
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
  a column of such a name becomes `label_given`. A
  tagger reads CoNLL columns and writes them with one more. A model of spans
  reads SQuAD's JSON and writes its file of predictions, and the n best beside.

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
  text_files.check_output(output, suffixes, source)
  if kind == 'tags':
    _tag(predictor, source, output, length, batch_size, dry_run)
  elif kind == 'spans':
    _answer(predictor, source, output, length, batch_size, dry_run)
  else:
    columns = text_columns or predictor.task.get(
        'columns', {}).get('text_columns')
    _classify(
        predictor, source, output, length, batch_size, columns, dry_run)


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
        k: v for k, v in named.items() if v is not None}
    if task.get('task') not in specs.GLUE and len(task['columns']) < 2:
      raise UserError(f'{predictor.origin} does not say which columns hold '
                      'text and label; set TEXT_COLUMNS and LABEL_COLUMN')
  elif any(named.values()):
    raise UserError(f'a model of {task["kind"]} takes no TEXT_COLUMNS and no '
                    'LABEL_COLUMN')
  if dry_run:
    return
  spec = specs.Task(
      task.get('task', 'task'), task['kind'], tuple(task['labels']),
      tuple(task.get('metrics', data_sets.USUAL_METRICS[task['kind']])))
  encoder = encoders.make(
      spec, predictor.tokenizer, length, task.get('stride', 128))
  examples = list(data_sets.read(task, files))
  found = encoder.predict(
      examples, lambda rows: predictor.logits(rows, length, batch_size))
  values = encoder.score(examples, found)
  print(json.dumps({'examples': len(examples), **values}, indent=2))


def _load(run_dir, init_from, length, batch_size) -> tuple[Predictor, int]:
  if (run_dir is None) == (init_from is None):
    raise UserError('expected either a run in RUN_DIR, or a Hugging Face '
                    'directory or a run in INIT_FROM; set one of the two')
  if batch_size < 1:
    raise UserError(f'BATCH_SIZE is {batch_size}; set it to 1 or more')
  predictor = Predictor.load(run_dir or init_from)
  if predictor.task is None:
    raise UserError(f'{predictor.origin} has no head of a task; choose a run '
                    'of fine-tuning')
  length = length or predictor.task.get('length') or min(
      128, predictor.config.positions)
  predictor.check_length(length)
  return predictor, length


def _classify(
    predictor, source, output, length, batch_size, columns, dry_run
) -> None:
  texts = sum(1 for _ in _texts(source, columns))
  if not texts:
    raise UserError(f'{source} is empty; set INPUT')
  if dry_run:
    return

  def parts():
    pairs = _texts(source, columns)
    while some := list(itertools.islice(pairs, 32 * batch_size)):
      found = predictor.classify([x for _, x in some], length, batch_size)
      yield [record | said for (record, _), said in zip(
          some, found, strict=True)]

  with writing(output) as path, open(path, 'w', encoding='utf-8') as file:
    for part in jobs.progress(parts(), texts, predictor):
      for record in part:
        jobs.write_line(file, record)
  print(f'{texts:,} texts in {output}')


def _texts(
    source: str, columns
) -> Iterator[tuple[dict, str | tuple[str, ...]]]:
  """Yields each record, and its text or pair of texts."""
  if os.path.splitext(source)[1].lower() not in tables.SUFFIXES:
    for record in text_files.read(source):
      yield record, record['text']
    return
  records = (record for _, record in tables.records(source))
  names = (columns,) if isinstance(columns, str) else columns
  for number, record in enumerate(records, start=1):
    if number == 1 and names and not record.keys() >= set(names):
      names = None  # a file of other columns than those of training
    if names is None:
      names = next((x for x in USUAL_COLUMNS if record.keys() >= set(x)), None)
    if not names or not record.keys() >= set(names):
      raise UserError(
          f'expected text in {" and ".join(names or ("text",))} of {source}, '
          f'which has {", ".join(record)}; set TEXT_COLUMNS')
    texts = tuple(record[name] for name in names)
    if not all(isinstance(text, str) for text in texts):
      raise UserError(f'expected text in {" and ".join(names)} of record '
                      f'{number} of {source}, got {texts}')
    kept = {
        f'{name}_given' if name in SAID else name: value
        for name, value in record.items()
    }
    yield kept, texts if len(texts) > 1 else texts[0]


def _tag(predictor, source, output, length, batch_size, dry_run) -> None:
  columns = predictor.task.get('columns', {})
  examples = conll.read(source, columns.get('word_column', 0), None)
  first = next(examples)
  if dry_run:
    return
  examples = itertools.chain([first], examples)
  done = 0

  def pairs() -> Iterator:
    nonlocal done
    while some := list(itertools.islice(examples, 32 * batch_size)):
      found = predictor.tag([x.words for x in some], length, batch_size)
      done += len(some)
      yield from zip(some, found, strict=True)

  some, found = itertools.tee(pairs())
  conll.write(output, (a for a, _ in some), (b for _, b in found))
  print(f'{done:,} sentences in {output}')


def _answer(predictor, source, output, length, batch_size, dry_run) -> None:
  examples = squad.read(source, labelled=False)
  if dry_run:
    return
  task = predictor.task
  encoder = encoders.make(specs.Task('spans', 'spans'), predictor.tokenizer,
                          length, task.get('stride', 128))
  threshold = task.get('threshold', math.inf)  # of training's evaluation
  found = encoder.predict(
      examples, lambda rows: predictor.logits(rows, length, batch_size))
  with writing(output) as path:
    squad.write_predictions(path, {
        k: '' if x.null_difference > threshold else x.text
        for k, x in found.items()})
  n_best = os.path.splitext(output)[0] + '_n_best.json'
  with writing(n_best) as path:
    squad.write_n_best(path, found)
  print(f'{len(examples):,} answers in {output}, the n best in {n_best}')
