"""The documentation that comes with CPython, as documents of plain prose.

    counts = cleaning.Counts()
    for lines in python_documentation.PythonDocumentation().documents(counts):
      ...  # a list of lines with text; an empty list ends a document

About 2 MB of English in several hundred documents, without a download.
Source: `pydoc_data.topics` and the docstrings of the standard library.
"""

import ast
import dataclasses
import inspect
import itertools
import os
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator

from bertjax.corpus import cleaning
from bertjax.errors import UserError

# Tests, bundled programs, and packages installed with the standard library.
_SKIPPED_FOLDERS = frozenset(
  'idlelib lib2to3 pydoc_data site-packages dist-packages test tests '
  'turtledemo'.split()
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# A blank line or the next entry of a list begins a new paragraph.
_PARAGRAPH_BREAK = re.compile(r'\n\s*\n|\n(?=\s*[-*•] )')
# English has 0.05 or less; doctests, grammar and tables have more.
_LARGEST_SHARE_OF_SIGNS = 0.15


@dataclasses.dataclass(frozen=True)
class PythonDocumentation:
  """Reads `pydoc_data.topics` and the docstrings of the standard library.

  A document is a topic, or all docstrings of a module; a line is a paragraph.
  The files are parsed, never imported. Code, grammar and ruled lines are left
  out, as are documents of a single paragraph.
  """

  def __str__(self) -> str:
    return 'the Python documentation'

  def fingerprint(self) -> str:
    """Returns the version of Python, on which the text depends."""
    return sys.version

  def size(self) -> int:
    """Returns the bytes of the files that will be parsed."""
    return sum(map(os.path.getsize, [_topics_path(), *module_paths()]))

  def documents(self, counts: cleaning.Counts) -> Iterator[list[str]]:
    """Yields lists of lines with text; an empty list ends a document."""
    (topics,) = (
      ast.literal_eval(node.value)
      for node in parse(_topics_path(), counts).body
      if isinstance(node, ast.Assign)
    )
    texts = itertools.chain(
      (topics[name] for name in sorted(topics)),
      ('\n\n'.join(docstrings(parse(x, counts))) for x in module_paths()),
    )
    for text in texts:
      paragraphs = _paragraphs(text)
      if len(paragraphs) > 1:
        yield cleaning.lines_of('\n'.join(paragraphs), counts)
        yield []


def _topics_path() -> str:
  path = os.path.join(sysconfig.get_path('stdlib'), 'pydoc_data', 'topics.py')
  if not os.path.exists(path):
    raise UserError(
      f'expected the documentation of Python at {path}, which this '
      'installation lacks; set TEXT_FILES to files of text'
    )
  return path


def module_paths() -> list[str]:
  """Returns the files of the standard library that are read, sorted."""
  paths = []
  for folder, subfolders, names in os.walk(sysconfig.get_path('stdlib')):
    subfolders[:] = set(subfolders) - _SKIPPED_FOLDERS
    paths += [
      os.path.join(folder, name)
      for name in names
      if name.endswith('.py') and not name.startswith('_sysconfigdata')
    ]
  return sorted(paths)


def parse(path: str, counts: cleaning.Counts) -> ast.Module:
  """Returns the code of a file; adds to `files` and `file_bytes`."""
  with open(path, 'rb') as file:
    source = file.read()
  counts.files += 1
  counts.file_bytes += len(source)
  with warnings.catch_warnings():  # about escapes in other people's strings
    warnings.simplefilter('ignore')
    return ast.parse(source)


def docstrings(node: ast.AST) -> Iterator[str]:
  """Yields the docstrings of a module, its classes and functions, in order."""
  if isinstance(node, _DOCUMENTED):
    docstring = ast.get_docstring(node, clean=False)
    if docstring:
      yield inspect.cleandoc(docstring)
  for child in ast.iter_child_nodes(node):
    if isinstance(child, ast.stmt | ast.ExceptHandler):
      yield from docstrings(child)


def _paragraphs(text: str) -> list[str]:
  r"""Joins the lines of each paragraph and leaves out what is not prose.

  'Names\n=====\n\nIt is\nbound.\n\n>>> x = 1' -> ['Names', 'It is bound.']
  """
  paragraphs = []
  for paragraph in _PARAGRAPH_BREAK.split(text):
    lines = [x for x in paragraph.split('\n') if any(map(str.isalnum, x))]
    joined = ' '.join(' '.join(lines).split())
    signs = len(joined) - sum(map(str.isalpha, joined)) - joined.count(' ')
    if (
      joined
      and signs <= _LARGEST_SHARE_OF_SIGNS * len(joined) + 1  # a full stop
      and '::=' not in joined
      and '>>>' not in joined
    ):
      paragraphs.append(joined)
  return paragraphs
