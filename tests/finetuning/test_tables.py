import json
import os
import sys
import tracemalloc

import pyarrow
import pytest
from pyarrow import parquet

from bertjax.errors import UserError
from bertjax.finetuning import tables
from bertjax.finetuning.examples import TextExample


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


@pytest.mark.parametrize('name, content, expected', [
    ('a.tsv', 'text\tlabel\nHe "ran.\tyes\n"No"\tno\n',
     [(2, 'He "ran.', 'yes'), (3, '"No"', 'no')]),
    ('a.TSV', b'\xef\xbb\xbftext\tlabel\r\na\tb\r\n', [(2, 'a', 'b')]),
    ('a.tsv', 'text\tlabel\na\u2028b\x0bc\x85d\re\tf',
     [(2, 'a\u2028b\x0bc\x85d\re', 'f')]),
    ('a.tsv', 'text\tlabel\n\na\tb\n\n', [(3, 'a', 'b')]),
    ('a.csv', '\ufeff"text",label\r\n"He, ""Al""\r\nran",yes\r\n\r\nb,no',
     [(2, 'He, "Al"\r\nran', 'yes'), (5, 'b', 'no')]),
    ('a.csv', 'text,label\na\u2028b\x0bc\x85d,e\n',
     [(2, 'a\u2028b\x0bc\x85d', 'e')]),
    ('a.jsonl', '{"text": "a\u2028b", "label": [1]}\r\n\n'
     '{"label": null, "text": "c"}', [(1, 'a\u2028b', [1]), (3, 'c', None)]),
    ('a.json', '\ufeff{"text": "a\\nb", "label": true}\n', [(1, 'a\nb', True)]),
])
def test_lines_are_read_as_their_suffix_says(tmp_path, name, content, expected):
  path = write(tmp_path / name, content)
  assert list(tables.records(path)) == [
      (number, {'text': text, 'label': label})
      for number, text, label in expected]
  assert tables.columns(path) == ['text', 'label']


def test_rows_of_parquet_are_counted_over_its_groups(tmp_path):
  rows = 2500
  path = write_parquet(tmp_path / 'a.parquet', {
      'text': [f'a {i}' for i in range(rows)],
      'label': [[i] for i in range(rows)],
  }, row_group_size=700)
  assert list(tables.records(path)) == [
      (i + 1, {'text': f'a {i}', 'label': [i]}) for i in range(rows)]
  assert tables.columns(path) == ['text', 'label']


def test_a_text_may_be_as_long_as_a_book(tmp_path):
  text = 'a,' * 200_000
  path = write(tmp_path / 'a.csv', f'text\n"{text}"\n')
  assert list(tables.records(path)) == [(2, {'text': text})]


def test_names_stand_for_a_header(tmp_path):
  path = write(tmp_path / 'a.tsv', 'a\tb\nc\td\n')
  assert list(tables.records(path, names=['x', 'y'])) == [
      (1, {'x': 'a', 'y': 'b'}), (2, {'x': 'c', 'y': 'd'})]


def test_broken_lines_are_an_error_or_are_given_back(tmp_path):
  path = write(tmp_path / 'a.tsv', 'x\ty\na\tb\nc\nd\te\tf\ng\th\n')
  assert 'expected 2 fields in line 3' in error_of(tables.records, path)
  broken = []
  assert [number for number, _ in tables.records(path, broken=broken)] == [2, 5]
  assert broken == [3, 4]


@pytest.mark.parametrize('name, content, message', [
    ('a.txt', 'a', 'ends in .tsv, .csv, .jsonl (or .json) or .parquet'),
    ('a.tsv', '', 'expected examples in'),
    ('a.csv', 'text,label\n', 'expected examples in'),
    ('a.jsonl', '\n', 'expected examples in'),
    ('a.tsv', 'text\nb\n\xe9'.encode('latin1'), 'byte 0xe9 in line 3'),
    ('a.csv', 'text\n\xe9'.encode('latin1'), 'iconv -f latin1 -t utf8'),
    ('a.jsonl', '"\xe9"'.encode('latin1'), 'byte 0xe9 in line 1'),
    ('a.csv', 'x,y\na,b\n"c,d\ne,f\n', 'the row that begins in line 3'),
    ('a.csv', 'x,y\n"a"b,c\n', 'the row that begins in line 2'),
    ('a.csv', 'x,y\na,b,c\n', 'expected 2 fields in line 2'),
    ('a.jsonl', '{"x": 1}\n{"x"\n', 'in line 2 of'),
    ('a.json', '[{"x": 1}]', 'write one object a line'),
    ('a.json', '[' * 100_000, 'write one object a line'),
    ('a.parquet', 'x,y\na,b\n', 'as Parquet'),
    ('a.parquet', '', 'as Parquet'),
])
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, message):
  path = write(tmp_path / name, content)
  error = error_of(tables.records, path)
  assert message in error and path in error


