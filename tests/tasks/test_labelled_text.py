import gzip
import json
import sys

import pyarrow
import pytest
from pyarrow import parquet

from bertjax.errors import UserError
from bertjax.tasks import labelled_text as own
from bertjax.tasks.examples import TextExample


def write(path, content):
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return str(path)


def write_parquet(path, columns, **settings):
  parquet.write_table(pyarrow.table(columns), path, **settings)
  return str(path)


def labelled(labels):
  return [TextExample(('a',), label) for label in labels]


def error_of(function, *args, **kwargs):
  with pytest.raises(UserError) as caught:
    list(function(*args, **kwargs))
  assert '\n' not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize(
  'kind, value, expected',
  [
    ('classes', 'b ', 'b '),
    ('classes', True, 'True'),
    ('classes', 1, '1'),
    ('classes', 1.0, '1'),
    ('classes', 0.5, '0.5'),
    ('classes', '1.0', '1.0'),
    ('number', 4, 4.0),
    ('number', '-4.5', -4.5),
    ('labels', ['b', 'a', 'b'], ('b', 'a')),
    ('labels', [3, 1.0], ('3', '1')),
    ('labels', 'b, a | a', ('b, a', 'a')),
    ('labels', 'b c|a|', ('b c', 'a')),
    ('labels', '', ()),
    ('labels', [], ()),
    ('labels', 7, ('7',)),
  ],
)
def test_a_label_is_of_its_kind(tmp_path, kind, value, expected):
  path = write(tmp_path / 'a.jsonl', json.dumps({'text': 'a', 'label': value}))
  (example,) = own.read(path, 'text', 'label', kind)
  assert example == TextExample(('a',), expected, 1)
  assert type(example.label) is type(expected)


@pytest.mark.parametrize(
  'kind, value',
  [
    ('classes', ''),
    ('classes', ' '),
    ('classes', None),
    ('classes', ['a']),
    ('classes', float('nan')),
    ('classes', {}),
    ('number', ''),
    ('number', None),
    ('number', 'many'),
    ('number', float('nan')),
    ('number', 'inf'),
    ('number', True),
    ('number', [1]),
    ('number', 10**400),
    ('number', '1e300'),
    ('number', -2e15),
    ('labels', None),
    ('labels', ['a', None]),
    ('labels', float('nan')),
  ],
)
def test_a_label_of_another_kind_is_named(tmp_path, kind, value):
  path = write(
    tmp_path / 'a.jsonl',
    '{"text": "a", "label": "1"}\n' + json.dumps({'text': 'a', 'label': value}),
  )
  error = error_of(own.read, path, 'text', 'label', kind)
  assert f'column label of line 2 of {path}' in error


def test_whole_numbers_of_a_column_that_lacks_some_are_classes(tmp_path):
  columns = {'text': ['a', 'b', 'c'], 'label': [1.0, 0.0, None]}
  path = write_parquet(tmp_path / 'a.parquet', columns)
  examples = own.read(path, 'text', 'label')
  assert [next(examples).label, next(examples).label] == ['1', '0']
  assert f'label of row 3 of {path}, got nothing' in error_of(lambda: examples)


@pytest.mark.parametrize('value', ['""', '" "', 'null', '3'])
def test_an_empty_text_is_named(tmp_path, value):
  path = write(
    tmp_path / 'a.jsonl', f'{{"a": "x", "b": "y"}}\n{{"a": "x", "b": {value}}}'
  )
  error = error_of(own.read, path, ['a', 'b'], None)
  assert f'column b of line 2 of {path}' in error


def test_pairs_without_labels_are_read(tmp_path):
  path = write(tmp_path / 'a.csv', 'b,a\nx,y\n')
  assert list(own.read(path, ('a', 'b'), None)) == [
    TextExample(('y', 'x'), None, 2)
  ]


def test_half_a_surrogate_pair_is_replaced(tmp_path):
  path = write(tmp_path / 'a.jsonl', '{"text": "a\\ud83d \\ud83d\\ude00"}\n')
  (example,) = own.read(path, 'text', None)
  assert example.texts == ('a\ufffd \U0001f600',)


def test_files_are_read_in_sorted_order_each_once(tmp_path):
  for name in ('b', 'c', 'a[1]', 'a'):
    write(tmp_path / f'{name}.tsv', f'text\n{name}\n')
  folder = str(tmp_path)

  def read(paths):
    return [
      (example.texts[0], example.identifier)
      for example in own.read(paths, 'text', None)
    ]

  assert read(f'{folder}/a[1].tsv') == [('a[1]', 2)]
  assert read([f'{folder}/b.tsv', f'{folder}/[ab].tsv']) == [('a', 2), ('b', 2)]
  error = error_of(own.read, [f'{folder}/b.tsv', f'{folder}/d*'], 'text')
  assert 'no file matches' in error and 'TRAIN_FILES or EVAL_FILES' in error


def test_a_column_that_no_file_has_is_named_before_anything_is_read(tmp_path):
  write(tmp_path / 'a.tsv', 'text\tlabel\na\tb\n')
  path = write(tmp_path / 'b.tsv', 'text\tid\tlabels\na\tb\tc\n')
  examples = own.read(str(tmp_path / '*.tsv'), 'text', 'label')
  error = error_of(lambda: examples)
  assert f"column label in {path}, got ['labels', " in error
  assert 'set LABEL_COLUMN' in error
  assert 'set TEXT_COLUMNS' in error_of(own.read, path, 'texts', 'labels')


def test_a_column_that_stands_twice_is_refused(tmp_path):
  path = write(tmp_path / 'a.tsv', 'text\ttext\na\tb\n')
  assert 'expected one column text' in error_of(own.read, path, 'text', None)


