"""The files of GLUE's tasks, as its download script leaves them.

    path = glue_files.find('glue', 'RTE', 'dev')  # 'glue/RTE/dev.tsv'
    for example in glue_files.read(path, 'RTE'):
      example.texts, example.label  # ('A man ...', 'A ...'), 'entailment'

Source: Wang et al. 2018 (GLUE); the names and ids of the classes are those of
TensorFlow Datasets.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bertjax.errors import UserError, choose
from bertjax.tasks.examples import TextExample
from bertjax.text import input_files

SPLITS = ('train', 'dev', 'dev_mismatched', 'test', 'test_mismatched')

_ENTAILMENT = ('entailment', 'not_entailment')
_THREE_WAY = ('entailment', 'neutral', 'contradiction')
# Task -> names of its classes in the order of their ids; None: a number.
LABELS: dict[str, tuple[str, ...] | None] = {
  'CoLA': ('unacceptable', 'acceptable'),
  'SST-2': ('negative', 'positive'),
  'MRPC': ('not_equivalent', 'equivalent'),
  'STS-B': None,
  'QQP': ('not_duplicate', 'duplicate'),
  'MNLI': _THREE_WAY,
  'QNLI': _ENTAILMENT,
  'RTE': _ENTAILMENT,
  'WNLI': _ENTAILMENT[::-1],
  'AX': _THREE_WAY,
}


class Columns(NamedTuple):
  """The columns of a task's files.

  Attributes:
    texts: the columns of text.
    label: the column of labels, which test files lack.
    numbered: whether labels are the ids of classes rather than their names.
  """

  texts: tuple[str, ...]
  label: str = 'label'
  numbered: bool = False


_SENTENCES = ('sentence1', 'sentence2')
COLUMNS = {
  'CoLA': Columns(('sentence',), numbered=True),
  'SST-2': Columns(('sentence',), numbered=True),
  'MRPC': Columns(('#1 String', '#2 String'), 'Quality', numbered=True),
  'STS-B': Columns(_SENTENCES, 'score'),
  'QQP': Columns(('question1', 'question2'), 'is_duplicate', numbered=True),
  'MNLI': Columns(_SENTENCES, 'gold_label'),
  'QNLI': Columns(('question', 'sentence')),
  'RTE': Columns(_SENTENCES),
  'WNLI': Columns(_SENTENCES, numbered=True),
  'AX': Columns(_SENTENCES),
}
# The file of AX with labels has other columns than the one without.
_AX_LABELLED = Columns(('Premise', 'Hypothesis'), 'Label')
_COLA_NAMES = ('source', 'label', 'mark', 'sentence')


def find(folder: str, task: str, split: str) -> str | None:
  """Returns the path of a task's file, or None if there is none.

  Args:
    folder: GLUE's, with a folder for each task, or the task's own, unless it is
      named like another task ('sst2' counts as SST-2).
    task: a name in `LABELS`. AX has only a test split; a file with labels is
      preferred to one without.
    split: one of `SPLITS`; `dev` and `test` of MNLI are the matched ones.

  Raises:
    UserError: no such task or split.
  """
  choose(LABELS, task, 'TASKS')
  choose(dict.fromkeys(SPLITS), split, 'the split')
  folders, files = [task], [split]
  if task == 'MNLI' and split in ('dev', 'test'):
    files = [f'{split}_matched']
  elif task == 'AX':
    folders = ['AX', 'diagnostic', 'MNLI']
    files = ['diagnostic-full', 'AX', 'diagnostic'] if split == 'test' else []
  # Files of the same names are in the folders of other tasks.
  own = _plain(os.path.basename(os.path.abspath(folder)))
  if own in map(_plain, folders) or own not in map(_plain, LABELS):
    folders.append('')
  paths = (
    os.path.join(folder, inner, f'{file}.tsv')
    for file in files
    for inner in folders
  )
  return next(filter(os.path.isfile, paths), None)


def read(path: str, task: str, labelled: bool = False) -> Iterator[TextExample]:
  """Yields the examples of a task's file.

  Lines with more or fewer fields than columns, which QQP has, are left out and
  counted, and the count is printed at the end. The examples of MNLI on which
  people did not agree are left out silently. An example's identifier is its
  index in the file, as written there, or else its place in it, from 0.

  Args:
    path: see `find`.
    task: a name in `LABELS`.
    labelled: whether there must be labels.

  Raises:
    UserError: no such task, the file is not one of its, or more than half of
      its lines are to be left out.
  """
  columns = choose(COLUMNS, task, 'TASKS')
  known: Sequence[str] = input_files.columns(path, 'DATA_DIR')
  names = None
  if task == 'CoLA' and known != ['index', 'sentence']:
    names = known = _COLA_NAMES
  elif task == 'AX' and _AX_LABELLED.label in known:
    columns = _AX_LABELLED
  wanted = dict.fromkeys(columns.texts, 'DATA_DIR')
  input_files.check_columns(path, known, wanted)
  if labelled and columns.label not in known:
    raise UserError(
      f'expected labels in {path}, got no column {columns.label}; put a file '
      f'of {task} with labels, such as its train.tsv or dev.tsv, there'
    )
  broken: list[int] = []
  found = input_files.records(path, names, broken.append, 'DATA_DIR')
  record: dict[str, str]
  place = 0
  for place, (number, record) in enumerate(found):
    label = record.get(columns.label)
    if task == 'MNLI' and label == '-':
      continue
    where = f'line {number} of {path}'
    yield TextExample(
      tuple(record[name] for name in columns.texts),
      _label(label, task, columns.numbered, where),
      record.get('index', record.get('id', place)),
    )
  if len(broken) > place + 1:
    raise UserError(
      f'expected {len(known)} fields, one a column, in the lines of {path}, '
      f'got more or fewer in {len(broken)}, the first is line {broken[0]}; '
      'mend them, or set DATA_DIR to a whole copy'
    )
  if broken:
    print(
      f'{path}: {len(broken)} lines left out, which lack fields or have more',
      flush=True,
    )


def _plain(name: str) -> str:
  return name.lower().replace('-', '').replace('_', '')


def _label(
  text: str | None, task: str, numbered: bool, where: str
) -> str | float | None:
  if text is None:
    return None
  names = LABELS[task]
  if names is None:
    with contextlib.suppress(ValueError):
      if 0 <= (number := float(text)) <= 5:
        return number
    expected = 'a score from 0 to 5'
  else:
    written = [str(i) for i in range(len(names))] if numbered else names
    if text in written:
      return names[written.index(text)]
    expected = f'{" or ".join(written)} as the label'
  raise UserError(
    f'expected {expected} in {where}, got {text!r}; is it a file of {task}?'
  )
