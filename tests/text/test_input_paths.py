import os

import fsspec
import pytest

from bertjax.errors import UserError
from bertjax.text import input_bytes, input_paths


def write(folder, names):
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(name)


def names(folder, patterns, left_out=None):
  found = input_paths.expand(patterns, 'TEXT_FILES', left_out)
  return [path.removeprefix(f'{folder}/') for path in found]


def refusal(patterns):
  with pytest.raises(UserError) as error:
    input_paths.expand(patterns, 'TEXT_FILES')
  assert '\n' not in str(error.value) and 'TEXT_FILES' in str(error.value)
  return str(error.value)


def test_a_folder_stands_for_all_that_can_be_read_in_it(tmp_path, capsys):
  write(tmp_path, ['b.txt', 'a/c.csv', 'a/d/e', '.git/f', '.hidden'])
  (tmp_path / 'a' / 'cover.png').write_bytes(b'\x89PNG\r\n\x1a\n')
  left_out = []
  found = names(tmp_path, f'{tmp_path}/', left_out)
  assert found == ['a/c.csv', 'a/d/e', 'b.txt']
  assert len(left_out) == 1 and 'a PNG image' in left_out[0]
  (tmp_path / 'a' / 'page.txt').write_text('<html><p>a</p></html>')
  assert names(tmp_path, str(tmp_path), left_out) == found
  assert 'got HTML' in left_out[-1]
  (tmp_path / 'a' / 'page.txt').unlink()
  names(tmp_path, str(tmp_path))
  assert capsys.readouterr().err.startswith('1 files are left out: expected')


def test_links_to_folders_are_followed_once(tmp_path):
  write(tmp_path, ['in/a/b.txt', 'in/z/c.txt', 'out/d.txt', 'out/e/f.txt'])
  (tmp_path / 'in' / 'far').symlink_to(tmp_path / 'out')
  (tmp_path / 'out' / 'back').symlink_to(tmp_path / 'in')
  (tmp_path / 'in' / 'a' / 'up').symlink_to('..')
  (tmp_path / 'in' / 'a' / 'z again').symlink_to('../z')
  (tmp_path / 'in' / 'gone').symlink_to('nowhere')
  found = names(tmp_path, str(tmp_path / 'in'))
  assert found == ['in/a/b.txt', 'in/a/z again/c.txt'] + [
    f'in/far/{name}' for name in ('d.txt', 'e/f.txt')
  ]


@pytest.mark.parametrize('name', [b'caf\xe9.txt', b'caf\xe9/a.png'])
def test_a_name_that_is_not_utf_8_is_refused(tmp_path, name):
  write(tmp_path, ['b.txt'])
  path = os.path.join(os.fsencode(tmp_path), name)
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, 'wb') as file:
    file.write(b'\x89PNG\r\n\x1a\n' if name.endswith(b'png') else b'text')
  message = refusal(str(tmp_path))
  assert 'caf\\udce9' in message and message.encode()
  assert 'rename it' in refusal([os.fsdecode(path)])
  if name.endswith(b'txt'):
    assert 'rename it' in refusal(f'{tmp_path}/*.txt')


def test_files_are_sorted_and_each_is_there_once(tmp_path):
  write(tmp_path, ['b.txt', 'a.txt', 'c[1].txt', 'deep/er/d.txt', 'e.txt/f'])
  patterns = [
    f'{tmp_path}/b.txt',
    f'{tmp_path}/*.txt',
    f'{tmp_path}/c[1].txt',
    f'{tmp_path}/**/d.txt',
  ]
  assert names(tmp_path, patterns) == [
    'a.txt',
    'b.txt',
    'c[1].txt',
    'deep/er/d.txt',
  ]


@pytest.mark.parametrize('patterns', [None, '', [], [''], ['a', None], 5])
def test_nothing_is_refused(patterns):
  assert f'got {repr(patterns) if patterns != [] else "none"}' in refusal(
    patterns
  )


def test_what_stands_for_no_file_is_refused(tmp_path):
  (tmp_path / 'folder').mkdir()
  message = refusal(f'{tmp_path}/folder/missing/*.txt')
  assert f'exists is {tmp_path}/folder)' in message
  assert 'no file matches' in refusal(str(tmp_path / 'folder'))
  (tmp_path / 'folder' / 'a.pdf').write_bytes(b'%PDF-1.4')
  assert 'a PDF document' in refusal(str(tmp_path / 'folder'))
  assert 'gcsfs' in refusal('gs://bucket/*')
  assert 's3fs' in refusal(['s3://bucket/a'])


def test_schemes_of_fsspec_are_read(tmp_path):
  system = fsspec.filesystem('memory')
  for name in ('/in/a.txt', '/in/b/c.txt'):
    system.pipe_file(name, name.encode())
  paths = ['memory:///in/a.txt', 'memory:///in/b/c.txt']
  try:
    for pattern in (paths, 'memory://in', ['memory://in/**/*.txt']):
      found = input_paths.expand(pattern, 'TEXT_FILES')
      assert [b''.join(input_bytes.blocks(x)) for x in found] == [
        b'/in/a.txt',
        b'/in/b/c.txt',
      ]
    name, size, first = input_paths.fingerprint(paths[0], 'TEXT_FILES')
    assert (name, size) == (paths[0], 9)
    system.pipe_file('/in/a.txt', b'/in/A.txt')
    assert first != input_paths.fingerprint(paths[0], 'TEXT_FILES')[2]
  finally:
    system.rm('/in', recursive=True)


def test_the_fingerprint_changes_with_the_file(tmp_path):
  path = tmp_path / 'a'
  path.write_text('one')
  first = input_paths.fingerprint(str(path), 'TEXT_FILES')
  assert first == input_paths.fingerprint(str(path), 'TEXT_FILES')
  path.write_text('other')
  assert first != input_paths.fingerprint(str(path), 'TEXT_FILES')


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path):
  write(tmp_path, ['a.txt'])
  os.mkfifo(tmp_path / 'pipe')
  assert names(tmp_path, str(tmp_path)) == ['a.txt']


def test_what_is_left_out_of_one_folder_is_not_the_fault_of_another(tmp_path):
  write(tmp_path, ['a/x.txt'])
  (tmp_path / 'a' / 'cover.png').write_bytes(b'\x89PNG\r\n\x1a\n')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='no file matches .*empty'):
    names(tmp_path, [f'{tmp_path}/a', f'{tmp_path}/empty'])
