import bz2
import gzip
import lzma
import re

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from bertjax.errors import UserError
from bertjax.tasks import kinds
from bertjax.tasks.specs import Task

COMPRESS = {
  '': bytes,
  '.gz': gzip.compress,
  '.bz2': bz2.compress,
  '.xz': lzma.compress,
  '.zst': zstandard.ZstdCompressor().compress,
}
FORMS = {
  'txt': b'A cat.\n\nZo\xc3\xab, "ran".\r\n',
  'csv': b'id,text\n1,A cat.\n2,\n3,"Zo\xc3\xab, ""ran""."\n',
  'tsv': b'text\tid\nA cat.\t1\n\t2\nZo\xc3\xab, "ran".\t3\n',
  'jsonl': (
    b'{"text": "A cat."}\n{"text": ""}\n{"text": "Zo\\u00eb, \\"ran\\"."}\n'
  ),
}
TASKS = [Task('t', 'vectors'), Task('t', 'masks'), Task('t', 'classes')]


def read(source, task=TASKS[0], **columns):
  return list(kinds.find(task.kind).read(task, source, False, **columns))


def texts(*arguments, **columns):
  return [example.texts for example in read(*arguments, **columns)]


def refusal(source, **columns):
  with pytest.raises(UserError) as error:
    read(source, **columns)
  assert '\n' not in str(error.value)
  return str(error.value)


@pytest.mark.parametrize('suffix', COMPRESS)
@pytest.mark.parametrize('form', FORMS)
def test_every_form_gives_the_same_texts(tmp_path, form, suffix):
  path = tmp_path / f'in.{form}{suffix}'
  path.write_bytes(COMPRESS[suffix](FORMS[form]))
  for task in TASKS:
    assert texts(str(path), task) == [('A cat.',), ('',), ('Zoë, "ran".',)]


def test_a_folder_of_forms_is_read(tmp_path):
  (tmp_path / 'a.txt').write_text('one')
  (tmp_path / 'b.jsonl').write_text('{"text": "two", "id": 7}\n')
  table = pyarrow.table({'text': ['three']})
  parquet.write_table(table, tmp_path / 'c.parquet')
  found = read(str(tmp_path))
  assert [x.texts[0] for x in found] == ['one', 'two', 'three']
  assert found[1].record == {'text': 'two', 'id': 7}


def test_columns_are_chosen(tmp_path):
  (tmp_path / 'a.csv').write_text('body,text\none,two\n')
  path = str(tmp_path / 'a.csv')
  assert texts(path, text_columns='body') == [('one',)]
  assert texts(path) == [('two',)]
  (tmp_path / 'b.txt').write_text('three\n')
  lines = str(tmp_path / 'b.txt')
  assert texts([path, lines], text_columns='body') == [('one',), ('three',)]
  with pytest.raises(UserError, match='tables for TEXT_COLUMNS.* to None'):
    texts(lines, text_columns='body')


@pytest.mark.parametrize(
  'name, content, message',
  [
    ('in.txt', b'', 'white space alone'),
    ('in.txt', b'\n \t\r\n\n', 'white space alone'),
    ('in.csv', b'text,id\n,1\n" ",2\n', 'all values are empty'),
    ('in.csv', b'text,id\n', 'expected examples'),
    ('in.txt', 'é'.encode('latin1'), 'byte 0xe9 in line 1'),
    ('in.jsonl', b'{"text": "a"}\n{', 'JSON in line 2'),
    ('in.jsonl', b'{"body": "a"}', r"column text in .*, got \['body'\]"),
    ('in.jsonl', b'[1]', 'got .1.'),
    ('in.txt', b'%PDF-1.4', 'a PDF document'),
  ],
)
def test_what_is_no_text_is_one_line(tmp_path, name, content, message):
  (tmp_path / name).write_bytes(content)
  assert re.search(message, refusal(str(tmp_path / name)))


def test_half_a_surrogate_pair_is_replaced(tmp_path):
  path = tmp_path / 'in.jsonl'
  path.write_text('{"text": "a\\ud83d b \\ud83d\\ude00"}\n')
  assert texts(str(path)) == [('a\ufffd b \U0001f600',)]
