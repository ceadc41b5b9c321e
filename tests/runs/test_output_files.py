import contextlib
import errno
import functools
import os
import pathlib

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
  left = tmp_path / '.model.bertjax.part'  # by a run that was killed
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
  with pytest.raises(UserError, match='is no folder; set RUN_DIR'):
    output_files.check_folder(below, 'RUN_DIR')
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
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match='holds something; .*or OVERWRITE=True'):
    output_files.check_directory(str(tmp_path))
  for overwrite in (False, True):
    with pytest.raises(UserError, match='a directory, but .* is a file'):
      output_files.check_directory(str(tmp_path / 'file'), None, overwrite)


def test_a_users_file_beside_the_output_stays(tmp_path):
  (tmp_path / 'model.part').mkdir()
  (tmp_path / 'model.part' / 'mine').touch()
  with output_files.writing(str(tmp_path / 'model')) as part:
    os.mkdir(part)
  assert os.listdir(tmp_path / 'model.part') == ['mine']


def test_a_file_that_is_there_is_replaced_only_on_demand(tmp_path):
  path = str(tmp_path / 'out.jsonl')
  check = functools.partial(output_files.check_output, path, ('.jsonl',))
  check()
  open(path, 'w').close()
  with pytest.raises(UserError, match='out.jsonl is there .*OVERWRITE=True'):
    check()
  check(overwrite=True)
  os.remove(path)
  os.mkfifo(path)
  with pytest.raises(UserError, match='is no regular file; set OUTPUT'):
    check(overwrite=True)


@pytest.mark.parametrize('name', ['out', 'out.png', 'out.txt.npy', 'out.JSONL'])
def test_a_suffix_of_another_kind_of_file_is_refused(tmp_path, name):
  with pytest.raises(UserError, match='ends in .jsonl or .txt, got .*OUTPUT'):
    output_files.check_output(str(tmp_path / name), ('.jsonl', '.txt'))
  output_files.check_output(str(tmp_path / 'out'), ('', '.txt'))


@pytest.mark.parametrize('name', ['maps.html', 'bert.safetensors/', 'x.json'])
def test_a_directory_with_the_suffix_of_a_file_is_refused(tmp_path, name):
  with pytest.raises(UserError, match='a directory, whose name does not end'):
    output_files.check_directory(f'{tmp_path}/{name}')
  output_files.check_directory(str(tmp_path / 'bert_v1.5'))


def test_a_directory_is_replaced_whole_on_demand(tmp_path):
  path = tmp_path / 'model'
  path.mkdir()
  (path / 'old').touch()
  output_files.check_directory(str(path), overwrite=True)
  with (
    pytest.raises(UserError, match='not empty'),
    output_files.writing(str(path)) as part,
  ):
    os.mkdir(part)
  assert os.listdir(path) == ['old']
  for refused in (True, False):
    with contextlib.suppress(UserError if refused else ()):
      with output_files.writing(str(path), replaces=True) as part:
        os.mkdir(part)
        open(os.path.join(part, 'new'), 'w').close()
        if refused:
          raise OSError
    assert os.listdir(path) == ['old' if refused else 'new']
  assert os.listdir(tmp_path) == ['model']


def test_the_old_directory_returns_if_the_new_one_cannot_come(
  tmp_path, monkeypatch
):
  path = tmp_path / 'model'
  path.mkdir()
  (path / 'old').touch()
  replace = os.replace

  def fail(source, target):
    if source.endswith('.part'):
      full()
    replace(source, target)

  monkeypatch.setattr(os, 'replace', fail)
  with (
    pytest.raises(UserError, match='No space left'),
    output_files.writing(str(path), replaces=True) as part,
  ):
    os.mkdir(part)
  assert os.listdir(tmp_path) == ['model'] and os.listdir(path) == ['old']


def test_a_directory_that_bertjax_cannot_have_made_is_never_replaced(tmp_path):
  check = functools.partial(
    output_files.check_directory, str(tmp_path), overwrite=True
  )
  (tmp_path / 'model.safetensors').touch()
  check()
  for source in (tmp_path, tmp_path / 'model.safetensors'):
    with pytest.raises(UserError, match='holds the input .*set OUTPUT'):
      check(source=str(source))
  (tmp_path / 'checkpoints').mkdir()
  with pytest.raises(UserError, match='/checkpoints is none; remove it'):
    check()


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


def test_a_link_to_a_directory_is_replaced_where_it_points(tmp_path):
  (tmp_path / 'big' / 'old').mkdir(parents=True)
  (tmp_path / 'out').symlink_to(tmp_path / 'big' / 'old')
  for content in ('1', '2'):
    with output_files.writing(str(tmp_path / 'out'), replaces=True) as part:
      os.mkdir(part)
      pathlib.Path(part, 'x').write_text(content)
    assert (tmp_path / 'big' / 'old' / 'x').read_text() == content
  assert (tmp_path / 'out').is_symlink()
  assert sorted(os.listdir(tmp_path)) == ['big', 'out']
  assert os.listdir(tmp_path / 'big') == ['old']


def test_json_of_a_recipe_is_replaced_by_that_recipe_alone(tmp_path):
  path = str(tmp_path / 'x.json')
  made = {'generator': output_files.mark('plan'), 'x': 1}
  output_files.write_json(path, made)
  output_files.check_output(path, ['.json'], maker='plan')
  with pytest.raises(UserError, match='is there already'):
    output_files.check_output(path, ['.json'], maker='planner')
  output_files.write_json(path, {'x': output_files.mark('plan')})
  with pytest.raises(UserError, match='is there already'):
    output_files.check_output(path, ['.json'], maker='plan')
