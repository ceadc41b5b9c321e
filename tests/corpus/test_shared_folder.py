import os

import pytest

from bertjax.corpus.shared_folder import SharedFolder


@pytest.fixture(params=['', 'file://', 'memory://'])
def folder(request, tmp_path):
  folder = SharedFolder(f'{request.param}{tmp_path}/a/b')
  folder.make()
  yield folder
  folder.remove()


def test_a_file_appears_when_it_is_put_there_and_can_be_replaced(
  folder, tmp_path
):
  for content in (b'one', b'another'):
    with folder.scratch() as own:
      with open(f'{own}/x', 'wb') as file:
        file.write(content)
      folder.put(f'{own}/x', 'text-1')
    assert not os.path.exists(own)
    with folder.local('text-1') as path, open(path, 'rb') as file:
      assert file.read() == content
  assert folder.names() == ['text-1']
  folder.take('text-1', str(tmp_path))
  assert (tmp_path / 'text-1').read_bytes() == b'another'


def test_json_goes_through_and_what_is_missing_is_no_file(folder):
  folder.write_json('x', {'a': [1, 'ö']})
  assert folder.read_json('x') == {'a': [1, 'ö']}
  with pytest.raises(FileNotFoundError):
    folder.read_json('y')


def test_nothing_is_written_where_the_folder_was_removed(tmp_path):
  folder = SharedFolder(str(tmp_path / 'gone'))
  folder.make()
  folder.remove()
  folder.remove()
  with pytest.raises(FileNotFoundError):
    folder.write_json('x', 1)
  assert not (tmp_path / 'gone').exists()
