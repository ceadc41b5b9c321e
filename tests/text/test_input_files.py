import bz2
import gzip
import lzma
import os
import tracemalloc

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from bertjax.errors import UserError
from bertjax.text import input_files


def write(path, content):
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return str(path)


def write_parquet(path, columns, **settings):
  parquet.write_table(pyarrow.table(columns), path, **settings)
  return str(path)


def error_of(function, *args, **kwargs):
  with pytest.raises(UserError) as caught:
    list(function(*args, **kwargs))
  assert '\n' not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize(
  'name, content, expected',
  [
    (
      'a.tsv',
      'text\tlabel\nHe "ran.\tyes\n"No"\tno\n',
      [(2, 'He "ran.', 'yes'), (3, '"No"', 'no')],
    ),
    ('a.TSV', b'\xef\xbb\xbftext\tlabel\r\na\tb\r\n', [(2, 'a', 'b')]),
    (
      'a.tsv',
      'text\tlabel\na\u2028b\x0bc\x85d\re\tf',
      [(2, 'a\u2028b\x0bc\x85d\re', 'f')],
    ),
    ('a.tsv', 'text\tlabel\n\na\tb\n\n', [(3, 'a', 'b')]),
    (
      'a.csv',
      '\ufeff"text",label\r\n"He, ""Al""\r\nran",yes\r\n\r\nb,no',
      [(2, 'He, "Al"\r\nran', 'yes'), (5, 'b', 'no')],
    ),
    (
      'a.csv',
      'text,label\na\u2028b\x0bc\x85d,e\n',
      [(2, 'a\u2028b\x0bc\x85d', 'e')],
    ),
    (
      'a.jsonl',
      '{"text": "a\u2028b", "label": [1]}\r\n\n{"label": null, "text": "c"}',
      [(1, 'a\u2028b', [1]), (3, 'c', None)],
    ),
    ('a.json', '\ufeff{"text": "a\\nb", "label": true}\n', [(1, 'a\nb', True)]),
  ],
)
def test_lines_are_read_as_their_suffix_says(tmp_path, name, content, expected):
  path = write(tmp_path / name, content)
  assert list(input_files.records(path)) == [
    (number, {'text': text, 'label': label}) for number, text, label in expected
  ]
  assert input_files.columns(path) == ['text', 'label']


def test_rows_of_parquet_are_counted_over_its_groups(tmp_path):
  rows = 2500
  path = write_parquet(
    tmp_path / 'a.parquet',
    {
      'text': [f'a {i}' for i in range(rows)],
      'label': [[i] for i in range(rows)],
    },
    row_group_size=700,
  )
  assert list(input_files.records(path)) == [
    (i + 1, {'text': f'a {i}', 'label': [i]}) for i in range(rows)
  ]
  assert input_files.columns(path) == ['text', 'label']


def test_a_text_may_be_as_long_as_a_book(tmp_path):
  text = 'a,' * 200_000
  path = write(tmp_path / 'a.csv', f'text\n"{text}"\n')
  assert list(input_files.records(path)) == [(2, {'text': text})]


def test_names_stand_for_a_header(tmp_path):
  path = write(tmp_path / 'a.tsv', 'a\tb\nc\td\n')
  assert list(input_files.records(path, names=['x', 'y'])) == [
    (1, {'x': 'a', 'y': 'b'}),
    (2, {'x': 'c', 'y': 'd'}),
  ]


def test_broken_lines_are_an_error_or_are_given_back(tmp_path):
  path = write(tmp_path / 'a.tsv', 'x\ty\na\tb\nc\nd\te\tf\ng\th\n')
  assert 'expected 2 fields in line 3' in error_of(input_files.records, path)
  broken = []
  assert [
    number for number, _ in input_files.records(path, broken=broken.append)
  ] == [
    2,
    5,
  ]
  assert broken == [3, 4]


@pytest.mark.parametrize(
  'content, message',
  [
    ('{"text": "a"}\n{"text": "b"}\n', 'got JSON; rename it to .jsonl'),
    ('\ufeff\n{ "a\\"b": 1}', 'got JSON; rename it to .jsonl'),
    (
      '<!DOCTYPE html>\n<p>a</p>',
      'got HTML; text comes out of it by prepare_corpus',
    ),
    (
      '<?xml version="1.0"?>\n<HTML lang="en">',
      'got HTML; text comes out of it',
    ),
    ('<!-- a --><!-- b -->\n<!DOCTYPE  html>', 'got HTML; text comes out'),
  ],
)
def test_a_text_that_is_marked_up_is_refused(tmp_path, content, message):
  path = write(tmp_path / 'a.txt', content)
  assert message in error_of(input_files.form_of, path)