def test_no_file_and_no_rows_are_one_line(tmp_path):
  assert 'there is none' in error_of(tables.records, str(tmp_path / 'a.tsv'))
  assert 'there is none' in error_of(tables.records, str(tmp_path))
  path = write_parquet(
      tmp_path / 'a.parquet', {'text': pyarrow.array([], pyarrow.string())})
  assert 'expected examples' in error_of(tables.records, path)


@pytest.mark.parametrize('kind, value, expected', [
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
])
def test_a_label_is_of_its_kind(tmp_path, kind, value, expected):
  path = write(tmp_path / 'a.jsonl', json.dumps({'text': 'a', 'label': value}))
  (example,) = tables.read(path, 'text', 'label', kind)
  assert example == TextExample(('a',), expected, 1)
  assert type(example.label) is type(expected)


@pytest.mark.parametrize('kind, value', [
    ('classes', ''), ('classes', ' '), ('classes', None), ('classes', ['a']),
    ('classes', float('nan')), ('classes', {}), ('number', ''),
    ('number', None), ('number', 'many'), ('number', float('nan')),
    ('number', 'inf'), ('number', True), ('number', [1]),
    ('number', 10**400), ('labels', None), ('labels', ['a', None]),
    ('labels', float('nan')),
])
def test_a_label_of_another_kind_is_named(tmp_path, kind, value):
  path = write(tmp_path / 'a.jsonl', '{"text": "a", "label": "1"}\n'
               + json.dumps({'text': 'a', 'label': value}))
  error = error_of(tables.read, path, 'text', 'label', kind)
  assert f'column label of line 2 of {path}' in error


def test_whole_numbers_of_a_column_that_lacks_some_are_classes(tmp_path):
  columns = {'text': ['a', 'b', 'c'], 'label': [1.0, 0.0, None]}
  path = write_parquet(tmp_path / 'a.parquet', columns)
  examples = tables.read(path, 'text', 'label')
  assert [next(examples).label, next(examples).label] == ['1', '0']
  assert f'label of row 3 of {path}, got nothing' in error_of(lambda: examples)


@pytest.mark.parametrize('value', ['""', '" "', 'null', '3'])
def test_an_empty_text_is_named(tmp_path, value):
  path = write(tmp_path / 'a.jsonl', '{"a": "x", "b": "y"}\n'
               f'{{"a": "x", "b": {value}}}')
  error = error_of(tables.read, path, ['a', 'b'], None)
  assert f'column b of line 2 of {path}' in error


def test_pairs_without_labels_are_read(tmp_path):
  path = write(tmp_path / 'a.csv', 'b,a\nx,y\n')
  assert list(tables.read(path, ('a', 'b'), None)) == [
      TextExample(('y', 'x'), None, 2)]


def test_half_a_surrogate_pair_is_replaced(tmp_path):
  path = write(tmp_path / 'a.jsonl', '{"text": "a\\ud83d \\ud83d\\ude00"}\n')
  (example,) = tables.read(path, 'text', None)
  assert example.texts == ('a\ufffd \U0001f600',)


def test_files_are_read_in_sorted_order_each_once(tmp_path):
  for name in ('b', 'c', 'a[1]', 'a'):
    write(tmp_path / f'{name}.tsv', f'text\n{name}\n')
  folder = str(tmp_path)

  def read(paths):
    return [(example.texts[0], example.identifier)
            for example in tables.read(paths, 'text', None)]

  assert read(f'{folder}/a[1].tsv') == [('a[1]', 2)]
  assert read([f'{folder}/b.tsv', f'{folder}/[ab].tsv']) == [
      ('a', 2), ('b', 2)]
  error = error_of(tables.read, [f'{folder}/b.tsv', f'{folder}/d*'], 'text')
  assert 'nothing matches' in error and 'TRAIN_FILES or EVAL_FILES' in error


