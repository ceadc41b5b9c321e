"""Of models that were never trained: which text they see, what they write."""

import functools
import json
import os
import threading
from unittest import mock

import numpy as np
import pytest

from bertjax import batch
from bertjax.errors import UserError
from bertjax.inference import on_files
from bertjax.inference.predictor import Predictor
from bertjax.models.bert import BertForTask
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning
from bertjax.runs import model_file
from bertjax.runs.checkpoints import Checkpoints
from bertjax.tasks import kinds
from bertjax.tasks.specs import Task
from bertjax.text.vocabulary_file import SPECIAL_TOKENS, write
from bertjax.training import optimizer, state
from bertjax.training.task_objective import TaskObjective

CONFIG = EncoderConfig(
  vocabulary_size=16,
  width=8,
  layers=1,
  heads=2,
  feed_forward=16,
  positions=100,
  initializer_stddev=0.5,
)


@pytest.fixture(scope='module')
def make(tmp_path_factory):
  def model(kind, labels=('no', 'yes'), **task):
    folder = str(tmp_path_factory.mktemp(kind))
    row = kinds.KINDS[kind]
    created = state.create(
      TaskObjective(
        BertForTask(CONFIG, row.head, row.outputs(Task('t', kind, labels))),
        row.loss,
        row.label,
      ),
      optimizer.adamw(1e-3),
      batch.shapes(2, 8, 0, keys=batch.TASK),
      partitioning.make_mesh(),
      seed=0,
    )
    with Checkpoints(f'{folder}/checkpoints') as checkpoints:
      checkpoints.save(1, created.replace(step=np.int32(1)))
    model_file.write(folder, {'': CONFIG})
    model_file.write_task(
      folder,
      {'kind': kind, 'labels': labels, 'length': 90, 'stride': 20, **task},
    )
    write([*SPECIAL_TOKENS, *'abcdefgh?'], f'{folder}/vocab.txt', cased=False)
    return folder

  return model


def run(folder, tmp_path, name, content, **settings):
  (tmp_path / name).write_text(content)
  on_files.predict_file(
    model=folder,
    source=str(tmp_path / name),
    output=str(tmp_path / 'out.jsonl'),
    **settings,
  )
  return [
    json.loads(line)
    for line in (tmp_path / 'out.jsonl').read_text().splitlines()
  ]


@pytest.mark.parametrize(
  'task, name, content, settings, seen',
  [
    ({}, 'in.txt', 'a b\n\n', {}, ['a b', '']),
    ({}, 'in.tsv', 'x\ttext\nb\ta\n', {}, ['a']),
    ({}, 'in.JSONL', '{"text": "a", "label": 3}\n', {}, ['a']),
    (
      {'task': 'QNLI'},
      'in.tsv',
      'index\tquestion\tsentence\n0\ta\tb\n',
      {},
      [('a', 'b')],
    ),
    (
      {'columns': {'text_columns': ['p', 'q']}},
      'in.csv',
      'p,q,text\na,b,c\n',
      {},
      [('a', 'b')],
    ),
    (
      {'columns': {'text_columns': ['p', 'q']}},
      'in.csv',
      'text\nc\n',
      {},
      ['c'],
    ),
    (
      {'columns': {'text_columns': 'p'}},
      'in.csv',
      'p,q\na,b\n',
      {'text_columns': 'q'},
      ['b'],
    ),
  ],
)
def test_the_text_is_in_the_columns_that_say_so(
  make, tmp_path, task, name, content, settings, seen
):
  folder = make('classes', **task)
  records = run(folder, tmp_path, name, content, **settings)
  expected = Predictor.load(folder).classify(seen)
  assert [x['scores'] for x in records] == [
    pytest.approx(x['scores']) for x in expected
  ]
  assert [x['label'] for x in records] == [x['label'] for x in expected]


def test_the_input_is_kept_also_what_bears_the_name_of_a_result(make, tmp_path):
  (record,) = run(
    make('number', ()),
    tmp_path,
    'in.jsonl',
    '{"text": "a", "value": 7, "id": [1]}\n',
  )
  assert record['value_given'] == 7 and record['id'] == [1]
  assert isinstance(record['value'], float)


