import errno
import os

import pytest

from bertjax.errors import UserError
from bertjax.runs import model_file, output_files


def full(*_):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_appears_when_it_is_whole(tmp_path):
  path = tmp_path / 'new' / 'out.txt'
  with pytest.raises(KeyError), output_files.writing(str(path)) as part:
    open(part, 'w').close()
    raise KeyError
  assert list(path.parent.iterdir()) == []
  with output_files.writing(str(path)) as part:
    open(part, 'w').close()
  assert os.listdir(path.parent) == ['out.txt']


@pytest.mark.parametrize('end', ['', '/'])
@pytest.mark.parametrize('there', [True, False])
def test_a_directory_appears_when_it_is_whole(tmp_path, there, end):
  path = tmp_path / 'model'
  if there:
    path.mkdir()
  left = tmp_path / 'model.part'  # by a run that was killed
  left.mkdir()
  (left / 'old').touch()
  with output_files.writing(str(path) + end) as part:
    assert part == str(left) and not left.exists()
    left.mkdir()
    (left / 'new').touch()
  assert os.listdir(tmp_path) == ['model']
  assert os.listdir(path) == ['new']


def test_half_a_directory_does_not_stay(tmp_path, monkeypatch):
  path = tmp_path / 'model'
  monkeypatch.setattr(os, 'replace', full)
  with (
    pytest.raises(UserError, match=f'{path}: No space left.*set OUTPUT'),
    output_files.writing(str(path)) as part,
  ):
    os.mkdir(part)
    open(os.path.join(part, 'config.json'), 'w').close()
  assert os.listdir(tmp_path) == []


def test_a_full_disk_is_one_line(tmp_path):
  with (
    pytest.raises(UserError, match='No space left.*set OUTPUT'),
    output_files.writing(str(tmp_path / 'out')),
    open('/dev/full', 'w') as file,
  ):
    file.write('x')


def test_a_text_that_cannot_be_kept_leaves_the_old_one(tmp_path, monkeypatch):
  path = tmp_path / 'config.gin'
  output_files.write_text(str(path), 'the old é')
  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(UserError, match=f'{path}: No space left.*set RUN_DIR'):
    output_files.write_text(str(path), 'the new', 'RUN_DIR')
  assert os.listdir(tmp_path) == ['config.gin']
  assert path.read_text(encoding='utf-8') == 'the old é'
  monkeypatch.undo()
  output_files.write_text(str(path), 'the new')
  assert path.read_text() == 'the new'


def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
  file = tmp_path / 'file'
  file.touch()
  below = str(file / 'deep' / 'out')
  with pytest.raises(UserError, match=f'{file} is no folder; set OUTPUT'):
    output_files.check_folder(below)
  with (
    pytest.raises(UserError, match=f'{below}: Not a directory'),
    output_files.writing(below),
  ):
    pass
  monkeypatch.setattr(os, 'access', lambda path, _: path != str(tmp_path))
  with pytest.raises(UserError, match=f'{tmp_path} cannot be written'):
    output_files.check_folder(str(tmp_path / 'a' / 'b' / 'out'))
  assert os.listdir(tmp_path) == ['file']


def test_a_directory_that_holds_something_is_refused(tmp_path):
  output_files.check_directory(str(tmp_path))
  output_files.check_directory(str(tmp_path / 'a' / 'b'))
  assert os.listdir(tmp_path) == []
  file = tmp_path / 'file'
  file.touch()
  for path in (tmp_path, file):
    with pytest.raises(UserError, match='holds something; set OUTPUT'):
      output_files.check_directory(str(path))


def test_the_json_of_a_run_is_written_whole_or_refused_in_one_line(
  tmp_path, monkeypatch
):
  model_file.write_task(str(tmp_path / 'run'), {'kind': 'classes'})
  monkeypatch.setattr(os, 'replace', full)
  with pytest.raises(UserError, match='No space left.*set RUN_DIR'):
    model_file.write_task(str(tmp_path / 'run'), {'kind': 'tags'})
  assert model_file.read_task(str(tmp_path / 'run')) == {'kind': 'classes'}


def test_an_output_is_refused_before_anything_is_done(tmp_path):
  source = tmp_path / 'in.npy'
  source.touch()
  folder = tmp_path / 'out.npy'
  folder.mkdir()
  for path, message in [
    (tmp_path / 'out.csv', 'ends in .npy'),
    (source, 'is the input as well'),
    (folder, 'out.npy is a directory; set OUTPUT'),
    (source / 'new' / 'out.npy', 'in.npy is no folder; set OUTPUT'),
  ]:
    with pytest.raises(UserError, match=message):
      output_files.check_output(str(path), ('.npy',), [str(source)])


def test_a_check_of_the_output_makes_nothing(tmp_path):
  path = tmp_path / 'new' / 'folder' / 'out.npy'
  output_files.check_output(str(path), ('.npy',), [str(tmp_path / 'in.txt')])
  assert list(tmp_path.iterdir()) == []
