import bz2
import csv
import gzip
import io
import json
import lzma
import os

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from bertjax.corpus import cleaning, document_files
from bertjax.errors import UserError
from bertjax.text import input_files


def read(patterns, column='text'):
  """Returns the documents that files hold, and the counts."""
  counts = cleaning.Counts()
  documents = [[]]
  for lines in document_files.TextFiles(patterns, column).documents(counts):
    if lines:
      documents[-1] += lines
    else:
      documents.append([])
  assert documents.pop() == []
  return documents, counts


def refusal(patterns) -> str:
  with pytest.raises(UserError) as error:
    read(patterns)
  message = str(error.value)
  assert '\n' not in message and 'TEXT_FILES' in message
  return message


COMPRESS = {
  '': bytes,
  '.gz': gzip.compress,
  '.bz2': bz2.compress,
  '.xz': lzma.compress,
  '.zst': zstandard.ZstdCompressor().compress,
}
DOCUMENTS = [['A cat.', 'It "ran", Zoë.'], ['Two.'], ['Three.', 'Four.']]


def in_form(form: str, folder) -> bytes:
  """Returns a file of `DOCUMENTS`, written by other code than what reads it."""
  texts = ['\n'.join(lines) for lines in DOCUMENTS]
  if form == 'txt':
    return '\n\n'.join(texts).encode()
  if form in ('jsonl', 'json', 'ndjson'):
    return '\n'.join(json.dumps({'id': 1, 'text': x}) for x in texts).encode()
  table = pyarrow.table({'id': [1, 2, 3], 'text': texts})
  if form == 'parquet':
    parquet.write_table(table, folder / 'table')
    return (folder / 'table').read_bytes()
  file = io.StringIO()
  writer = csv.writer(file)
  writer.writerow(['id', 'text'])
  writer.writerows(zip([1, 2, 3], texts, strict=True))
  return file.getvalue().encode()


@pytest.mark.parametrize('suffix', COMPRESS)
@pytest.mark.parametrize('form', ['txt', 'jsonl', 'json', 'ndjson', 'csv'])
def test_every_form_gives_the_same_documents(tmp_path, form, suffix):
  path = tmp_path / f'a.{form}{suffix}'
  data = COMPRESS[suffix](in_form(form, tmp_path))
  path.write_bytes(data)
  documents, counts = read(str(path))
  assert documents == DOCUMENTS
  assert counts == cleaning.Counts(files=1, lines=5, file_bytes=len(data))


@pytest.mark.parametrize('suffix', COMPRESS)
def test_a_line_of_tsv_is_a_document(tmp_path, suffix):
  path = tmp_path / f'a.tsv{suffix}'
  data = b'text\tid\n"A" cat.\t1\nbroken\nTwo.\t2\n'
  path.write_bytes(COMPRESS[suffix](data))
  documents, counts = read(str(path))
  assert documents == [['"A" cat.'], ['Two.']]
  assert counts.malformed == 1 and counts.first_malformed == f'{path}:3'


@pytest.mark.parametrize('name', ['a.parquet', 'a.txt', 'a'])
def test_parquet_is_read_whatever_its_name(tmp_path, name):
  (tmp_path / name).write_bytes(in_form('parquet', tmp_path))
  documents, counts = read(str(tmp_path / name))
  assert documents == DOCUMENTS
  assert counts.file_bytes == (tmp_path / name).stat().st_size


def test_other_columns_can_hold_the_text(tmp_path):
  (tmp_path / 'a.csv').write_text('body,text\nOne.,x\n')
  (tmp_path / 'b.jsonl').write_text('{"body": "Two."}')
  (tmp_path / 'c.tsv').write_text('body\nThree.\n')
  assert read(str(tmp_path), 'body')[0] == [['One.'], ['Two.'], ['Three.']]
  with pytest.raises(UserError, match='column content in .*set TEXT_COLUMN'):
    read(f'{tmp_path}/a.csv', 'content')


def test_long_compressed_files_are_read_whole(tmp_path):
  path = tmp_path / 'a.txt.zst'
  text = ''.join(f'line {n}\n' + '\n' * (n % 5 == 0) for n in range(300_000))
  compress = COMPRESS['.zst']
  data = compress(text.encode()) + compress(b'the end')
  path.write_bytes(data)
  documents, counts = read(str(path))
  assert len(documents) == 60_001
  assert documents[1] == [f'line {n}' for n in range(1, 6)]
  assert documents[-1][-1] == 'the end'
  assert counts.files == 1 and counts.file_bytes == len(data)


def test_a_folder_is_read_and_what_is_left_out_is_counted(tmp_path):
  (tmp_path / 'deep').mkdir()
  (tmp_path / 'deep' / 'a.jsonl').write_text('{"text": "One."}')
  (tmp_path / 'b').write_text('Two.')
  (tmp_path / 'c.png').write_bytes(b'\x89PNG\r\n')
  documents, counts = read(str(tmp_path))
  assert documents == [['Two.'], ['One.']]
  assert counts.files == 2 and counts.left_out == 1
  assert 'a PNG image' in counts.first_left_out
  assert 'a PNG image' in refusal(f'{tmp_path}/*')