@pytest.mark.parametrize(
  'texts, label', [(['a', 'a'], 'b'), ('a', 'a'), (['a', 'b'], 'b')]
)
def test_one_column_for_two_things_is_refused(tmp_path, texts, label):
  path = write(tmp_path / 'a.tsv', 'a\tb\nx\ty\n')
  error = error_of(own.read, path, texts, label)
  assert 'set TEXT_COLUMNS or LABEL_COLUMN' in error


@pytest.mark.parametrize(
  'kind, label, other', [('classes', 'x', 'y'), ('labels', 'x|z', 'x|y')]
)
def test_a_label_that_training_lacks_is_named(tmp_path, kind, label, other):
  write(tmp_path / 'a.tsv', f'text\tlabel\na\t{label}\n')
  path = write(tmp_path / 'b.tsv', f'text\tlabel\n\nb\t{other}\n')
  paths = str(tmp_path / '*.tsv')
  assert len(list(own.read(paths, 'text', 'label', kind, known='xyz'))) == 2
  error = error_of(own.read, paths, 'text', 'label', kind, known='xz')
  assert f"column label of line 3 of {path}, got 'y'" in error


def test_a_column_of_empty_texts_is_refused(tmp_path):
  path = write(tmp_path / 'a.csv', 'a,b\nx,\ny," "\n')
  error = error_of(own.read, path, ['a', 'b'], recorded=True)
  assert f'in column b of {path}' in error and 'set TEXT_COLUMNS' in error
  assert len(list(own.read(path, 'a', recorded=True))) == 2


def test_a_folder_of_tables_in_several_forms_is_read(tmp_path):
  write(tmp_path / 'a.csv', 'text,label\na,x\n')
  write_parquet(tmp_path / 'b.parquet', {'text': ['b'], 'label': ['x']})
  write(tmp_path / 'c.jsonl.gz', gzip.compress(b'{"text": "c", "label": "y"}'))
  found = own.read(str(tmp_path), 'text', 'label')
  assert [(*x.texts, x.label) for x in found] == [
    ('a', 'x'),
    ('b', 'x'),
    ('c', 'y'),
  ]


def test_settings_that_cannot_be_are_refused(tmp_path):
  path = write(tmp_path / 'a.tsv', 'a\tb\tc\nx\ty\tz\n')
  assert 'set KIND' in error_of(own.read, path, 'a', 'b', 'class')
  for wrong in (['a', 'b', 'c'], []):
    assert 'set TEXT_COLUMNS' in error_of(own.read, path, wrong, None)


@pytest.mark.parametrize(
  'kind, labels, expected',
  [
    ('classes', ['10', '0', '1', '0'], ('0', '1', '10')),
    ('classes', ['-1', '2', '-1.5'], ('-1.5', '-1', '2')),
    ('classes', ['10', '9', 'a'], ('10', '9', 'a')),
    ('classes', ['10', '9', 'nan'], ('10', '9', 'nan')),
    ('labels', [('b', 'a'), (), ('c',)], ('a', 'b', 'c')),
    ('labels', [(), ('a',)], ('a',)),
    ('number', [1.5], ()),
  ],
)
def test_classes_are_sorted(kind, labels, expected):
  assert own.labels_of(labelled(labels)) == expected


def test_too_few_and_too_many_classes_are_refused():
  assert "two classes, got ['a']; set LABEL_COLUMN" in error_of(
    own.labels_of, labelled(['a', 'a'])
  )
  assert 'one label' in error_of(own.labels_of, labelled([()]))
  names = [str(i) for i in range(1001)]
  examples = labelled(names)
  assert own.labels_of(2 * examples[:1000]) == tuple(names[:1000])
  assert 'set KIND' in error_of(own.labels_of, 2 * examples)
  assert own.labels_of(examples[:20]) == tuple(names[:20])
  assert len(own.labels_of(labelled([names]))) == 1001


def test_parquet_without_pyarrow_is_one_line(tmp_path, monkeypatch):
  path = write_parquet(tmp_path / 'a.parquet', {'text': ['a']})
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  assert 'pip install pyarrow' in error_of(own.read, path, 'text')


def test_classes_of_one_example_each_are_told(capsys):
  names = [f'{i:02}' for i in range(21)]
  assert own.labels_of(labelled(names[:20])) == tuple(names[:20])
  assert capsys.readouterr().out == ''
  assert own.labels_of(labelled(names)) == tuple(names)
  said = capsys.readouterr().out
  assert said.startswith('warning: 21 classes for 21 examples; set KIND=number')


@pytest.mark.parametrize('other', ['Pos', 'pos '])
def test_classes_that_differ_in_case_or_spaces_alone_are_told(capsys, other):
  found = own.labels_of(labelled(['pos', 'neg', other]))
  assert {*found} == {'pos', 'neg', other}
  said = capsys.readouterr().out
  assert said.startswith(f'warning: {min("pos", other)!r} and ')
  assert said.count('\n') == 1


@pytest.mark.parametrize(
  'name, content, columns, words',
  [
    ('a.csv', 'a,b\nx,y\n', 'a,b', """TEXT_COLUMNS="('a', 'b')"'"""[:-1]),
    ('a.csv', 'a;b\nx;y\n', 'a', "got one, 'a;b', with ';' in its name"),
    ('a.csv', 'a\tb\nx\ty\n', 'a', 'write tabs between columns and .tsv'),
    ('a.tsv', 'a,b\nx,y\n', 'a', 'or commas and .csv'),
  ],
)
def test_columns_that_are_not_told_apart_are_one_line(
  tmp_path, name, content, columns, words
):
  assert words in error_of(own.read, write(tmp_path / name, content), columns)
