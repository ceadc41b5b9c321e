import gzip
import re

import pytest

from bertjax.errors import UserError
from bertjax.tasks import conll, word_tags
from bertjax.tasks.examples import TagExample
from bertjax.tasks.kept_examples import keep
from bertjax.tasks.specs import Task

PLAIN = 'He PRP B-NP\nran VBD B-VP\n\nStop VB B-VP\n'
EXAMPLES = [
  TagExample(
    ('He', 'ran'),
    ('B-NP', 'B-VP'),
    (('He', 'PRP', 'B-NP'), ('ran', 'VBD', 'B-VP')),
  ),
  TagExample(('Stop',), ('B-VP',), (('Stop', 'VB', 'B-VP'),)),
]


def read(tmp_path, content, **settings):
  path = tmp_path / 'tags.txt'
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return list(conll.read(str(path), **settings))


@pytest.mark.parametrize(
  'content',
  [
    PLAIN,
    PLAIN.rstrip('\n'),
    PLAIN.replace('\n', '\r\n'),
    '\ufeff' + PLAIN,
    '\n\n' + PLAIN.replace('\n\n', '\n \t\n\n') + '\n\n',
    PLAIN.replace(' ', '\t'),
    PLAIN.replace(' ', '  ').replace('\n', ' \n'),
    '-DOCSTART- -X- O\n\n' + PLAIN,
    '-DOCSTART-\n' + PLAIN.replace('\n\n', '\n-DOCSTART-\n'),
  ],
)
def test_sentences_are_read_whatever_stands_around_them(tmp_path, content):
  found = read(tmp_path, content)
  assert [x._replace(place=('', 0)) for x in found] == EXAMPLES
  file = content.encode().decode('utf-8-sig').splitlines()
  for path, line in (x.place for x in found):
    assert path == str(tmp_path / 'tags.txt')
    assert file[line - 1][:4].strip() in ('He', 'He P', 'Stop', 'He\tP')


def test_other_columns_can_hold_words_and_tags(tmp_path):
  (example,) = read(
    tmp_path, '1 DT the\n2 NN cat\n', word_column=2, tag_column=1
  )
  assert example.words == ('the', 'cat') and example.tags == ('DT', 'NN')


def test_tags_can_be_absent(tmp_path):
  (example,) = read(tmp_path, 'the\ncat\n', tag_column=None)
  assert example[:3] == (('the', 'cat'), None, (('the',), ('cat',)))


def test_only_the_separator_separates(tmp_path):
  content = '10\u00a0000 CD\n\u2028 X\n\u0085 Y\n'
  (example,) = read(tmp_path, content)
  assert example.words == ('10\u00a0000', '\u2028', '\u0085')
  (example,) = read(tmp_path, 'New York\tB-LOC\n', separator='\t')
  assert example.words == ('New York',) and example.tags == ('B-LOC',)
  assert [example] == [*read(tmp_path, 'New York\tB-LOC\n', separator=r'\t')]


@pytest.mark.parametrize(
  ('content', 'settings', 'message'),
  [
    (b'a X\nb Y\n\nc\xe9 Z\n', {}, 'line 4.*iconv'),
    ('a X\n\nb\n', {}, '2 columns in line 3.*line 1, got 1'),
    ('a\nb X\n', {'tag_column': None}, '1 columns in line 2.*got 2'),
    ('a X\n', {'tag_column': 2}, '0 to 1.*2 columns, got 2; set TAG_COLUMN'),
    ('a X\n', {'word_column': -3}, 'got -3; set WORD_COLUMN'),
    ('a\nb\n', {}, 'tags beside the words.*set TAG_COLUMN'),
    ('a X\n', {'separator': ','}, 'tags beside.*SEPARATOR'),
    ('a,X\n', {'fixed': True}, 'set .* to a file in the columns of training'),
    ('a X\n\nb\n', {'fixed': True}, 'correct it or set .* to a file in'),
    ('', {}, 'got none'),
    ('\n\n-DOCSTART- O\n\n', {}, 'got none'),
  ],
)
def test_mistakes_in_a_file_are_told_in_one_line(
  tmp_path, content, settings, message
):
  with pytest.raises(UserError, match=message) as error:
    read(tmp_path, content, **settings)
  assert '\n' not in str(error.value) and 'tags.txt' in str(error.value)


@pytest.mark.parametrize(
  'tags',
  [
    'NN S B -LRB-',
    'O PER PER O',
    'O I-PER I-PER B-PER I-LOC',
    'O B-PER I-PER B-PER B-LOC',
    'B I O B',
    'O B-PER I-PER L-PER U-LOC',
    'O B-PER E-PER S-LOC O',
    'B M E S',
    'O O',
  ],
)
def test_tags_of_every_scheme_are_read(tmp_path, tags):
  content = '\n'.join(f'word {tag}' for tag in tags.split())
  (example,) = read(tmp_path, content)
  assert example.tags == tuple(tags.split())


