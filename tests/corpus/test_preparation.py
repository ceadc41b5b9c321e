import errno
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas
import pytest

from bertjax.corpus import (
  building,
  cleaning,
  document_files,
  preparation,
  shards,
  spool,
)
from bertjax.errors import UserError

SPLITS = shards.SPLITS
SMALL = preparation.Training(200, cased=True, min_frequency=1)


def write(path, documents) -> document_files.TextFiles:
  """Writes documents (lists of lines) to a file and returns its reader."""
  path.write_text('\n\n'.join('\n'.join(lines) for lines in documents))
  return document_files.TextFiles(str(path))


def some_documents(count: int, lines: int = 3) -> list[list[str]]:
  return [
    [f'Line {line} of document {document}.' for line in range(lines)]
    for document in range(count)
  ]


def prepare(reader, directory, fraction=0.05, vocabulary=SMALL):
  return preparation.prepare(reader, str(directory), vocabulary, fraction)


def words(text: str) -> str:
  """Returns a text as its ids read: 'A cat.' as 'A cat .'."""
  return ' '.join(re.findall(r'\w+|[^\w\s]', text))


def pieces(prepared, split: str) -> list[tuple[int, str]]:
  """Returns the document and the words of each piece."""
  own = prepared.split(split)
  found = map(own.piece, range(len(own)))
  tokens = prepared.vocabulary.tokens
  return [
    (x.document, ' '.join(tokens[i] for i in x.tokens).replace(' ##', ''))
    for x in found
  ]


def texts(prepared, split: str) -> list[str]:
  return [text for _, text in pieces(prepared, split)]


def test_every_document_is_in_one_split_and_whole(tmp_path):
  documents = some_documents(400)
  reader = write(tmp_path / 'a.txt', documents)
  prepared = prepare(reader, tmp_path / 'store', 0.1)
  found = {split: texts(prepared, split) for split in SPLITS}
  assert sorted(found['train'] + found['validation']) == sorted(
    words('\n'.join(lines)) for lines in documents
  )
  # 40 expected; 4 standard deviations of the binomial are 24.
  assert 16 <= len(found['validation']) <= 64
  for split in SPLITS:
    assert prepared.splits[split]['pieces'] == len(found[split])
    assert prepared.splits[split]['documents'] == len(found[split])


def test_equal_documents_have_one_hash_and_one_split(tmp_path):
  documents = some_documents(100)
  reader = write(tmp_path / 'a.txt', documents + documents)
  prepared = prepare(reader, tmp_path / 'store', 0.3)
  for split in SPLITS:
    found = pieces(prepared, split)
    assert len(found) == 2 * len(set(found))
    assert len({document for document, _ in found}) == len(set(found))


def test_what_is_held_out_does_not_depend_on_other_documents(tmp_path):
  documents = some_documents(300)
  held_out = []
  for number, part in enumerate((documents, documents[150:][::-1])):
    reader = write(tmp_path / f'{number}.txt', part)
    prepared = prepare(reader, tmp_path / 'store', 0.2)
    held_out.append(set(texts(prepared, 'validation')))
  of_the_part = {words('\n'.join(lines)) for lines in documents[150:]}
  assert held_out[1] == held_out[0] & of_the_part


def test_hashes_are_the_same_in_every_process(tmp_path):
  reader = write(tmp_path / 'a.txt', [['abc']])
  prepared = prepare(reader, tmp_path / 'store')
  # `printf abc | b2sum -l 64` gives d8bb14d833d59559, of which 63 bits count.
  assert pieces(prepared, 'train') == [(0xD8BB14D833D59559 >> 1, 'abc')]


