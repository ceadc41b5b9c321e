"""The attention of texts as one page to click through, without any server.

    page.write('attention_maps.html', [maps], 'runs/books')
    IPython.display.HTML(page.frame([maps], 'runs/books'))   # in a notebook

Everything is within the file: nothing is loaded, on any machine. Weights are
kept to 1 / 65,535. Source: ours; see page.html and the files beside it.
"""

import base64
import html
import json
import os
from collections.abc import Sequence

import numpy as np

STEPS = 2**16 - 1
_FOLDER = os.path.dirname(os.path.abspath(__file__))


def write(path: str, found: Sequence, origin: str) -> None:
  """Writes the page.

  Args:
    path: of the file.
    found: an `attention_maps.Maps` of each text, of the same layers.
    origin: where the model came from.
  """
  with open(path, 'w', encoding='utf-8') as file:
    file.write(render(found, origin))


def render(found: Sequence, origin: str) -> str:
  """Returns the page; see `write`."""
  data = {
    'origin': origin,
    'layers': list(found[0].layers),
    'heads': found[0].weights.shape[1],
    'texts': [_text(maps) for maps in found],
  }
  parts = {
    # In a script '<' could end it; escaped it is the same to JSON.
    'DATA': json.dumps(data).replace('<', '\\u003c'),
    'ORIGIN': html.escape(origin),
    'STYLE': _read('page.css'),
    'SCRIPT': _read('page.js') + _read('page_map.js'),
  }
  before, *rest = _read('page.html').split('{{')
  pieces = [before]
  for piece in rest:  # not replaced one by one: data may hold any text
    name, after = piece.split('}}', 1)
    pieces += [parts[name], after]
  return ''.join(pieces)


def frame(found: Sequence, origin: str, height: int = 900) -> str:
  """Returns HTML that shows the page within another, such as a notebook.

  Args:
    found: see `write`.
    origin: see `write`.
    height: in pixels; the width is what there is.
  """
  return (
    f'<div><iframe srcdoc="{html.escape(render(found, origin))}" '
    f'style="width: 100%; height: {height}px; border: 0"></iframe></div>'
  )


def _text(maps) -> dict:
  scaled = np.rint(maps.weights * STEPS).astype('<u2')
  return {
    'tokens': maps.tokens,
    'second': maps.second,
    'weights': base64.b64encode(scaled.tobytes()).decode(),
    'entropies': _rounded(maps.entropies),
    'importance': None
    if maps.importance is None
    else _rounded(maps.importance),
  }


def _rounded(values: np.ndarray) -> list:
  return [[float(f'{value:.4g}') for value in row] for row in values]


def _read(name: str) -> str:
  with open(os.path.join(_FOLDER, name), encoding='utf-8') as file:
    return file.read()