@pytest.mark.parametrize('content', ['', '{"a"', '{a: 1}', '<html5>', '"a": b'])
def test_a_text_may_have_braces_and_brackets(tmp_path, content):
  assert input_files.form_of(write(tmp_path / 'a.txt', content)) == 'text'


@pytest.mark.parametrize(
  'name, content, message',
  [
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
    ('a.parquet', 'x,y\na,b\n', 'expected Parquet'),
    ('a.parquet', '', 'expected Parquet'),
    ('a.parquet', b'PAR1\x15' + bytes(99), 'as Parquet'),
    ('a.csv', b'%PDF-1.7', 'a PDF document'),
    ('a.tsv.xz', 'x\na\n', 'expected xz'),
    ('a.jsonl', b'PAR1\x15' + bytes(99), 'as Parquet'),
  ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, message):
  path = write(tmp_path / name, content)
  error = error_of(input_files.records, path)
  assert message in error and path in error


@pytest.mark.parametrize(
  'suffix, compress',
  [
    ('.gz', gzip.compress),
    ('.bz2', bz2.compress),
    ('.xz', lzma.compress),
    ('.zst', zstandard.ZstdCompressor().compress),
  ],
)
@pytest.mark.parametrize(
  'form, data',
  [
    ('tsv', 'text\tlabel\na\tb\n'),
    ('csv', 'text,label\n"a",b\n'),
    ('jsonl', '\n{"text": "a", "label": "b"}'),
    ('csv', '\ufefftext,label\r\na,b\r\n'.encode('utf-16-le')),
  ],
)
def test_compressed_tables_are_read(tmp_path, suffix, compress, form, data):
  data = data if isinstance(data, bytes) else data.encode()
  path = write(tmp_path / f'a.{form}{suffix}', compress(data))
  assert list(input_files.records(path)) == [(2, {'text': 'a', 'label': 'b'})]
  assert input_files.columns(path) == ['text', 'label']


def test_a_line_has_a_limit(tmp_path, monkeypatch):
  monkeypatch.setattr(input_files, '_LONGEST_LINE', 1 << 10)
  path = write(tmp_path / 'a.txt', 'a\n' + 'b' * (1 << 10))
  assert 'more in line 2' in error_of(input_files.lines, path)


@pytest.mark.parametrize(
  'content, expected',
  [
    (b'a\nb\n', ['a\n', 'b\n']),
    (b'a\r\nb', ['a\r\n', 'b']),
    (b'\n\na\n', ['\n', '\n', 'a\n']),
    (b'a\rb\n', ['a\rb\n']),
    ('a\u2028b\x85c\n'.encode(), ['a\u2028b\x85c\n']),
    (b'\xef\xbb\xbfa\n', ['a\n']),
    (b'', []),
  ],
)
def test_a_line_ends_at_lf_only(tmp_path, content, expected):
  path = write(tmp_path / 'in.txt', content)
  assert list(input_files.lines(path)) == expected


def test_no_file_and_no_rows_are_one_line(tmp_path):
  assert 'that is there and can be read' in error_of(
    input_files.records, str(tmp_path / 'a.tsv')
  )
  assert 'expected a table' in error_of(input_files.records, str(tmp_path))
  path = write_parquet(
    tmp_path / 'a.parquet', {'text': pyarrow.array([], pyarrow.string())}
  )
  assert 'expected examples' in error_of(input_files.records, path)


@pytest.mark.parametrize('suffix', ['.tsv', '.csv', '.jsonl'])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
  header = '' if suffix == '.jsonl' else 'text\n'
  line = '{"text": "%s"}\n' if suffix == '.jsonl' else '%s\n'
  path = write(tmp_path / f'a{suffix}', header + line % ('a' * 1000) * 10_000)
  assert os.path.getsize(path) > 10_000_000
  tracemalloc.start()
  assert sum(1 for _ in input_files.records(path)) == 10_000
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 1_000_000


@pytest.mark.parametrize('group', [2000, 30_000])
def test_memory_does_not_grow_with_a_parquet_file(tmp_path, group):
  texts = [os.urandom(500).hex() for _ in range(30_000)]
  path = write_parquet(
    tmp_path / 'a.parquet', {'text': texts}, row_group_size=group
  )
  assert os.path.getsize(path) > 25_000_000
  before = pyarrow.total_allocated_bytes()
  peak = max(pyarrow.total_allocated_bytes() for _ in input_files.records(path))
  # A few batches, pages and buffers, of 1 MB each.
  assert peak - before < 10_000_000