def test_a_long_document_is_cut_at_ends_of_lines(tmp_path):
  lines = [f'{number} ' + 'word ' * (number % 90) for number in range(5000)]
  lines = [line.strip() for line in lines]
  lines[7] = 'long ' * 10_000
  reader = write(tmp_path / 'a.txt', [lines, ['other']])
  prepared = prepare(reader, tmp_path / 'store', 0)
  (other,) = [x for x in pieces(prepared, 'train') if x[1] == 'other']
  found = [x for x in pieces(prepared, 'train') if x != other]
  assert {document for document, _ in found}.isdisjoint({other[0]})
  assert len({document for document, _ in found}) == 1
  assert prepared.splits['train']['documents'] == 2
  assert ' '.join(x for _, x in found) == words(' '.join(lines))


def test_pieces_are_full_but_for_a_line(tmp_path):
  lines = ['word ' * (number % 90) + 'end' for number in range(5000)]
  lines[7] = ('long ' * 10_000).strip()
  reader = write(tmp_path / 'a.txt', [lines])
  counts = cleaning.Counts()
  spool.write(reader.documents(counts), str(tmp_path / 'spool'), counts, 1)
  found = [
    text
    for batch in spool.read(str(tmp_path / 'spool'))
    for text in batch['text'].to_pylist()
  ]
  assert '\n'.join(found).split() == '\n'.join(lines).split()
  assert max(map(len, found)) <= spool.PIECE_BYTES
  # A line has at most LONGEST_LINE characters.
  assert min(map(len, found[:-1])) > spool.PIECE_BYTES - 8_000
  assert not any(text.startswith('\n') or '\n\n' in text for text in found)


def test_the_longest_line_fits_a_piece_in_any_script(tmp_path):
  line = '𐐀' * cleaning.LONGEST_LINE  # 4 bytes each
  reader = write(tmp_path / 'a.txt', [[line] * 4])
  path = str(tmp_path / 'spool')
  counts = cleaning.Counts()
  spool.write(reader.documents(counts), path, counts, 1)
  (batch,) = spool.read(path)
  assert batch['text'].to_pylist() == [line] * 4
  assert batch['piece'].to_pylist() == [0, 1, 2, 3]
  assert len(set(batch['document'].to_pylist())) == 1


@pytest.mark.parametrize('fraction', [1e-9, 1 - 1e-9])
def test_of_three_documents_one_is_held_out(tmp_path, fraction):
  reader = write(tmp_path / 'a.txt', some_documents(3))
  prepared = prepare(reader, tmp_path / 'store', fraction)
  found = {split: pieces(prepared, split) for split in SPLITS}
  assert len(found['train']) == 2 and len(found['validation']) == 1
  assert found['validation'][0][0] < min(x for x, _ in found['train'])


@pytest.mark.parametrize(
  'documents', [some_documents(1), some_documents(2), some_documents(1) * 9]
)
@pytest.mark.parametrize('fraction', [1e-9, 1 - 1e-9])
def test_fewer_than_three_different_documents_all_train(
  tmp_path, documents, fraction
):
  reader = write(tmp_path / 'a.txt', documents)
  prepared = prepare(reader, tmp_path / 'store', fraction)
  assert prepared.splits['train']['documents'] == len(documents)
  assert prepared.splits['validation']['pieces'] == 0
  assert 'none is held out' in prepared.report()


def test_a_fraction_of_zero_holds_nothing_out(tmp_path):
  reader = write(tmp_path / 'a.txt', some_documents(50))
  prepared = prepare(reader, tmp_path / 'store', 0)
  assert prepared.splits['train']['documents'] == 50
  assert 'none' not in prepared.report()


def test_a_store_is_used_again_until_the_text_changes(tmp_path):
  reader = write(tmp_path / 'a.txt', some_documents(9))
  directory = str(tmp_path / 'store')
  first = prepare(reader, directory)
  changed = os.stat(os.path.join(first.path, 'index.json')).st_mtime_ns
  again = prepare(reader, directory)
  assert again == first
  index = os.path.join(again.path, 'index.json')
  assert os.stat(index).st_mtime_ns == changed
  assert prepare(reader, directory, 0.5).path != first.path
  write(tmp_path / 'a.txt', some_documents(10))
  other = prepare(reader, directory)
  assert other.path != first.path and other.splits['train']['documents'] > 8


