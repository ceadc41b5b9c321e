import pytest

from bertjax.errors import UserError
from bertjax.runs import output_files
from bertjax.text import line_files


def texts(path, content):
  path.write_bytes(content)
  return [record['text'] for record in line_files.read(str(path))]


@pytest.mark.parametrize(
  'content, expected',
  [
    (b'a\nb\n', ['a', 'b']),
    (b'a\r\nb', ['a', 'b']),
    (b'\n\na\n', ['', '', 'a']),
    (b'a\rb\n', ['a\rb']),
    ('a\u2028b\x85c\n'.encode(), ['a\u2028b\x85c']),
    (b'\xef\xbb\xbfa\n', ['a']),
    (b'', []),
  ],
)
def test_a_line_ends_at_lf_or_crlf_only(tmp_path, content, expected):
  assert texts(tmp_path / 'in.txt', content) == expected


def test_json_lines_keep_their_fields(tmp_path):
  path = tmp_path / 'in.jsonl'
  path.write_text('{"text": "a", "id": 7}\n')
  assert list(line_files.read(str(path))) == [{'text': 'a', 'id': 7}]


def test_half_a_surrogate_pair_is_replaced(tmp_path):
  path = tmp_path / 'in.jsonl'
  path.write_text('{"text": "a\\ud83d b \\ud83d\\ude00"}\n')
  (record,) = line_files.read(str(path))
  assert record['text'] == 'a\ufffd b \U0001f600'


@pytest.mark.parametrize(
  'name, content, message',
  [
    ('in.txt', 'é'.encode('latin1'), 'byte 0xe9 in line 1'),
    ('in.jsonl', b'{"text": "a"}\n{', 'JSON in line 2'),
    ('in.jsonl', b'{"body": "a"}', '"text" in line 1 .*got body'),
    ('in.jsonl', b'[1]', 'got .1.'),
  ],
)
def test_a_bad_line_is_named(tmp_path, name, content, message):
  with pytest.raises(UserError, match=message) as caught:
    texts(tmp_path / name, content)
  assert '\n' not in str(caught.value)


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
      output_files.check_output(str(path), ('.npy',), str(source))


def test_a_check_of_the_output_makes_nothing(tmp_path):
  path = tmp_path / 'new' / 'folder' / 'out.npy'
  output_files.check_output(str(path), ('.npy',), str(tmp_path / 'in.txt'))
  assert list(tmp_path.iterdir()) == []