def test_a_column_that_no_file_has_is_named_before_anything_is_read(tmp_path):
  write(tmp_path / 'a.tsv', 'text\tlabel\na\tb\n')
  path = write(tmp_path / 'b.tsv', 'text\tid\tlabels\na\tb\tc\n')
  examples = tables.read(str(tmp_path / '*.tsv'), 'text', 'label')
  error = error_of(lambda: examples)
  assert f'column label in {path}, which has labels, ' in error
  assert 'set LABEL_COLUMN' in error
  assert 'set TEXT_COLUMNS' in error_of(tables.read, path, 'texts', 'labels')


def test_a_column_that_stands_twice_is_refused(tmp_path):
  path = write(tmp_path / 'a.tsv', 'text\ttext\na\tb\n')
  assert 'expected one column text' in error_of(tables.read, path, 'text', None)


def test_settings_that_cannot_be_are_refused(tmp_path):
  path = write(tmp_path / 'a.tsv', 'a\tb\tc\nx\ty\tz\n')
  assert 'set KIND' in error_of(tables.read, path, 'a', 'b', 'class')
  for wrong in (['a', 'b', 'c'], []):
    assert 'set TEXT_COLUMNS' in error_of(tables.read, path, wrong, None)


@pytest.mark.parametrize('kind, labels, expected', [
    ('classes', ['10', '0', '1', '0'], ('0', '1', '10')),
    ('classes', ['-1', '2', '-1.5'], ('-1.5', '-1', '2')),
    ('classes', ['10', '9', 'a'], ('10', '9', 'a')),
    ('classes', ['10', '9', 'nan'], ('10', '9', 'nan')),
    ('labels', [('b', 'a'), (), ('c',)], ('a', 'b', 'c')),
    ('labels', [(), ('a',)], ('a',)),
    ('number', [1.5], ()),
])
def test_classes_are_sorted(kind, labels, expected):
  assert tables.labels_of(labelled(labels), kind) == expected


def test_too_few_and_too_many_classes_are_refused():
  assert 'two classes, got only a; check LABEL_COLUMN' in error_of(
      tables.labels_of, labelled(['a', 'a']), 'classes')
  assert 'got only none' in error_of(tables.labels_of, [], 'classes')
  assert 'one label' in error_of(tables.labels_of, labelled([()]), 'labels')
  names = [str(i) for i in range(1001)]
  examples = labelled(names)
  assert tables.labels_of(examples[:1000], 'classes') == tuple(names[:1000])
  assert 'set KIND' in error_of(tables.labels_of, examples, 'classes')
  assert len(tables.labels_of(labelled([names]), 'labels')) == 1001


def test_parquet_without_pyarrow_is_one_line(tmp_path, monkeypatch):
  path = write_parquet(tmp_path / 'a.parquet', {'text': ['a']})
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  assert 'pip install pyarrow' in error_of(tables.read, path, 'text')


@pytest.mark.parametrize('suffix', ['.tsv', '.csv', '.jsonl'])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
  header = '' if suffix == '.jsonl' else 'text\n'
  line = '{"text": "%s"}\n' if suffix == '.jsonl' else '%s\n'
  path = write(tmp_path / f'a{suffix}', header + line % ('a' * 1000) * 10_000)
  assert os.path.getsize(path) > 10_000_000
  tracemalloc.start()
  assert sum(1 for _ in tables.read(path, 'text', None)) == 10_000
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 1_000_000


@pytest.mark.parametrize('group', [2000, 30_000])
def test_memory_does_not_grow_with_a_parquet_file(tmp_path, group):
  texts = [os.urandom(500).hex() for _ in range(30_000)]
  path = write_parquet(
      tmp_path / 'a.parquet', {'text': texts}, row_group_size=group)
  assert os.path.getsize(path) > 25_000_000
  before = pyarrow.total_allocated_bytes()
  peak = max(pyarrow.total_allocated_bytes()
             for _ in tables.read(path, 'text', None))
  # A few batches, pages and buffers, of 1 MB each.
  assert peak - before < 10_000_000
