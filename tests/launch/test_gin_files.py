"""Gin files are read without importing, and their mistakes are explained."""

import sys

import pytest

from bertjax.errors import UserError
from bertjax.launch import gin_files
from bertjax.launch.gin_files import REQUIRED


def read(folder, **texts):
  """Reads the last one of files that are given by their names."""
  for name, text in texts.items():
    (folder / f'{name}.gin').write_text(text)
  return gin_files.read([f'{name}.gin'], [str(folder)])


def test_values_uses_and_functions_are_known_without_an_import(tmp_path):
  found = read(
    tmp_path,
    part="""
from __gin__ import dynamic_registration
from no_such_package import loop as l
STEPS = 10              # of training
A = %B
l.train:
  steps = %STEPS
  other = [{'a': @x/l.job()}]
""",
    recipe="""
include 'part.gin'
STEPS = %gin.REQUIRED
one/l.train.steps = 3
""",
  )
  assert found.macros['STEPS'].value == REQUIRED
  assert found.macros['STEPS'].meaning == 'of training'
  assert found.users() == {
    'STEPS': ['no_such_package.loop.train.steps'],
    'B': ['A'],
  }
  assert found.parameters['one', 'l.train.steps'] == 3  # imported elsewhere
  assert found.functions == {
    'no_such_package.loop.train',
    'no_such_package.loop.job',
    'l.train',
  }
  assert 'no_such_package' not in sys.modules


def test_a_parameter_that_is_bound_anew_uses_no_macro_any_more(tmp_path):
  text = 'import f\nA = 1\nf.g.x = %A\n'
  assert read(tmp_path, recipe=text).users() == {'A': ['f.g.x']}
  assert read(tmp_path, recipe=f'{text}f.g.x = 3\n').users() == {}


def test_a_meaning_goes_on_in_indented_comments(tmp_path):
  found = read(
    tmp_path,
    recipe="""
A = '# no comment'      # first,
                        # second
# of the next one
B = 1
C = [1,
     2]
""",
  )
  meanings = {name: macro.meaning for name, macro in found.macros.items()}
  assert meanings == {'A': 'first, second', 'B': '', 'C': ''}


@pytest.mark.parametrize(
  'line, meant',
  [
    ('RUN_DIR = runs/x', "a text needs quotes: RUN_DIR = 'runs/x'"),
    ('RUN_DIR = runs/x  # here', "a text needs quotes: RUN_DIR = 'runs/x'"),
    ('RUN_DIR = /data/x', "a text needs quotes: RUN_DIR = '/data/x'"),
    ('RUN_DIR = ~/x', "a text needs quotes: RUN_DIR = '~/x'"),
    ('F = books/*.txt', "a text needs quotes: F = 'books/*.txt'"),
    ('F = a.txt b.txt', "a text needs quotes: F = 'a.txt b.txt'"),
    ('NSP = true', 'write NSP = True'),
    ('NSP = none', 'write NSP = None'),
    ('STEPS: 10', 'write STEPS = 10'),
    ('STEPS =', 'expected a value: STEPS = VALUE'),
    ('STEPS 10', "expected NAME = VALUE, include 'FILE' or"),
    ('10 = STEPS', "expected NAME = VALUE, include 'FILE' or"),
    ('a..b = 3', 'malformatted scope or selector'),
    ('x.y:', 'expected indented lines PARAMETER = VALUE below'),
    ('include models/a.gin', "a file needs quotes: include 'models/a.gin'"),
    ("A = 'x' + 'y'", 'expected the end of the line'),
    ('STEPS = null', 'write STEPS = None'),
    ('SEED := 5', 'write SEED = 5'),
    ("RUN_DIR = f'run'", 'expected a value: a number, a text in quotes'),
    ("A = ['x', 'y'", 'a bracket is not closed'),
    ('A = [1 2]', "expected ',' or ']'"),
  ],
)
def test_a_line_that_is_no_gin_is_told_with_its_number_and_what_is_meant(
  line, meant, tmp_path
):
  with pytest.raises(UserError) as error:
    read(tmp_path, mine=f'# A file.\nB = [1,\n  2]\n{line}\nC = 3\n')
  assert str(error.value).startswith(f'mine.gin, line 4: {line}: {meant}'), (
    error.value
  )


def test_a_quote_that_is_not_closed_is_told_with_its_line(tmp_path):
  with pytest.raises(UserError, match=r"mine.gin, line 2: RUN_DIR = 'runs/x: "):
    read(tmp_path, mine="A = 1\nRUN_DIR = 'runs/x\nB = 2\n")


def test_a_mistake_in_an_included_file_names_that_file(tmp_path):
  with pytest.raises(UserError, match='^part.gin, line 1: A = x: '):
    read(tmp_path, part='A = x\n', mine="include 'part.gin'\n")


@pytest.mark.parametrize(
  'name, message',
  [
    ('nowhere.gin', 'mine.gin includes nowhere.gin, which is not there'),
    ('mine.gin', 'mine.gin includes mine.gin, which includes itself'),
    ('recipes/quikstart.gin', "did you mean 'recipes/quickstart.gin'"),
    ('quickstart', "did you mean 'recipes/quickstart.gin'"),
  ],
)
def test_an_include_that_cannot_be_is_refused(name, message, tmp_path):
  (tmp_path / 'recipes').mkdir()
  (tmp_path / 'recipes' / 'quickstart.gin').write_text('A = 1\n')
  with pytest.raises(UserError, match=message):
    read(tmp_path, mine=f"include '{name}'\n")


def test_an_include_that_replaces_what_stands_above_it_is_refused(tmp_path):
  part = 'A = 1\nB = 2\n'
  message = 'mine.gin, line 3: the include of part.gin sets B anew.*below'
  with pytest.raises(UserError, match=message):
    read(tmp_path, part=part, mine="A = 1\nB = 3\ninclude 'part.gin'\n")
  found = read(tmp_path, part=part, mine="include 'part.gin'\nB = 3\n")
  assert found.macros['B'].value == 3


def test_a_file_is_in_utf_8_with_or_without_a_mark(tmp_path):
  file = tmp_path / 'mine.gin'
  file.write_text('A = 1\n', 'utf-8-sig')
  assert gin_files.read([str(file)], []).macros['A'].value == 1
  for encoding in ('utf-16', 'latin-1'):
    file.write_text("A = 'é'\n", encoding)
    with pytest.raises(UserError, match='; save it as UTF-8'):
      gin_files.read([str(file)], [])


def test_a_file_that_is_no_text_is_refused(tmp_path):
  (tmp_path / 'mine.gin').write_bytes(b'\xff\xfe\x00')
  with pytest.raises(UserError, match='mine.gin cannot be read as text'):
    gin_files.read(['mine.gin'], [str(tmp_path)])


def test_brackets_without_end_are_one_line(tmp_path):
  # Python 3.12 counts no depth here.
  told = 'mine.gin, line 2: .*(nested too deeply|a bracket is not closed)'
  with pytest.raises(UserError, match=told):
    read(tmp_path, mine='B = (1, 2)\nA = ' + '[' * 5000 + ']' * 5000 + '\n')
