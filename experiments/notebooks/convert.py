"""Writes the .ipynb next to each .py: the same cells, without outputs.

    python -m experiments.notebooks.convert

Edit the .py (jupytext's percent format). The ids of cells are their numbers, so
that the same source gives the same file.
"""

import pathlib

import jupytext
import nbformat

FOLDER = pathlib.Path(__file__).resolve().parent
NOTEBOOKS = ('quickstart', 'tpu_pretraining', 'inspect_attention')
FORMAT = 'py:percent'


def convert(source: str) -> nbformat.NotebookNode:
  """Returns the notebook of the text of a .py file."""
  notebook = jupytext.reads(source, FORMAT)
  # jupytext's own, such as its version.
  notebook.metadata.pop('jupytext', None)
  for number, cell in enumerate(notebook.cells):
    cell.id = f'cell-{number:02}'
  return notebook


def main() -> None:
  for name in NOTEBOOKS:
    notebook = convert((FOLDER / f'{name}.py').read_text(encoding='utf-8'))
    nbformat.write(notebook, FOLDER / f'{name}.ipynb')
    print(f'{name}.ipynb: {len(notebook.cells)} cells')


if __name__ == '__main__':
  main()