@pytest.mark.parametrize(
  'damage', ['no index', 'half an index', 'short shard', 'no shard', 'no mark']
)
def test_a_corpus_that_is_not_whole_is_made_again(tmp_path, capsys, damage):
  reader = write(tmp_path / 'a.txt', some_documents(9))
  prepared = prepare(reader, tmp_path / 'store')
  want = texts(prepared, 'train')
  name = damage.split()[-1]
  name = {'shard': 'train-00000.arrow', 'mark': 'COMPLETED'}.get(
    name, 'index.json'
  )
  path = os.path.join(prepared.path, name)
  if damage.startswith('no'):
    os.remove(path)
  else:
    os.truncate(path, 20)
  capsys.readouterr()
  again = prepare(reader, tmp_path / 'store')
  assert again == prepared and texts(again, 'train') == want
  assert 'it is prepared anew' in capsys.readouterr().err


@pytest.mark.parametrize('what', ['tokens', 'sentence_ends', 'the schema'])
def test_a_shard_that_was_altered_is_refused_by_name(tmp_path, what):
  reader = write(tmp_path / 'a.txt', some_documents(9))
  prepared = prepare(reader, tmp_path / 'store', 0)
  path = os.path.join(prepared.path, 'train-00000.arrow')
  with open(path, 'r+b') as file:
    content = file.read()
    piece = prepared.split('train').piece(0)
    if what == 'the schema':
      place = content.rindex(b'ARROW1') - 40
    else:
      place = content.index(bytes(getattr(piece, what)[:8]))
    file.seek(place)
    file.write(bytes([content[place] ^ 1, content[place + 1] ^ 255]))
  with pytest.raises(UserError, match=f'cannot read the token shard {path}: '):
    split = prepared.split('train')
    [split.piece(number) for number in range(9)]


def put(content, place, value):
  """Sets, or for None takes out, what stands at a place such as 'a/b/0'."""
  *path, last = [int(x) if x.isdigit() else x for x in place.split('/')]
  for name in path:
    content = content[name]
  if value is None:
    del content[last]
  else:
    content[last] = value


@pytest.mark.parametrize(
  'place, value, words',
  [
    ('splits/train', None, "expected 'train'"),
    ('splits/validation', None, "expected 'validation'"),
    ('splits/train/files', None, "expected 'files'"),
    ('splits/train/files', 'x', "as 'files'"),
    ('splits/train/files/0/name', None, "expected 'name'"),
    ('splits/train/files/0/name', '../../etc/passwd', 'do not add up'),
    ('splits/train/files/0/pieces', '9', "as 'pieces'"),
    ('splits/train/files/0/pieces', -1, "as 'pieces'"),
    ('splits/train/files/0/pieces', 5, 'do not add up'),
    ('splits/train/files/0/bytes', 2.5, "as 'bytes'"),
    ('splits/train/tokens', 'many', "as 'tokens'"),
    ('splits/train/tokens', 5, 'do not add up'),
    ('splits/train/documents', 10**9, 'do not add up'),
    ('splits/train/files', [], 'do not add up'),
    ('counts/lines', None, "expected 'lines'"),
    ('counts/lines', 'x', "as 'lines'"),
    ('unknown', -5, 'was altered'),
  ],
)
def test_an_index_that_was_altered_is_one_line(tmp_path, place, value, words):
  reader = write(tmp_path / 'a.txt', some_documents(9))
  path = prepare(reader, tmp_path / 'store', 0).path
  file = pathlib.Path(path) / 'index.json'
  index = json.loads(file.read_text())
  put(index, place, value)
  file.write_text(json.dumps(index))
  with pytest.raises(UserError, match=words) as error:
    preparation.load(path)
  assert str(file) in str(error.value) and 'CORPUS_DIR' in str(error.value)


