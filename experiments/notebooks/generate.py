"""Writes NAME.ipynb beside each notebook, which is NAME.py.

    python -m experiments.notebooks.generate

The sources are edited, in jupytext's percent format; outputs are not kept.
Source: ours.
"""

import pathlib

import jupytext
import nbformat

FOLDER = pathlib.Path(__file__).parent
SOURCES = sorted(
    path for path in FOLDER.glob('*.py')
    if path.name != 'generate.py' and not path.name.startswith('_'))


def notebook(source: pathlib.Path) -> nbformat.NotebookNode:
  """Returns a source as a notebook, the same each time."""
  made = jupytext.read(source)
  made.metadata = {
      'kernelspec': {'display_name': 'Python 3', 'language': 'python',
                     'name': 'python3'},
      'language_info': {'name': 'python'}}
  for number, cell in enumerate(made.cells):
    cell['id'] = f'cell-{number:02}'
  return made


def text(source: pathlib.Path) -> str:
  """Returns what NAME.ipynb holds."""
  return nbformat.writes(notebook(source)) + '\n'


if __name__ == '__main__':
  for path in SOURCES:
    path.with_suffix('.ipynb').write_text(text(path), encoding='utf-8')