@pytest.mark.parametrize(
  'settings, message',
  [
    (
      {'text_columns': 'r'},
      r"one column r in .*, got \['q', 'p'\]; set TEXT_COL",
    ),
    ({}, 'one column text in .*; set TEXT_COLUMNS'),
    ({'length': 101}, '100 positions'),
  ],
)
def test_what_cannot_be_read_leaves_nothing(make, tmp_path, settings, message):
  with pytest.raises(UserError, match=message):
    run(make('classes'), tmp_path, 'in.csv', 'p,q\na,b\n', **settings)
  assert [path.name for path in tmp_path.iterdir()] == ['in.csv']


@pytest.mark.parametrize('threshold, empty', [(-1e9, True), (1e9, False)])
def test_an_answer_is_empty_above_the_threshold_of_training(
  make, tmp_path, threshold, empty
):
  (tmp_path / 'in.json').write_text(
    json.dumps(
      {
        'data': [
          {
            'paragraphs': [
              {
                'context': 'a b c ' * 30,
                'qas': [{'id': 'q', 'question': 'a ?'}],
              }
            ]
          }
        ]
      }
    )
  )
  on_files.predict_file(
    model=make('spans', (), threshold=threshold),
    source=str(tmp_path / 'in.json'),
    output=str(tmp_path / 'out.json'),
  )
  found = json.loads((tmp_path / 'out.json').read_text())
  assert found.keys() == {'q'} and (found['q'] == '') == empty
  best = json.loads((tmp_path / 'out_n_best.json').read_text())['q']
  assert len(best) == 20 and best[0]['score'] >= best[-1]['score']


@pytest.mark.parametrize('name', ['out.json', 'out_n_best.json'])
def test_neither_file_of_answers_replaces_one_that_is_there(
  make, tmp_path, name
):
  settings = {
    'model': make('spans', ()),
    'source': str(tmp_path / 'in.json'),
    'output': str(tmp_path / 'out.json'),
  }
  (tmp_path / 'in.json').write_text('{}')
  (tmp_path / name).touch()
  with pytest.raises(UserError, match=f'/{name} is there.*OVERWRITE=True'):
    on_files.predict_file(**settings)


@pytest.mark.parametrize('name', ['out.npy', 'out.jsonl', 'out.png'])
def test_tags_are_written_to_files_of_columns(make, tmp_path, name):
  (tmp_path / 'in.txt').write_text('a O\n')
  with pytest.raises(UserError, match='ends in .txt or .conll.*set OUTPUT'):
    on_files.predict_file(
      model=make('tags', ('O', 'B-X')),
      source=str(tmp_path / 'in.txt'),
      output=str(tmp_path / name),
    )


@pytest.mark.parametrize('work', [on_files.fine_tuned, on_files.embedding])
def test_a_full_disk_leaves_the_file_of_before(make, tmp_path, full_disk, work):
  source, path = tmp_path / 'in.txt', tmp_path / 'out.jsonl'
  source.write_text('a\n' * 15)  # the examples that are kept still fit
  predict = functools.partial(
    on_files.predict_file,
    model=make('classes'),
    source=str(source),
    output=str(path),
    work=work,
    length=20,
    overwrite=True,
  )
  predict()
  before = path.read_bytes()
  with full_disk(), pytest.raises(UserError, match='out.jsonl: File too large'):
    predict()
  assert path.read_bytes() == before
  assert sorted(os.listdir(tmp_path)) == ['in.txt', 'out.jsonl']


def test_texts_to_embed_are_in_a_column_of_a_table(make, tmp_path):
  folder = make('classes')
  expected = Predictor.load(folder).embed(['a', 'b c'], length=20)

  def embed(name, content, **columns):
    (tmp_path / name).write_text(content)
    output = str(tmp_path / 'out.npy')
    on_files.predict_file(
      model=folder,
      source=str(tmp_path / name),
      output=output,
      work=on_files.embedding,
      length=20,
      overwrite=True,
      **columns,
    )
    return np.load(output)

  for name, content, columns in (
    ('in.csv', 'id,text\n1,a\n2,b c\n', {}),
    ('in.tsv', 'id\tbody\n1\ta\n2\tb c\n', {'text_columns': 'body'}),
    ('in.jsonl', '{"x": "a"}\n{"x": "b c"}\n', {'text_columns': 'x'}),
    ('in.json', '{"text": "a"}\n{"text": "b c"}\n', {}),
  ):
    np.testing.assert_array_equal(embed(name, content, **columns), expected)
  with pytest.raises(UserError, match='one column text in .*set TEXT_COLUMNS'):
    embed('in.csv', 'id,body\n1,a\n')