def test_an_index_may_hold_more_and_pieces_are_counted(tmp_path):
  reader = write(tmp_path / 'a.txt', some_documents(9))
  prepared = prepare(reader, tmp_path / 'store', 0)
  prepared.index['counts']['of another version'] = 1
  assert prepared.report()
  split = prepared.splits['train']
  split['files'][0]['pieces'] += 5000
  with pytest.raises(UserError, match='has 9 pieces of 5,009'):
    prepared.split('train').piece(3000)


def test_other_programs_read_the_shards_as_they_are(tmp_path):
  reader = write(tmp_path / 'a.txt', some_documents(9))
  prepared = prepare(reader, tmp_path / 'store', 0)
  table = pandas.read_feather(os.path.join(prepared.path, 'train-00000.arrow'))
  own = prepared.split('train')
  for number, row in table.iterrows():
    piece = own.piece(number)
    assert row['document'] == piece.document
    assert row['tokens'].dtype == np.uint16
    assert row['tokens'].tolist() == piece.tokens.tolist()
    assert row['sentence_ends'].tolist() == piece.sentence_ends.tolist()
    assert piece.sentence_ends[-1] == len(piece.tokens)


@pytest.mark.parametrize(
  'wanted', [SMALL, preparation.Training(300, True, 1, 'bpe')]
)
def test_several_processes_write_what_one_does(tmp_path, monkeypatch, wanted):
  reader = write(tmp_path / 'a.txt', some_documents(2000, 60))
  one = prepare(reader, tmp_path / 'one', vocabulary=wanted)
  monkeypatch.setattr(building, '_PROCESS_BYTES', 1000)
  monkeypatch.setattr(building.workers, 'available', lambda: 2)
  two = prepare(reader, tmp_path / 'two', vocabulary=wanted)
  assert one.index == two.index and one.vocabulary == two.vocabulary
  for name in ('train-00000.arrow', 'validation-00000.arrow'):
    paths = (os.path.join(x.path, name) for x in (one, two))
    some, others = (pathlib.Path(path).read_bytes() for path in paths)
    assert some == others


@pytest.mark.parametrize('left', ['half the text', 'all but its name'])
def test_a_preparation_that_was_cut_off_starts_anew_and_says_so(
  tmp_path, capsys, left
):
  reader = write(tmp_path / 'a.txt', some_documents(9))
  prepared = prepare(reader, tmp_path / 'store')
  assert 'anew' not in capsys.readouterr().err
  want = texts(prepared, 'train')
  folder, name = os.path.split(prepared.path)
  part = f'{folder}/.{name}.bertjax.part'
  os.rename(prepared.path, part)  # as a kill leaves it
  if left == 'half the text':
    os.remove(f'{part}/index.json')
    os.truncate(f'{part}/train-00000.arrow', 20)
  again = prepare(reader, tmp_path / 'store')
  assert again == prepared and texts(again, 'train') == want
  assert 'prepared anew' in capsys.readouterr().err
  assert not os.path.exists(part)


_PREPARE = (
  'import sys\n'
  'from bertjax.corpus import document_files, preparation\n'
  'reader = document_files.TextFiles(sys.argv[1])\n'
  'print("ready", flush=True)\n'
  'sys.stdin.read(1)\n'
  'vocabulary = preparation.Training(200, True, 1)\n'
  'made = preparation.prepare(reader, sys.argv[2], vocabulary)\n'
  'print(made.splits["train"]["documents"])\n'
)


