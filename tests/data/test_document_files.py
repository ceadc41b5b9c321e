import bz2
import gzip
import json
import os

import pytest
import zstandard

from bertjax.data import cleaning, document_files
from bertjax.errors import UserError


def read(patterns):
  """Returns the documents that files hold, and the counts."""
  counts = cleaning.Counts()
  documents = [[]]
  for lines in document_files.TextFiles(patterns).documents(counts):
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


COMPRESSORS = {
  '': bytes,
  '.gz': gzip.compress,
  '.bz2': bz2.compress,
  '.zst': zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize('suffix', COMPRESSORS)
def test_compressed_files_read_as_plain_ones(tmp_path, suffix):
  path = tmp_path / f'a.txt{suffix}'
  text = ''.join(f'line {n}\n' + '\n' * (n % 5 == 0) for n in range(300_000))
  # Two members, as `cat a.gz b.gz` writes.
  compress = COMPRESSORS[suffix]
  data = compress(text.encode()) + compress(b'the end')
  path.write_bytes(data)
  documents, counts = read(str(path))
  assert len(documents) == 60_001
  assert documents[1] == [f'line {n}' for n in range(1, 6)]
  assert documents[-1][-1] == 'the end'
  assert counts.files == 1 and counts.file_bytes == len(data)


@pytest.mark.parametrize('suffix', ['.gz', '.bz2', '.zst'])
@pytest.mark.parametrize('fault', ['cut short', 'corrupt', 'plain'])
def test_a_broken_compressed_file_is_named(tmp_path, suffix, fault):
  path = tmp_path / f'a.txt{suffix}'
  data = COMPRESSORS[suffix](os.urandom(100_000))
  path.write_bytes(
    {
      'cut short': data[:-50_000],
      'corrupt': data[:100] + bytes(100) + data[200:-100] + bytes(100),
      'plain': b'some plain text, not compressed at all',
    }[fault]
  )
  assert str(path) in refusal(str(path))


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
  assert counts.malformed_json == 6
  assert counts.first_malformed_json == f'{path}:5'
  assert counts.nuls == 1 and counts.invalid_characters == 1


def test_a_json_line_longer_than_the_limit_is_skipped(tmp_path, monkeypatch):
  monkeypatch.setattr(document_files, '_LONGEST_JSON_LINE', 1 << 21)
  path = tmp_path / 'a.jsonl'
  with open(path, 'w') as file:
    for words in (700_000, 10, 300_000):
      print(json.dumps({'text': 'words ' * words}), file=file)
  documents, counts = read(str(path))
  assert [len(' '.join(lines).split()) for lines in documents] == [10, 300_000]
  assert counts.first_malformed_json == f'{path}:1'


def test_the_files_of_all_patterns_are_read_once_in_sorted_order(tmp_path):
  for name in ('b.txt', 'a.txt', 'c[1].txt', 'deep/er/d.txt', 'e.txt/f.txt'):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(name)
  (tmp_path / 'empty.txt').write_text('')
  patterns = [
    f'{tmp_path}/b.txt',
    f'{tmp_path}/*.txt',
    f'{tmp_path}/c[1].txt',
    f'{tmp_path}/**/d.txt',
  ]
  documents, counts = read(patterns)
  assert documents == [['a.txt'], ['b.txt'], ['c[1].txt'], ['deep/er/d.txt']]
  assert counts.files == 5 and counts.empty_files == 1


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


@pytest.mark.parametrize('patterns', [None, '', [], [''], ['a', None]])
def test_nothing_is_refused(patterns):
  assert repr(patterns) in refusal(patterns)


def test_a_pattern_without_files_is_refused(tmp_path):
  (tmp_path / 'folder').mkdir()
  message = refusal(f'{tmp_path}/folder/missing/*.txt')
  assert 'missing/*.txt' in message
  assert f'exists is {tmp_path}/folder)' in message
  (tmp_path / 'a').write_text('')
  assert 'no file matches' in refusal([f'{tmp_path}/a', f'{tmp_path}/b'])
  assert 'cannot read' in refusal('nosuchfilesystem://bucket/*')


def test_a_directory_is_refused(tmp_path):
  assert f'the directory {tmp_path}' in refusal(str(tmp_path))