def test_columns_are_divided_and_joined_as_in_training(make, tmp_path):
  folder = make(
    'tags',
    ('O', 'B-X'),
    columns={'word_column': 1, 'tag_column': 0, 'separator': ','},
  )
  (tmp_path / 'in.txt').write_text('1,a\n2,b\n\n3,c\n')
  on_files.predict_file(
    model=folder,
    source=str(tmp_path / 'in.txt'),
    output=str(tmp_path / 'out.txt'),
  )
  first, second = Predictor.load(folder).tag([['a', 'b'], ['c']])
  assert (tmp_path / 'out.txt').read_text() == (
    f'1,a,{first[0]}\n2,b,{first[1]}\n\n3,c,{second[0]}\n\n'
  )


def test_a_pipe_is_read_as_a_file(make, tmp_path):
  folder, pipe = make('classes'), tmp_path / 'pipe.txt'
  os.mkfifo(pipe)
  writer = threading.Thread(target=pipe.write_text, args=('a b\nc\n',))
  writer.start()
  on_files.predict_file(
    model=folder, source=str(pipe), output=str(tmp_path / 'out.jsonl')
  )
  writer.join()
  lines = (tmp_path / 'out.jsonl').read_text().splitlines()
  assert [json.loads(line)['text'] for line in lines] == ['a b', 'c']


@pytest.mark.parametrize('work', [on_files.embedding, on_files.filling])
def test_a_length_of_0_is_not_the_usual_one(work):
  with pytest.raises(UserError, match='got 0; set on_files.*length'):
    work(mock.Mock(spec=Predictor), 0)


def test_a_pipe_of_a_table_is_refused(make, tmp_path):
  os.mkfifo(tmp_path / 'pipe.jsonl')
  with pytest.raises(UserError, match='expected a table in a regular file'):
    on_files.predict_file(
      model=make('classes'),
      source=str(tmp_path / 'pipe.jsonl'),
      output=str(tmp_path / 'out.jsonl'),
    )


def test_vectors_leave_the_fields_of_a_record_as_they_are(make, tmp_path):
  record = {'text': 'a', 'label': 1, 'value': [2], 'embedding': 'mine'}
  (tmp_path / 'in.jsonl').write_text(json.dumps(record) + '\n')
  on_files.predict_file(
    work=on_files.embedding,
    source=str(tmp_path / 'in.jsonl'),
    output=str(tmp_path / 'out.jsonl'),
    model=make('classes'),
    length=20,
  )
  (line,) = (tmp_path / 'out.jsonl').read_text().splitlines()
  found = json.loads(line)
  assert len(found.pop('embedding')) == 8
  record['embedding_given'] = record.pop('embedding')
  assert found == record


def test_a_dry_run_of_an_evaluation_checks_length_and_files(make, tmp_path):
  (tmp_path / 'dev.csv').write_text('text,label\na,no\nb,yes\n')
  columns = {'text_columns': 'text', 'label_column': 'label'}
  settings = {'files': str(tmp_path / 'dev.csv'), 'model': make('classes')}
  on_files.evaluate(**settings, **columns, dry_run=True)
  with pytest.raises(UserError, match='got 101; set LENGTH'):
    on_files.evaluate(**settings, **columns, length=101, dry_run=True)
  with pytest.raises(UserError, match='does not say which columns'):
    on_files.evaluate(**settings, dry_run=True)


def test_progress_is_told_in_plain_lines_off_a_terminal(capsys):
  assert list(on_files._reported(iter('abcde'), 5, 2)) == [*'abcde']
  compiling, *lines = capsys.readouterr().err.splitlines()
  assert compiling == 'compiling, and the first texts'
  assert [line.split()[:2] for line in lines] == [
    [f'{done}/5', 'texts'] for done in (2, 4, 5)
  ]
  assert lines[-1].endswith(' a second   0 s left')