@pytest.mark.parametrize(
  'name, data, message',
  [
    ('a.txt', b'%PDF-1.7 and so on', 'a PDF document'),
    ('a.txt.gz', b'plain text', 'expected gzip'),
    ('a.parquet', b'plain text', 'expected Parquet'),
    ('a.parquet', b'', 'expected Parquet'),
    ('a.jsonl', b'\x80\4\x95' + bytes(99), 'a pickle'),
    ('a.csv', b'text\n"not closed\n', 'CSV in the row that begins in line 2'),
  ],
)
def test_what_is_no_text_is_refused(tmp_path, name, data, message):
  (tmp_path / name).write_bytes(data)
  with pytest.raises(UserError, match=message) as error:
    read(str(tmp_path / name))
  assert '\n' not in str(error.value) and name in str(error.value)


def test_json_lines_are_documents(tmp_path):
  lines = [
    json.dumps({'text': 'One.\n\nTwo.', 'url': 'x'}),
    '',
    json.dumps({'text': 'Nul \0 and \ud800.'}),
    json.dumps({'text': ' \n'}),
    'no JSON',
    json.dumps({'body': 'no text'}),
    json.dumps({'text': None}),
    json.dumps(['text']),
    json.dumps('text'),
    '[' * 100_000,
    json.dumps({'text': 'Three.'}),
  ]
  path = tmp_path / 'a.jsonl.gz'
  path.write_bytes(gzip.compress('\r\n'.join(lines).encode()))
  documents, counts = read(str(path))
  assert documents == [['One.', 'Two.'], ['Nul  and \ufffd.'], ['Three.']]
  assert counts.malformed == 6
  assert counts.first_malformed == f'{path}:5'
  assert counts.nuls == 1 and counts.invalid_characters == 1


def test_a_json_line_longer_than_the_limit_is_skipped(tmp_path, monkeypatch):
  monkeypatch.setattr(input_files, '_LONGEST_LINE', 1 << 21)
  path = tmp_path / 'a.jsonl'
  with open(path, 'w') as file:
    for words in (700_000, 10, 300_000):
      print(json.dumps({'text': 'words ' * words}), file=file)
  documents, counts = read(str(path))
  assert [len(' '.join(lines).split()) for lines in documents] == [10, 300_000]
  assert counts.first_malformed == f'{path}:1'


PAGES = {
  'a.html': '<p>One.',
  'b.html': '',
  'c.html': '<html></html>',
  'd.txt': 'Two.\n\nThree.\n',
  'e.html': '<p>Four.<p>Five.',
  'f.txt': '',
  'g.html': '<p>Six.',
}


@pytest.mark.parametrize('processes', [1, 2])
def test_pages_are_counted_by_their_files_in_any_number_of_processes(
  tmp_path, processes
):
  pytest.importorskip('resiliparse')
  for name, content in PAGES.items():
    (tmp_path / name).write_text(content)
  counts = cleaning.Counts()
  reader = document_files.TextFiles(str(tmp_path / '*'), processes=processes)
  found = [lines for lines in reader.documents(counts) if lines]
  assert found == [['One.'], ['Two.'], ['Three.'], ['Four.', 'Five.'], ['Six.']]
  assert (counts.files, counts.empty_files, counts.malformed) == (7, 3, 2)
  assert counts.first_malformed == f'{tmp_path}/b.html'
  assert counts.file_bytes == sum(map(len, PAGES.values()))


def test_a_file_ends_its_last_document(tmp_path):
  (tmp_path / 'a').write_text('one')
  (tmp_path / 'b').write_text('two\n')
  assert read(f'{tmp_path}/*')[0] == [['one'], ['two']]


def test_the_fingerprint_changes_with_the_files(tmp_path):
  reader = document_files.TextFiles(f'{tmp_path}/*')
  (tmp_path / 'a').write_text('one')
  first = reader.fingerprint()
  assert reader.fingerprint() == first
  os.utime(tmp_path / 'a', (1, 1))
  second = reader.fingerprint()
  (tmp_path / 'b').write_text('')
  third = reader.fingerprint()
  assert first != second != third != first


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / 'pipe')
  for path in (str(tmp_path / 'pipe'), '/dev/null'):
    with pytest.raises(UserError, match=f'got {path}, a pipe or device'):
      document_files.TextFiles(path).paths()


@pytest.mark.parametrize('more', ['x' * 9, ''])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, more):
  path = tmp_path / 'a.txt'
  path.write_text('A text.\n\n' * 9)
  counts = cleaning.Counts()
  documents = document_files.TextFiles(str(path)).documents(counts)
  next(documents)
  path.write_text('A text.\n\n' * 9 + more)
  os.utime(path, ns=(1, 1))
  with pytest.raises(UserError, match='a.txt changed.*TEXT_FILES'):
    list(documents)