@pytest.mark.slow
def test_processes_may_prepare_at_once_and_be_killed(tmp_path):
  path, directory = tmp_path / 'a.txt', tmp_path / 'store'
  reader = write(path, some_documents(20_000, 40))  # for half a second or so
  killed, *others = (
    subprocess.Popen(
      [sys.executable, '-c', _PREPARE, str(path), str(directory)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    for _ in range(3)
  )
  for process in (killed, *others):
    assert process.stdout.readline() == 'ready\n'
  killed.stdin.write('.')
  killed.stdin.flush()
  while not list(directory.glob('*.part/text.arrow')):
    time.sleep(0.001)
  killed.send_signal(signal.SIGKILL)
  killed.communicate()
  assert not list(directory.glob('*/index.json'))
  for process in others:
    process.stdin.write('.')
    process.stdin.flush()
  results = [process.communicate()[0] for process in others]
  prepared = prepare(reader, directory)
  assert results == [f'{prepared.splits["train"]["documents"]}\n'] * 2
  assert sum(x['documents'] for x in prepared.splits.values()) == 20_000
  assert len(list(directory.iterdir())) == 2  # the store and its lock


def test_the_report_says_what_was_wrong(tmp_path):
  (tmp_path / 'a.txt').write_bytes(b'A caf\xe9.\0\n\nB.\n\nC.\n' + b'y ' * 9000)
  (tmp_path / 'b.txt').write_text('')
  (tmp_path / 'c.jsonl').write_text('{"text": "D."}\noops\n')
  reader = document_files.TextFiles(f'{tmp_path}/*')
  prepared = prepare(reader, tmp_path / 'store')
  assert prepared.report().splitlines() == [
    '4 documents, 7 lines, 9,009 tokens in 3 files; '
    f'{prepared.splits["validation"]["documents"]} documents held out',
    '1 files without text',
    '1 invalid characters, replaced by U+FFFD',
    '1 NUL characters, removed',
    '1 lines above 8,000 characters, cut at white space',
    '1 lines, rows or pages without a text, skipped; the first is '
    f'{tmp_path}/c.jsonl:2',
  ]
  with open(os.path.join(prepared.path, 'index.json')) as file:
    assert json.load(file)['counts']['nuls'] == 1


def refusal(*arguments) -> str:
  with pytest.raises(UserError) as error:
    prepare(*arguments)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_a_corpus_without_text_is_refused(tmp_path):
  (tmp_path / 'a.txt').write_text('\n \n')
  reader = document_files.TextFiles(f'{tmp_path}/a.*')
  message = refusal(reader, tmp_path / 'store')
  assert f'{tmp_path}/a.*' in message and 'set TEXT_FILES' in message
  (tmp_path / 'a.jsonl').write_text('[\n{"text": "one"},\n]\n')
  assert f'{tmp_path}/a.jsonl:1' in refusal(reader, tmp_path / 'store')
  assert not list((tmp_path / 'store').glob('*/index.json'))


def test_places_that_cannot_hold_a_store_are_refused(tmp_path):
  reader = write(tmp_path / 'a.txt', some_documents(3))
  assert 'local disk' in refusal(reader, 'gs://bucket/store')
  assert 'set another directory' in refusal(reader, f'{tmp_path}/a.txt/store')


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
  reader = write(tmp_path / 'a.txt', some_documents(3))

  def fail(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(shards.os, 'fsync', fail)
  message = refusal(reader, tmp_path / 'store')
  assert 'No space left on device' in message and 'free space' in message


@pytest.mark.parametrize('fraction', [-0.1, 1, 1.5])
def test_an_impossible_fraction_is_refused(tmp_path, fraction):
  reader = write(tmp_path / 'a.txt', some_documents(3))
  message = refusal(reader, tmp_path / 'store', fraction)
  assert str(fraction) in message and 'set held_out_fraction' in message


def test_long_work_shows_progress_and_short_work_does_not(
  tmp_path, monkeypatch, capsys
):
  reader = write(tmp_path / 'a.txt', some_documents(100))
  prepare(reader, tmp_path / 'store')
  assert 'reading' not in capsys.readouterr().err
  clock = iter(range(0, 10_000, 5))
  monkeypatch.setattr(time, 'monotonic', lambda: float(next(clock)))
  prepare(reader, tmp_path / 'other')
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) > 2
  assert lines[0].startswith('reading the text: 100%, 0 MB/s, 0:00:00 left')
