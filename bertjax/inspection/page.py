"""The attention of texts as one interactive page that needs no server.

    page.write('attention_maps.html', [maps], 'runs/books')
    IPython.display.HTML(page.frame([maps], 'runs/books'))   # in a notebook

The file is self-contained and loads nothing. Weights are rounded to multiples
of 1 / 65,535. The template is page.html with the files beside it.
"""

import base64
import html
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertjax.inspection.maps import Maps

STEPS = 2**16 - 1  # from weight 0 to 1
_FOLDER = os.path.dirname(os.path.abspath(__file__))


def write(path: str, found: Sequence[Maps], origin: str) -> None:
  """Writes the page.

  Args:
    path: of the file.
    found: one per text, all of the same layers.
    origin: where the model came from.
  """
  with open(path, 'w', encoding='utf-8') as file:
    file.write(render(found, origin))


def render(found: Sequence[Maps], origin: str) -> str:
  """Returns the page; see `write`."""
  data = {
    'origin': origin,
    'layers': list(found[0].layers),
    'heads': found[0].weights.shape[1],
    'texts': [_text(maps) for maps in found],
  }
  parts = {
    # A '<' could end the script; JSON reads the escape as the same character.
    'DATA': json.dumps(data).replace('<', '\\u003c'),
    'ORIGIN': html.escape(origin),
    'STYLE': _read('page.css'),
    'SCRIPT': _read('page.js') + _read('page_map.js'),
  }
  before, *rest = _read('page.html').split('{{')
  pieces = [before]
  for piece in rest:  # no str.replace: the data may contain any placeholder
    name, after = piece.split('}}', 1)
    pieces += [parts[name], after]
  return ''.join(pieces)


def frame(found: Sequence[Maps], origin: str, height: int = 900) -> str:
  """Returns HTML that shows the page within another, such as a notebook.

  Args:
    found: see `write`.
    origin: see `write`.
    height: in pixels; the width is all that is available.
  """
  return (
    f'<div><iframe srcdoc="{html.escape(render(found, origin))}" '
    f'style="width: 100%; height: {height}px; border: 0"></iframe></div>'
  )


def _text(maps: Maps) -> dict[str, Any]:
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


def _rounded(values: np.ndarray) -> list[list[float]]:
  return [[float(f'{value:.4g}') for value in row] for row in values]


def _read(name: str) -> str:
  with open(os.path.join(_FOLDER, name), encoding='utf-8') as file:
    return file.read()
