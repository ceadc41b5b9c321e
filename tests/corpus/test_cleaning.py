import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.corpus import cleaning

LIMIT = cleaning.LONGEST_LINE


def read(data: bytes, block_bytes: int = 1 << 20):
  """Returns the documents (lists of lines) of a file, and the counts."""
  counts = cleaning.Counts()
  blocks = [
    data[start : start + block_bytes]
    for start in range(0, len(data), block_bytes)
  ]
  texts = cleaning.normalise(cleaning.decode(blocks, counts), counts)
  batches = cleaning.split_lines(texts, counts)
  documents = [[]]
  for lines in cleaning.split_documents(batches, counts):
    if lines:
      documents[-1] += lines
    else:
      documents.append([])
  assert documents.pop() == []  # every document is ended
  return documents, counts


@pytest.mark.parametrize(
  'data',
  [
    b'one\ntwo\n\nthree\n',
    b'one\r\ntwo\r\n\r\nthree\r\n',
    b'one\rtwo\r\rthree',
    b'\n\n  one\t\ntwo  \n \t\x0c\n\n\nthree\n\n\n',
  ],
)
@pytest.mark.parametrize('block_bytes', [1, 3, 1 << 20])
def test_every_way_to_write_a_text_reads_the_same(data, block_bytes):
  documents, counts = read(data, block_bytes)
  assert documents == [['one', 'two'], ['three']]
  assert counts == cleaning.Counts(lines=3)


@pytest.mark.parametrize('data', [b'', b'\n\n', b' \t\r\n'])
def test_a_file_without_text_has_no_document(data):
  assert read(data) == ([], cleaning.Counts())


@pytest.mark.parametrize('block_bytes', [1, 2, 1 << 20])
def test_invalid_utf_8_is_replaced_and_counted(block_bytes):
  # A lone byte, a genuine U+FFFD beside it, and a character cut by the end.
  data = b'caf\xe9 \xef\xbf\xbd\nna\xc3\xafve \xe2\x82'
  documents, counts = read(data, block_bytes)
  assert documents == [['caf\ufffd \ufffd', 'na\u00efve \ufffd']]
  assert counts.invalid_characters == 2


def test_nul_is_removed_and_counted():
  documents, counts = read(b'a\0b\0\n\0\nc')
  assert documents == [['ab'], ['c']]
  assert counts.nuls == 3


@given(
  data=st.one_of(
    st.binary(max_size=60),
    st.text('ab\u00e9\u65e5\U0001f600 \t\r\n\0\ufffd', max_size=60).map(
      str.encode
    ),
  ),
  block_bytes=st.integers(1, 7),
)
@settings(max_examples=300, deadline=None)
def test_block_boundaries_do_not_matter(data, block_bytes):
  assert read(data, block_bytes) == read(data)


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_clean_lines(data):
  documents, counts = read(data)
  lines = list(itertools.chain.from_iterable(documents))
  assert counts.lines == len(lines)
  for line in lines:
    assert line and line == line.strip()
    assert not set(line) & set('\0\r\n')
    line.encode()  # it has UTF-8


@pytest.mark.parametrize('block_bytes', [1000, 4099, 1 << 20])
def test_a_long_line_is_cut_at_white_space(block_bytes):
  words = [f'word{number}' for number in range(20_000)]
  data = ' '.join(words).encode() + b'\nshort\n\nnext'
  documents, counts = read(data, block_bytes)
  *parts, short = documents[0]
  assert ' '.join(parts).split() == words
  assert short == 'short' and documents[1] == ['next']
  # As few cuts as possible: no part could have taken the next word.
  assert all(LIMIT - 12 < len(part) <= LIMIT for part in parts[:-1])
  assert counts.long_lines == 1


@pytest.mark.parametrize('block_bytes', [999, 1 << 20])
@pytest.mark.parametrize('letter', ['x', '\u65e5'])
def test_a_long_line_without_white_space_is_cut_anywhere(letter, block_bytes):
  data = (letter * (2 * LIMIT + 5)).encode() + b'   \n\nnext'
  documents, counts = read(data, block_bytes)
  assert documents == [[letter * LIMIT] * 2 + [letter * 5], ['next']]
  assert counts.long_lines == 1


@pytest.mark.parametrize('block_bytes', [999, 1 << 20])
def test_white_space_after_a_cut_is_no_blank_line(block_bytes):
  data = b'x' * (LIMIT + 1) + b' ' * 3 * LIMIT + b'\ny\n' + b' ' * 3 * LIMIT
  documents, _ = read(data, block_bytes)
  assert documents == [['x' * LIMIT, 'x', 'y']]


@pytest.mark.parametrize('block_bytes', [999, 1 << 20])
def test_a_line_is_not_long_by_white_space_around_it(block_bytes):
  data = b' ' * 3 * LIMIT + b'x' * LIMIT + b' \t' * 2 * LIMIT + b'\ny'
  documents, counts = read(data, block_bytes)
  assert documents == [['x' * LIMIT, 'y']]
  assert counts.long_lines == 0


@given(
  line=st.lists(
    st.tuples(st.sampled_from('xy \t'), st.integers(1, 3 * LIMIT)),
    max_size=5,
  ),
  block_bytes=st.integers(1000, 3 * LIMIT),
)
@settings(max_examples=100, deadline=None)
def test_where_a_long_line_is_cut_does_not_depend_on_blocks(line, block_bytes):
  data = ''.join(letter * count for letter, count in line).encode() + b'\nz'
  documents, counts = read(data)
  assert read(data, block_bytes) == (documents, counts)
  text = ''.join(itertools.chain.from_iterable(documents))
  assert ''.join(text.split()) == ''.join(data.decode().split())
  assert all(len(part) <= LIMIT for lines in documents for part in lines)


def test_the_lines_of_one_text_lose_blank_lines_and_surrogates():
  counts = cleaning.Counts()
  lines = cleaning.lines_of(' A\r\n\r\n \nB\0\ud800C', counts)
  assert lines == ['A', 'B\ufffdC']
  assert counts == cleaning.Counts(lines=2, nuls=1, invalid_characters=1)
