import subprocess
import sys

import pytest

from bertjax.corpus import cleaning, python_documentation


@pytest.fixture(scope='module')
def documents():
  counts = cleaning.Counts()
  documents = [[]]
  reader = python_documentation.PythonDocumentation()
  for lines in reader.documents(counts):
    if lines:
      documents[-1] += lines
    else:
      documents.append([])
  assert documents.pop() == []
  assert counts.file_bytes == reader.size()
  return documents


def test_it_is_megabytes_of_english_in_hundreds_of_documents(documents):
  text = '\n'.join(line for lines in documents for line in lines)
  assert 300 < len(documents) < 900
  assert 1_200_000 < len(text) < 3_000_000
  words = text.lower().split()
  assert words.count('the') > 0.03 * len(words)  # as in any English
  assert '>>>' not in text and '::=' not in text and '====' not in text


def test_topics_and_docstrings_are_among_the_documents(documents):
  starts = [lines[0] for lines in documents]
  assert 'The "assert" statement' in starts
  assert 'JSON (JavaScript Object Notation) <https://json.org> is a' in [
    start[:57] for start in starts
  ]


def test_every_document_has_two_paragraphs_or_more(documents):
  assert min(map(len, documents)) > 1


def test_no_module_is_imported():
  code = (
    'import sys, sysconfig\n'
    'from bertjax.corpus import cleaning, python_documentation\n'
    'sysconfig.get_path("stdlib")  # imports modules of its own\n'
    'before = set(sys.modules)\n'
    'reader = python_documentation.PythonDocumentation()\n'
    'for _ in reader.documents(cleaning.Counts()): pass\n'
    'assert not {"antigravity", "turtle", "idlelib", "pydoc_data.topics"} '
    '& set(sys.modules)\n'
    'assert set(sys.modules) == before, set(sys.modules) - before\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize(
  'text, paragraphs',
  [
    ('Names\n=====\n\nA name is\n  bound.', ['Names', 'A name is bound.']),
    ('Do it:\n\n>>> x = print(1)\n1\n\nDone.', ['Do it:', 'Done.']),
    (
      'Any of\n- the first\n  thing\n- the second',
      ['Any of', '- the first thing', '- the second'],
    ),
    ('   a_stmt ::= "one" | expression', []),
    ('+---+-----+\n| 1 | 234 |\n+---+-----+', []),
    ('', []),
  ],
)
def test_a_paragraph_of_prose_is_a_line(text, paragraphs):
  assert python_documentation._paragraphs(text) == paragraphs