@pytest.mark.parametrize(
  'tags, message',
  [
    ('B-PER PER', 'PER after B-PER in line 4'),
    ('B-PER I-LOC B-LOC', 'B-LOC after I-LOC|I-LOC after B-PER'),
    ('I-PER O B-PER', 'B-PER after O in line 5 .* not IOB1'),
    ('B-PER L-PER O L-PER', 'L-PER after O in line 6 .* not BILOU'),
    ('B-PER L-PER S-PER', 'S-PER after L-PER in line 5'),
    ('U-PER B-PER', 'the end after B-PER in line 5'),
  ],
)
def test_tags_of_no_scheme_are_named(tmp_path, tags, message):
  content = '\n'.join(f'word {tag}' for tag in tags.split())
  with pytest.raises(UserError, match=message) as error:
    read(tmp_path, f'He O\n\n{content}\n')
  assert '\n' not in str(error.value) and 'TAG_COLUMN' in str(error.value)
  # To predict, they are not looked at.
  assert len(read(tmp_path, f'He O\n\n{content}\n', tag_column=None)) == 2


@pytest.mark.parametrize(
  'content', ['a X\n. O\nb Y\n', 'word X\nother O\n' * 51]
)
def test_a_file_without_empty_lines_is_refused(tmp_path, content):
  with pytest.raises(UserError, match='one sentence of .* add empty lines'):
    read(tmp_path, content)
  assert len(read(tmp_path, content, tag_column=None)) == 1
  assert len(read(tmp_path, content + '\na X\n')) == 2


def test_a_sentence_has_a_limit(tmp_path, monkeypatch):
  monkeypatch.setattr(conll, '_LONGEST_SENTENCE', 3)
  assert len(read(tmp_path, 'a\nb\nc\n\nd\n', tag_column=None)) == 2
  with pytest.raises(UserError, match='3 words before line 6'):
    read(tmp_path, 'a\n\nb\nc\nd\ne\n', tag_column=None)


@pytest.mark.parametrize('setting', ['list', 'glob', 'folder'])
def test_several_files_are_read(tmp_path, setting):
  (tmp_path / 'a.txt.gz').write_bytes(gzip.compress(PLAIN.encode()))
  (tmp_path / 'b.txt').write_text('word DT B-NP\n')
  paths = {
    'list': [str(tmp_path / 'b.txt'), str(tmp_path / 'a.txt.gz')],
    'glob': f'{tmp_path}/*',
    'folder': str(tmp_path),
  }[setting]
  task = Task('t', 'tags')
  found = list(word_tags.read(task, paths, labelled=True))
  assert [x[:3] for x in found[:2]] == [x[:3] for x in EXAMPLES]
  assert len(found) == 3


def test_a_tag_that_training_lacks_is_told_with_its_line(tmp_path, capsys):
  task = Task('t', 'tags', labels=('B-NP', 'B-VP'))
  content = '\n' + PLAIN + '\nHe PRP B-NP\nran VBD B-PP\nand CC O\n'
  word_tags.check(task, keep(read(tmp_path, PLAIN)))
  assert not capsys.readouterr().out
  word_tags.check(task, keep(iter(read(tmp_path, content))))
  (line,) = capsys.readouterr().out.splitlines()
  assert line.startswith('warning: 2 words have tags that training never had')
  assert f"the first is 'B-PP' in line 8 of {tmp_path / 'tags.txt'}:" in line
  word_tags.check(task, [TagExample(('a',), ('X',))])
  assert "the first is 'X':" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_told(tmp_path):
  path = str(tmp_path / 'absent.txt')
  with pytest.raises(UserError, match=f'is there .*{re.escape(path)}'):
    next(conll.read(path))


def test_o_comes_first_among_the_sorted_tags():
  assert conll.tags_of([('I-X', 'B-Y'), (), ('O', 'B-X', 'I-X')]) == (
    'O',
    'B-X',
    'B-Y',
    'I-X',
  )
  assert conll.tags_of([('VB', 'NN')]) == ('NN', 'VB')


def test_predictions_are_one_more_column(tmp_path):
  path = tmp_path / 'predictions.txt'
  tags = ['B-NP', 'O'], ['B-VP']
  pairs = zip(EXAMPLES, tags, strict=True)
  said = word_tags.write(Task('t', 'tags'), str(path), pairs, 2)
  assert said == f'2 sentences in {path}'
  assert path.read_text() == (
    'He PRP B-NP B-NP\nran VBD B-VP O\n\nStop VB B-VP B-VP\n\n'
  )
  again = list(conll.read(str(path)))
  assert [example.words for example in again] == [('He', 'ran'), ('Stop',)]
  assert [example.tags for example in again] == [('B-NP', 'O'), ('B-VP',)]


def test_words_with_spaces_survive_where_the_separator_is_a_tab(tmp_path):
  path = str(tmp_path / 'predictions.txt')
  (example,) = read(tmp_path, 'New York\tB-LOC\n', separator='\t')
  task = Task('t', 'tags', columns={'separator': '\t'})
  word_tags.write(task, path, iter([(example, ['O'])]), 1)
  (again,) = conll.read(path, separator='\t')
  assert again.columns == (('New York', 'B-LOC', 'O'),)
